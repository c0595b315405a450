"""The tree of micro-clusters, averaged over several partitions, and the level at which it is cut into populations.

A single k-means partition is partly arbitrary. So the landmarks are partitioned six times, the micro-clusters of each
partition are merged level by level (see :mod:`cytovae.populations.valleys`), and the results are averaged over the
micro-clusters of a seventh partition. The average is a tree, which can be cut anywhere. Two populations are separate if
the density between them falls below 0.45 of the lower of their peaks. Gates follow valleys of different depths in
different panels, though. If deep valleys separate fewer populations than a panel commonly resolves, shallower valleys
count, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans

from cytovae.metrics import adjusted_rand_index
from cytovae.populations.merge_tree import ROUNDING
from cytovae.populations.partition import count_overlaps, find_micro_clusters
from cytovae.populations.valley_process import ValleyProcess
from cytovae.populations.valleys import LEVELS, ValleyHierarchy, valley_hierarchy
from cytovae.settings import LARGEST_SEED

# Numbers of micro-clusters of the six partitions, relative to the number of experts. Populations that appear with one
# number of micro-clusters only are artefacts of the partition, so the numbers differ.
RELATIVE_SIZES = (1.0, 0.75, 1.33, 0.9, 1.1, 0.8)

# How many of the six partitions a worker process takes. It takes more than half, because this process also computes
# the partitions.
PARTITIONS_OF_WORKER = 4

# Least average number of cells of a micro-cluster: the density of fewer cannot be estimated.
CELLS_PER_MICRO_CLUSTER = 40

# Valleys shallower than this never separate populations; they also occur within a single population. Measured on six
# gated data sets: see docs/method.md.
SHALLOWEST = 0.8

# With fewer landmarks, a shallow valley may well be chance.
LANDMARKS_FOR_SHALLOW_VALLEYS = 5_000

# Step of the search for the level of the cut.
LEVEL_STEP = 0.01

# Least share of the landmarks for a cluster to count as one of the populations that a panel resolves. Smaller clusters
# are debris, doublets and rare cells, and their number says nothing about the panel.
COUNTED_SHARE = 0.002

# With more files than this, or fewer landmarks per file, files with similar means are treated as one.
MOST_ORIGINS = 16
CELLS_PER_ORIGIN = 1_000


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
        Mean adjusted Rand index between the tree, cut at each of ``valleys.LEVELS``, and each partition.
    """

    micro_cluster: NDArray[np.int64]
    linkage: NDArray[np.float64]
    level: float
    population: NDArray[np.int64]
    agreement: NDArray[np.float32]

    @property
    def landmark_population(self) -> NDArray[np.int64]:
        """Population of each landmark, (n,), from 0."""
        return self.population[self.micro_cluster]


def population_tree(
    values: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    source: NDArray[np.int32],
    *,
    n_micro_clusters: int,
    valley: float,
    populations: int,
    seed: int,
    workers: int = 1,
) -> PopulationTree:
    """Build the tree and cut it into populations.

    Parameters
    ----------
    values, coordinates, source
        Markers (n, m), UMAP coordinates (n, 2) and file (n,) of the landmarks.
    n_micro_clusters
        Largest number of micro-clusters; fewer with few landmarks.
    valley, populations
        The tree is cut at the level ``valley``, or at the first shallower one with ``populations`` clusters of some
        size.
    seed
        Seed of the partitions and of the samples that densities are estimated from.
    workers
        With two or more, a worker process takes most of the partitions.
    """
    origin = _origin(values, source, seed)
    n_partitions = len(RELATIVE_SIZES)
    worker_seeds = range(seed, seed + PARTITIONS_OF_WORKER)
    with ValleyProcess(values, origin, worker_seeds, enabled=workers > 1) as worker:
        partitions = []
        for index in range(n_partitions):
            partitions.append(_partition(coordinates, n_micro_clusters, seed, index))
            if index < PARTITIONS_OF_WORKER:
                worker.add(partitions[-1])
        micro_cluster = _partition(coordinates, n_micro_clusters, seed, n_partitions)  # (n,)
        own = [
            valley_hierarchy(values, partitions[index], origin, seed + index)
            for index in range(PARTITIONS_OF_WORKER, n_partitions)
        ]
        hierarchies = [*worker.results(), *own]

    linkage = _average_linkage(micro_cluster, partitions, hierarchies)
    sizes = np.bincount(micro_cluster)  # (u,)
    agreement = [
        _agreement(_cut(linkage, len(sizes), level)[micro_cluster], partitions, hierarchies, row)
        for row, level in enumerate(LEVELS.tolist())
    ]
    level = _choose_level(linkage, sizes, valley, populations)
    population = _cut(linkage, len(sizes), level)
    return PopulationTree(micro_cluster, linkage, level, population, np.array(agreement, dtype=np.float32))


