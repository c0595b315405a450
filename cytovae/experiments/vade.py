"""Variational deep embedding (VaDE, Jiang et al., IJCAI 2017), the single decoder that experiments compare with.

A short implementation of our own: one encoder, one decoder, and a mixture of Gaussians in the code, learned together.
As in the paper, the weights are initialised by training an autoencoder, and the mixture by fitting one to its codes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_LOG_VARIANCE = -6.0  # of a component in one direction; without a bound, components collapse onto points


@dataclass(frozen=True)
class VadeSettings:
    """Sizes and training: ``warm_steps`` of the autoencoder alone, then ``steps`` of the whole model."""

    components: int = 10
    code: int = 10
    width: int = 400
    batch: int = 256
    warm_steps: int = 4_000
    steps: int = 4_000
    learning_rate: float = 2e-3


class Vade(nn.Module):
    """Encoder (b, m) → mean and log-variance (b, d); decoder (b, d) → logits (b, m); a mixture of k Gaussians."""

    def __init__(self, pixels: int, settings: VadeSettings) -> None:
        super().__init__()
        width, code = settings.width, settings.code
        self.encoder = nn.Sequential(
            *(nn.Linear(pixels, width), nn.BatchNorm1d(width), nn.ELU()),
            *(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ELU()),
        )
        self.mean, self.log_variance = nn.Linear(width, code), nn.Linear(width, code)
        self.decoder = nn.Sequential(
            *(nn.Linear(code, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, pixels)),
        )
        self.shares = nn.Parameter(torch.zeros(settings.components))  # logits
        self.means = nn.Parameter(torch.zeros(settings.components, code))
        self.log_variances = nn.Parameter(torch.zeros(settings.components, code))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (b, d) of the posterior of ``x`` (b, m)."""
        h = self.encoder(x)  # (b, width)
        return self.mean(h), self.log_variance(h)

    def log_joint(self, z: Tensor) -> Tensor:
        """The logarithm of p(c) p(z | c), (b, k), for codes ``z`` (b, d)."""
        log_variance = self.log_variances.clamp_min(SMALLEST_LOG_VARIANCE)
        distance = (z[:, None] - self.means).square() / log_variance.exp()  # (b, k, d)
        density = -0.5 * (math.log(2 * math.pi) + log_variance + distance).sum(2)
        return density + torch.log_softmax(self.shares, 0)

    def posterior(self, z: Tensor) -> Tensor:
        """p(c | z), (b, k), for codes ``z`` (b, d)."""
        return torch.softmax(self.log_joint(z), 1)

    def assign(self, x: Tensor) -> Tensor:
        """p(c | z), (b, k), at the posterior mean of ``x`` (b, m)."""
        return self.posterior(self.encode(x)[0])

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """The negative evidence lower bound (eq. 16 of Jiang et al.), mean over ``x`` (b, m); ``noise`` is (b, d)."""
        mean, log_variance = self.encode(x)  # (b, d)
        z = mean + noise * (0.5 * log_variance).exp()  # (b, d)
        reconstruction = functional.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)
        gamma = self.posterior(z)  # (b, k)
        prior_log_variance = self.log_variances.clamp_min(SMALLEST_LOG_VARIANCE)  # (k, d)
        distance = log_variance.exp()[:, None] + (mean[:, None] - self.means).square()  # (b, k, d)
        spread = distance / prior_log_variance.exp()  # (b, k, d)
        to_component = 0.5 * (gamma * (prior_log_variance + spread).sum(2)).sum(1)
        to_shares = (gamma * (gamma.clamp_min(1e-10).log() - torch.log_softmax(self.shares, 0))).sum(1)
        entropy = 0.5 * (1 + log_variance).sum(1)
        return (reconstruction + to_component + to_shares - entropy).mean()

    def draw(self, component: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw codes (n, d) from one component of the mixture."""
        noise = torch.randn(n, self.means.shape[1], generator=generator, device=self.means.device)
        log_variance = self.log_variances[component].clamp_min(SMALLEST_LOG_VARIANCE)
        return self.means[component] + noise * (0.5 * log_variance).exp()


def fit_vade(x: Tensor, settings: VadeSettings, seed: int) -> Vade:
    """Fit a model to ``x`` (n, m) in [0, 1], without labels, and return it in evaluation mode."""
    from sklearn.mixture import GaussianMixture

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vade(x.shape[1], settings).to(x.device)
    generator = torch.Generator(x.device).manual_seed(seed)
    rng = np.random.default_rng(seed)

    def train(steps: int, warm: bool) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
        rise = max(0.1, 2 / steps)  # the schedule needs more than one step of it
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=steps, pct_start=min(rise, 1.0), cycle_momentum=False
        )
        for _ in range(steps):
            rows = torch.from_numpy(rng.integers(len(x), size=min(settings.batch, len(x)))).to(x.device)
            batch = x[rows]
            if warm:
                logits = model.decoder(model.encode(batch)[0])
                loss = functional.binary_cross_entropy_with_logits(logits, batch, reduction="none").sum(1).mean()
            else:
                noise = torch.randn(len(rows), settings.code, generator=generator, device=x.device)
                loss = model.loss(batch, noise)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()

    if settings.warm_steps:
        train(settings.warm_steps, warm=True)
    codes = encoded(model, x)
    mixture = GaussianMixture(settings.components, covariance_type="diag", n_init=3, reg_covar=1e-3, random_state=seed)
    mixture.fit(codes.astype(np.float64))
    with torch.no_grad():
        model.shares.copy_(torch.from_numpy(np.log(mixture.weights_)))
        model.means.copy_(torch.from_numpy(mixture.means_))
        model.log_variances.copy_(torch.from_numpy(np.log(mixture.covariances_)))
        model.log_variance.bias.fill_(-2.0)  # start close to the codes of the autoencoder
    if settings.steps:
        train(settings.steps, warm=False)
    model.eval()
    return model


def encoded(model: Vade, x: Tensor, chunk: int = 5_000) -> NDArray[np.float32]:
    """Posterior means (n, d) of ``x`` (n, m), computed in evaluation mode."""
    training = model.training
    model.eval()
    with torch.inference_mode():
        codes = torch.cat([model.encode(rows)[0] for rows in torch.split(x, chunk)]).cpu().numpy()
    model.train(training)
    return np.asarray(codes, dtype=np.float32)
