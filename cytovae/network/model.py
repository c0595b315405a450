"""The network of MoE-Sim-VAE (Figure 1 of the paper).

The modules stand in the order data flows, with the letters of the figure. The encoder (B) turns markers x into a code z
(C). The clustering network (G) turns z into probabilities p of the experts. The most likely expert of the decoder (D)
reconstructs x from z.

Shapes: b cells in the batch, m markers, d code dimensions, k experts, h hidden units of an expert.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU}


# The decoder computes one cell at a time, with the weights of its expert, if an expert has at most so many weights and
# gets at most so many cells on average. Beyond, copying the weights for each cell takes longer than computing.
LARGEST_GATHERED_EXPERT = 2**14
MOST_GATHERED_CELLS = 16

# Below so many entries of a weight matrix, multiplying and summing is faster than torch's batched matrix product, and
# its backward pass twice as fast.
SMALL_MATRIX = 400


class ModelOutput(NamedTuple):
    """What the network computes for a batch."""

    probabilities: Tensor  # (b, k), p of the clean branch
    noisy_log_probabilities: Tensor  # (b, k), log p̂ of the noisy branch (DEPICT)
    code: Tensor  # (b, d), z
    logits: Tensor  # (b, m), of the reconstructed markers
    stranger: Tensor | None = None  # (b,), logit of being unlike all landmarks; in models with names

    def first(self, n: int) -> "ModelOutput":
        """The output of the first ``n`` cells."""
        return ModelOutput(*(None if each is None else each[:n] for each in self))  # type: ignore[arg-type]


class Encoder(nn.Module):
    """From markers to the posterior of the code, a diagonal Gaussian. Batch norm after each hidden layer."""

    def __init__(self, markers: int, code: int, depth: int, width: int, activation: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(markers if i == 0 else width, width), nn.BatchNorm1d(width), ACTIVATIONS[activation]()]
        self.hidden = nn.Sequential(*layers)
        self.mean = nn.Linear(width, code)
        self.log_variance = nn.Linear(width, code)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (b, d) of the posterior, given markers ``x`` (b, m)."""
        h = self.hidden(x)  # (b, width)
        return self.mean(h), self.log_variance(h)  # (b, d) each


