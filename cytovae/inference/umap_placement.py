"""Places on the UMAP of training for cells that were not in it, from the landmarks nearest to them in the latent space.

UMAP gave only the landmarks a place. A cell gets the mean place of the landmarks whose latent codes are nearest to its
own, weighted by the inverse of the squared distance: a landmark gets its own place back, and a cell that is like
several groups may come to lie between them. This is for looking at; clusters and probabilities know nothing of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

NEAREST = 5  # landmarks that a place is made of


@dataclass(frozen=True, eq=False)
class LandmarkPlaces:
    """Landmarks: latent ``codes`` float32 (n, d) and UMAP ``coordinates`` float32 (n, 2)."""

    codes: NDArray[np.float32]
    coordinates: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.codes)
        if self.codes.ndim != 2 or not n or self.coordinates.shape != (n, 2):
            raise UsageError(f"codes of shape {self.codes.shape} do not fit places of {self.coordinates.shape}")
        if not (np.isfinite(self.codes).all() and np.isfinite(self.coordinates).all()):
            raise UsageError("codes and places must be finite")


class Interpolator:
    """Landmarks made ready to place cells, chunk after chunk and in several threads."""

    def __init__(self, landmarks: LandmarkPlaces) -> None:
        from scipy.spatial import KDTree

        self._tree = KDTree(landmarks.codes.astype(np.float64))
        self._coordinates = landmarks.coordinates.astype(np.float64)
        # Where two codes are as near as float32 can tell, both are the cell's own place.
        self._least = (1e-6 * max(1.0, float(np.abs(landmarks.codes).max()))) ** 2

    def place(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """UMAP coordinates (n, 2) of cells with latent ``codes`` (n, d)."""
        if not len(codes):
            return np.empty((0, 2), dtype=np.float32)
        nearest = range(1, min(NEAREST, len(self._coordinates)) + 1)
        distance, index = self._tree.query(codes.astype(np.float64), k=list(nearest))
        weight = 1 / np.maximum(distance**2, self._least)
        weight /= weight.sum(axis=1, keepdims=True)
        placed = np.einsum("nk,nkd->nd", weight, self._coordinates[index])
        return np.asarray(placed, dtype=np.float32)
