"""What is known per cell, row-aligned: the small frozen types that pass between rooms. numpy only, no files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import NumericalError, UsageError

UNGATED = -1


@dataclass(frozen=True, eq=False)
class CellTable:
    """Transformed marker values of cells.

    ``values`` is float32 of shape (n_cells, n_markers), on the arcsinh (or published) scale, all finite;
    ``markers`` names its columns; ``source`` is the index into ``files`` of the file each cell came from,
    int32 of shape (n_cells,), and ``event`` the 0-based row there, int64 of shape (n_cells,).
    """

    values: NDArray[np.float32]
    markers: tuple[str, ...]
    files: tuple[str, ...]
    source: NDArray[np.int32]
    event: NDArray[np.int64]

    def __post_init__(self) -> None:
        n_cells = len(self.values)
        if self.values.shape != (n_cells, len(self.markers)):
            raise UsageError(f"{self.values.shape} values do not fit {len(self.markers)} markers")
        if self.source.shape != (n_cells,) or self.event.shape != (n_cells,):
            raise UsageError(f"source and event must have one entry for each of {n_cells} cells")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer]) -> "CellTable":
        """The cells at ``rows``, in that order."""
        return CellTable(self.values[rows], self.markers, self.files, self.source[rows], self.event[rows])


@dataclass(frozen=True, eq=False)
class GateLabels:
    """Manual gates: ``population`` int32 (n_cells,) is an index into ``names``, −1 where a cell is ungated."""

    population: NDArray[np.int32]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.population.ndim != 1:
            raise UsageError(f"gate labels must be one-dimensional, not {self.population.shape}")
        if len(self.population) and not (self.population.min() >= UNGATED and self.population.max() < len(self.names)):
            raise UsageError(f"gate labels must lie in -1 … {len(self.names) - 1}")

    def __len__(self) -> int:
        return len(self.population)


@dataclass(frozen=True, eq=False)
class Assignment:
    """Clusters of cells: ``cluster`` int32 (n_cells,), from 1; ``probabilities`` float32 (n_cells, n_clusters).

    Probabilities of a cell sum to 1; its cluster is the column of the largest, plus one (the lowest on a tie).
    ``novelty`` float32 (n_cells,), where it is known, lies in [0, 1]: 1 is a cell unlike any seen in training.
    ``coordinates`` float32 (n_cells, 2), where they were asked for, are the places on the UMAP of training.
    """

    cluster: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float32] | None = None
    coordinates: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.cluster)


SUM_TOLERANCE = 1e-5


def probability_of(assignment: Assignment) -> NDArray[np.float32]:
    """The probability of each cell's own cluster, float32 (n_cells,)."""
    own = np.take_along_axis(assignment.probabilities, assignment.cluster[:, None] - 1, axis=1)[:, 0]
    return own.astype(np.float32, copy=False)


def check_assignment(assignment: Assignment, n_clusters: int, file: str) -> None:
    """Raise :class:`NumericalError` where a row is no distribution or its cluster none of the clusters."""
    p, cluster = assignment.probabilities, assignment.cluster
    if p.shape != (len(cluster), n_clusters):
        raise UsageError(f"{p.shape} probabilities do not fit {len(cluster)} cells and {n_clusters} clusters")
    if not len(cluster):
        return
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(p.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE) | ~(p.min(axis=1) >= 0)
    wrong |= (cluster < 1) | (cluster > n_clusters)
    if wrong.any():
        raise NumericalError(
            f"{int(wrong.sum())} cells of {file} have probabilities that do not sum to 1, or no cluster; "
            "look for extreme values with `cytovae inspect`"
        )
