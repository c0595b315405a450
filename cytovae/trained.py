"""A trained model: everything needed to assign transformed marker values, and nothing about files."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.model import MoeSimVae
from cytovae.novelty import NoveltyScale
from cytovae.settings import Settings
from cytovae.transform import Scaling
from cytovae.tree import MergeTree


@dataclass(frozen=True, eq=False)
class CellDistribution:
    """What new cells of k experts are drawn from (see :mod:`cytovae.generation`), all float32.

    ``code_mean`` (k, d) and ``code_root`` (k, d, d) are the Gaussian of an expert's codes, ``noise_root`` (k, m, m)
    that of its residuals in scaled markers, both as a root L of the covariance LLᵀ. ``drawn`` and ``observed``
    (k, q, m) are quantiles of the markers: of what is drawn so, scaled, and of the landmarks, transformed.
    """

    code_mean: NDArray[np.float32]
    code_root: NDArray[np.float32]
    noise_root: NDArray[np.float32]
    drawn: NDArray[np.float32]
    observed: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in evaluation mode on the CPU, with the scaling of its inputs and the clusters its experts make.

    ``n_clusters`` says where ``tree`` is cut: the number found, or the one asked for. ``novelty`` is what unlikeness is
    measured by, None where that is not known, and ``distribution`` what cells are generated from, None in a model that
    was not trained to generate.
    """

    network: MoeSimVae
    settings: Settings
    markers: tuple[str, ...]
    scaling: Scaling
    tree: MergeTree
    n_clusters: int
    novelty: NoveltyScale | None = None
    distribution: CellDistribution | None = None

    def __post_init__(self) -> None:
        if len(self.scaling.low) != len(self.markers):
            raise UsageError(f"a scaling of {len(self.scaling.low)} markers does not fit {len(self.markers)}")

    @property
    def expert_clusters(self) -> NDArray[np.int32]:
        """The cluster of each expert (k,), from 1."""
        return self.tree.cut(self.n_clusters)

    @property
    def cluster_cells(self) -> NDArray[np.int64]:
        """Training cells in each cluster, (n_clusters,), falling."""
        return np.bincount(self.expert_clusters - 1, weights=self.tree.cells).astype(np.int64)

    def with_clusters(self, n_clusters: int) -> "TrainedModel":
        """The same model cut into ``n_clusters``; no training. Raises :class:`UsageError` where it cannot be."""
        self.tree.cut(n_clusters)
        return replace(self, n_clusters=n_clusters)
