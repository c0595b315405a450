"""Which cells a model learns from when there are too many. Seeded; numpy only."""

import numpy as np
from numpy.typing import NDArray


def choose_landmarks(n_cells: int, n_landmarks: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``n_landmarks`` of ``n_cells`` cells, ascending, each equally likely; 0 = all."""
    if n_landmarks == 0 or n_cells <= n_landmarks:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, n_landmarks, replace=False))
