"""The tree of a model's experts, and its cuts into clusters. Needs numpy only, because assigning uses it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

ROUNDING = 1e-6
"""Tolerance when heights of a tree are compared."""


@dataclass(frozen=True, eq=False)
class MergeTree:
    """All merges of k experts into clusters, in order.

    Attributes
    ----------
    kept, absorbed : int32 (n_merges,)
        One expert of each of the two clusters that merge; ``kept`` also represents the result.
    valley : float32 (n_merges,)
        Density between the two clusters relative to the lower of their peaks, averaged over the partitions; 1 means
        no valley.
    n_same
        The first so many merges join experts of one population.
    cells : int64 (k,)
        Training cells of each expert.
    agreement : float32 (n_levels,)
        Mean adjusted Rand index between the tree, cut at each of ``valleys.LEVELS``, and each partition; NaN if
        experts are not merged.
    """

    kept: NDArray[np.int32]
    absorbed: NDArray[np.int32]
    valley: NDArray[np.float32]
    n_same: int
    cells: NDArray[np.int64]
    agreement: NDArray[np.float32]

    @property
    def n_experts(self) -> int:
        """Number of experts, used or not."""
        return len(self.cells)

    @property
    def n_found(self) -> int:
        """Number of clusters that the data suggest."""
        return self.n_experts - self.n_same

    @property
    def n_most(self) -> int:
        """Largest number of clusters to cut into: each must have training cells, by their most likely expert."""
        return int((self.cells > 0).sum())

    def cut(self, n_clusters: int) -> NDArray[np.int32]:
        """The cluster of each expert (k,), numbered from 1 by decreasing number of training cells.

        Raises :class:`UsageError` if the tree cannot be cut into ``n_clusters``.
        """
        fewest = self.n_experts - len(self.kept)
        if not fewest <= n_clusters <= self.n_most:
            raise UsageError(
                f"this model cannot be cut into {n_clusters} clusters; choose a number in {fewest} … {self.n_most}"
            )
        n_merges = self.n_experts - n_clusters
        representative = np.arange(self.n_experts)
        for kept, absorbed in zip(self.kept[:n_merges], self.absorbed[:n_merges], strict=True):
            representative[representative == absorbed] = kept
        clusters, index = np.unique(representative, return_inverse=True)
        size = np.bincount(index, weights=self.cells)
        rank = np.empty(len(clusters), dtype=np.int32)
        rank[np.lexsort((clusters, -size))] = np.arange(1, len(clusters) + 1)
        return rank[index]
