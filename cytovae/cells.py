"""Row-aligned data about cells: marker values, gate labels and cluster assignments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import NumericalError, UsageError

UNGATED = -1
"""The population index of a cell in no gate."""

UNASSIGNED = 0
"""The cluster of a cell that a method left out; also "no cluster" for a population without a match."""

SUM_TOLERANCE = 1e-5
"""How far the probabilities of a cell may deviate from a sum of 1."""


@dataclass(frozen=True, eq=False)
class CellTable:
    """Transformed marker values of cells, and where each cell came from.

    Parameters
    ----------
    values : ndarray of float32, shape (n_cells, n_markers)
        Marker values on the transformed scale, all finite.
    markers : tuple of str
        Names of the columns of ``values``.
    files : tuple of str
        Names of the files.
    source : ndarray of int32, shape (n_cells,)
        The file of each cell, as an index into ``files``.
    event : ndarray of int64, shape (n_cells,)
        The row of each cell in its file, from 0.

    Raises
    ------
    UsageError
        If the shapes do not fit each other.
    """

    values: NDArray[np.float32]
    markers: tuple[str, ...]
    files: tuple[str, ...]
    source: NDArray[np.int32]
    event: NDArray[np.int64]

    def __post_init__(self) -> None:
        n_cells = len(self.values)
        if self.values.shape != (n_cells, len(self.markers)):
            raise UsageError(f"values of shape {self.values.shape} do not fit {len(self.markers)} markers")
        if self.source.shape != (n_cells,) or self.event.shape != (n_cells,):
            raise UsageError(f"source and event need one entry for each of {n_cells} cells")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer]) -> "CellTable":
        """The cells at ``rows`` (n_rows,), in that order."""
        return CellTable(self.values[rows], self.markers, self.files, self.source[rows], self.event[rows])


@dataclass(frozen=True, eq=False)
class GateLabels:
    """Manual gates: the population of each cell.

    Parameters
    ----------
    population : ndarray of int32, shape (n_cells,)
        Index into ``names``; -1 for a cell in no gate.
    names : tuple of str
        Names of the populations.

    Raises
    ------
    UsageError
        If ``population`` is not one-dimensional, or holds an index outside -1 … ``len(names) - 1``.
    """

    population: NDArray[np.int32]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.population.ndim != 1:
            raise UsageError(f"gate labels must be one-dimensional, not of shape {self.population.shape}")
        if len(self.population) and not (self.population.min() >= UNGATED and self.population.max() < len(self.names)):
            raise UsageError(f"gate labels must lie in -1 … {len(self.names) - 1}")

    def __len__(self) -> int:
        return len(self.population)


@dataclass(frozen=True, eq=False)
class Assignment:
    """The cluster of each cell, with probabilities.

    Parameters
    ----------
    cluster : ndarray of int32, shape (n_cells,)
        The most probable cluster, numbered from 1; the lowest number on a tie.
    probabilities : ndarray of float32, shape (n_cells, n_clusters)
        Probability of each cluster; rows sum to 1.
    novelty : ndarray of float32, shape (n_cells,), optional
        In [0, 1]; 1 for a cell unlike any training cell.
    coordinates : ndarray of float32, shape (n_cells, 2), optional
        Position on the UMAP of the training cells.
    qc : ndarray of uint8, shape (n_cells,), optional
        The reason why a cell fails quality control, as a number; 0 if it passes.
    further : ndarray of int32, shape (n_cells, n_further), optional
        The most probable cluster in further cuts of the tree, a column for each.
    """

    cluster: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float32] | None = None
    coordinates: NDArray[np.float32] | None = None
    qc: NDArray[np.uint8] | None = None
    further: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.cluster)


def probability_of(assignment: Assignment) -> NDArray[np.float32]:
    """The probability of each cell's own cluster, float32 (n_cells,)."""
    own = np.take_along_axis(assignment.probabilities, assignment.cluster[:, None] - 1, axis=1)[:, 0]
    return own.astype(np.float32, copy=False)


def check_assignment(assignment: Assignment, n_clusters: int, file: str) -> None:
    """Check clusters and probabilities before they are written.

    Parameters
    ----------
    assignment
        The cells to check.
    n_clusters
        The number of clusters of the model.
    file
        The file of the cells, for messages.

    Raises
    ------
    UsageError
        If the shape of the probabilities does not fit.
    NumericalError
        If the probabilities of a cell are negative, NaN or do not sum to 1, or its cluster is not in 1 …
        ``n_clusters``.
    """
    p, cluster = assignment.probabilities, assignment.cluster
    if p.shape != (len(cluster), n_clusters):
        raise UsageError(f"probabilities of shape {p.shape} do not fit {len(cluster)} cells and {n_clusters} clusters")
    if not len(cluster):
        return
    with np.errstate(invalid="ignore"):
        # Negated comparisons are true for NaN, too.
        wrong = ~(np.abs(p.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE) | ~(p.min(axis=1) >= 0)
    wrong |= (cluster < 1) | (cluster > n_clusters)
    if wrong.any():
        raise NumericalError(
            f"{int(wrong.sum())} cells of {file} have probabilities that do not sum to 1, or no cluster; "
            "look for extreme values with `cytovae inspect`"
        )


def folded_name(name: str) -> str:
    """A name in lower case with single spaces. Two populations whose names differ only so are the same."""
    return " ".join(name.split()).casefold()
