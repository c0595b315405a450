"""The tree of micro-clusters, from the agreement of several views, and its cut into populations.

One k-means partition, one UMAP and one sample of cells are partly arbitrary. So micro-clusters of the landmarks are
compared in several views (see :mod:`cytovae.populations.views`), each cut at several resolutions. Two micro-clusters
are as similar as the share of cuts that have their cells in one cluster (evidence accumulation, Fred & Jain 2005).
Average linkage gives a tree, and populations are what half of the cuts agree on.

The support of a branch is its mean best-match Jaccard index over the small views (Hennig 2007): near 1 if every new
sample of cells shows it again, below 0.75 if it should not be relied on.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.metrics import adjusted_rand_index
from cytovae.populations.partition import RELATIVE_SIZES, count_overlaps, numbered_partition
from cytovae.populations.valleys import LEVELS
from cytovae.populations.view_process import SmallViews
from cytovae.populations.views import (
    MIDDLE,
    View,
    average_linkage,
    cut,
    own_view,
    together,
)
from cytovae.settings import Settings

# Views of the landmarks themselves: they share one UMAP and differ in their partitions.
OWN_VIEWS = 2

# Number of the partition whose micro-clusters are compared, beyond those of the views.
COMPARED = len(RELATIVE_SIZES)

# Share of the cuts that must have two micro-clusters together. Measured on eleven gated data sets: see docs/method.md.
AGREEMENT = 0.5

# Weight of the mean depth of valleys beside the share of cuts. Deep inside a population all cuts agree; there the depth
# decides how the tree goes on.
DEPTH_WEIGHT = 0.1

# With fewer landmarks, worker processes take longer to start than the views to compute.
LANDMARKS_FOR_WORKERS = 5_000

# Share of the cells in a small view, at most: with all of them, views would differ in their UMAP only.
MOST_OF_CELLS = 0.8


@dataclass(frozen=True, eq=False)
class PopulationTree:
    """Micro-clusters of the landmarks, and how they merge into populations.

    Attributes
    ----------
    micro_cluster : int64 (n,)
        Micro-cluster of each landmark, 0 … u − 1.
    linkage : float64 (u − 1, 4)
        Merges as in :mod:`scipy.cluster.hierarchy`. A height is 1 − the level at which two branches join.
    level
        The level at which the tree is cut.
    population : int64 (u,)
        Population of each micro-cluster at that level, from 0.
    agreement : float32 (n_levels,)
        Mean adjusted Rand index between the tree, cut at each of ``valleys.LEVELS``, and each view at its middle
        resolution.
    support : float32 (2u − 1,) or None
        Support of each micro-cluster, then of each branch of the linkage; None if it was not measured.
    """

    micro_cluster: NDArray[np.int64]
    linkage: NDArray[np.float64]
    level: float
    population: NDArray[np.int64]
    agreement: NDArray[np.float32]
    support: NDArray[np.float32] | None = None

    @property
    def landmark_population(self) -> NDArray[np.int64]:
        """Population of each landmark, (n,), from 0."""
        return self.population[self.micro_cluster]


@dataclass(frozen=True, eq=False)
class Pool:
    """Cells that small views are drawn from: ``values`` float32 (N, m) and ``source`` int32 (N,), the file of each."""

    values: NDArray[np.float32]
    source: NDArray[np.int32]

    def sample(self, n_cells: int, seed: int, index: int) -> "Pool":
        """At most ``n_cells`` of the cells, drawn at random for the view number ``index``, in their order."""
        n = min(n_cells, max(1, int(MOST_OF_CELLS * len(self.values))))
        rows = np.sort(np.random.default_rng((seed, index)).choice(len(self.values), n, replace=False))
        return Pool(self.values[rows], self.source[rows])


def small_views(
    values: NDArray[np.float32],
    source: NDArray[np.int32],
    settings: Settings,
    *,
    seed: int,
    pool: Pool | None = None,
    workers: int = 1,
) -> SmallViews:
    """The small views that :func:`population_tree` needs, which worker processes begin to compute.

    Parameters
    ----------
    values, source
        Markers (n, m) and file (n,) of the landmarks.
    settings
        Number and size of the views; metric and UMAP.
    seed
        Seed of the samples and projections.
    pool
        The cells that the views are drawn from. Default: the landmarks.
    workers
        With two or more, worker processes compute most of the views.
    """
    pool = Pool(values, source) if pool is None else pool
    n_cells = min(settings.view_cells, len(values))
    samples = [pool.sample(n_cells, seed, index) for index in range(max(settings.views, settings.support))]
    return SmallViews(
        values,
        [(sample.values, sample.source) for sample in samples],
        settings,
        seed=seed,
        workers=workers if len(values) >= LANDMARKS_FOR_WORKERS else 1,
    )


def population_tree(
    values: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    source: NDArray[np.int32],
    settings: Settings,
    *,
    seed: int,
    small: SmallViews | None = None,
) -> PopulationTree:
    """Build the tree and cut it into populations.

    Parameters
    ----------
    values, coordinates, source
        Markers (n, m), UMAP coordinates (n, 2) and file (n,) of the landmarks.
    settings
        Numbers of micro-clusters, populations, views and resamples; metric and UMAP of small views.
    seed
        Seed of the samples, projections and partitions.
    small
        The small views, see :func:`small_views`. Default: of samples of the landmarks, computed in this process.
    """
    own = [own_view(values, coordinates, source, settings, seed, index) for index in range(OWN_VIEWS)]
    with nullcontext(small) if small is not None else small_views(values, source, settings, seed=seed) as views:
        found = views.results()
    micro_cluster = numbered_partition(coordinates, settings.experts, seed, COMPARED)  # (n,)
    return tree_of_views(micro_cluster, own, found, settings)


def tree_of_views(
    micro_cluster: NDArray[np.int64], own: Sequence[View], small: Sequence[View], settings: Settings
) -> PopulationTree:
    """The tree that views agree on.

    Parameters
    ----------
    micro_cluster : int64 (n,)
        Micro-cluster of each landmark.
    own, small : sequence of View
        Views of the landmarks themselves, and small views. All of the first and ``settings.views`` of the second must
        agree; ``settings.support`` of the second measure support.
    settings : Settings
        Depth of valleys and number of populations that a view is cut by.
    """
    every = [*own, *small[: settings.views]]
    cuts = [view.clusters(settings.valley, settings.populations) for view in every]
    linkage = average_linkage(_similarity(micro_cluster, every, cuts))
    n_micro_clusters = int(micro_cluster.max()) + 1
    agreement = [
        _mean_rand_index(cut(linkage, n_micro_clusters, level)[micro_cluster], [each[MIDDLE] for each in cuts])
        for level in LEVELS.tolist()
    ]
    cuts += [view.clusters(settings.valley, settings.populations) for view in small[settings.views : settings.support]]
    resamples = cuts[len(own) : len(own) + settings.support]
    return PopulationTree(
        micro_cluster,
        linkage,
        AGREEMENT,
        cut(linkage, n_micro_clusters, AGREEMENT),
        np.array(agreement, dtype=np.float32),
        branch_support(micro_cluster, linkage, resamples) if resamples else None,
    )


def _similarity(
    micro_cluster: NDArray[np.int64], views: Sequence[View], cuts: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Similarity (u, u) of micro-clusters, 0 to 1.

    The share of cuts that have their cells together, and to a smaller part the depth of the valleys between them.
    """
    n_micro_clusters = int(micro_cluster.max()) + 1
    share = np.zeros((n_micro_clusters, n_micro_clusters))
    depth = np.zeros_like(share)
    for view, clusters in zip(views, cuts, strict=True):
        share += np.mean([together(micro_cluster, cluster) for cluster in clusters], axis=0) / len(views)
        depth += view.joined(micro_cluster) / len(views)
    return (1 - DEPTH_WEIGHT) * share + DEPTH_WEIGHT * depth


