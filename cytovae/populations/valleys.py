"""Which neighbouring sets of cells are one population: no valley of density between them.

Cells in small parts are merged, nearest parts first, as long as the density along the line between two parts
has no valley deeper than a level; then the level is lowered. One pass gives nested groupings for all levels.

Where cells come from several files, a valley is looked for within files: files differ by small shifts of all their
cells, and a population that has shifted would look like two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.cell_sets import CellSets

LEVELS = np.round(np.arange(0.95, -0.01, -0.05), 2)
"""Densities between two sets, over the lower of their peaks, at which they are looked at: from hardly a dip to none."""


# Only near sets can be without a valley between them.
NEAREST = 8


@dataclass(frozen=True, eq=False)
class ValleyHierarchy:
    """Groupings of parts: ``groups`` int64 (n_levels, k), one label per part at each of :data:`LEVELS`, each row
    coarser than the one before; ``joined`` float64 (k, k), the level at which two parts came together (1 for itself).
    """

    groups: NDArray[np.int64]
    joined: NDArray[np.float64]


def valley_hierarchy(
    values: NDArray[np.float32], part: NDArray[np.int64], origin: NDArray[np.int64], seed: int
) -> ValleyHierarchy:
    """Merge the parts (n,), 0 … k − 1 and none empty, of cells ``values`` (n, m), level by level; ``origin`` (n,),
    0 … g − 1, is the file of a cell, or its group of like files.
    """
    sets = CellSets(values, part, origin, seed)
    k = sets.k
    alive = np.ones(k, dtype=bool)
    distance = np.full((k, k), np.inf)
    for first in range(k - 1):
        others = np.arange(first + 1, k)
        distance[first, others] = distance[others, first] = sets.distance(first, others)
    valley = np.full((k, k), np.nan)  # not looked at yet
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
    """Pairs (k, k) of which neither is among the other's nearest."""
    nearest = min(NEAREST, int(alive.sum()) - 1)
    if nearest < 1:
        return np.ones(distance.shape, dtype=bool)
    limit = np.partition(distance, nearest - 1, axis=1)[:, nearest - 1]
    far: NDArray[np.bool_] = (distance > limit[:, None]) & (distance > limit[None])
    return far


def _candidates(
    distance: NDArray[np.float64], valley: NDArray[np.float64], level: float, far: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Distances (k, k) of the pairs that may be merged at ``level``, infinite for others. A valley that was not looked
    at is NaN, which is not below: still a candidate.
    """
    return np.where((valley < level) | far, np.inf, distance)
