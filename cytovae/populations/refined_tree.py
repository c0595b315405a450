"""The merge tree of a refined model: the tree of a second model in place of a branch. Needs numpy only."""

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.merge_tree import MergeTree

_Merge = tuple[int, int, float, float]  # kept, absorbed, level, support


def refined_tree(
    tree: MergeTree, n_clusters: int, retired: tuple[int, ...], inner: MergeTree, n_parts: int
) -> MergeTree:
    """Replace clusters of a tree by the tree of a model that was trained on their cells.

    Parameters
    ----------
    tree : MergeTree
        The tree of k experts.
    n_clusters : int
        Number of clusters that it is cut into.
    retired : tuple of int
        The numbers of the clusters to replace.
    inner : MergeTree
        The tree of j experts of the second model.
    n_parts : int
        Number of parts that the second tree is cut into.

    Returns
    -------
    MergeTree
        The tree of k + j experts: first those of ``tree``. Experts of the retired clusters have no cells. Its cut into
        ``n_found`` keeps the numbers of all other clusters; the parts follow the highest number.
    """
    k = tree.n_experts
    numbers = tree.cut(n_clusters)
    inside = np.isin(numbers, retired)
    top = k + int(inner.cells.argmax())  # takes the place of the retired experts
    below, above = _split(tree, k - n_clusters), _split(inner, inner.n_experts - n_parts, first=k)
    outside = [merge for merge in below[0] if not inside[merge[0]]]
    adopted = [(top, int(expert), 1.0, np.nan) for expert in np.flatnonzero(inside)]
    same = adopted + above[0] + outside

    find = _Representatives(k + inner.n_experts)
    for kept, absorbed, *_ in same:
        find.join(kept, absorbed)
    between = _clipped(above[1], low=max((merge[2] for merge in below[1]), default=0.0))
    of_branch = None if len(retired) > 1 else tree.cluster_support(n_clusters)
    if between and of_branch is not None:
        between[-1] = (*between[-1][:3], float(of_branch[retired[0] - 1]))
    later: list[_Merge] = []
    for kept, absorbed, level, support in [*between, *below[1]]:
        a, b = (find.of(top if one < k and inside[one] else one) for one in (kept, absorbed))
        if a != b:  # retired clusters are one branch already
            find.join(a, b)
            later.append((a, b, level, support))

    merges = np.array([*same, *later], dtype=np.float64).reshape(-1, 4)
    shared = int(tree.cells[inside].sum()) / max(int(inner.cells.sum()), 1)
    scaled = np.where(inner.cells > 0, np.maximum(1, np.rint(inner.cells * shared)), 0).astype(np.int64)
    of_parts = int(numbers.max()) + inner.cut(n_parts)
    measured = tree.support is not None and inner.support is not None
    return MergeTree(
        kept=merges[:, 0].astype(np.int32),
        absorbed=merges[:, 1].astype(np.int32),
        level=merges[:, 2].astype(np.float32),
        n_same=len(same),
        cells=np.concatenate([np.where(inside, 0, tree.cells), scaled]),
        agreement=tree.agreement,
        support=merges[:, 3].astype(np.float32) if measured else None,
        expert_support=np.concatenate([tree.expert_support, inner.expert_support]) if measured else None,
        numbers=np.concatenate([np.where(inside, of_parts[top - k], numbers), of_parts]).astype(np.int32),
    )


def _split(tree: MergeTree, n_merges: int, first: int = 0) -> tuple[list[_Merge], list[_Merge]]:
    """The first ``n_merges`` merges and the others; ``first`` is the number of the tree's first expert."""
    support = np.full(len(tree.kept), np.nan) if tree.support is None else tree.support
    columns = (tree.kept + first, tree.absorbed + first, tree.level.astype(np.float64), support.astype(np.float64))
    merges: list[_Merge] = list(zip(*(column.tolist() for column in columns), strict=True))
    return merges[:n_merges], merges[n_merges:]


def _clipped(merges: list[_Merge], low: float) -> list[_Merge]:
    """The merges with levels of at least ``low``: parts join each other before they join other clusters."""
    return [(kept, absorbed, max(level, low), support) for kept, absorbed, level, support in merges]


class _Representatives:
    """The expert that represents the branch of each expert while branches join."""

    def __init__(self, n: int) -> None:
        self._up: NDArray[np.int64] = np.arange(n)

    def of(self, expert: int) -> int:
        while self._up[expert] != expert:
            expert = int(self._up[expert])
        return expert

    def join(self, kept: int, absorbed: int) -> None:
        self._up[self.of(absorbed)] = self.of(kept)
