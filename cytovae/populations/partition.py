"""K-means on UMAP coordinates: the micro-clusters."""

import numpy as np
from numpy.typing import NDArray


def fine_partition(coordinates: NDArray[np.float32], parts: int, seed: int) -> NDArray[np.int64]:
    """Labels (n,) 0 … parts − 1 of small neighbourhoods in UMAP ``coordinates`` (n, 2): k-means."""
    from sklearn.cluster import MiniBatchKMeans  # a second to import, that assigning need not pay

    parts = min(parts, len(coordinates))
    kmeans = MiniBatchKMeans(parts, n_init=1, batch_size=4096, random_state=seed)
    return np.asarray(kmeans.fit_predict(coordinates), dtype=np.int64)
