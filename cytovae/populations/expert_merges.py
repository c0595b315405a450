"""From the tree of micro-clusters to the tree of experts."""

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.merge_tree import ROUNDING, MergeTree
from cytovae.populations.population_tree import PopulationTree, count_pairs
from cytovae.populations.valleys import LEVELS


def merge_tree(probabilities: NDArray[np.float32], populations: PopulationTree) -> MergeTree:
    """The merge tree of experts, from their ``probabilities`` (n, k) for the landmarks of ``populations``."""
    n_experts = probabilities.shape[1]
    expert = probabilities.argmax(1)
    cells = np.bincount(expert, minlength=n_experts)
    merges = [(int(a), int(b), 1.0) for a, b in _adopt_unused(probabilities, expert, cells)]
    used = np.flatnonzero(cells > 0)

    # An expert stands where most of its cells are: in one of the populations, there in one of its units.
    n_units = len(populations.population)
    held = count_pairs(np.searchsorted(used, expert), populations.unit)  # (used, units)
    population = (held @ np.eye(n_units)[populations.population]).argmax(1)  # (used,)
    home = np.where(populations.population[None] == population[:, None], held, -1).argmax(1)  # (used,)
    representative: list[int | None] = []  # of each unit, then of each branch of the linkage
    for index in range(n_units):
        members = sorted(used[home == index].tolist(), key=lambda e: (-cells[e], e))
        merges += [(members[0], other, 1.0) for other in members[1:]]
        representative.append(members[0] if members else None)
    n_same = len(merges)
    for left, right, at, _ in populations.linkage:
        a, b = representative[int(left)], representative[int(right)]
        if a is None or b is None:
            representative.append(b if a is None else a)
            continue
        a, b = sorted((a, b), key=lambda e: (-cells[e], e))
        merges.append((a, b, 1 - at))
        representative.append(a)
        n_same += at <= 1 - populations.level + ROUNDING
    kept, absorbed, valley = np.array(merges, dtype=np.float64).reshape(-1, 3).T
    return MergeTree(
        kept.astype(np.int32),
        absorbed.astype(np.int32),
        valley.astype(np.float32),
        int(n_same),
        cells.astype(np.int64),
        populations.agreement,
    )


def expert_tree(probabilities: NDArray[np.float32]) -> MergeTree:
    """The tree of the paper's presets, where a cluster is an expert: only unused experts are merged into others."""
    expert = probabilities.argmax(1)
    cells = np.bincount(expert, minlength=probabilities.shape[1])
    adopted = np.array(_adopt_unused(probabilities, expert, cells), dtype=np.int32).reshape(-1, 2)
    none = np.full(len(LEVELS), np.nan, dtype=np.float32)
    valley = np.ones(len(adopted), dtype=np.float32)
    return MergeTree(adopted[:, 0], adopted[:, 1], valley, len(adopted), cells.astype(np.int64), none)


def _adopt_unused(
    probabilities: NDArray[np.float32], expert: NDArray[np.int64], cells: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Experts that no training cell goes to, each after the used one whose cells think most of it."""
    used = np.flatnonzero(cells > 0)
    unused = np.flatnonzero(cells == 0)
    if not len(unused):
        return []
    shared = np.stack([probabilities[expert == a][:, unused].mean(0) for a in used])  # (used, unused)
    return [(int(used[column.argmax()]), int(b)) for b, column in zip(unused, shared.T, strict=True)]
