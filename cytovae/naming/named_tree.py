"""A merge tree that is cut where cells have different names."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, cophenet
from scipy.spatial.distance import squareform

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.marker_table import PanelTypes
from cytovae.naming.evidence import Evidence
from cytovae.naming.naming import Naming
from cytovae.naming.populations_by_table import NamedCells
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.partition import count_overlaps
from cytovae.populations.population_tree import PopulationTree

Array = NDArray[np.float64]

# A part of a micro-cluster with fewer cells joins the nearest part of its population.
LEAST_CELLS = 10


def named_tree(
    tree: PopulationTree, values: NDArray[np.float32], named: NamedCells, most: int
) -> tuple[PopulationTree, tuple[str, ...]]:
    """The tree with micro-clusters that do not mix names, cut into one population for each name.

    Cells without a name keep the populations that ``tree`` found among them.

    Parameters
    ----------
    tree
        Micro-clusters of the landmarks, as the data suggest them.
    values
        Marker values (n, m) of the landmarks.
    named
        Their names.
    most
        The largest number of micro-clusters, the number of experts.

    Returns
    -------
    PopulationTree
        Heights are below 1 − level within a population, and above between populations.
    tuple of str
        The name of each of its populations; "unknown" for those without one.
    """
    population = np.where(named.population >= 0, named.population, len(named.names) + tree.landmark_population)
    kept, population = np.unique(population, return_inverse=True)
    names = tuple(named.names[old] if old < len(named.names) else UNKNOWN for old in kept)
    part, micro_cluster = _parts(tree.micro_cluster, population, values, most)
    u = len(micro_cluster)
    of_part = np.zeros(u, dtype=np.int64)
    of_part[part] = population
    linkage = np.zeros((0, 4))
    if u > 1:
        height = squareform(cophenet(tree.linkage)) if len(tree.linkage) else np.zeros((1, 1))
        height = height[np.ix_(micro_cluster, micro_cluster)]
        same = of_part[:, None] == of_part[None]
        border = 1 - tree.level
        height = np.where(same, border * height * 0.999, border + 0.001 + (1 - border) * height * 0.999)
        np.fill_diagonal(height, 0)
        linkage = average(squareform(height, checks=False))
    return replace(tree, micro_cluster=part, linkage=linkage, population=of_part, support=None), names


def naming_of_model(
    probabilities: NDArray[np.float32],
    tree: PopulationTree,
    names: tuple[str, ...],
    merges: MergeTree,
    named: NamedCells,
    types: PanelTypes,
) -> Naming:
    """The names of the experts, from their ``probabilities`` (n, k) for the landmarks of a :func:`named_tree`."""
    expert = probabilities.argmax(1)
    n_experts = probabilities.shape[1]
    counts = np.zeros((n_experts, len(names)))
    overlap = count_overlaps(expert.astype(np.int64), tree.landmark_population)
    counts[: len(overlap)] = overlap
    population = counts.argmax(1)
    cluster = merges.cut(merges.n_found)
    for one in np.unique(cluster):  # an unused expert has the name of the cluster that adopts it
        members = np.flatnonzero(cluster == one)
        population[members] = counts[members].sum(0).argmax()
    of_expert = tuple(names[index] for index in population)
    evidence: tuple[Evidence, ...] = tuple(each for each in named.evidence if each.name in of_expert)
    lost = tuple(each.name for each in named.evidence if each.name not in of_expert)
    return Naming(of_expert, types, evidence, (*named.not_found, *lost), named.low, named.high)


def _parts(
    micro_cluster: NDArray[np.int64], population: NDArray[np.int64], values: NDArray[np.float32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The part of each cell (n,), from 0, and the micro-cluster that each part comes from.

    A part is the cells of one population in one micro-cluster. Small ones, and the smallest while there are more than
    ``most``, join the nearest part of their population.
    """
    n_populations = int(population.max()) + 1
    key, part = np.unique(micro_cluster * n_populations + population, return_inverse=True)
    source, owner = key // n_populations, key % n_populations
    size = np.bincount(part).astype(np.float64)
    total = np.stack([np.bincount(part, weights=column) for column in values.T], axis=1)  # (parts, m)
    target = np.arange(len(key))
    alive = np.ones(len(key), dtype=np.bool_)
    for smallest in np.argsort(size, kind="stable").tolist():
        if size[smallest] >= LEAST_CELLS and alive.sum() <= most:
            continue
        others = np.flatnonzero(alive & (owner == owner[smallest]))
        others = others[others != smallest]
        if not alive[smallest] or not len(others):
            continue
        mean = total[others] / size[others, None]
        nearest = others[((mean - total[smallest] / size[smallest]) ** 2).sum(1).argmin()]
        total[nearest] += total[smallest]
        size[nearest] += size[smallest]
        alive[smallest] = False
        target[smallest] = nearest
    while not alive[target].all():
        target = target[target]
    numbers, renumbered = np.unique(target[part], return_inverse=True)
    return renumbered.astype(np.int64), source[numbers]
