"""A merge tree that is cut where cells have different names."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, cophenet
from scipy.spatial.distance import squareform

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.marker_table import PanelTypes
from cytovae.naming.evidence import Evidence
from cytovae.naming.naming import Naming
from cytovae.naming.populations_by_table import CellsAround, NamedCells, name_populations
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.partition import count_overlaps
from cytovae.populations.population_tree import PopulationTree

Array = NDArray[np.float64]

# A part of a micro-cluster with fewer cells joins the nearest part of its population.
LEAST_CELLS = 10


@dataclass(frozen=True, eq=False)
class NamedTree:
    """A merge tree that is cut into one population for each name.

    Attributes
    ----------
    tree : PopulationTree
        Its micro-clusters do not mix names. Heights are below 1 − level within a population, and above it between
        populations.
    names : tuple of str
        The name of each of its populations; "unknown" for those without one.
    cells : NamedCells
        The names of the landmarks.
    types : PanelTypes
        The marker table.
    """

    tree: PopulationTree
    names: tuple[str, ...]
    cells: NamedCells
    types: PanelTypes

    def naming(self, probabilities: NDArray[np.float32], merges: MergeTree) -> Naming:
        """The names of the experts, from their ``probabilities`` (n, k) for the landmarks, and their ``merges``."""
        expert = probabilities.argmax(1)
        counts = count_overlaps(expert, self.tree.landmark_population, probabilities.shape[1], len(self.names))
        population = np.empty(len(counts), dtype=np.int64)
        cluster = merges.cut(merges.n_found)
        for one in np.unique(cluster):  # an unused expert has the name of the cluster that adopts it
            members = np.flatnonzero(cluster == one)
            population[members] = counts[members].sum(0).argmax()
        of_expert = tuple(self.names[index] for index in population)
        evidence: tuple[Evidence, ...] = tuple(each for each in self.cells.evidence if each.name in of_expert)
        lost = tuple(each.name for each in self.cells.evidence if each.name not in of_expert)
        absent = (*self.cells.not_found, *lost)
        return Naming(of_expert, self.types, evidence, absent, self.cells.low, self.cells.high)


def name_tree(
    tree: PopulationTree,
    values: NDArray[np.float32],
    types: PanelTypes,
    most: int,
    around: CellsAround | None = None,
) -> NamedTree:
    """Name the landmarks of a tree by a marker table, and cut the tree where names differ.

    Cells without a name keep the populations that ``tree`` found among them.

    Parameters
    ----------
    tree
        Micro-clusters of the landmarks, as the data suggest them.
    values
        Marker values (n, m) of the landmarks.
    types
        The marker table.
    most
        The largest number of micro-clusters, the number of experts.
    around
        Cells outside the tree, if it is that of a part of the data only.
    """
    named = name_populations(values, tree.micro_cluster, tree.linkage, types, around)
    population = np.where(named.population >= 0, named.population, len(named.names) + tree.landmark_population)
    kept, population = np.unique(population, return_inverse=True)
    names = tuple(named.names[old] if old < len(named.names) else UNKNOWN for old in kept)
    return NamedTree(cut_between(tree, values, population, most), names, named, types)


def cut_between(
    tree: PopulationTree, values: NDArray[np.float32], population: NDArray[np.int64], most: int
) -> PopulationTree:
    """The same tree with micro-clusters that do not mix populations, cut between populations.

    Parameters
    ----------
    tree, values, most
        See :func:`name_tree`.
    population
        The population of each landmark (n,), from 0, none of them empty.
    """
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
    return replace(tree, micro_cluster=part, linkage=linkage, population=of_part, support=None)


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
