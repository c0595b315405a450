"""Novelty: how unlike the training cells a cell is.

Each expert keeps the mean and spread of its landmarks' markers, and two limits that one landmark in a hundred exceeds:
one for the distance from that mean, one for the error of reconstruction. A cell's novelty is u² / (1 + u²), where u is
the larger of its two measures, each divided by its limit: 0.5 at the limit, towards 1 beyond it. Novelty uses unclipped
markers, because new cells often lie outside the training range; the network sees markers clipped to it.

A model with names also tells strangers from landmarks (:mod:`cytovae.network.label_task`). There the odds of novelty
are (u / 2)² and the odds of being a stranger, added up. Files differ in levels, so that all cells of a file may be more
novel than those of the training file. The odds are divided by how much more novel the cells of most populations are.
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

DISTANCE_OF_STRANGERS = 2.0  # u at which the odds of novelty are even, whether or not a cell seems a stranger

# The usual novelty of a file: the first quantile over the cells of each population, then the second over populations
# with at least so many cells. A new population has little effect, because its cells are given one or two names.
USUAL, OF_POPULATIONS, FEWEST_USUAL = 0.9, 0.35, 20

SMALLEST_EXCESS = 1e-6  # so that its logarithm is finite

# The largest difference of log-odds between files. A file that differs more is of other cells.
LARGEST_SHIFT = 3.0


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

    def measure(
        self,
        network: MoeSimVae,
        code: Tensor,
        expert: Tensor,
        x: Tensor,
        stranger: Tensor | None = None,
        *,
        shift: float = 0.0,
    ) -> Tensor:
        """Novelty (b,) in [0, 1] of cells.

        Parameters
        ----------
        network, code, expert, x
            See :meth:`excess`.
        stranger : Tensor, shape (b,), optional
            Logits of being a stranger, in a model with names.
        shift : float
            How much larger the log-odds of novelty are in this file than in training, in a model with names.
        """
        excess = self.excess(network, code, expert, x)  # (b,)
        if stranger is not None:
            far = 2 * (excess / DISTANCE_OF_STRANGERS).clamp_min(SMALLEST_EXCESS).log()
            return torch.sigmoid(torch.logaddexp(stranger, far) - shift)
        square = excess.square()
        return square / (1 + square)

    def excess(self, network: MoeSimVae, code: Tensor, expert: Tensor, x: Tensor) -> Tensor:
        """The larger (b,) of the two measures of cells, each divided by its limit.

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
        return excess.clamp_max(1e6)


def usual_novelty(novelty: NDArray[np.float32], population: NDArray[np.int32]) -> float | None:
    """How novel the cells of most populations are; None if no population has enough cells.

    Parameters
    ----------
    novelty : ndarray of float32, shape (n,)
        Novelty of cells.
    population : ndarray of int32, shape (n,)
        The labelled population that each is assigned to, from 1; cells of 0 do not count.
    """
    count = np.bincount(population)
    enough = np.flatnonzero(count >= FEWEST_USUAL)
    quantiles = [np.quantile(novelty[population == each], USUAL) for each in enough if each]
    return float(np.quantile(quantiles, OF_POPULATIONS)) if quantiles else None


def log_odds_between(novelty: float, usual: float) -> float:
    """How much larger the log-odds of ``novelty`` are than those ``usual``: at least 0, at most ``LARGEST_SHIFT``."""
    here, there = (np.clip(each, 1e-6, 1 - 1e-6) for each in (novelty, usual))
    return float(np.clip(np.log(here / (1 - here)) - np.log(there / (1 - there)), 0, LARGEST_SHIFT))


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
