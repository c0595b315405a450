"""Which cells are similar: nearest neighbours, their UMAP projection, and the similarity matrix S of a batch.

Neighbours are exact, found by chunked matrix products, so the same cells give the same neighbours on every run; UMAP
gets them precomputed and never builds an index of its own. The only module that imports umap.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.populations.partition import fine_partition
from cytovae.settings import Settings

if TYPE_CHECKING:
    from cytovae.populations.population_tree import PopulationTree


@dataclass(frozen=True, eq=False)
class Similarity:
    """What S of a batch is made from. ``coordinates`` float32 (n, 2): UMAP's; ``labels`` int64 (n,), −1 = unknown.

    ``kind`` says how two cells are compared: the same label ("partition"), nearer than ``radius`` ("radius"), or one
    among the ``neighbors`` nearest of the other within the batch ("neighbors"). Known labels always decide between
    two cells that both have one; a pair with an unknown label falls back to the coordinates. ``populations`` int64
    (n,), 0 …, are what the labels of a partition join to, None where that is not known.
    """

    kind: str
    coordinates: Tensor
    labels: Tensor
    radius: float
    neighbors: int
    weak: bool  # labels are partial knowledge laid over the coordinates, not a partition of them
    populations: Tensor | None = None

    def block(self, rows: Tensor) -> Tensor:
        """S of the cells at ``rows`` (b,): float32 (b, b), symmetric, 1 on the diagonal."""
        if self.kind == "partition" and not self.weak:
            label = self.labels[rows]
            return (label[:, None] == label[None]).float()
        y = self.coordinates[rows]
        # By differences, not products: those would leave rounding that depends on the order of the two cells.
        distance = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist")  # (b, b)
        if self.kind == "radius":
            s = distance < self.radius
        else:
            k = min(self.neighbors + 1, len(rows))  # the cell itself is one of them
            nearest = distance.topk(k, largest=False).indices
            s = torch.zeros_like(distance, dtype=torch.bool).scatter_(1, nearest, True)
            s = s | s.T
        if self.weak:
            label = self.labels[rows]
            known = label >= 0
            s = torch.where(known[:, None] & known[None], label[:, None] == label[None], s)
        s.fill_diagonal_(True)
        return s.float()


def make_similarity(
    coordinates: NDArray[np.float32],
    settings: Settings,
    *,
    seed: int,
    tree: "PopulationTree | None" = None,
    labels: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> Similarity:
    """The :class:`Similarity` that ``settings`` asks for. A partition is that of ``tree``, where there is one;
    ``labels`` (n,), −1 = unknown, are a user's own knowledge.
    """
    kind = settings.similarity
    populations = None
    if labels is not None:
        part = labels
        kind = "radius" if kind == "partition" else kind
    elif kind == "partition" and tree is not None:
        part = tree.unit
        populations = torch.from_numpy(tree.population[tree.unit]).to(device)
    elif kind == "partition":
        part = fine_partition(coordinates, settings.experts, seed)
    else:
        part = np.full(len(coordinates), -1, dtype=np.int64)
    return Similarity(
        kind,
        torch.from_numpy(coordinates).to(device),
        torch.from_numpy(part).to(device),
        settings.radius,
        settings.neighbors,
        labels is not None,
        populations,
    )


def draw_weight(similarity: Similarity) -> NDArray[np.float64] | None:
    """How often each landmark (n,) is drawn: a population in proportion to the square root of its cells, so that a
    rare one is seen often enough to be learned. None where populations are not known.
    """
    if similarity.populations is None:
        return None
    population = similarity.populations.cpu().numpy()
    weight: NDArray[np.float64] = np.bincount(population)[population] ** -0.5
    return weight