def branch_support(
    micro_cluster: NDArray[np.int64], linkage: NDArray[np.float64], resamples: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Mean Jaccard index of each micro-cluster and each branch with its best match in each sample.

    Parameters
    ----------
    micro_cluster : int64 (n,)
        Micro-cluster of each landmark.
    linkage : float64 (u − 1, 4)
        Merges of the micro-clusters.
    resamples : sequence of int64 (r, n)
        The cluster of each landmark in other samples, at each of r resolutions. The best match may be at any of them.

    Returns
    -------
    float32 (2u − 1,)
        Support of each micro-cluster, then of each branch.
    """
    support = np.zeros(2 * len(linkage) + 1)
    for resolutions in resamples:
        best = np.max([_best_matches(micro_cluster, linkage, cluster) for cluster in resolutions], axis=0)
        support += best / len(resamples)
    return support.astype(np.float32)


def _best_matches(
    micro_cluster: NDArray[np.int64], linkage: NDArray[np.float64], cluster: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Largest Jaccard index of each branch (2u − 1,) with one of the clusters; ``cluster`` (n,) is of each landmark."""
    counts = np.zeros((2 * len(linkage) + 1, int(cluster.max()) + 1))  # (branches, clusters)
    counts[: len(linkage) + 1] = count_overlaps(micro_cluster, cluster)
    for index, (left, right, *_) in enumerate(linkage, start=len(linkage) + 1):
        counts[index] = counts[int(left)] + counts[int(right)]
    union = counts.sum(1, keepdims=True) + np.bincount(cluster) - counts
    matches: NDArray[np.float64] = (counts / union).max(1)
    return matches


def _mean_rand_index(population: NDArray[np.int64], clusters: Sequence[NDArray[np.int64]]) -> float:
    """Mean adjusted Rand index of ``population`` (n,) and each of ``clusters`` (n,)."""
    return float(
        np.mean([adjusted_rand_index(count_overlaps(population, other).astype(np.int64)) for other in clusters])
    )
