"""The tree of a model's experts, and its cuts into clusters. Needs numpy only, because assigning uses it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

ROUNDING = 1e-6
"""Tolerance when heights of a tree are compared."""

FAIR_SUPPORT = 0.75
"""Clusters with less support should not be relied on (Hennig 2007)."""


@dataclass(frozen=True, eq=False)
class MergeTree:
    """All merges of k experts into clusters, in order.

    Attributes
    ----------
    kept, absorbed : int32 (n_merges,)
        One expert of each of the two clusters that merge; ``kept`` also represents the result.
    level : float32 (n_merges,)
        How strongly the two clusters belong together, from 1 (always) to 0: mostly the share of cuts of all views that
        have their cells together. In models of version 0.1.0, the density in the valley between them, relative to the
        lower of their peaks.
    n_same
        The first so many merges join experts of one population.
    cells : int64 (k,)
        Training cells of each expert.
    agreement : float32 (n_levels,)
        Mean adjusted Rand index between the tree, cut at each of ``valleys.LEVELS``, and each view; NaN if experts are
        not merged.
    support : float32 (n_merges,) or None
        Support of the cluster after each merge, 0 to 1; NaN if it was not measured, None in models of version 0.1.0.
    expert_support : float32 (k,) or None
        Support of each expert before it is merged.
    numbers : int32 (k,) or None
        In a refined model, the number of each expert's cluster in the cut into :attr:`n_found`; some numbers are not
        in use. None: clusters are numbered by size.
    """

    kept: NDArray[np.int32]
    absorbed: NDArray[np.int32]
    level: NDArray[np.float32]
    n_same: int
    cells: NDArray[np.int64]
    agreement: NDArray[np.float32]
    support: NDArray[np.float32] | None = None
    expert_support: NDArray[np.float32] | None = None
    numbers: NDArray[np.int32] | None = None

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
        """Largest number of clusters to cut into: each must have training cells."""
        return int((self.cells > 0).sum())

    def cut(self, n_clusters: int) -> NDArray[np.int32]:
        """The cluster of each expert (k,), numbered from 1 by decreasing number of cells, or as in :attr:`numbers`.

        Raises :class:`UsageError` if the tree cannot be cut into ``n_clusters``.
        """
        fewest = self.n_experts - len(self.kept)
        if not fewest <= n_clusters <= self.n_most:
            raise UsageError(
                f"this model cannot be cut into {n_clusters} clusters; choose a number in {fewest} … {self.n_most}"
            )
        if self.numbers is not None and n_clusters == self.n_found:
            return self.numbers
        representatives, index = np.unique(self._representative(n_clusters), return_inverse=True)
        rank = np.empty(len(representatives), dtype=np.int32)
        rank[self._by_size(representatives, index)] = np.arange(1, len(representatives) + 1)
        return rank[index]

    def cluster_support(self, n_clusters: int) -> NDArray[np.float32] | None:
        """Support of each cluster of that cut, in the order of their numbers; None if not measured.

        Its shape is (n_clusters,), in a refined model (highest number,) with NaN for numbers that are not in use.
        """
        if self.support is None or self.expert_support is None or np.isnan(self.expert_support).all():
            return None
        representatives, index = np.unique(self._representative(n_clusters), return_inverse=True)
        support = self.expert_support.copy()
        n_merges = self.n_experts - n_clusters
        support[self.kept[:n_merges]] = self.support[:n_merges]  # of several merges, the last one counts
        if self.numbers is not None and n_clusters == self.n_found:
            of_numbers = np.full(int(self.numbers.max()), np.nan, dtype=np.float32)
            of_numbers[self.numbers[representatives] - 1] = support[representatives]
            return of_numbers
        return support[representatives][self._by_size(representatives, index)]

    def _representative(self, n_clusters: int) -> NDArray[np.int64]:
        """The expert (k,) that represents the cluster of each expert."""
        n_merges = self.n_experts - n_clusters
        representative = np.arange(self.n_experts)
        for kept, absorbed in zip(self.kept[:n_merges], self.absorbed[:n_merges], strict=True):
            representative[representative == absorbed] = kept
        return representative

    def _by_size(self, representatives: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of clusters by decreasing number of cells; ``index`` (k,) is the cluster of each expert."""
        size = np.bincount(index, weights=self.cells)
        return np.lexsort((representatives, -size))
