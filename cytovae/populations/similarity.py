"""The similarity matrix S of a batch (eq. 7): which cells belong to the same cluster."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.populations.partition import find_micro_clusters
from cytovae.settings import RadiusUnit, Settings

if TYPE_CHECKING:
    from cytovae.populations.population_tree import PopulationTree


@dataclass(frozen=True, eq=False)
class Similarity:
    """Pairwise similarity of n landmarks, 0 or 1, computed batch by batch.

    Attributes
    ----------
    kind
        When two cells are similar: "partition", they have the same label; "radius", their distance is below
        ``radius``; "neighbors", one is among the ``neighbors`` nearest of the other within the batch.
    coordinates : float32 (n, 2)
        UMAP coordinates in the unit of the radius, for "radius" and "neighbors".
    labels : int64 (n,)
        Labels; −1 means unknown.
    radius, neighbors
        Parameters of the kinds of the same name.
    weak
        Labels are partial knowledge of a user. They decide for pairs of cells that both have one; coordinates decide
        for all other pairs.
    populations : int64 (n,)
        Population of each landmark, from 0; None if populations are not known.
    """

    kind: str
    coordinates: Tensor
    labels: Tensor
    radius: float
    neighbors: int
    weak: bool
    populations: Tensor | None = None

    def block(self, rows: Tensor) -> Tensor:
        """S of the landmarks ``rows`` (b,): float32 (b, b), symmetric, 1 on the diagonal."""
        if self.kind == "partition" and not self.weak:
            label = self.labels[rows]
            return (label[:, None] == label[None]).float()
        y = self.coordinates[rows]  # (b, 2)
        # From differences: rounding of the faster matrix product depends on the order of the two cells.
        distance = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist")  # (b, b)
        if self.kind == "radius":
            s = distance < self.radius
        else:
            k = min(self.neighbors + 1, len(rows))  # includes the cell itself
            nearest = distance.topk(k, largest=False).indices  # (b, k)
            s = torch.zeros_like(distance, dtype=torch.bool).scatter_(1, nearest, True)
            s = s | s.T
        if self.weak:
            label = self.labels[rows]
            known = label >= 0
            s = torch.where(known[:, None] & known[None], label[:, None] == label[None], s)
        s.fill_diagonal_(True)
        return s.float()


LAYOUT_WIDTH = 10.0
"""The width of the layout if the radius is in tenths of it; also that of UMAP's initial layout."""


def in_radius_unit(coordinates: NDArray[np.float32], unit: RadiusUnit) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) in the unit of the radius. Both axes are scaled alike.

    The width is that of the longer axis between its 0.1 % and 99.9 % quantiles, so that a stray cell does not decide.
    """
    if unit == "layout":
        return coordinates
    if unit == "spread":
        factor = 1 / np.sqrt(coordinates.var(axis=0).mean())
    else:
        low, high = np.quantile(coordinates, [0.001, 0.999], axis=0)
        factor = LAYOUT_WIDTH / (high - low).max()
    return np.asarray(coordinates * factor, dtype=np.float32)


def make_similarity(
    coordinates: NDArray[np.float32],
    settings: Settings,
    *,
    seed: int,
    tree: "PopulationTree | None" = None,
    labels: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> Similarity:
    """The similarity of landmarks that ``settings`` describe.

    Parameters
    ----------
    coordinates
        UMAP coordinates (n, 2).
    settings
        Kind of similarity and its parameters.
    seed
        Seed of the partition, if there is no ``tree``.
    tree
        Its micro-clusters are the labels of the kind "partition".
    labels
        Labels (n,) that the user knows; −1 means unknown. With them, the kind "partition" becomes "radius".
    device
        Where batches are computed.
    """
    kind = settings.similarity
    populations = None
    if labels is not None:
        label = labels
        kind = "radius" if kind == "partition" else kind
    elif kind == "partition" and tree is not None:
        label = tree.micro_cluster
        populations = torch.from_numpy(tree.landmark_population).to(device)
    elif kind == "partition":
        label = find_micro_clusters(coordinates, settings.experts, seed)
    else:
        label = np.full(len(coordinates), -1, dtype=np.int64)
    return Similarity(
        kind,
        torch.from_numpy(in_radius_unit(coordinates, settings.radius_unit)).to(device),
        torch.from_numpy(label).to(device),
        settings.radius,
        settings.neighbors,
        labels is not None,
        populations,
    )


def draw_weight(similarity: Similarity) -> NDArray[np.float64] | None:
    """Relative frequency (n,) with which each landmark is drawn for a batch; None if populations are not known.

    A population is drawn in proportion to the square root of its number of cells, so that rare ones are learned.
    """
    if similarity.populations is None:
        return None
    population = similarity.populations.cpu().numpy()
    weight: NDArray[np.float64] = np.bincount(population)[population] ** -0.5
    return weight
