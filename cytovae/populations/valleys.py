"""Merges sets of cells until a density valley lies between them.

The nearest sets merge first, as long as the density along the line between two sets has no valley deeper than a level.
Then the level is lowered, so that one pass gives nested groupings for all levels.

If cells come from several files, valleys are looked for within files. Files differ by small shifts of all their cells,
and a shifted population would otherwise look like two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.cell_sets import CellSets

LEVELS = np.round(np.arange(0.95, -0.01, -0.05), 2)
"""Levels from hardly a dip (0.95) to no cells between (0): density between two sets relative to the lower peak."""

# Only the nearest sets of each set are candidates: between distant sets there is always a valley.
NEAREST = 8


@dataclass(frozen=True, eq=False)
class ValleyHierarchy:
    """Nested groupings of k sets.

    Attributes
    ----------
    groups : int64 (n_levels, k)
        Group of each set at each of :data:`LEVELS`. Each row is coarser than the one before.
    joined : float64 (k, k)
        The level at which two sets come into one group; 1 on the diagonal.
    """

    groups: NDArray[np.int64]
    joined: NDArray[np.float64]


def valley_hierarchy(
    values: NDArray[np.float32], label: NDArray[np.int64], origin: NDArray[np.int64], seed: int
) -> ValleyHierarchy:
    """Merge sets of cells level by level.

    Parameters
    ----------
    values
        Markers (n, m).
    label
        Set (n,) of each cell, 0 … k − 1, none empty.
    origin
        File (n,) of each cell, 0 … g − 1, or its group of similar files.
    seed
        Seed of the random samples that densities are estimated from.
    """
    sets = CellSets(values, label, origin, seed)
    k = sets.n_sets
    alive = np.ones(k, dtype=bool)
    distance = np.full((k, k), np.inf)
    for first in range(k - 1):
        others = np.arange(first + 1, k)
        distance[first, others] = distance[others, first] = sets.distance(first, others)
    valley = np.full((k, k), np.nan)  # NaN: not computed yet
    group = np.arange(k)
    groups = np.zeros((len(LEVELS), k), dtype=np.int64)
    joined = np.eye(k)
    far = _far(distance, alive)
    for row, level in enumerate(LEVELS):
        candidates = _candidates(distance, valley, level, far)
        while alive.sum() > 1:
            a, b = divmod(int(candidates.argmin()), k)
            if not np.isfinite(candidates[a, b]):
                break
            if np.isnan(valley[a, b]):
                valley[a, b] = valley[b, a] = sets.valley(a, b)
                if valley[a, b] < level:
                    candidates[a, b] = candidates[b, a] = np.inf
                    continue
            in_a, in_b = group == a, group == b
            joined[np.ix_(in_a, in_b)] = joined[np.ix_(in_b, in_a)] = level
            sets.merge(a, b)
            group[in_b] = a
            alive[b] = False
            distance[b], distance[:, b] = np.inf, np.inf
            valley[a], valley[:, a] = np.nan, np.nan
            others = np.flatnonzero(alive)
            others = others[others != a]
            if len(others):
                distance[a, others] = distance[others, a] = sets.distance(a, others)
            far = _far(distance, alive)
            candidates = _candidates(distance, valley, level, far)
        groups[row] = group
    return ValleyHierarchy(groups, joined)


def _far(distance: NDArray[np.float64], alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs (k, k) of sets of which neither is among the nearest of the other."""
    nearest = min(NEAREST, int(alive.sum()) - 1)
    if nearest < 1:
        return np.ones(distance.shape, dtype=bool)
    limit = np.partition(distance, nearest - 1, axis=1)[:, nearest - 1]
    far: NDArray[np.bool_] = (distance > limit[:, None]) & (distance > limit[None])
    return far


def _candidates(
    distance: NDArray[np.float64], valley: NDArray[np.float64], level: float, far: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Distances (k, k) of the pairs that may merge at ``level``, infinite for all others.

    A pair whose valley is not computed yet (NaN) is a candidate, because NaN is not below the level.
    """
    return np.where((valley < level) | far, np.inf, distance)
