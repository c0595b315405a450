"""Novelty: how unlike the training cells a cell is.

Each expert keeps the mean and spread of its landmarks' markers, and two limits that one landmark in a hundred exceeds:
one for the distance from that mean, one for the error of reconstruction. A cell's novelty is u² / (1 + u²), where u is
the larger of its two measures, each divided by its limit: 0.5 at the limit, towards 1 beyond it. Novelty uses unclipped
markers, because new cells often lie outside the training range; the network sees markers clipped to it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.network.model import MoeSimVae

SHARE_BEYOND_LIMIT = 0.01  # of the landmarks of an expert

# The spread and the limits of all experts count as this many cells of each expert: few landmarks have no quantile.
NOVELTY_PRIOR_CELLS = 50.0

SMALLEST_LIMIT = 1e-2  # in scaled markers; also of a spread


@dataclass(frozen=True, eq=False)
class NoveltyScale:
    """The scale of novelty for k experts and m markers. All arrays are float32.

    Attributes
    ----------
    center, spread : shape (k, m)
        Mean and standard deviation of the landmarks of each expert, in scaled markers.
    distance : shape (k,)
        Limit of the distance from the center, in spreads.
    error : shape (k,)
        Limit of the reconstruction error, in scaled markers.
    """

    center: NDArray[np.float32]
    spread: NDArray[np.float32]
    distance: NDArray[np.float32]
    error: NDArray[np.float32]


def fit_novelty(network: MoeSimVae, x: Tensor) -> NoveltyScale:
    """Fit the scale to scaled landmarks ``x`` (n, m), on the device of the trained ``network``."""
    with torch.inference_mode():
        code, _ = network.encoder(x)  # (n, d)
        expert = network.clustering(code).argmax(1)  # (n,)
        error = _error(network, code, expert, x).cpu()  # (n,)
    x, expert = x.cpu(), expert.cpu()
    experts = network.clustering.out.out_features
    count = torch.bincount(expert, minlength=experts).float()[:, None]  # (k, 1)
    total = torch.zeros(experts, x.shape[1]).index_add_(0, expert, x)  # (k, m)
    center = torch.where(count > 0, total / count.clamp_min(1), x.mean(0))  # (k, m)
    square = torch.zeros_like(total).index_add_(0, expert, (x - center[expert]).square())  # (k, m)
    within = square.sum(0) / len(x)  # (m,); variance about the center of the own expert
    variance = (square + NOVELTY_PRIOR_CELLS * within) / (count + NOVELTY_PRIOR_CELLS)  # (k, m)
    spread = variance.sqrt().clamp_min(SMALLEST_LIMIT)  # (k, m)
    distance = _distance(x, center[expert], spread[expert])  # (n,)
    limits = [_limits(measure, expert, experts) for measure in (distance, error)]
    return NoveltyScale(center.numpy(), spread.numpy(), *limits)


class NoveltyMeter:
    """Measures novelty on one device."""

    def __init__(self, scale: NoveltyScale, device: torch.device) -> None:
        self.center, self.spread, self.distance, self.error = (
            torch.from_numpy(array).to(device) for array in (scale.center, scale.spread, scale.distance, scale.error)
        )

    def measure(self, network: MoeSimVae, code: Tensor, expert: Tensor, x: Tensor) -> Tensor:
        """Novelty (b,) in [0, 1] of cells.

        Parameters
        ----------
        network : MoeSimVae
            The network of the model.
        code : Tensor, shape (b, d)
            Latent codes of the cells.
        expert : Tensor, shape (b,)
            The most likely expert of each cell.
        x : Tensor, shape (b, m)
            Scaled markers, not clipped to [0, 1].
        """
        error = _error(network, code, expert, x)  # (b,)
        distance = _distance(x, self.center[expert], self.spread[expert])  # (b,)
        excess = torch.maximum(distance / self.distance[expert], error / self.error[expert])  # (b,)
        square = excess.clamp_max(1e6).square()
        return square / (1 + square)


def _error(network: MoeSimVae, code: Tensor, expert: Tensor, x: Tensor) -> Tensor:
    """Root mean square error (b,) of the reconstruction of scaled cells ``x`` (b, m)."""
    reconstruction = torch.sigmoid(network.decoder(code, expert))  # (b, m)
    return (x - reconstruction).square().mean(1).sqrt()


def _distance(x: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """Distance (b,) of cells ``x`` (b, m) from a center, in spreads: that of the marker that is furthest off.

    An unknown population differs in few markers; a mean over all markers would hide it.
    """
    return ((x - center) / spread).abs().amax(1)


def _limits(measure: Tensor, expert: Tensor, experts: int) -> NDArray[np.float32]:
    """Limit of each expert (k,): the quantile of ``measure`` (n,) in its landmarks, shrunk towards that in all."""
    values, owner = measure.numpy(), expert.numpy()
    level = 1 - SHARE_BEYOND_LIMIT
    overall = np.quantile(values, level)
    limits = np.full(experts, overall)
    for index in np.unique(owner):
        own = values[owner == index]
        pulled = len(own) * np.quantile(own, level) + NOVELTY_PRIOR_CELLS * overall
        limits[index] = pulled / (len(own) + NOVELTY_PRIOR_CELLS)
    bounded: NDArray[np.float32] = np.maximum(limits, SMALLEST_LIMIT).astype(np.float32)
    return bounded