def _partition(coordinates: NDArray[np.float32], n_micro_clusters: int, seed: int, index: int) -> NDArray[np.int64]:
    """Partition number ``index`` of the landmarks: micro-clusters (n,), none of them empty."""
    relative_size = RELATIVE_SIZES[index % len(RELATIVE_SIZES)]
    n = int(min(n_micro_clusters, len(coordinates) // CELLS_PER_MICRO_CLUSTER) * relative_size)
    label = find_micro_clusters(coordinates, max(n, 1), (seed + index) % (LARGEST_SEED + 1))
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _origin(values: NDArray[np.float32], source: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """File of each cell (n,), from 0; the group of files with similar means if there are too many to compare."""
    files, origin = np.unique(source, return_inverse=True)
    most = max(1, min(MOST_ORIGINS, len(values) // CELLS_PER_ORIGIN))
    if len(files) <= most:
        return origin.astype(np.int64)
    spread = values.std(0) + 1e-9
    mean = np.stack([(values[origin == index] / spread).mean(0) for index in range(len(files))])  # (files, m)
    group = KMeans(most, n_init=4, random_state=seed).fit_predict(mean)
    return np.unique(group[origin], return_inverse=True)[1].astype(np.int64)


def _average_linkage(
    micro_cluster: NDArray[np.int64], partitions: list[NDArray[np.int64]], hierarchies: list[ValleyHierarchy]
) -> NDArray[np.float64]:
    """Average linkage of the micro-clusters, by the mean level at which their cells join in the six hierarchies."""
    n_micro_clusters = int(micro_cluster.max()) + 1
    joined = np.zeros((n_micro_clusters, n_micro_clusters))
    for partition, hierarchy in zip(partitions, hierarchies, strict=True):
        share = count_overlaps(micro_cluster, partition)
        share /= share.sum(1, keepdims=True)  # (micro-clusters, micro-clusters of the partition)
        joined += share @ hierarchy.joined @ share.T / len(partitions)
    height = np.clip(1 - (joined + joined.T) / 2, 0, 1)
    np.fill_diagonal(height, 0)
    if n_micro_clusters == 1:
        return np.zeros((0, 4))
    linkage: NDArray[np.float64] = average(squareform(height, checks=False))
    return linkage


def _cut(linkage: NDArray[np.float64], n_micro_clusters: int, level: float) -> NDArray[np.int64]:
    """Population of each micro-cluster (u,), from 0, if the tree is cut at ``level``."""
    if not len(linkage):
        return np.zeros(n_micro_clusters, dtype=np.int64)
    populations: NDArray[np.int64] = fcluster(linkage, 1 - level + ROUNDING, "distance").astype(np.int64) - 1
    return populations


def _choose_level(linkage: NDArray[np.float64], sizes: NDArray[np.int64], valley: float, populations: int) -> float:
    """The level ``valley``, or the first shallower one with enough populations of some size.

    ``sizes`` (u,) are the landmarks of each micro-cluster.
    """
    shallowest = max(valley, SHALLOWEST) if sizes.sum() >= LANDMARKS_FOR_SHALLOW_VALLEYS else valley
    levels = np.arange(valley, shallowest + ROUNDING, LEVEL_STEP)
    for level in levels.tolist():
        cells = np.bincount(_cut(linkage, len(sizes), level), weights=sizes)
        if (cells >= COUNTED_SHARE * sizes.sum()).sum() >= populations:
            return float(level)
    return float(levels[-1])


def _agreement(
    population: NDArray[np.int64],
    partitions: list[NDArray[np.int64]],
    hierarchies: list[ValleyHierarchy],
    row: int,
) -> float:
    """Mean adjusted Rand index of the tree's populations (n,) and those of each hierarchy, at level number ``row``."""
    indices = []
    for partition, hierarchy in zip(partitions, hierarchies, strict=True):
        other = np.unique(hierarchy.groups[row], return_inverse=True)[1][partition]
        indices.append(adjusted_rand_index(count_overlaps(population, other).astype(np.int64)))
    return float(np.mean(indices))
