"""What a low and a high level of a marker is, for each population of a marker table.

Values of a marker are placed on a scale with three anchors: 0 is low, 1/2 between, 1 high. The anchors start from all
micro-clusters, and are then taken from those that the table names: the low anchor of a marker from populations with
``-``, the high one from populations with ``+``. So no two-component mixture over all cells is needed, which fails where
one population dominates and where the positive one is rare.

Where several populations agree in all markers but one, they differ in its level relative to each other. Then half of
the weight of its anchors is on the levels among the cells that fit the other markers, if these are clearly apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOW, MIDDLE, HIGH = 0, 1, 2

# Shares of the cells that the first anchors come from: the lowest and the highest micro-clusters of each marker.
LOWEST, HIGHEST = 0.2, 0.05

# Weight of the first anchors when they are estimated again, as the square root of a share of the cells.
PRIOR = 0.2

# Limits of anchors of all populations, in units of the first ones.
LOW_LIMITS, HIGH_LIMITS, LEAST_GAP = (-0.3, 0.45), (0.4, 1.4), 0.3

# Levels within a context count if they are this far apart and each has at least this share of the cells.
CONTEXT_GAP, CONTEXT_SHARE = 0.35, 0.005
CONTEXT_WEIGHT = 0.5  # of the levels within a context; the rest is that of all populations
CONTEXT_WIDTH = 0.6  # how fast the weight of a micro-cluster in a context falls with its misses: see docs/choices.md
LEAST_CONTEXT = 0.0005  # least share of the cells

# The miss of a set of cells: root mean square over markers, and so much of the worst one.
WORST = 0.35


@dataclass(frozen=True, eq=False)
class Scale:
    """Values of each marker relative to its first low and high level: ``low`` and ``width``, (m,)."""

    low: Array
    width: Array

    def of(self, values: NDArray[np.floating]) -> Array:
        """``values`` (n, m) on the scale, clipped where they no longer matter."""
        scaled: Array = np.clip((values - self.low) / self.width, -0.6, 1.8)
        return scaled

    def values(self, scaled: Array) -> Array:
        """Marker values (m,) of points of the scale (m,)."""
        return np.asarray(self.low + scaled * self.width)


def first_scale(mean: Array, share: Array) -> Scale:
    """The scale before any population is known.

    ``mean`` (u, m) and ``share`` (u,) are the means and the shares of the cells of the micro-clusters.
    """
    low, high = np.empty(mean.shape[1]), np.empty(mean.shape[1])
    for marker, column in enumerate(mean.T):
        order = column.argsort(kind="stable")
        below = np.cumsum(share[order])
        lowest = below <= max(LOWEST, below[0])
        highest = below >= min(1 - HIGHEST, below[-2:][0])
        low[marker] = np.average(column[order][lowest], weights=share[order][lowest])
        high[marker] = np.average(column[order][highest], weights=share[order][highest])
    return Scale(low, np.maximum(high - low, 1e-9))


def category(levels: Array) -> NDArray[np.int64]:
    """The anchor that each level −1 … 1 asks for: 0 low, 1 middle, 2 high; 1 where nothing is asked."""
    return np.digitize(np.nan_to_num(levels), (-1 / 3, 1 / 3)).astype(np.int64)


def first_anchors(levels: Array) -> Array:
    """Anchors (k, m, 3) before any population is known."""
    return np.tile(np.array([0.0, 0.5, 1.0]), (*levels.shape, 1))


def position(x: Array, anchors: Array) -> Array:
    """Where values ``x`` (n, m) lie between the ``anchors`` (m, 3): 0 low, 1 high; linear beyond them."""
    low, middle, high = anchors.T
    below = (x - low) / (middle - low) / 2
    above = 0.5 + (x - middle) / (high - middle) / 2
    placed: Array = np.where(x < middle, below, above)
    return placed


def misses(x: Array, levels: Array, anchors: Array) -> Array:
    """How far values ``x`` (n, m) are from what each population asks for: (n, k, m), 0 where nothing is asked.

    Values beyond the low or high anchor miss nothing.
    """
    missed = np.zeros((len(x), *levels.shape))
    for row, (asked, anchor) in enumerate(zip(levels, anchors, strict=True)):
        used = np.flatnonzero(~np.isnan(asked))
        missed[:, row, used] = np.abs(deviation(x[:, used], asked[used], anchor[used]))
    return missed


def deviation(x: Array, asked: Array, anchors: Array) -> Array:
    """The position of ``x`` (n, m) minus the level ``asked`` (m,); 0 beyond a low or high anchor that is asked for."""
    from_asked = position(x, anchors) - (asked + 1) / 2
    beyond = ((asked == 1) & (from_asked > 0)) | ((asked == -1) & (from_asked < 0))
    return np.where(beyond, 0.0, from_asked)


def siblings(levels: Array) -> dict[tuple[int, int], list[int]]:
    """For each population and marker that it asks for: the populations that contradict it in no other marker.

    Only those that ask for the marker, too; the population itself is one of them.
    """
    asked = ~np.isnan(levels)
    differ = np.abs(np.nan_to_num(levels)[:, None] - np.nan_to_num(levels)[None]) > 0.3
    conflict = differ & asked[:, None] & asked[None]  # (k, k, m)
    count = conflict.sum(2)
    return {
        (int(row), int(marker)): np.flatnonzero(
            asked[:, marker] & (count[row] - conflict[row, :, marker] == 0)
        ).tolist()
        for row, marker in np.argwhere(asked)
    }


def anchors_of_populations(x: Array, share: Array, levels: Array, named: NDArray[np.int64], missed: Array) -> Array:
    """Anchors (k, m, 3) from the micro-clusters that have a name.

    Parameters
    ----------
    x, share
        Scaled means (u, m) and shares of the cells (u,) of the micro-clusters.
    levels
        The marker table (k, m).
    named
        The population of each micro-cluster (u,); −1 for none.
    missed
        The misses (u, k, m) by the present anchors, each at most 1.
    """
    of_all = _anchors_of_all(x, share, levels, named)
    anchors = np.tile(of_all, (len(levels), 1, 1))
    wanted = category(levels)
    for (row, marker), others in siblings(levels).items():
        _use_context(
            anchors, row, marker, sorted(set(wanted[others, marker].tolist())), x, share, levels, missed, of_all
        )
    return anchors


def _anchors_of_all(x: Array, share: Array, levels: Array, named: NDArray[np.int64]) -> Array:
    """Anchors of each marker (m, 3) over all populations."""
    member = (named[None] == np.arange(len(levels))[:, None]) * share[None]  # (k, u)
    mass = member.sum(1)
    mean = member @ x / np.maximum(mass, 1e-12)[:, None]
    anchors = np.tile(np.array([0.0, 0.5, 1.0]), (levels.shape[1], 1))
    for marker in range(levels.shape[1]):
        for level, anchor in ((-1, LOW), (1, HIGH)):
            rows = np.flatnonzero((levels[:, marker] == level) & (mass > 0))
            weight = np.sqrt(mass[rows])
            before = anchors[marker, anchor]
            anchors[marker, anchor] = (weight @ mean[rows, marker] + PRIOR * before) / (weight.sum() + PRIOR)
    anchors[:, LOW] = np.clip(anchors[:, LOW], *LOW_LIMITS)
    anchors[:, HIGH] = np.clip(
        anchors[:, HIGH], np.maximum(HIGH_LIMITS[0], anchors[:, LOW] + LEAST_GAP), HIGH_LIMITS[1]
    )
    anchors[:, MIDDLE] = (anchors[:, LOW] + anchors[:, HIGH]) / 2
    return anchors


def _use_context(
    anchors: Array,
    row: int,
    marker: int,
    wanted: list[int],
    x: Array,
    share: Array,
    levels: Array,
    missed: Array,
    of_all: Array,
) -> None:
    """Take the anchors of a marker from the cells that fit a population in all other markers, in place.

    ``wanted`` are the anchors that the siblings of the population ask for; nothing changes unless there are several,
    and the levels among those cells are clearly apart.
    """
    if len(wanted) < 2:
        return
    others = missed[:, row].copy()
    others[:, marker] = 0
    n_others = max(int((~np.isnan(levels[row])).sum()) - 1, 1)
    miss = np.sqrt((others**2).sum(1) / n_others) + WORST * others.max(1)
    weight = share * np.exp(-((miss / CONTEXT_WIDTH) ** 2) / 2)
    if weight.sum() < LEAST_CONTEXT:
        return
    start = of_all[marker, wanted]
    found, mass = _levels_in_context(x[:, marker], weight, start)
    if np.diff(found).min() < CONTEXT_GAP or mass.min() < CONTEXT_SHARE * weight.sum():
        return
    anchor = anchors[row, marker]
    anchor[wanted] = CONTEXT_WEIGHT * found + (1 - CONTEXT_WEIGHT) * start
    if MIDDLE not in wanted:
        anchor[MIDDLE] = (anchor[LOW] + anchor[HIGH]) / 2
    if LOW not in wanted:
        anchor[LOW] = min(anchor[LOW], anchor[MIDDLE] - LEAST_GAP)
    if HIGH not in wanted:
        anchor[HIGH] = max(anchor[HIGH], anchor[MIDDLE] + LEAST_GAP)


def _levels_in_context(x: Array, weight: Array, start: Array) -> tuple[Array, Array]:
    """Weighted k-means of ``x`` (u,) from the centres ``start``: the centres, ascending, and the weight of each."""
    centres = start.astype(np.float64)
    nearest = np.zeros(len(x), dtype=np.int64)
    for _ in range(25):
        nearest = np.abs(x[:, None] - centres[None]).argmin(1)
        mass = np.bincount(nearest, weights=weight, minlength=len(centres))
        total = np.bincount(nearest, weights=weight * x, minlength=len(centres))
        moved = np.sort(np.where(mass > 0, total / np.where(mass > 0, mass, 1), centres))
        if np.allclose(moved, centres):
            break
        centres = moved
    nearest = np.abs(x[:, None] - centres[None]).argmin(1)
    of_centre: Array = np.bincount(nearest, weights=weight, minlength=len(centres)).astype(np.float64)
    return centres, of_centre
