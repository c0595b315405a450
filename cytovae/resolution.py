"""Experts to clusters, without labels: which sets of experts are one population, and the tree of all merges.

Experts model the cells finely. Two sets of them are one population when the cells between them are as many as within
them, that is, when their density has no valley along the line that separates them best. Sets are merged nearest first;
the merges go on past that point down to one cluster, so that the tree can be cut anywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

# Ledoit-Wolf-like pull of a covariance towards a sphere: small clusters have singular ones.
SHRINKAGE = 0.05
# Kernel width of the density along the line, in pooled standard deviations of the two sets.
BANDWIDTH = 0.35
# Cells of a set used for its density: the estimate's error no longer matters beyond.
DENSITY_CELLS = 800


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Merges of experts, in order: ``kept`` and ``absorbed`` int32 (k − 1,), experts that stand for their sets.

    ``separation`` float32 (k − 1,) is the Mahalanobis distance at each merge, ``valley`` float32 (k − 1,) the lowest
    density between the two sets over the lower of their peaks (1: none). The first ``n_same`` merges join what is one
    population; ``cells`` int64 (k,) are the training cells of each expert.
    """

    kept: NDArray[np.int32]
    absorbed: NDArray[np.int32]
    separation: NDArray[np.float32]
    valley: NDArray[np.float32]
    n_same: int
    cells: NDArray[np.int64]

    @property
    def n_experts(self) -> int:
        """How many experts there are, used or not."""
        return len(self.cells)

    @property
    def n_found(self) -> int:
        """How many clusters the data themselves suggest."""
        return self.n_experts - self.n_same

    @property
    def n_most(self) -> int:
        """The largest number of clusters that are not empty: experts with training cells."""
        return int((self.cells > 0).sum())

    def cut(self, n_clusters: int) -> NDArray[np.int32]:
        """The cluster of each expert (k,), from 1, numbered by falling number of training cells.

        Raises :class:`UsageError` where the tree has fewer branches than ``n_clusters`` asks for.
        """
        if not 1 <= n_clusters <= self.n_most:
            raise UsageError(f"{n_clusters} clusters were asked for; this model can be cut into 1 … {self.n_most}")
        group = np.arange(self.n_experts)
        for kept, absorbed in zip(
            self.kept[: self.n_experts - n_clusters], self.absorbed[: self.n_experts - n_clusters], strict=True
        ):
            group[group == absorbed] = kept
        groups, index = np.unique(group, return_inverse=True)
        size = np.bincount(index, weights=self.cells)
        rank = np.empty(len(groups), dtype=np.int32)
        rank[np.lexsort((groups, -size))] = np.arange(1, len(groups) + 1)
        return rank[index]


