"""How unlike a cell is to any that a model has learned from: told from its reconstruction and its place among the cells
of its own expert.

Each expert keeps, of its landmarks, the mean and spread of their markers, and the distance from that and the error of
reconstruction that one landmark in a hundred exceeds. A cell's novelty is u² / (1 + u²), u being the larger of its two
measures over those limits: 0.5 at the limit, towards 1 beyond it. The network sees markers clipped to the range of
training, but what is measured are markers as they are: beyond that range lies just what is new.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.network.model import MoeSimVae

EXCEEDED_BY = 0.01  # of the landmarks


# An expert with few landmarks has no quantile of its own: as many cells' worth of the quantile of all are mixed in.
SHRINKAGE = 50.0


SMALLEST = 1e-2  # of a spread, a distance and an error, in scaled markers


@dataclass(frozen=True, eq=False)
class NoveltyScale:
    """What novelty is measured by, for k experts and m markers, all float32: ``center`` and ``spread`` (k, m) of an
    expert's landmarks on the scale of the network, and the limits ``distance`` and ``error`` (k,).
    """

    center: NDArray[np.float32]
    spread: NDArray[np.float32]
    distance: NDArray[np.float32]
    error: NDArray[np.float32]


def fit_novelty(network: MoeSimVae, x: Tensor) -> NoveltyScale:
    """The scale from scaled landmarks ``x`` (n, m), on which ``network`` was trained."""
    with torch.inference_mode():
        code, _ = network.encoder(x)  # (n, d)
        expert = network.clustering(code).argmax(1)  # (n,)
        error = _error(network, code, expert, x).cpu()
    x, expert = x.cpu(), expert.cpu()
    experts = network.clustering.out.out_features
    count = torch.bincount(expert, minlength=experts).float()[:, None]  # (k, 1)
    total = torch.zeros(experts, x.shape[1]).index_add_(0, expert, x)
    center = torch.where(count > 0, total / count.clamp_min(1), x.mean(0))  # (k, m)
    square = torch.zeros_like(total).index_add_(0, expert, (x - center[expert]).square())
    within = square.sum(0) / len(x)  # (m,): of cells about the center of their own expert
    spread = ((square + SHRINKAGE * within) / (count + SHRINKAGE)).sqrt().clamp_min(SMALLEST)  # (k, m)
    distance = _distance(x, center[expert], spread[expert])
    limits = [_limits(measure, expert, experts) for measure in (distance, error)]
    return NoveltyScale(center.numpy(), spread.numpy(), *limits)


class NoveltyMeter:
    """A scale made ready on one device."""

    def __init__(self, scale: NoveltyScale, device: torch.device) -> None:
        self.center, self.spread, self.distance, self.error = (
            torch.from_numpy(part).to(device) for part in (scale.center, scale.spread, scale.distance, scale.error)
        )

    def of(self, network: MoeSimVae, code: Tensor, expert: Tensor, x: Tensor) -> Tensor:
        """Novelty (b,) in [0, 1] of cells ``x`` (b, m), scaled and not clipped, from their ``code`` (b, d) and most
        likely ``expert`` (b,).
        """
        error = _error(network, code, expert, x)
        distance = _distance(x, self.center[expert], self.spread[expert])
        beyond = torch.maximum(distance / self.distance[expert], error / self.error[expert])  # (b,)
        square = beyond.clamp_max(1e6).square()
        return square / (1 + square)


def _error(network: MoeSimVae, code: Tensor, expert: Tensor, x: Tensor) -> Tensor:
    """Root mean square error (b,) of the reconstruction of scaled cells ``x`` (b, m)."""
    rebuilt = torch.sigmoid(network.decoder(code, expert))  # (b, m)
    return (x - rebuilt).square().mean(1).sqrt()


def _distance(x: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """How far the marker that is furthest off (of b, m) lies from a center, in spreads: (b,). A population that is
    missing differs in few markers, and a mean over all would hide it.
    """
    return ((x - center) / spread).abs().amax(1)


def _limits(measure: Tensor, expert: Tensor, experts: int) -> NDArray[np.float32]:
    """What one landmark in a hundred of each expert exceeds, (k,)."""
    values, owner = measure.numpy(), expert.numpy()
    overall = np.quantile(values, 1 - EXCEEDED_BY)
    limits = np.full(experts, overall)
    for index in np.unique(owner):
        own = values[owner == index]
        limits[index] = (len(own) * np.quantile(own, 1 - EXCEEDED_BY) + SHRINKAGE * overall) / (len(own) + SHRINKAGE)
    bounded: NDArray[np.float32] = np.maximum(limits, SMALLEST).astype(np.float32)
    return bounded
