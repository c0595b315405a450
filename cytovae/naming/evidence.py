"""What speaks for the name of a population: the levels asked for, the levels found, and the next best name."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.marker_table import PanelTypes
from cytovae.naming.marker_levels import misses, position

Array = NDArray[np.float64]

HALF = 0.5  # a marker agrees if its position is on the right side of the middle, or within half a step of it
SIGNS = ((-1 / 3, "-"), (1 / 3, "~"))


@dataclass(frozen=True)
class Evidence:
    """What speaks for one name.

    Attributes
    ----------
    name : str
        The population.
    cells : int
        Number of training cells that have it.
    markers : tuple of str
        The markers that the table asks for.
    asked : tuple of float
        The level asked of each, −1 low … 1 high.
    found : tuple of float
        The level found: the mean over the cells, on the same scale.
    agreement : float
        Mean share of these markers that a cell has at the level asked, from 0 to 1.
    next_best : str
        The population that fits these cells next best; empty if there is none.
    next_agreement : float
        The agreement with that population.
    """

    name: str
    cells: int
    markers: tuple[str, ...]
    asked: tuple[float, ...]
    found: tuple[float, ...]
    agreement: float
    next_best: str = ""
    next_agreement: float = 0.0


def evidence_of(
    index: int,
    population: NDArray[np.int64],
    cells: Array,
    fit: Array,
    levels: Array,
    anchors: Array,
    types: PanelTypes,
    rows: NDArray[np.int64],
) -> Evidence:
    """The evidence for the population ``index``.

    Parameters
    ----------
    index, population
        The population in question, and that of each cell (n,).
    cells, fit
        Scaled values (n, m) of the cells, and their fit (n, k) to each population.
    levels, anchors
        The marker table (k, m) and its anchors (k, m, 3).
    types, rows
        Where names and markers come from; row of the table (k,) of each population.
    """
    own = cells[population == index]
    used = np.flatnonzero(~np.isnan(levels[index]))
    found = np.clip(2 * position(own[:, used], anchors[index, used]).mean(0) - 1, -2, 2)
    others = np.delete(np.arange(len(rows)), index)
    following = int(others[fit[population == index][:, others].mean(0).argmax()]) if len(others) else None
    return Evidence(
        types.populations[rows[index]],
        len(own),
        tuple(types.markers[j] for j in used),
        tuple(float(value) for value in levels[index, used]),
        tuple(round(float(value), 3) for value in found),
        _agreement(own, levels[index], anchors[index]),
        "" if following is None else types.populations[rows[following]],
        0.0 if following is None else _agreement(own, levels[following], anchors[following]),
    )


def signature(levels: NDArray[np.floating], markers: tuple[str, ...]) -> str:
    """The levels (m,) of markers as text, such as "CD3+ CD4- CD8~"; markers whose level is NaN are left out."""
    return " ".join(
        f"{marker}{sign_of(float(level))}" for marker, level in zip(markers, levels, strict=True) if np.isfinite(level)
    )


def sign_of(level: float) -> str:
    """+, - or ~ for a level −1 … 1."""
    return next((sign for limit, sign in SIGNS if level < limit), "+")


def _agreement(cells: Array, levels: Array, anchors: Array) -> float:
    """Mean share of the asked markers at which cells (n, m) are on the right side of the middle, or near it."""
    missed = misses(cells, levels[None], anchors[None])[:, 0]  # (n, m)
    asked = ~np.isnan(levels)
    between = asked & (np.abs(np.nan_to_num(levels)) < 1 / 3)
    right = missed < np.where(between, HALF / 2, HALF)
    return round(float(right[:, asked].mean()), 4)
