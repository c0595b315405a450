"""UMAP of the landmarks."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.populations.neighbors import Neighbors
from cytovae.settings import Settings


def umap_projection(
    values: NDArray[np.float32], neighbors: Neighbors, settings: Settings, seed: int
) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of landmarks ``values`` (n, m), from their precomputed nearest neighbors.

    UMAP runs on one thread, so that the same seed gives the same result.
    """
    from cytovae.populations.numba_cache import keep_compiled
    from cytovae.populations.umap_import import import_umap

    umap = import_umap()
    keep_compiled(umap.layouts, umap.umap_, umap.utils)
    k = min(settings.umap_neighbors, neighbors.indices.shape[1], len(values) - 1)
    reducer = umap.UMAP(
        n_neighbors=k,
        min_dist=settings.umap_min_dist,
        metric=settings.metric,
        n_epochs=settings.umap_epochs,
        negative_sample_rate=settings.umap_negatives,
        init="pca",  # spectral initialization is not reproducible if the neighbor graph is not connected
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(neighbors.indices[:, :k], neighbors.distances[:, :k]),
        transform_seed=seed,
    )
    with warnings.catch_warnings():
        # It warns that new cells cannot be transformed. They never are: the network assigns them.
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        threads = torch.get_num_threads()
        try:
            coordinates = reducer.fit_transform(values)
        finally:
            # Numba and torch share one OpenMP, so numba changes torch's number of threads. Training would then give
            # other sums, and be much slower on a busy machine.
            torch.set_num_threads(threads)
    return np.asarray(coordinates, dtype=np.float32)
