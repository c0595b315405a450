"""The cells that an interactive page draws: a sample of all cells by two markers, and the landmarks on the UMAP."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import TrainedModel
from cytovae.report.resolution import Resolutions, resolutions

MOST_CELLS = 20_000
MOST_VALUES = 1_600_000
"""Of all drawn cells: with more than eighty markers, fewer cells keep the page small."""


@dataclass(frozen=True, eq=False)
class ExploredCells:
    """Cells with their clusters in every cut.

    Attributes
    ----------
    cuts : Resolutions
        The cuts.
    values : ndarray of float32, shape (n, n_markers)
        Marker values of a sample of all cells, in random order.
    clusters : ndarray of int32, shape (n, n_cuts)
        Their clusters, from 1.
    coordinates : ndarray of float32, shape (l, 2), or None
        UMAP coordinates of landmarks, in random order; None without landmarks.
    landmark_clusters : ndarray of int32, shape (l, n_cuts)
        Their clusters, from 1.
    """

    cuts: Resolutions
    values: NDArray[np.float32]
    clusters: NDArray[np.int32]
    coordinates: NDArray[np.float32] | None
    landmark_clusters: NDArray[np.int32]


def explored_cells(
    model: TrainedModel,
    device: str,
    values: NDArray[np.float32],
    landmarks: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    *,
    seed: int = 0,
) -> ExploredCells:
    """Draw the cells of an interactive page and assign them at every resolution, as `assign --clusters` does.

    Parameters
    ----------
    model : TrainedModel
        The model, cut as in the report.
    device : str
        A device of torch.
    values : ndarray of float32, shape (n_cells, n_markers)
        Marker values of the cells to draw from.
    landmarks : tuple of ndarray, optional
        Coordinates (n_landmarks, 2) and marker values (n_landmarks, n_markers) of the landmarks.
    seed : int
        Seed of the sample.
    """
    cuts = resolutions(model.tree, model.n_clusters)
    assigner = Assigner(model, device, cuts.numbers)
    rng = np.random.default_rng(seed)
    most = max(1, min(MOST_CELLS, MOST_VALUES // values.shape[1]))
    drawn = values[rng.permutation(len(values))[:most]]
    coordinates = None
    landmark_clusters = np.zeros((0, len(cuts.numbers)), dtype=np.int32)
    if landmarks is not None:
        rows = rng.permutation(len(landmarks[0]))[:MOST_CELLS]
        coordinates = landmarks[0][rows]
        landmark_clusters = _clusters(assigner, landmarks[1][rows])
    return ExploredCells(cuts, drawn, _clusters(assigner, drawn), coordinates, landmark_clusters)


def _clusters(assigner: Assigner, values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Clusters (n, n_cuts) in every cut."""
    further = assigner.assign(values).further
    return np.zeros((len(values), 0), dtype=np.int32) if further is None else further
