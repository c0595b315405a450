"""The network of MoE-Sim-VAE (Figure 1): tensors in, tensors out.

Read it in the order data flows: markers x are encoded to a code z (B, C in the figure); the clustering network says
which population z belongs to (G); the code goes to the expert of the most likely one, which reconstructs x (D).
Shapes: b cells in the batch, m markers, d code dimensions, k experts, h hidden units of an expert.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU}


# Weights of an expert, and cells for each, above which weights are not gathered for each cell: that would move more
# than it computes.
GATHERED = 2**14


GATHERED_CELLS = 16


SMALL = (
    400  # entries of a matrix below which torch multiplies a batch of them faster, and backwards twice as fast, by hand
)


class ModelOutput(NamedTuple):
    """Probabilities of the clean branch, logs of the noisy one (b, k); the code (b, d); the experts' logits (b, m)."""

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

    def forward(self, z: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Logits (b, k) of codes ``z`` (b, d); with ``noise``, of the noisy branch."""
        h = z
        for layer in self.hidden:
            h = self.activation(layer(h))  # (b, width)
            if noise is not None:
                kept = torch.rand(h.shape, generator=noise, device=h.device) >= self.dropout
                h = h * kept / (1 - self.dropout)
        logits: Tensor = self.out(h)  # (b, k)
        return logits


class Experts(nn.Module):
    """The mixture-of-experts decoder: one small network per population, all of them in four tensors.

    Each cell's code meets the weights of its own expert (hard gating), gathered into one batched product for all
    cells: no loop over cells or experts, and no work for the experts a cell does not go to.
    """

    def __init__(self, experts: int, code: int, width: int, markers: int, activation: str) -> None:
        super().__init__()
        self.shape = (code, width, markers)
        bound, bound_out = code**-0.5, width**-0.5  # as nn.Linear draws its weights
        self.weight = nn.Parameter(torch.empty(experts, code * width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, width).uniform_(-bound, bound))
        self.weight_out = nn.Parameter(torch.empty(experts, width * markers).uniform_(-bound_out, bound_out))
        self.bias_out = nn.Parameter(torch.zeros(experts, markers))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, z: Tensor, expert: Tensor) -> Tensor:
        """Logits (b, m) of codes ``z`` (b, d), each decoded by its ``expert`` (b,)."""
        code, width, markers = self.shape
        if len(self.weight) == 1:  # a single decoder, for the cells of all experts
            h = self.activation(torch.addmm(self.bias, z, self.weight.view(code, width)))  # (b, h)
            return torch.addmm(self.bias_out, h, self.weight_out.view(width, markers))
        if (code + markers) * width > GATHERED or len(z) > GATHERED_CELLS * len(self.weight):
            return self._by_expert(z, expert)
        # Gathering rows as an embedding does has a fast backward pass, and the same one every time.
        weight = functional.embedding(expert, self.weight).view(-1, code, width)  # (b, d, h)
        weight_out = functional.embedding(expert, self.weight_out).view(-1, width, markers)  # (b, h, m)
        h = self.activation(_own_product(functional.embedding(expert, self.bias), z, weight))  # (b, h)
        return _own_product(functional.embedding(expert, self.bias_out), h, weight_out)  # (b, m)

    def _by_expert(self, z: Tensor, expert: Tensor) -> Tensor:
        """The same for large experts, as images need, and for many cells: one product for the cells of each expert."""
        code, width, markers = self.shape
        order = expert.argsort(stable=True)
        counts = expert.bincount(minlength=len(self.weight)).tolist()
        parts = torch.split(z[order], counts)
        layers = zip(self.weight.unbind(), self.bias.unbind(), self.weight_out.unbind(), self.bias_out, strict=True)
        out = [
            torch.addmm(
                bias_out, self.activation(torch.addmm(bias, part, weight.view(code, width))), out.view(width, markers)
            )
            for part, (weight, bias, out, bias_out) in zip(parts, layers, strict=True)
        ]
        return torch.cat(out)[order.argsort()]  # (b, m)


def _own_product(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``bias`` (b, n) + ``x`` (b, m) times ``weight`` (b, m, n): each cell meets a matrix of its own."""
    if weight[0].numel() < SMALL:
        return bias + (x[:, :, None] * weight).sum(1)
    return torch.baddbmm(bias[:, None], x[:, None], weight)[:, 0]


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
        decoder: str = "experts",
    ) -> None:
        super().__init__()
        self.encoder = Encoder(markers, code, encoder_depth, encoder_width, activation)
        self.clustering = ClusteringNetwork(code, experts, clustering_depth, clustering_width, activation, dropout)
        self.decoder = Experts(1 if decoder == "single" else experts, code, expert_width, markers, activation)

    def forward(self, x: Tensor, noise: Tensor | None = None, dropout: torch.Generator | None = None) -> ModelOutput:
        """``x`` (b, m) in [0, 1]; ``noise`` (b, d) standard normal draws z from the posterior, None takes its mean;
        ``dropout`` is what the noisy branch (DEPICT) draws from, None leaves that branch out.
        """
        mean, log_variance = self.encoder(x)  # (b, d) each
        z = mean if noise is None else mean + noise * (0.5 * log_variance).exp()  # (b, d)
        p = torch.softmax(self.clustering(z), 1)  # (b, k)
        noisy = p if dropout is None else torch.log_softmax(self.clustering(z, dropout), 1)  # (b, k); p is not read
        logits = self.decoder(z, p.argmax(1))  # (b, m), gated by eq. "k = argmax p"
        return ModelOutput(p, noisy, z, logits)

    def assign(self, x: Tensor) -> Tensor:
        """Probabilities (b, k) of cells ``x`` (b, m), from the posterior's mean: the same answer every time."""
        mean, _ = self.encoder(x)  # (b, d)
        return torch.softmax(self.clustering(mean), 1)
