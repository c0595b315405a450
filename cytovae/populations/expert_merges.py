"""From the tree of micro-clusters to the tree of experts."""

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.merge_tree import ROUNDING, MergeTree
from cytovae.populations.partition import count_overlaps
from cytovae.populations.population_tree import PopulationTree
from cytovae.populations.valleys import LEVELS

# Least number of landmarks of a cluster without a name. A named population may have fewer.
FEWEST_CELLS = 5


def merge_experts(probabilities: NDArray[np.float32], tree: PopulationTree, *, named: bool = False) -> MergeTree:
    """The merge tree of k experts, given their ``probabilities`` (n, k) for the landmarks of ``tree``.

    Experts without cells merge first, then experts of the same micro-cluster, then along the linkage of the
    micro-clusters. Of two experts that merge, the one with more cells represents both. A landmark is a cell of the most
    probable expert of its most probable population, because a cluster's probability is the sum of those of its experts.
    A population that is no landmark's most probable one has no cluster, nor has one of fewer than five landmarks,
    unless populations are ``named``.
    """
    n_experts = probabilities.shape[1]
    population = _populations(probabilities, tree)  # (k,)
    expert = _within_populations(probabilities, population, fewest=1 if named else FEWEST_CELLS)  # (n,)
    cells = np.bincount(expert, minlength=n_experts)
    used = np.flatnonzero(cells > 0)
    support_of = np.full(2 * len(tree.linkage) + 1, np.nan) if tree.support is None else tree.support

    def by_cells(experts: list[int]) -> list[int]:
        return sorted(experts, key=lambda e: (-cells[e], e))

    home = _home(np.searchsorted(used, expert), population[used], tree)  # (used,)
    expert_support = np.full(n_experts, np.nan, dtype=np.float32)
    expert_support[used] = support_of[home]
    adopted = _adopt_unused(probabilities, expert, population)
    merges = [(int(a), int(b), 1.0, expert_support[a]) for a, b in adopted]
    representative: list[int | None] = []  # expert of each micro-cluster, then of each branch of the linkage
    for index in range(len(tree.population)):
        members = by_cells(used[home == index].tolist())
        merges += [(members[0], other, 1.0, support_of[index]) for other in members[1:]]
        representative.append(members[0] if members else None)
    n_same = len(merges)
    for branch, (left, right, height, _) in enumerate(tree.linkage, start=len(tree.population)):
        a, b = representative[int(left)], representative[int(right)]
        if a is None or b is None:
            representative.append(b if a is None else a)
            continue
        a, b = by_cells([a, b])
        merges.append((a, b, 1 - height, support_of[branch]))
        representative.append(a)
        n_same += height <= 1 - tree.level + ROUNDING
    kept, absorbed, level, support = np.array(merges, dtype=np.float64).reshape(-1, 4).T
    return MergeTree(
        kept.astype(np.int32),
        absorbed.astype(np.int32),
        level.astype(np.float32),
        int(n_same),
        cells.astype(np.int64),
        tree.agreement,
        support.astype(np.float32),
        expert_support,
    )


def keep_experts(probabilities: NDArray[np.float32]) -> MergeTree:
    """The tree of the paper's presets, in which a cluster is an expert: only experts without cells are merged.

    ``probabilities`` (n, k) are those of the landmarks.
    """
    expert = probabilities.argmax(1)
    cells = np.bincount(expert, minlength=probabilities.shape[1])
    adopted = np.array(_adopt_unused(probabilities, expert), dtype=np.int32).reshape(-1, 2)
    agreement = np.full(len(LEVELS), np.nan, dtype=np.float32)
    level = np.ones(len(adopted), dtype=np.float32)
    return MergeTree(adopted[:, 0], adopted[:, 1], level, len(adopted), cells.astype(np.int64), agreement)


def _populations(probabilities: NDArray[np.float32], tree: PopulationTree) -> NDArray[np.int64]:
    """The population of each expert (k,): that of most landmarks whose most probable expert it is.

    An expert that is the most probable one of no landmark has the population of the expert that adopts it.
    """
    expert = probabilities.argmax(1)
    overlaps = count_overlaps(expert, tree.landmark_population, probabilities.shape[1])  # (k, populations)
    population: NDArray[np.int64] = overlaps.argmax(1)
    for kept, unused in _adopt_unused(probabilities, expert):
        population[unused] = population[kept]
    return population


def _within_populations(
    probabilities: NDArray[np.float32], population: NDArray[np.int64], *, fewest: int
) -> NDArray[np.int64]:
    """The most probable expert (n,) of each landmark's most probable population; ``population`` (k,) is of experts.

    A landmark has the next probable population if its own would have fewer than ``fewest`` landmarks.
    """
    # Sums of columns, because several threads may change the last bit of a matrix product.
    columns = [probabilities[:, population == index].sum(1) for index in range(int(population.max()) + 1)]
    of_population = np.stack(columns, 1)  # (n, populations)
    n_cells = np.bincount(of_population.argmax(1), minlength=len(columns))
    of_population[:, n_cells < fewest] = -1
    most = of_population.argmax(1)  # (n,)
    expert: NDArray[np.int64] = np.where(population == most[:, None], probabilities, -1).argmax(1)
    return expert


def _home(expert: NDArray[np.int64], population: NDArray[np.int64], tree: PopulationTree) -> NDArray[np.int64]:
    """The micro-cluster of each expert: of those of its ``population`` (experts,), the one with most of its cells.

    ``expert`` (n,) is the expert of each landmark, numbered without gaps.
    """
    counts = count_overlaps(expert, tree.micro_cluster)  # (experts, micro-clusters)
    home: NDArray[np.int64] = np.where(tree.population == population[:, None], counts, -1).argmax(1)
    return home


def _adopt_unused(
    probabilities: NDArray[np.float32], expert: NDArray[np.int64], population: NDArray[np.int64] | None = None
) -> list[tuple[int, int]]:
    """Pairs of experts: each without cells, after the one whose cells give it the highest mean probability.

    ``expert`` (n,) is the expert of each landmark. If any expert of its ``population`` (k,) has cells, an expert
    without cells is adopted by one of these.
    """
    used = np.unique(expert)
    unused = np.setdiff1d(np.arange(probabilities.shape[1]), used)
    if not len(unused):
        return []
    mean = np.stack([probabilities[expert == a][:, unused].mean(0) for a in used])  # (used, unused)
    if population is not None:
        same = population[used][:, None] == population[unused]  # (used, unused)
        mean = np.where(same | ~same.any(0), mean, -1)
    return [(int(used[column.argmax()]), int(b)) for b, column in zip(unused, mean.T, strict=True)]
