"""Populations of a marker table among cells: which branch of the tree is what, and the evidence for it.

Every marker that the table asks for adds the logarithm of a ratio: how likely the level of a micro-cluster is for the
population, against any level. So a population with more fitting markers wins over one with fewer, a single marker that
does not fit cannot outweigh all others, and what fits nothing has negative sums for all populations.
:mod:`cytovae.naming.tree_labels` then cuts the tree, branch by branch. At last each cell gets the population that fits
its own levels best, where that of its branch has an advantage: micro-clusters do not follow single markers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.marker_table import PanelTypes
from cytovae.naming.evidence import Evidence, evidence_of
from cytovae.naming.marker_levels import (
    Scale,
    anchors_of_populations,
    deviation,
    first_anchors,
    first_scale,
    misses,
)
from cytovae.naming.tree_labels import label_branches

Array = NDArray[np.float64]

ROUNDS = 4  # of naming; the levels are estimated again between them

# Standard deviation of the levels of micro-clusters and of cells around what is asked, and the share of any level.
SPREAD_OF_MICRO_CLUSTERS, SPREAD_OF_CELLS = 0.2, 0.25
ANY_LEVEL, ANY_LEVEL_OF_CELLS = 0.01, 0.005
DENSITY = 1 / 1.4  # of any level

# A branch is named if its sum exceeds this; a cell of an unnamed branch if its own does.
LEAST_FIT, LEAST_FIT_OF_CELL = 0.75, 3.0

# Advantage of the population of the branch for each of its cells.
ADVANTAGE = 2.0

# A population is present if some micro-cluster has so many cells, and such a share of its cells, that miss every marker
# by less than this.
PRESENT_CELLS, PRESENT_SHARE, PRESENT_MISS = 5, 0.1, 0.75


@dataclass(frozen=True, eq=False)
class NamedCells:
    """The population of each of n cells.

    Attributes
    ----------
    names : tuple of str
        Populations that were found.
    population : ndarray of int64, shape (n,)
        Index into ``names``; −1 for cells of none of them.
    evidence : tuple of Evidence
        What speaks for each name.
    not_found : tuple of str
        Populations of the table that are not among the cells.
    low, high : ndarray of float32, shape (m,)
        Values of a low and a high level of each marker; NaN for markers that the table does not ask for.
    """

    names: tuple[str, ...]
    population: NDArray[np.int64]
    evidence: tuple[Evidence, ...]
    not_found: tuple[str, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CellsAround:
    """Cells outside the part of the data that is named. They show what low and high levels are.

    Attributes
    ----------
    values : ndarray of float, shape (a, m)
        Transformed marker values.
    micro_cluster : ndarray of int64, shape (a,)
        Micro-cluster of each cell, from 0, none of them empty.
    linkage : ndarray of float64, shape (v - 1, 4)
        How the v micro-clusters merge, as in :func:`name_populations`.
    share : float
        Share of all cells that these stand for; the cells to be named stand for the others.
    """

    values: NDArray[np.floating]
    micro_cluster: NDArray[np.int64]
    linkage: Array
    share: float


def name_populations(
    values: NDArray[np.floating],
    micro_cluster: NDArray[np.int64],
    linkage: Array,
    types: PanelTypes,
    around: CellsAround | None = None,
) -> NamedCells:
    """Name cells by a marker table.

    Parameters
    ----------
    values
        Transformed marker values (n, m).
    micro_cluster
        Micro-cluster of each cell (n,), from 0, none of them empty.
    linkage
        How the u micro-clusters merge (u − 1, 4), as in :mod:`scipy.cluster.hierarchy`; a height is 1 − the level at
        which branches join.
    types
        The marker table for these m markers.
    around
        Other cells, if ``values`` are those of a part of the data only. They help to find levels, and get no names.
    """
    n_own = len(values)
    if around is not None:
        values, micro_cluster, linkage = _with_cells_around(values, micro_cluster, linkage, around)
    n_cells = np.bincount(micro_cluster).astype(np.float64)  # (u,)
    share = _shares(n_cells, micro_cluster, n_own, around)
    mean = np.stack([np.bincount(micro_cluster, weights=column) for column in values.T], axis=1) / n_cells[:, None]
    scale = first_scale(mean, share)
    x, cells = scale.of(mean), scale.of(values)
    levels = types.levels.astype(np.float64)
    present = np.arange(len(levels))
    named, anchors = _name_branches(x, share, linkage, levels)
    is_present = _present(cells, micro_cluster, n_cells, levels, anchors)
    if not is_present.all():
        present = np.flatnonzero(is_present)
        named, anchors = _name_branches(x, share, linkage, levels[present])
    cells, micro_cluster = cells[:n_own], micro_cluster[:n_own]
    fit = fits(cells, levels[present], anchors, SPREAD_OF_CELLS, ANY_LEVEL_OF_CELLS)  # (n, present)
    population = _name_cells(fit, named[micro_cluster])
    sizes = np.bincount(population + 1, minlength=len(present) + 1)[1:]
    few = sizes < PRESENT_CELLS
    if few.any():
        fit[:, few] = -np.inf
        population = _name_cells(fit, np.where(np.append(few, True)[named], -1, named)[micro_cluster])
    found = np.flatnonzero(~few)
    renumbered = np.full(len(present) + 1, -1)
    renumbered[found] = np.arange(len(found))
    population = renumbered[population]
    rows = present[found]
    evidence = tuple(
        evidence_of(index, population, cells, fit[:, found], levels[rows], anchors[found], types, rows)
        for index in range(len(found))
    )
    names = tuple(types.populations[row] for row in rows)
    absent = tuple(name for name in (*types.populations, *types.unusable) if name not in names)
    low, high = _usual_levels(scale, anchors, levels[present])
    return NamedCells(names, population.astype(np.int64), evidence, absent, low, high)


def _with_cells_around(
    values: NDArray[np.floating], micro_cluster: NDArray[np.int64], linkage: Array, around: CellsAround
) -> tuple[NDArray[np.floating], NDArray[np.int64], Array]:
    """Values, micro-clusters and tree of the own cells and those around; both trees join at level 0."""
    u, v = len(linkage) + 1, len(around.linkage) + 1
    own, other = linkage.copy(), around.linkage.copy()
    own[:, :2] += np.where(own[:, :2] >= u, v, 0)  # merges are numbered after all u + v leaves
    other[:, :2] += np.where(other[:, :2] >= v, u + len(own), u)
    roots = [u + v + len(own) - 1 if len(own) else 0, u + v + len(own) + len(other) - 1 if len(other) else u]
    merges = np.concatenate([own, other, [[*roots, 1.0, 0.0]]])
    return (
        np.concatenate([values, around.values]),
        np.concatenate([micro_cluster, u + around.micro_cluster]),
        merges,
    )


def _shares(n_cells: Array, micro_cluster: NDArray[np.int64], n_own: int, around: CellsAround | None) -> Array:
    """Share of all cells in each micro-cluster (u,), of which the first are those of the ``n_own`` own cells."""
    shares: Array = n_cells / n_cells.sum()
    if around is not None:
        own = np.arange(len(n_cells)) <= micro_cluster[:n_own].max()
        shares[own] *= (1 - around.share) / shares[own].sum()
        shares[~own] *= around.share / shares[~own].sum()
    return shares


def fits(x: Array, levels: Array, anchors: Array, spread: float, any_level: float) -> Array:
    """The fit (n, k) of values ``x`` (n, m) to each population: the sum of log ratios over its markers."""
    fit = np.empty((len(x), len(levels)))
    for row, (asked, anchor) in enumerate(zip(levels, anchors, strict=True)):
        used = np.flatnonzero(~np.isnan(asked))
        z = deviation(x[:, used], asked[used], anchor[used]) / spread
        likely = np.log1p(-any_level) - z**2 / 2 - np.log(spread * np.sqrt(2 * np.pi)) - np.log(DENSITY)
        fit[:, row] = np.logaddexp(likely, np.log(any_level)).sum(1)
    return fit


def _name_branches(x: Array, share: Array, linkage: Array, levels: Array) -> tuple[NDArray[np.int64], Array]:
    """The population of each micro-cluster (u,), −1 for none, and the anchors (k, m, 3) that decided it."""
    anchors = first_anchors(levels)
    for _ in range(ROUNDS - 1):
        named = _label(x, share, linkage, levels, anchors)
        missed = np.minimum(misses(x, levels, anchors), 1.0)
        anchors = anchors_of_populations(x, share, levels, named, missed)
    return _label(x, share, linkage, levels, anchors), anchors


def _label(x: Array, share: Array, linkage: Array, levels: Array, anchors: Array) -> NDArray[np.int64]:
    """The population of each micro-cluster (u,), −1 for none."""
    cost = -fits(x, levels, anchors, SPREAD_OF_MICRO_CLUSTERS, ANY_LEVEL)
    label = label_branches(np.column_stack([cost, np.full(len(x), -LEAST_FIT)]), share, linkage)
    return np.where(label == len(levels), -1, label)


def _present(
    cells: Array, micro_cluster: NDArray[np.int64], n_cells: Array, levels: Array, anchors: Array
) -> NDArray[np.bool_]:
    """Which populations (k,) some micro-cluster has cells of that fit all markers."""
    present = np.zeros(len(levels), dtype=np.bool_)
    for row in range(len(levels)):
        fitting = misses(cells, levels[row : row + 1], anchors[row : row + 1]).max((1, 2)) <= PRESENT_MISS
        count = np.bincount(micro_cluster[fitting], minlength=len(n_cells))
        present[row] = ((count >= PRESENT_CELLS) & (count >= PRESENT_SHARE * n_cells)).any()
    return present


def _name_cells(fit: Array, branch: NDArray[np.int64]) -> NDArray[np.int64]:
    """The population of each cell (n,), −1 for none, from its ``fit`` (n, k) and the population of its branch (n,)."""
    if not fit.shape[1]:
        return np.full(len(fit), -1, dtype=np.int64)
    favoured = fit.copy()
    inside = np.flatnonzero(branch >= 0)
    favoured[inside, branch[inside]] += ADVANTAGE
    best = favoured.argmax(1)
    outside = (branch < 0) & (favoured.max(1) < LEAST_FIT_OF_CELL)
    return np.where(outside, -1, best).astype(np.int64)


def _usual_levels(scale: Scale, anchors: Array, levels: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values of a low and a high level of each marker (m,): the median over the populations that ask for it."""
    asked = ~np.isnan(levels)
    ends = []
    for end in (0, 2):
        usual = np.array(
            [np.median(anchors[asked[:, j], j, end]) if asked[:, j].any() else np.nan for j in range(asked.shape[1])]
        )
        ends.append(scale.values(usual).astype(np.float32))
    return ends[0], ends[1]
