"""Experts to clusters, without labels: which sets of experts are one population, and the tree of all merges.

What is arbitrary about a fine partition does not come back in another one: the landmarks are parted finely several
times, each time merged level by level (see ``valleys``), and the tree is the average of the repetitions, so it can be
cut anywhere. Populations are told apart by valleys less than half as high as the lower of their peaks. How deep the
valleys are that gates follow is not the same in all panels, though: where deep ones separate fewer populations than a
panel commonly resolves, shallower ones are followed, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans

from cytovae.metrics import adjusted_rand_index
from cytovae.populations.merge_tree import ROUNDING
from cytovae.populations.partition import fine_partition
from cytovae.populations.valley_process import Aside
from cytovae.populations.valleys import LEVELS, ValleyHierarchy, valley_hierarchy

# Sizes of the repeated partitions, relative to the number of experts: a structure that depends on the grain is not one.
GRAINS = (1.0, 0.75, 1.33, 0.9, 1.1, 0.8)


# The first so many are for a second process, if there is one: it need not make the partitions.
GRAINS_ASIDE = 4


# A part of fewer cells has no density to speak of.
CELLS_PER_PART = 40


# Shallower valleys than this are never followed: they are seen in a single population as well.
SHALLOWEST = 0.8


# Among fewer landmarks a shallow valley is as likely chance.
CELLS_FOR_SHALLOW = 5_000


LEVEL_STEP = 0.01


# Share of the landmarks that makes a cluster count among the populations a panel resolves: smaller ones are debris,
# doublets and rare cells, of which any number may be there.
COUNTED_SHARE = 0.002


# Files are taken one by one, or in groups of like ones where there are more of them or few landmarks of each.
MOST_ORIGINS = 16


CELLS_PER_ORIGIN = 1_000


@dataclass(frozen=True, eq=False)
class PopulationTree:
    """Small units of the landmarks and how they join to populations.

    ``unit`` int64 (n,), 0 … u − 1, is the unit of each landmark; ``linkage`` (u − 1, 4) scipy's, its heights 1 − the
    level at which two branches join; ``level`` where it is cut, and ``population`` int64 (u,), 0 …, what units are
    then part of. ``agreement`` float32 (n_levels,): see :class:`MergeTree`.
    """

    unit: NDArray[np.int64]
    linkage: NDArray[np.float64]
    level: float
    population: NDArray[np.int64]
    agreement: NDArray[np.float32]


def population_tree(
    values: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    source: NDArray[np.int32],
    *,
    units: int,
    valley: float,
    populations: int,
    seed: int,
    workers: int = 1,
) -> PopulationTree:
    """The tree of at most ``units`` units of landmarks ``values`` (n, m) with UMAP ``coordinates`` (n, 2), ``source``
    (n,) being the file each came from.

    It is cut at the level ``valley``, or at the first finer one with ``populations`` clusters of some size. With two
    ``workers`` a second process takes most of the repetitions.
    """
    # Repetitions, and their average over small units that no repetition knows.
    origin = _origin(values, source, seed)
    with Aside(values, origin, range(seed, seed + GRAINS_ASIDE), wanted=workers > 1) as aside:
        parts = []
        for index in range(len(GRAINS)):
            parts.append(_partition(coordinates, units, seed, index))
            if index < GRAINS_ASIDE:
                aside.add(parts[-1])
        unit = _partition(coordinates, units, seed, len(GRAINS))  # (n,)
        here = [
            valley_hierarchy(values, parts[index], origin, seed + index) for index in range(GRAINS_ASIDE, len(GRAINS))
        ]
        hierarchies = [*aside.result(), *here]
    n_units = int(unit.max()) + 1
    joined = np.zeros((n_units, n_units))  # the mean level at which the cells of two units come together
    for part, hierarchy in zip(parts, hierarchies, strict=True):
        share = count_pairs(unit, part)
        share /= share.sum(1, keepdims=True)  # (units, parts)
        joined += share @ hierarchy.joined @ share.T / len(parts)
    height = np.clip(1 - (joined + joined.T) / 2, 0, 1)
    np.fill_diagonal(height, 0)
    linkage = average(squareform(height, checks=False)) if n_units > 1 else np.zeros((0, 4))
    agreement = [
        _agreement(_cut(linkage, n_units, at)[unit], parts, hierarchies, row) for row, at in enumerate(LEVELS.tolist())
    ]
    level = _level(linkage, np.bincount(unit), valley, populations)
    return PopulationTree(unit, linkage, level, _cut(linkage, n_units, level), np.array(agreement, dtype=np.float32))


def _partition(coordinates: NDArray[np.float32], n_experts: int, seed: int, index: int) -> NDArray[np.int64]:
    """One fine partition (n,) of the UMAP coordinates, none of its parts empty."""
    grain = GRAINS[index % len(GRAINS)]
    wanted = int(min(n_experts, len(coordinates) // CELLS_PER_PART) * grain)
    part = fine_partition(coordinates, max(wanted, 1), seed + index)
    return np.unique(part, return_inverse=True)[1].astype(np.int64)


def count_pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cells in each pair of groups, (n_first, n_second)."""
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    counts = np.bincount(first * columns + second, minlength=rows * columns)
    return counts.reshape(rows, columns).astype(np.float64)


def _origin(values: NDArray[np.float32], source: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """The file of each cell (n,), 0 …, or its group of files with like means where there are too many to compare."""
    files, origin = np.unique(source, return_inverse=True)
    most = max(1, min(MOST_ORIGINS, len(values) // CELLS_PER_ORIGIN))
    if len(files) <= most:
        return origin.astype(np.int64)
    spread = values.std(0) + 1e-9
    mean = np.stack([(values[origin == index] / spread).mean(0) for index in range(len(files))])  # (files, m)
    group = KMeans(most, n_init=4, random_state=seed).fit_predict(mean)
    return np.unique(group[origin], return_inverse=True)[1].astype(np.int64)


def _cut(linkage: NDArray[np.float64], n_units: int, level: float) -> NDArray[np.int64]:
    """The groups (n_units,), 0 …, that the tree has at a level."""
    if not len(linkage):
        return np.zeros(n_units, dtype=np.int64)
    groups: NDArray[np.int64] = fcluster(linkage, 1 - level + ROUNDING, "distance").astype(np.int64) - 1
    return groups


def _level(linkage: NDArray[np.float64], sizes: NDArray[np.int64], valley: float, populations: int) -> float:
    """The level to cut at: ``valley``, or the first finer one with enough clusters that count; ``sizes`` (n_units,)."""
    finest = max(valley, SHALLOWEST) if sizes.sum() >= CELLS_FOR_SHALLOW else valley
    levels = np.arange(valley, finest + ROUNDING, LEVEL_STEP)
    for level in levels.tolist():
        cells = np.bincount(_cut(linkage, len(sizes), level), weights=sizes)
        if (cells >= COUNTED_SHARE * sizes.sum()).sum() >= populations:
            return float(level)
    return float(levels[-1])


def _agreement(
    ours: NDArray[np.int64],
    parts: list[NDArray[np.int64]],
    hierarchies: list[ValleyHierarchy],
    row: int,
) -> float:
    """Mean adjusted Rand index of each repetition's groups at one level with the tree's, ``ours`` (n,)."""
    indices = []
    for part, hierarchy in zip(parts, hierarchies, strict=True):
        theirs = np.unique(hierarchy.groups[row], return_inverse=True)[1][part]
        indices.append(adjusted_rand_index(count_pairs(ours, theirs).astype(np.int64)))
    return float(np.mean(indices))
