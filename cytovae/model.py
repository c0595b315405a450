"""The network of MoE-Sim-VAE (Figure 1): tensors in, tensors out.

Read it in the order data flows: markers x are encoded to a code z (B, C in the figure); the clustering network says
which population z belongs to (G); the code goes to the expert of the most likely one, which reconstructs x (D).
Shapes: b cells in the batch, m markers, d code dimensions, k experts, h hidden units of an expert.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU}


class ModelOutput(NamedTuple):
    """What one pass yields: probabilities of the clean and logs of the noisy branch (b, k), code (b, d), logits (b, m)."""

    probabilities: Tensor
    noisy_log_probabilities: Tensor
    code: Tensor
    logits: Tensor


class Encoder(nn.Module):
    """Markers (b, m) to the posterior's mean and log-variance, each (b, d). Batch norm after each hidden layer."""

    def __init__(self, markers: int, code: int, depth: int, width: int, activation: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(markers if i == 0 else width, width), nn.BatchNorm1d(width), ACTIVATIONS[activation]()]
        self.hidden = nn.Sequential(*layers)
        self.mean = nn.Linear(width, code)
        self.log_variance = nn.Linear(width, code)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance of markers ``x`` (b, m)."""
        h = self.hidden(x)  # (b, width)
        return self.mean(h), self.log_variance(h)  # (b, d) each


class ClusteringNetwork(nn.Module):
    """Codes (b, d) to logits over experts (b, k). The noisy branch (DEPICT) drops units after each layer."""

    def __init__(self, code: int, experts: int, depth: int, width: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(code if i == 0 else width, width) for i in range(depth))
        self.activation = ACTIVATIONS[activation]()
        self.out = nn.Linear(width if depth else code, experts)
        self.dropout = dropout

    def forward(self, z: Tensor, noisy: bool = False) -> Tensor:
        """Logits (b, k) of codes ``z`` (b, d)."""
        h = z
        for layer in self.hidden:
            h = self.activation(layer(h))  # (b, width)
            if noisy:
                h = nn.functional.dropout(h, self.dropout)
        logits: Tensor = self.out(h)  # (b, k)
        return logits


class Experts(nn.Module):
    """The mixture-of-experts decoder: one small network per population, all of them in three tensors.

    The first layer of every expert is evaluated on every cell as one matrix product; the cell's own expert is then
    picked (hard gating), and only its second layer is applied. No loop over cells or experts.
    """

    def __init__(self, experts: int, code: int, width: int, markers: int, activation: str) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(code, experts * width)
        self.activation = ACTIVATIONS[activation]()
        bound = width**-0.5  # as nn.Linear draws its weights
        self.weight = nn.Parameter(torch.empty(experts, width, markers).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(experts, markers))

    def forward(self, z: Tensor, expert: Tensor) -> Tensor:
        """Logits (b, m) of codes ``z`` (b, d), each decoded by its ``expert`` (b,)."""
        b = len(z)
        h = self.first(z).view(b, -1, self.width)  # (b, k, h)
        h = h[torch.arange(b, device=z.device), expert]  # (b, h)
        h = self.activation(h)
        out = torch.bmm(h[:, None, :], self.weight[expert])  # (b, 1, m)
        return out[:, 0] + self.bias[expert]  # (b, m)


class MoeSimVae(nn.Module):
    """The whole network. Sizes are plain numbers so that a stored model can rebuild it."""

    def __init__(
        self,
        *,
        markers: int,
        experts: int,
        code: int,
        encoder_depth: int,
        encoder_width: int,
        clustering_depth: int,
        clustering_width: int,
        expert_width: int,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(markers, code, encoder_depth, encoder_width, activation)
        self.clustering = ClusteringNetwork(code, experts, clustering_depth, clustering_width, activation, dropout)
        self.decoder = Experts(experts, code, expert_width, markers, activation)

    def forward(self, x: Tensor, noise: Tensor | None = None, with_depict: bool = True) -> ModelOutput:
        """``x`` (b, m) in [0, 1]; ``noise`` (b, d) standard normal draws z from the posterior, None takes its mean."""
        mean, log_variance = self.encoder(x)  # (b, d) each
        z = mean if noise is None else mean + noise * (0.5 * log_variance).exp()  # (b, d)
        p = torch.softmax(self.clustering(z), 1)  # (b, k)
        if with_depict:
            noisy = torch.log_softmax(self.clustering(z, noisy=True), 1)  # (b, k)
        else:
            noisy = p  # not read
        logits = self.decoder(z, p.argmax(1))  # (b, m), gated by eq. "k = argmax p"
        return ModelOutput(p, noisy, z, logits)

    def assign(self, x: Tensor) -> Tensor:
        """Probabilities (b, k) of cells ``x`` (b, m), from the posterior's mean: the same answer every time."""
        mean, _ = self.encoder(x)  # (b, d)
        return torch.softmax(self.clustering(mean), 1)
