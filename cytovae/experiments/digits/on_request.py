"""Images on request: codes drawn for one cluster, decoded, and judged (Figures A5 and A6).

A request is for a cluster; whether the image shows it is asked of the model's own assignment and of a classifier that
has seen real images and their labels, and nothing of any model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cytovae.experiments.vade import Vade
from cytovae.network.model import MoeSimVae

_CHUNK = 5_000


_POOL = 4_000  # codes drawn at once


MOST_RUNS = 1_000  # for each image that is asked for; then a threshold is out of reach


_RIDGE = 1e-4  # of covariances: directions without any spread


class Source(Protocol):
    """What images can be asked of."""

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Codes (n, d) for ``cluster``."""

    def posterior(self, codes: Tensor) -> Tensor:
        """Probability of each cluster (n, k) at ``codes`` (n, d)."""

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Images (n, m) in [0, 1] of ``codes`` (n, d) drawn for ``cluster``."""

    def assign(self, images: Tensor) -> Tensor:
        """Probability of each cluster (n, k) of ``images`` (n, m)."""


@dataclass(frozen=True, eq=False)
class ExpertSource:
    """MoE-Sim-VAE: a Gaussian for each expert, ``means`` (k, d) and Cholesky ``factors`` (k, d, d); decoded by it."""

    network: MoeSimVae
    means: Tensor
    factors: Tensor

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Codes (n, d) of the expert's Gaussian."""
        noise = torch.randn(n, self.means.shape[1], generator=generator, device=self.means.device)
        return self.means[cluster] + noise @ self.factors[cluster].T

    def posterior(self, codes: Tensor) -> Tensor:
        """What the clustering network says of codes."""
        return torch.softmax(self.network.clustering(codes), 1)

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Images from the cluster's own expert."""
        expert = torch.full((len(codes),), cluster, device=codes.device)
        return torch.sigmoid(self.network.decoder(codes, expert))

    def assign(self, images: Tensor) -> Tensor:
        """Encoded, and assigned as any image is."""
        return self.network.assign(images)


@dataclass(frozen=True, eq=False)
class VadeSource:
    """VaDE: a component of its mixture for each cluster, one decoder for all."""

    model: Vade

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Codes (n, d) of one component."""
        return self.model.draw(cluster, n, generator)

    def posterior(self, codes: Tensor) -> Tensor:
        """Responsibilities of the components."""
        return self.model.posterior(codes)

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Images from the one decoder, which is not told the ``cluster``."""
        return torch.sigmoid(self.model.decoder(codes))

    def assign(self, images: Tensor) -> Tensor:
        """Encoded, and assigned as any image is."""
        return self.model.assign(images)


def expert_source(network: MoeSimVae, x: Tensor, cluster: NDArray[np.int64], seed: int) -> ExpertSource:
    """Gaussians of codes drawn from the posteriors of images ``x`` (n, m), by their ``cluster`` (n,).

    The KL term holds each variance near 1 (eq. 3), not the correlations of a code, which are measured here: a draw
    without them falls where no image was. An expert with fewer than two images keeps the standard Gaussian at 0.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    codes = []
    with torch.inference_mode():
        for part in torch.split(x, _CHUNK):
            mean, log_variance = network.encoder(part)
            noise = torch.randn(mean.shape, generator=generator, device=x.device)
            codes.append(mean + noise * (0.5 * log_variance).exp())
    z = torch.cat(codes)
    experts, d = network.clustering.out.out_features, z.shape[1]
    means, factors = z.new_zeros(experts, d), torch.eye(d, device=z.device).repeat(experts, 1, 1)
    for expert in range(experts):
        own = z[torch.from_numpy(cluster == expert).to(z.device)]
        if len(own) < 2:
            continue
        means[expert] = own.mean(0)
        covariance = torch.cov(own.T.double()) + _RIDGE * torch.eye(d, device=z.device, dtype=torch.float64)
        factors[expert] = torch.linalg.cholesky(covariance).to(z.dtype)
    return ExpertSource(network, means, factors)


@dataclass(frozen=True, eq=False)
class Answers:
    """Images on request with one threshold. ``runs`` codes were drawn for ``n`` images in each of k clusters;
    ``images`` float32 (k, n, m); ``by_model`` and ``by_judge`` (k, n): cluster and digit they are said to show.
    """

    runs: int
    images: NDArray[np.float32]
    by_model: NDArray[np.int64]
    by_judge: NDArray[np.int64]


def ask(
    source: Source, clusters: int, n: int, threshold: float, judge: nn.Module, generator: torch.Generator
) -> Answers | None:
    """``n`` images of each cluster, from codes whose probability of it is at least ``threshold``.

    None where more than ``MOST_RUNS`` draws an image were not enough.
    """
    runs, images, by_model, by_judge = 0, [], [], []
    with torch.inference_mode():
        for cluster in range(clusters):
            kept: list[Tensor] = []
            missing, drawn = n, 0
            while missing:
                # At the least threshold every draw is taken, and no more are made than that.
                pool = missing if threshold <= 0 else min(_POOL, max(missing, 256))
                codes = source.draw(cluster, pool, generator)
                accepted = source.posterior(codes)[:, cluster] >= threshold
                order = accepted.nonzero()[:, 0][:missing]
                # Draws after the last that was needed do not count.
                drawn += int(order[-1]) + 1 if len(order) == missing else pool
                kept.append(codes[order])
                missing -= len(order)
                if missing and drawn >= MOST_RUNS * n:
                    return None
            runs += drawn
            made = source.decode(torch.cat(kept), cluster)
            images.append(made.cpu().numpy())
            by_model.append(source.assign(made).argmax(1).cpu().numpy())
            by_judge.append(judged(judge, made))
    return Answers(runs, np.stack(images), np.stack(by_model), np.stack(by_judge))


def fit_judge(
    images: Tensor, labels: Tensor, seed: int, *, epochs: int = 4, batch: int = 128, learning_rate: float = 3e-3
) -> nn.Module:
    """A small convolutional classifier of ``images`` (n, 784) by real ``labels`` (n,), in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10)),
        )
    judge = judge.to(images.device)
    steps = max(1, epochs * len(images) // batch)
    optimizer = torch.optim.Adam(judge.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(len(images), size=batch)).to(images.device)
        loss = functional.cross_entropy(judge(images[rows]), labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge.eval()


def judged(judge: Callable[[Tensor], Tensor], images: Tensor) -> NDArray[np.int64]:
    """The digit (n,) that the judge sees in each of ``images`` (n, 784)."""
    with torch.inference_mode():
        found = torch.cat([judge(part).argmax(1) for part in torch.split(images, _CHUNK)])
    return np.asarray(found.cpu().numpy(), dtype=np.int64)
