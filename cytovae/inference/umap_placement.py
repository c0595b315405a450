"""UMAP coordinates of cells that were not in training.

UMAP gives coordinates only to the landmarks. Any other cell gets the mean of the landmarks whose latent codes are
nearest to its own, weighted by the inverse squared distance. A landmark thus keeps its own coordinates, and a cell that
resembles several populations may lie between them. The coordinates are for display: clusters and probabilities do not
depend on them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

N_NEAREST_LANDMARKS = 5  # averaged for each cell


@dataclass(frozen=True, eq=False)
class LandmarkPositions:
    """Landmarks: latent ``codes`` float32 (n, d) and UMAP ``coordinates`` float32 (n, 2)."""

    codes: NDArray[np.float32]
    coordinates: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.codes)
        if self.codes.ndim != 2 or not n or self.coordinates.shape != (n, 2):
            raise UsageError(f"codes of shape {self.codes.shape} do not fit coordinates of {self.coordinates.shape}")
        if not (np.isfinite(self.codes).all() and np.isfinite(self.coordinates).all()):
            raise UsageError("codes and coordinates must be finite")


class Interpolator:
    """Interpolates UMAP coordinates between landmarks; safe to use from several threads."""

    def __init__(self, landmarks: LandmarkPositions) -> None:
        from scipy.spatial import KDTree

        self._tree = KDTree(landmarks.codes.astype(np.float64))
        self._coordinates = landmarks.coordinates.astype(np.float64)
        # Codes closer than the precision of float32 are equal: the cell gets the landmark's own coordinates.
        self._least = (1e-6 * max(1.0, float(np.abs(landmarks.codes).max()))) ** 2

    @property
    def shift(self) -> tuple[float, float]:
        """Whole numbers that make all coordinates non-negative when they are added; 0 where none is negative."""
        first, second = np.ceil(np.maximum(-self._coordinates.min(axis=0), 0)).tolist()
        return first, second

    def place(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """UMAP coordinates (n, 2) of cells with latent ``codes`` (n, d)."""
        if not len(codes):
            return np.empty((0, 2), dtype=np.float32)
        nearest = range(1, min(N_NEAREST_LANDMARKS, len(self._coordinates)) + 1)
        distance, index = self._tree.query(codes.astype(np.float64), k=list(nearest))  # (n, k) each
        weight = 1 / np.maximum(distance**2, self._least)
        weight /= weight.sum(axis=1, keepdims=True)
        coordinates = np.einsum("nk,nkd->nd", weight, self._coordinates[index])  # (n, 2)
        return np.asarray(coordinates, dtype=np.float32)
