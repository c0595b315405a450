"""Where the rows of clusters are in a picture, so that a page can highlight them and tell what is under the mouse."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RowRegion:
    """A part of a picture in which every row is a cluster or a population.

    Attributes
    ----------
    left, right, top, row : float
        Its sides, the top of the first row and the height of a row, as shares of the picture's width or height.
    clusters : tuple of tuple of int
        The clusters of each row, from 1.
    columns : tuple of int
        The marker of each column, from 0; empty if the picture is about one marker.
    medians : ndarray of float32, shape (n_rows, n_columns), or None
        What the fields show.
    """

    left: float
    right: float
    top: float
    row: float
    clusters: tuple[tuple[int, ...], ...]
    columns: tuple[int, ...] = ()
    medians: NDArray[np.float32] | None = None


def row_region(
    axes: Any,
    top: float,
    step: float,
    clusters: tuple[tuple[int, ...], ...],
    columns: tuple[int, ...] = (),
    medians: NDArray[np.float32] | None = None,
) -> RowRegion:
    """The region of finished axes whose row i lies between ``top`` + i ``step`` and ``top`` + (i + 1) ``step``."""
    left, right = axes.get_xlim()
    to_picture = axes.transData + axes.figure.transFigure.inverted()
    corners = to_picture.transform([(left, top), (right, top + step)])  # shares from the bottom left
    (start, above), (end, below) = corners.tolist()
    return RowRegion(start, end, 1 - above, above - below, clusters, columns, medians)
