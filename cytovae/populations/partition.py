"""Partitions of the landmarks into micro-clusters, by k-means on UMAP coordinates."""

import numpy as np
from numpy.typing import NDArray


def find_micro_clusters(coordinates: NDArray[np.float32], n_micro_clusters: int, seed: int) -> NDArray[np.int64]:
    """The micro-cluster (n,) of each landmark: k-means on its UMAP coordinates (n, 2).

    Labels are below ``n_micro_clusters``. Some may be unused, for example where coordinates coincide.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import, which assigning does not need

    n_micro_clusters = min(n_micro_clusters, len(coordinates))
    kmeans = MiniBatchKMeans(n_micro_clusters, n_init=1, batch_size=4096, random_state=seed)
    return np.asarray(kmeans.fit_predict(coordinates), dtype=np.int64)


def count_overlaps(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Contingency table (n_first, n_second) of two labelings (n,) of the same cells."""
    n_first, n_second = int(first.max()) + 1, int(second.max()) + 1
    counts = np.bincount(first * n_second + second, minlength=n_first * n_second)
    return counts.reshape(n_first, n_second).astype(np.float64)