class ClusteringNetwork(nn.Module):
    """From codes to experts. The noisy branch (DEPICT) has dropout after each hidden layer."""

    def __init__(self, code: int, experts: int, depth: int, width: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(code if i == 0 else width, width) for i in range(depth))
        self.activation = ACTIVATIONS[activation]()
        self.out = nn.Linear(width if depth else code, experts)
        self.dropout = dropout

    def forward(self, z: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Logits (b, k) of codes ``z`` (b, d). With ``noise``, the noisy branch, which draws from that generator."""
        logits: Tensor = self.out(self.units(z, noise))  # (b, k)
        return logits

    def units(self, z: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """The last hidden layer (b, width); arguments as of :meth:`forward`."""
        h = z
        for layer in self.hidden:
            h = self.activation(layer(h))  # (b, width)
            if noise is not None:
                keep = torch.rand(h.shape, generator=noise, device=h.device) >= self.dropout  # (b, width)
                h = h * keep / (1 - self.dropout)
        return h


class Experts(nn.Module):
    """The mixture-of-experts decoder: k small networks, whose weights are stored in four tensors.

    Gating is hard: each cell is decoded by one expert. For small experts, the weights of each cell's expert are
    gathered, and all cells are computed in one batched product without a loop.
    """

    def __init__(self, experts: int, code: int, width: int, markers: int, activation: str) -> None:
        super().__init__()
        self.shape = (code, width, markers)
        bound, bound_out = code**-0.5, width**-0.5  # initialized as nn.Linear
        self.weight = nn.Parameter(torch.empty(experts, code * width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, width).uniform_(-bound, bound))
        self.weight_out = nn.Parameter(torch.empty(experts, width * markers).uniform_(-bound_out, bound_out))
        self.bias_out = nn.Parameter(torch.zeros(experts, markers))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, z: Tensor, expert: Tensor) -> Tensor:
        """Logits (b, m) of codes ``z`` (b, d), each decoded by its ``expert`` (b,)."""
        code, width, markers = self.shape
        if len(self.weight) == 1:  # a single decoder for all cells
            h = self.activation(torch.addmm(self.bias, z, self.weight.view(code, width)))  # (b, h)
            return torch.addmm(self.bias_out, h, self.weight_out.view(width, markers))
        if (code + markers) * width > LARGEST_GATHERED_EXPERT or len(z) > MOST_GATHERED_CELLS * len(self.weight):
            return self._by_expert(z, expert)
        # An embedding gathers rows with a fast and deterministic backward pass.
        weight = functional.embedding(expert, self.weight).view(-1, code, width)  # (b, d, h)
        weight_out = functional.embedding(expert, self.weight_out).view(-1, width, markers)  # (b, h, m)
        h = self.activation(_multiply_each(functional.embedding(expert, self.bias), z, weight))  # (b, h)
        return _multiply_each(functional.embedding(expert, self.bias_out), h, weight_out)  # (b, m)

    def _by_expert(self, z: Tensor, expert: Tensor) -> Tensor:
        """The same with one matrix product per expert: for large experts, as images need, and for many cells."""
        code, width, markers = self.shape
        order = expert.argsort(stable=True)  # (b,), cells of the same expert side by side
        counts = expert.bincount(minlength=len(self.weight)).tolist()
        codes = torch.split(z[order], counts)
        layers = zip(self.weight.unbind(), self.bias.unbind(), self.weight_out.unbind(), self.bias_out, strict=True)
        logits = []
        for own, (weight, bias, weight_out, bias_out) in zip(codes, layers, strict=True):
            h = self.activation(torch.addmm(bias, own, weight.view(code, width)))  # (cells of the expert, h)
            logits.append(torch.addmm(bias_out, h, weight_out.view(width, markers)))
        return torch.cat(logits)[order.argsort()]  # (b, m)


def _multiply_each(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``bias`` (b, n) + ``x`` (b, m) times ``weight`` (b, m, n): a matrix for each cell."""
    if weight[0].numel() < SMALL_MATRIX:
        return bias + (x[:, :, None] * weight).sum(1)
    return torch.baddbmm(bias[:, None], x[:, None], weight)[:, 0]


class MoeSimVae(nn.Module):
    """The whole network. Its sizes are plain numbers, so that it can be rebuilt from a saved model."""

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
        strangers: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(markers, code, encoder_depth, encoder_width, activation)
        self.clustering = ClusteringNetwork(code, experts, clustering_depth, clustering_width, activation, dropout)
        self.decoder = Experts(1 if decoder == "single" else experts, code, expert_width, markers, activation)
        self.stranger = nn.Linear(self.clustering.out.in_features, 1) if strangers else None

    def forward(self, x: Tensor, noise: Tensor | None = None, dropout: torch.Generator | None = None) -> ModelOutput:
        """Encode, cluster and reconstruct a batch.

        Parameters
        ----------
        x
            Markers (b, m) in [0, 1].
        noise
            Standard normal numbers (b, d), to sample z from the posterior; without them z is its mean.
        dropout
            Generator of the noisy branch (DEPICT); without it that branch is left out.
        """
        mean, log_variance = self.encoder(x)  # (b, d) each
        z = mean if noise is None else mean + noise * (0.5 * log_variance).exp()  # (b, d)
        p = torch.softmax(self.clustering(z), 1)  # (b, k)
        noisy = p if dropout is None else torch.log_softmax(self.clustering(z, dropout), 1)  # (b, k); p is a dummy
        logits = self.decoder(z, p.argmax(1))  # (b, m), by expert k = argmax p
        return ModelOutput(p, noisy, z, logits, self.stranger_logit(z))

    def stranger_logit(self, z: Tensor) -> Tensor | None:
        """Logit (b,) of being unlike all landmarks, given codes ``z`` (b, d); None in a model without names.

        It competes with the experts, as one more of them would.
        """
        if self.stranger is None:
            return None
        h = self.clustering.units(z)
        logit: Tensor = self.stranger(h)[:, 0] - self.clustering.out(h).logsumexp(1)
        return logit

    def assign(self, x: Tensor) -> Tensor:
        """Probabilities (b, k) of the experts for markers ``x`` (b, m), from the mean of the posterior."""
        mean, _ = self.encoder(x)  # (b, d)
        return torch.softmax(self.clustering(mean), 1)
