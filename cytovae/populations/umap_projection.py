"""UMAP of the landmarks; the only importer of umap."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.populations.neighbors import Neighbors
from cytovae.settings import Settings


def umap_projection(
    values: NDArray[np.float32], neighbors: Neighbors, settings: Settings, seed: int
) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of ``values`` (n, m) from precomputed neighbours.

    On one thread, so that a seed means a result.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        import umap

        from cytovae.populations.numba_cache import keep_compiled

    keep_compiled(umap.layouts, umap.umap_, umap.utils)
    k = min(settings.umap_neighbors, neighbors.indices.shape[1], len(values) - 1)
    reducer = umap.UMAP(
        n_neighbors=k,
        min_dist=settings.umap_min_dist,
        metric=settings.metric,
        n_epochs=settings.umap_epochs,
        init="pca",  # spectral start values are not reproducible where the neighbour graph is not connected
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(neighbors.indices[:, :k], neighbors.distances[:, :k]),
        transform_seed=seed,
    )
    with warnings.catch_warnings():
        # New cells are assigned by the network, never transformed by UMAP.
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        threads = torch.get_num_threads()
        try:
            coordinates = reducer.fit_transform(values)
        finally:
            # Numba sets the number of threads of the OpenMP it shares with torch: training would take many times longer
            # where other work keeps the cores busy, and another number of threads is another order of sums.
            torch.set_num_threads(threads)
    return np.asarray(coordinates, dtype=np.float32)
