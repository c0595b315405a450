"""Marker tables and the experts of a trained model: for `assign --types` and `refine --types`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.marker_table import PanelTypes
from cytovae.events.marker_file import MarkerFile
from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import TrainedModel
from cytovae.naming.naming import Naming
from cytovae.naming.populations_by_table import CellsAround, name_populations
from cytovae.populations.merge_tree import MergeTree
from cytovae.study.sampling import draw_cells

MOST_CELLS = 20_000


def name_clusters_by_table(model: TrainedModel, files: Sequence[MarkerFile], types: PanelTypes) -> Naming:
    """Name the clusters of ``model`` from at most 20,000 cells of ``files``. No cluster changes.

    The cells of each expert are a micro-cluster. A cluster has the name of most of its cells.
    """
    cells = draw_cells(files, at_most=MOST_CELLS)
    fine = model.with_clusters(model.tree.n_most)
    present, expert_group, linkage = _expert_groups(fine, cells.values)
    named = name_populations(cells.values, expert_group, linkage, types)
    n_names = len(named.names)
    votes = np.zeros((model.highest_cluster, n_names + 1), dtype=np.int64)  # the last column is for unknown
    cluster_of_group = np.zeros(fine.highest_cluster + 1, dtype=np.int64)
    cluster_of_group[fine.expert_clusters] = model.expert_clusters - 1
    np.add.at(votes, (cluster_of_group[present][expert_group], named.population), 1)
    names = (*named.names, UNKNOWN)
    of_cluster = [names[int(row.argmax())] if row.any() else UNKNOWN for row in votes]
    of_expert = tuple(of_cluster[cluster - 1] for cluster in model.expert_clusters.tolist())
    lost = tuple(name for name in named.names if name not in of_expert)
    evidence = tuple(each for each in named.evidence if each.name in of_expert)
    return Naming(of_expert, types, evidence, (*named.not_found, *lost), named.low, named.high)


def cells_around(
    model: TrainedModel, clusters: tuple[int, ...], values: NDArray[np.float32], share: float
) -> CellsAround | None:
    """The cells outside some clusters, to name the cells inside by a marker table; None if there are none.

    Parameters
    ----------
    model, clusters
        A model, and the numbers of clusters.
    values
        Transformed marker values (n, m) of random cells, inside and outside.
    share
        Share of all cells that are outside.
    """
    outside = values[~np.isin(Assigner(model).assign(values).cluster, clusters)]
    if not len(outside):
        return None
    _, expert_group, linkage = _expert_groups(model.with_clusters(model.tree.n_most), outside)
    return CellsAround(outside, expert_group, linkage, share)


def _expert_groups(
    fine: TrainedModel, values: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Groups of experts of a model in its finest cut, as micro-clusters of cells ``values`` (n, m).

    Returns the u numbers that occur, the index of each cell's group (n,), and how the groups merge (u − 1, 4).
    """
    present, group = np.unique(Assigner(fine).assign(values).cluster, return_inverse=True)
    return present, group.astype(np.int64), _linkage(fine.tree, fine.expert_clusters, present)


def _linkage(tree: MergeTree, group: NDArray[np.int32], present: NDArray[np.int32]) -> NDArray[np.float64]:
    """How the groups ``present`` (u,) of experts merge, (u − 1, 4) as in :mod:`scipy.cluster.hierarchy`.

    ``group`` (k,) is the group of each expert. Branches that never merge in the tree join at level 0.
    """
    branch_of = {number: index for index, number in enumerate(present.tolist())}
    branch = {expert: branch_of.get(number) for expert, number in enumerate(group.tolist())}
    rows: list[tuple[float, float, float, float]] = []
    n_merges = tree.n_experts - tree.n_most
    members: dict[int, list[int]] = {}
    for expert, number in enumerate(group.tolist()):
        members.setdefault(number, []).append(expert)
    sets = {expert: members[number] for expert, number in enumerate(group.tolist())}
    for kept, absorbed, level in zip(
        tree.kept[n_merges:].tolist(), tree.absorbed[n_merges:].tolist(), tree.level[n_merges:].tolist(), strict=True
    ):
        a, b = branch[kept], branch[absorbed]
        joined = a if b is None else b
        if a is not None and b is not None:
            rows.append((a, b, 1 - min(max(level, 0.0), 1.0), 0))
            joined = len(present) + len(rows) - 1
        both = sets[kept] + sets[absorbed]
        for expert in both:
            branch[expert], sets[expert] = joined, both
    roots = sorted({one for one in branch.values() if one is not None})
    while len(roots) > 1:
        rows.append((roots[0], roots[1], 1.0, 0))
        roots = [*roots[2:], len(present) + len(rows) - 1]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
