"""Partitions of cells into micro-clusters, by k-means on UMAP coordinates."""

import warnings

import numpy as np
from numpy.typing import NDArray

from cytovae.settings import LARGEST_SEED

# Numbers of micro-clusters of several partitions, relative to the number asked for. Populations that appear with one
# number of micro-clusters only are artefacts of the partition, so the numbers differ.
RELATIVE_SIZES = (1.0, 0.75, 1.33, 0.9, 1.1, 0.8)

# Least average number of cells of a micro-cluster: the density of fewer cannot be estimated.
CELLS_PER_MICRO_CLUSTER = 40

# Iterations of k-means. The first few bring most of the gain.
ITERATIONS = 10


def find_micro_clusters(coordinates: NDArray[np.float32], n_micro_clusters: int, seed: int) -> NDArray[np.int64]:
    """The micro-cluster (n,) of each cell: k-means on its UMAP coordinates (n, 2).

    Labels are below ``n_micro_clusters``. Some may be unused, for example where coordinates coincide.
    """
    # These take a second to import, which assigning does not need.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    n_micro_clusters = min(n_micro_clusters, len(coordinates))
    kmeans = KMeans(n_micro_clusters, n_init=1, max_iter=ITERATIONS, random_state=seed)
    # Several threads would add up cells in any order.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct coordinates than micro-clusters
        return np.asarray(kmeans.fit_predict(coordinates.astype(np.float64)), dtype=np.int64)


def numbered_partition(
    coordinates: NDArray[np.float32], n_micro_clusters: int, seed: int, index: int
) -> NDArray[np.int64]:
    """Partition number ``index`` of cells with coordinates (n, 2): micro-clusters (n,), none of them empty.

    Each number has its own seed and its own share of ``n_micro_clusters``, see :data:`RELATIVE_SIZES`.
    """
    relative_size = RELATIVE_SIZES[index % len(RELATIVE_SIZES)]
    n = int(min(n_micro_clusters, len(coordinates) // CELLS_PER_MICRO_CLUSTER) * relative_size)
    label = find_micro_clusters(coordinates, max(n, 1), (seed + index) % (LARGEST_SEED + 1))
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def count_overlaps(
    first: NDArray[np.int64], second: NDArray[np.int64], n_first: int = 0, n_second: int = 0
) -> NDArray[np.float64]:
    """Contingency table (n_first, n_second) of two labelings (n,) of the same cells, at least that large."""
    n_first, n_second = max(n_first, int(first.max()) + 1), max(n_second, int(second.max()) + 1)
    counts = np.bincount(first * n_second + second, minlength=n_first * n_second)
    return counts.reshape(n_first, n_second).astype(np.float64)
