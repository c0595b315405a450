"""The tree of all merges of a model's experts, and where it can be cut. Imports nothing that only training needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

ROUNDING = 1e-6  # of the heights in a tree


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Merges of experts, in order: ``kept`` and ``absorbed`` int32 (k − 1,), experts that stand for their sets.

    ``valley`` float32 (k − 1,) is the density between the two sets over the lower of their peaks (1: no valley), the
    average over repetitions. The first ``n_same`` merges join what is one population. ``cells`` int64 (k,) are the
    training cells of each expert. ``agreement`` float32 (n_levels,) is the mean adjusted Rand index of the repetitions
    with the tree cut at each of ``valleys.LEVELS``.
    """

    kept: NDArray[np.int32]
    absorbed: NDArray[np.int32]
    valley: NDArray[np.float32]
    n_same: int
    cells: NDArray[np.int64]
    agreement: NDArray[np.float32]

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
        """The largest number of clusters that each hold training cells, by the most likely expert of a cell."""
        return int((self.cells > 0).sum())

    def cut(self, n_clusters: int) -> NDArray[np.int32]:
        """The cluster of each expert (k,), from 1, numbered by falling number of training cells.

        Raises :class:`UsageError` where the tree has fewer branches than ``n_clusters`` asks for.
        """
        fewest = self.n_experts - len(self.kept)
        if not fewest <= n_clusters <= self.n_most:
            raise UsageError(
                f"{n_clusters} clusters were asked for; this model can be cut into {fewest} … {self.n_most}"
            )
        merges = self.n_experts - n_clusters
        group = np.arange(self.n_experts)
        for kept, absorbed in zip(self.kept[:merges], self.absorbed[:merges], strict=True):
            group[group == absorbed] = kept
        groups, index = np.unique(group, return_inverse=True)
        size = np.bincount(index, weights=self.cells)
        rank = np.empty(len(groups), dtype=np.int32)
        rank[np.lexsort((groups, -size))] = np.arange(1, len(groups) + 1)
        return rank[index]
