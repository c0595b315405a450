"""A single decoder to compare with: variational deep embedding (VaDE, Jiang et al., IJCAI 2017), our own short version.

One encoder and one decoder, and in the code a mixture of Gaussians whose shares, means and variances are learned with
them. As there, the weights begin as an autoencoder's and the mixture as scikit-learn's on its codes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_LOG_VARIANCE = -6.0  # of a mixture's component in one direction: a point would draw everything to itself


@dataclass(frozen=True)
class VadeSettings:
    """Sizes and training; ``steps`` of the whole model follow ``warm_steps`` of the autoencoder alone."""

    components: int = 10
    code: int = 10
    width: int = 400
    batch: int = 256
    warm_steps: int = 4_000
    steps: int = 4_000
    learning_rate: float = 2e-3


class Vade(nn.Module):
    """Encoder (b, m) to mean and log-variance (b, d); decoder (b, d) to logits (b, m); mixture of ``k`` Gaussians."""

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
        h = self.encoder(x)
        return self.mean(h), self.log_variance(h)

    def log_joint(self, z: Tensor) -> Tensor:
        """Logarithm of p(c) p(z | c) of codes ``z`` (b, d), (b, k)."""
        log_variance = self.log_variances.clamp_min(SMALLEST_LOG_VARIANCE)
        distance = (z[:, None] - self.means).square() / log_variance.exp()  # (b, k, d)
        density = -0.5 * (math.log(2 * math.pi) + log_variance + distance).sum(2)
        return density + torch.log_softmax(self.shares, 0)

    def posterior(self, z: Tensor) -> Tensor:
        """p(c | z) of codes ``z`` (b, d), (b, k): what a threshold φ is asked of."""
        return torch.softmax(self.log_joint(z), 1)

    def assign(self, x: Tensor) -> Tensor:
        """p(c | z) at the mean of the posterior of ``x`` (b, m), (b, k)."""
        return self.posterior(self.encode(x)[0])

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Minus the evidence lower bound of ``x`` (b, m), eq. 16 of Jiang et al., per image; ``noise`` (b, d)."""
        mean, log_variance = self.encode(x)
        z = mean + noise * (0.5 * log_variance).exp()
        rebuilt = functional.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)
        gamma = self.posterior(z)  # (b, k)
        own = self.log_variances.clamp_min(SMALLEST_LOG_VARIANCE)
        spread = (log_variance.exp()[:, None] + (mean[:, None] - self.means).square()) / own.exp()  # (b, k, d)
        to_component = 0.5 * (gamma * (own + spread).sum(2)).sum(1)
        to_shares = (gamma * (gamma.clamp_min(1e-10).log() - torch.log_softmax(self.shares, 0))).sum(1)
        entropy = 0.5 * (1 + log_variance).sum(1)
        return (rebuilt + to_component + to_shares - entropy).mean()

    def draw(self, component: int, n: int, generator: torch.Generator) -> Tensor:
        """Codes (n, d) drawn from one Gaussian of the mixture."""
        noise = torch.randn(n, self.means.shape[1], generator=generator, device=self.means.device)
        return (
            self.means[component] + noise * (0.5 * self.log_variances[component].clamp_min(SMALLEST_LOG_VARIANCE)).exp()
        )


def fit_vade(
    x: Tensor,
    settings: VadeSettings,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Vade:
    """A model of ``x`` (n, m) in [0, 1], in evaluation mode. No label is used."""
    from sklearn.mixture import GaussianMixture

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vade(x.shape[1], settings).to(x.device)
    generator = torch.Generator(x.device).manual_seed(seed)
    rng = np.random.default_rng(seed)
    total = settings.warm_steps + settings.steps

    def train(steps: int, done: int, warm: bool) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
        rise = max(0.1, 2 / steps)  # it takes more than a step
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=steps, pct_start=min(rise, 1.0), cycle_momentum=False
        )
        for step in range(1, steps + 1):
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
            progress(done + step, total)

    if settings.warm_steps:
        train(settings.warm_steps, 0, warm=True)
    codes = encoded(model, x)
    mixture = GaussianMixture(settings.components, covariance_type="diag", n_init=3, reg_covar=1e-3, random_state=seed)
    mixture.fit(codes.astype(np.float64))
    with torch.no_grad():
        model.shares.copy_(torch.from_numpy(np.log(mixture.weights_)))
        model.means.copy_(torch.from_numpy(mixture.means_))
        model.log_variances.copy_(torch.from_numpy(np.log(mixture.covariances_)))
        model.log_variance.bias.fill_(-2.0)  # begin near the autoencoder's own codes
    if settings.steps:
        train(settings.steps, settings.warm_steps, warm=False)
    model.eval()
    return model


def encoded(model: Vade, x: Tensor, chunk: int = 5_000) -> NDArray[np.float32]:
    """Means of the posteriors (n, d) of ``x`` (n, m), in evaluation mode."""
    training = model.training
    model.eval()
    with torch.inference_mode():
        codes = torch.cat([model.encode(part)[0] for part in torch.split(x, chunk)]).cpu().numpy()
    model.train(training)
    return np.asarray(codes, dtype=np.float32)