class _Sets:
    """Sets of experts while they are merged: cells, means and covariances of each."""

    def __init__(self, values: NDArray[np.float32], expert: NDArray[np.int64], n_experts: int, seed: int) -> None:
        self.values = values.astype(np.float64)
        self.rng = np.random.default_rng(seed)
        order = np.argsort(expert, kind="stable")
        self.rows = np.split(order, np.searchsorted(expert[order], np.arange(1, n_experts)))
        markers = values.shape[1]
        self.count = np.array([len(rows) for rows in self.rows], dtype=np.float64)
        self.mean = np.zeros((n_experts, markers))
        self.covariance = np.zeros((n_experts, markers, markers))
        for index, rows in enumerate(self.rows):
            if len(rows):
                self.mean[index] = self.values[rows].mean(0)
                centred = self.values[rows] - self.mean[index]
                self.covariance[index] = centred.T @ centred / len(rows)

    def merge(self, kept: int, absorbed: int) -> None:
        """Pool two sets: counts, means and covariances add exactly."""
        total = self.count[kept] + self.count[absorbed]
        a, b = self.count[kept] / total, self.count[absorbed] / total
        apart = self.mean[absorbed] - self.mean[kept]
        self.covariance[kept] = (
            a * self.covariance[kept] + b * self.covariance[absorbed] + a * b * np.outer(apart, apart)
        )
        self.mean[kept] = a * self.mean[kept] + b * self.mean[absorbed]
        self.count[kept] = total
        self.rows[kept] = np.concatenate([self.rows[kept], self.rows[absorbed]])

    def _pooled(self, a: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shrunk mean of two covariances, (len(others), m, m); both sets count the same, so that rare ones matter."""
        pooled = (self.covariance[others] + self.covariance[a]) / 2
        markers = pooled.shape[-1]
        width = np.trace(pooled, axis1=1, axis2=2) / markers
        return pooled + np.eye(markers) * (SHRINKAGE * width + 1e-9)[:, None, None]

    def separation(self, a: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mahalanobis distances (len(others),) of the means of set ``a`` and of ``others``."""
        apart = self.mean[others] - self.mean[a]
        solved = np.linalg.solve(self._pooled(a, others), apart[:, :, None])[:, :, 0]
        return np.sqrt(np.maximum((apart * solved).sum(1), 0))

    def valley(self, a: int, b: int) -> float:
        """The lowest density between two sets over the lower of their peaks, along their discriminant line.

        1 where the density of the two together has a single peak; near 0 where hardly a cell lies between.
        """
        others = np.array([b])
        line = np.linalg.solve(self._pooled(a, others)[0], self.mean[b] - self.mean[a])  # (m,)
        x, y = (self.values[self._some(self.rows[side])] @ line for side in (a, b))
        width = BANDWIDTH * np.sqrt((x.var() + y.var()) / 2) + 1e-12
        grid = np.linspace(np.median(x), np.median(y), 33)
        density = sum(np.exp(-0.5 * ((grid[:, None] - side[None]) / width) ** 2).mean(1) for side in (x, y))
        peak = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
        return float((density / peak).min())

    def _some(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows if len(rows) <= DENSITY_CELLS else self.rng.choice(rows, DENSITY_CELLS, replace=False)


def merge_tree(
    values: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    lowest_valley: float,
    seed: int,
) -> MergeTree:
    """The merge tree of experts from training cells ``values`` (n, m) and their expert probabilities (n, k).

    Merges sets in the order of their separation as long as some pair's valley is not below ``lowest_valley``; then
    merges what is left in the order of separation alone.
    """
    n_experts = probabilities.shape[1]
    expert = probabilities.argmax(1)
    cells = np.bincount(expert, minlength=n_experts)
    merges: list[tuple[int, int, float, float]] = _adopt_unused(probabilities, expert, cells)
    sets = _Sets(values, expert, n_experts, seed)
    alive = cells > 0
    distance = np.full((n_experts, n_experts), np.inf)
    for first in np.flatnonzero(alive):
        others = np.flatnonzero(alive)
        others = others[others > first]
        if len(others):
            distance[first, others] = distance[others, first] = sets.separation(int(first), others)

    parted = np.zeros((n_experts, n_experts), dtype=bool)  # pairs with a valley between them
    valleys: dict[tuple[int, int], float] = {}
    n_same = -1
    while alive.sum() > 1:
        candidates = np.where(parted, np.inf, distance) if n_same < 0 else distance
        a, b = (int(side) for side in np.unravel_index(candidates.argmin(), candidates.shape))
        if not np.isfinite(candidates[a, b]):
            n_same = len(merges)
            continue
        if (a, b) not in valleys:
            valleys[a, b] = valleys[b, a] = sets.valley(a, b)
        if n_same < 0 and valleys[a, b] < lowest_valley:
            parted[a, b] = parted[b, a] = True
            continue
        if sets.count[b] > sets.count[a]:
            a, b = b, a
        merges.append((a, b, float(distance[a, b]), valleys[a, b]))
        sets.merge(a, b)
        alive[b] = False
        distance[b], distance[:, b] = np.inf, np.inf
        parted[a], parted[:, a] = False, False
        valleys = {pair: valley for pair, valley in valleys.items() if a not in pair and b not in pair}
        others = np.flatnonzero(alive)
        others = others[others != a]
        if len(others):
            distance[a, others] = distance[others, a] = sets.separation(a, others)
    if n_same < 0:
        n_same = len(merges)
    kept, absorbed, separation, valley = (
        (np.array(column) for column in zip(*merges, strict=True)) if merges else (np.zeros(0),) * 4
    )
    return MergeTree(
        kept.astype(np.int32),
        absorbed.astype(np.int32),
        separation.astype(np.float32),
        valley.astype(np.float32),
        n_same,
        cells.astype(np.int64),
    )


def expert_tree(probabilities: NDArray[np.float32]) -> MergeTree:
    """The tree of the paper's presets, where a cluster is an expert: only unused experts are merged into others."""
    n_experts = probabilities.shape[1]
    expert = probabilities.argmax(1)
    cells = np.bincount(expert, minlength=n_experts)
    merges = _adopt_unused(probabilities, expert, cells)
    columns = np.array(merges, dtype=np.float64).reshape(-1, 4)
    return MergeTree(
        columns[:, 0].astype(np.int32),
        columns[:, 1].astype(np.int32),
        columns[:, 2].astype(np.float32),
        columns[:, 3].astype(np.float32),
        len(merges),
        cells.astype(np.int64),
    )


def _adopt_unused(
    probabilities: NDArray[np.float32], expert: NDArray[np.int64], cells: NDArray[np.int64]
) -> list[tuple[int, int, float, float]]:
    """Merges of experts that no training cell goes to into the used one whose cells think most of them."""
    used = np.flatnonzero(cells > 0)
    unused = np.flatnonzero(cells == 0)
    if not len(unused):
        return []
    shared = np.stack([probabilities[expert == a][:, unused].mean(0) for a in used])  # (used, unused)
    return [(int(used[column.argmax()]), int(b), 0.0, 1.0) for b, column in zip(unused, shared.T, strict=True)]
