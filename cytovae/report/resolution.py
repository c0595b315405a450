"""Cuts of the merge tree that a page can switch between, and the clusters of cells in each of them.

Clusters of one cut are numbered by size, so a number means another cluster in the next cut. Each cluster therefore also
has a slot, which it keeps while it grows or shrinks: where a cluster splits, its larger part keeps the slot. A slot has
one colour, and a cell changes its slot at few cuts only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.drawing import PALETTE
from cytovae.populations.merge_tree import MergeTree

MOST_CLUSTERS = len(PALETTE)
"""Finer cuts would need more colours than there are."""

_NO_SLOT = -1


@dataclass(frozen=True, eq=False)
class Resolutions:
    """Cuts of a tree, from coarse to fine.

    Attributes
    ----------
    numbers : tuple of int
        Number of clusters in each cut, ascending by one.
    main : int
        Position of the cut that the report is about.
    experts : ndarray of int32, shape (n_cuts, k)
        Cluster of each expert, from 1.
    slots : tuple of ndarray of int64, one of shape (n_clusters,) for each cut
        Slot of each cluster. In the main cut, cluster c has the slot c − 1.
    """

    numbers: tuple[int, ...]
    main: int
    experts: NDArray[np.int32]
    slots: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class SlotChanges:
    """The slots of cells in every cut, as the changes from each cut to the next finer one; before the first, none.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_cuts,)
        Number of changes at each cut.
    cell, slot : ndarray of int64, shape (n_changes,)
        The cell that changes and its new slot, cut by cut.
    """

    counts: NDArray[np.int64]
    cell: NDArray[np.int64]
    slot: NDArray[np.int64]


def resolutions(tree: MergeTree, n_clusters: int) -> Resolutions:
    """The cuts into two to forty clusters; with more in the report, into at most as many.

    Parameters
    ----------
    tree : MergeTree
        The tree.
    n_clusters : int
        Number of clusters of the report.
    """
    fewest = tree.n_experts - len(tree.kept)
    least = min(max(fewest, 2), n_clusters)
    most = max(min(tree.n_most, MOST_CLUSTERS), n_clusters)
    numbers = tuple(range(least, most + 1))
    experts = np.stack([tree.cut(number) for number in numbers])
    main = numbers.index(n_clusters)
    slots: dict[int, NDArray[np.int64]] = {main: np.arange(int(experts[main].max()))}
    for cut in range(main + 1, len(numbers)):
        slots[cut] = _of_parts(experts[cut - 1], experts[cut], slots[cut - 1])
    for cut in reversed(range(main)):
        slots[cut] = _of_wholes(experts[cut], experts[cut + 1], slots[cut + 1])
    return Resolutions(numbers, main, experts, tuple(slots[cut] for cut in range(len(numbers))))


def _of_parts(coarse: NDArray[np.int32], fine: NDArray[np.int32], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots of the clusters of the next finer cut: those of the larger parts, and new ones for the others."""
    found = np.full(int(fine.max()), _NO_SLOT, dtype=np.int64)
    taken: set[int] = set()
    for cluster in range(1, len(found) + 1):  # the larger of two parts has the smaller number
        slot = int(slots[coarse[fine == cluster][0] - 1])
        if slot not in taken:
            found[cluster - 1] = slot
            taken.add(slot)
    free = iter(range(int(slots.max()) + 1, int(slots.max()) + 1 + len(found)))
    return np.array([next(free) if slot == _NO_SLOT else slot for slot in found.tolist()], dtype=np.int64)


def _of_wholes(coarse: NDArray[np.int32], fine: NDArray[np.int32], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots of the clusters of the next coarser cut: those of their largest parts."""
    return np.array([slots[fine[coarse == cluster].min() - 1] for cluster in range(1, int(coarse.max()) + 1)])


def slot_changes(clusters: NDArray[np.int32], cuts: Resolutions) -> SlotChanges:
    """How the slots of cells change from cut to cut.

    Parameters
    ----------
    clusters : ndarray of int32, shape (n, n_cuts)
        Cluster of each cell in each cut, from 1.
    cuts : Resolutions
        The cuts.
    """
    before = np.full(len(clusters), _NO_SLOT, dtype=np.int64)
    cells, slots, counts = [], [], []
    for cut, slot_of in enumerate(cuts.slots):
        now = slot_of[clusters[:, cut] - 1]
        changed = np.flatnonzero(now != before)
        cells.append(changed)
        slots.append(now[changed])
        counts.append(len(changed))
        before = now
    return SlotChanges(np.array(counts, dtype=np.int64), np.concatenate(cells), np.concatenate(slots))
