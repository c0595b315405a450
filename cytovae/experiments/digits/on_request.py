"""Images generated on request: codes drawn for one cluster, decoded and checked (Figures A5 and A6).

A request names a cluster. Whether the image shows it is decided by the model's own assignment, and by a classifier that
is trained on real images and labels, independently of any model.
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

MOST_RUNS = 1_000  # draws for each requested image before a threshold counts as out of reach

_CHUNK = 5_000  # images at a time
_POOL = 4_000  # codes drawn at a time
_RIDGE = 1e-4  # added to covariances, which may be singular


class Source(Protocol):
    """A model that generates images of a requested cluster."""

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw codes (n, d) for ``cluster``."""

    def posterior(self, codes: Tensor) -> Tensor:
        """Probability of each cluster (n, k) for ``codes`` (n, d)."""

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Decode ``codes`` (n, d) drawn for ``cluster`` to images (n, m) in [0, 1]."""

    def assign(self, images: Tensor) -> Tensor:
        """Probability of each cluster (n, k) for ``images`` (n, m)."""


@dataclass(frozen=True, eq=False)
class ExpertSource:
    """MoE-Sim-VAE: each expert decodes codes of its own Gaussian, ``means`` (k, d), Cholesky ``factors`` (k, d, d)."""

    network: MoeSimVae
    means: Tensor
    factors: Tensor

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw codes (n, d) from the expert's Gaussian."""
        noise = torch.randn(n, self.means.shape[1], generator=generator, device=self.means.device)
        return self.means[cluster] + noise @ self.factors[cluster].T

    def posterior(self, codes: Tensor) -> Tensor:
        """Probabilities of the clustering network."""
        return torch.softmax(self.network.clustering(codes), 1)

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Decode with the cluster's own expert."""
        expert = torch.full((len(codes),), cluster, device=codes.device)
        return torch.sigmoid(self.network.decoder(codes, expert))

    def assign(self, images: Tensor) -> Tensor:
        """Encoded, and assigned as any image is."""
        return self.network.assign(images)


@dataclass(frozen=True, eq=False)
class VadeSource:
    """VaDE: each cluster is a component of the mixture; one decoder serves all."""

    model: Vade

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw codes (n, d) from one component."""
        return self.model.draw(cluster, n, generator)

    def posterior(self, codes: Tensor) -> Tensor:
        """Posterior probabilities of the components."""
        return self.model.posterior(codes)

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        """Decode with the single decoder; ``cluster`` is not used."""
        return torch.sigmoid(self.model.decoder(codes))

    def assign(self, images: Tensor) -> Tensor:
        """Encoded, and assigned as any image is."""
        return self.model.assign(images)


def expert_source(network: MoeSimVae, x: Tensor, cluster: NDArray[np.int64], seed: int) -> ExpertSource:
    """Fit a Gaussian for each expert to codes drawn from the posteriors of the images ``x`` (n, m) of its cluster.

    The KL term (eq. 3) keeps variances near 1 but leaves correlations free, so they are estimated here: codes drawn
    without them would lie where there are no images. An expert with fewer than two images keeps the standard Gaussian.

    Parameters
    ----------
    network : MoeSimVae
        The trained network.
    x : Tensor, shape (n, m)
        Images.
    cluster : ndarray, shape (n,)
        Their clusters, from 0.
    seed : int
        Seed of the draw from the posteriors.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    codes = []
    with torch.inference_mode():
        for images in torch.split(x, _CHUNK):
            mean, log_variance = network.encoder(images)  # (b, d)
            noise = torch.randn(mean.shape, generator=generator, device=x.device)
            codes.append(mean + noise * (0.5 * log_variance).exp())
    z = torch.cat(codes)
    experts, d = network.clustering.out.out_features, z.shape[1]
    means, factors = z.new_zeros(experts, d), torch.eye(d, device=z.device).repeat(experts, 1, 1)
    for expert in range(experts):
        members = z[torch.from_numpy(cluster == expert).to(z.device)]
        if len(members) < 2:
            continue
        means[expert] = members.mean(0)
        covariance = torch.cov(members.T.double()) + _RIDGE * torch.eye(d, device=z.device, dtype=torch.float64)
        factors[expert] = torch.linalg.cholesky(covariance).to(z.dtype)
    return ExpertSource(network, means, factors)


@dataclass(frozen=True, eq=False)
class RequestedImages:
    """Images of k clusters, n of each, generated with one threshold.

    Attributes
    ----------
    runs : int
        Number of codes drawn, accepted or not.
    images : ndarray of float32, shape (k, n, m)
        The images.
    by_model, by_classifier : ndarray, shape (k, n)
        The cluster that the model assigns, and the digit that the classifier sees.
    """

    runs: int
    images: NDArray[np.float32]
    by_model: NDArray[np.int64]
    by_classifier: NDArray[np.int64]


def request_images(
    source: Source, clusters: int, n: int, threshold: float, classifier: nn.Module, generator: torch.Generator
) -> RequestedImages | None:
    """Generate ``n`` images of each cluster, from codes whose probability of it is at least ``threshold``.

    Returns None if :data:`MOST_RUNS` draws for each image are not enough.
    """
    runs, images, by_model, by_classifier = 0, [], [], []
    with torch.inference_mode():
        for cluster in range(clusters):
            accepted_codes: list[Tensor] = []
            missing, drawn = n, 0
            while missing:
                # The threshold 0 accepts every draw, so no more than needed are made.
                pool = missing if threshold <= 0 else min(_POOL, max(missing, 256))
                codes = source.draw(cluster, pool, generator)
                accepted = source.posterior(codes)[:, cluster] >= threshold
                order = accepted.nonzero()[:, 0][:missing]
                # Draws after the last one needed do not count.
                drawn += int(order[-1]) + 1 if len(order) == missing else pool
                accepted_codes.append(codes[order])
                missing -= len(order)
                if missing and drawn >= MOST_RUNS * n:
                    return None
            runs += drawn
            generated = source.decode(torch.cat(accepted_codes), cluster)  # (n, m)
            images.append(generated.cpu().numpy())
            by_model.append(source.assign(generated).argmax(1).cpu().numpy())
            by_classifier.append(classify(classifier, generated))
    return RequestedImages(runs, np.stack(images), np.stack(by_model), np.stack(by_classifier))


def fit_classifier(
    images: Tensor, labels: Tensor, seed: int, *, epochs: int = 4, batch: int = 128, learning_rate: float = 3e-3
) -> nn.Module:
    """Train a small convolutional network on ``images`` (n, 784) and ``labels`` (n,); return it in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10)),
        )
    classifier = classifier.to(images.device)
    steps = max(1, epochs * len(images) // batch)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(len(images), size=batch)).to(images.device)
        loss = functional.cross_entropy(classifier(images[rows]), labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return classifier.eval()


def classify(classifier: Callable[[Tensor], Tensor], images: Tensor) -> NDArray[np.int64]:
    """The digit (n,) that the classifier sees in each of ``images`` (n, 784)."""
    with torch.inference_mode():
        digits = torch.cat([classifier(rows).argmax(1) for rows in torch.split(images, _CHUNK)])
    return np.asarray(digits.cpu().numpy(), dtype=np.int64)
