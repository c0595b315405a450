"""Names that a user gives to clusters. Clusters with the same name are merged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import Assignment
from cytovae.delimited import parse_table, read_text
from cytovae.errors import InputError, UsageError

_HEADERS = (("cluster", "name"), ("cluster", "population"))


@dataclass(frozen=True, eq=False)
class ClusterNames:
    """How the clusters of a model become named populations.

    Attributes
    ----------
    populations : tuple of str
        Names of the populations, in the order of their numbers.
    merged : ndarray of int32, shape (n_clusters,)
        The population of each cluster, numbered from 1.
    """

    populations: tuple[str, ...]
    merged: NDArray[np.int32]

    def apply(self, assignment: Assignment) -> Assignment:
        """Merge the clusters of each population: their probabilities are summed, and the largest sum decides.

        So a cell that is divided between two clusters of one population may leave a third cluster for it.
        """
        if assignment.probabilities.shape[1] != len(self.merged):
            raise UsageError(f"{assignment.probabilities.shape[1]} clusters do not fit names for {len(self.merged)}")
        p = np.zeros((len(assignment), len(self.populations)), dtype=np.float32)
        for cluster, population in enumerate(self.merged):
            p[:, population - 1] += assignment.probabilities[:, cluster]
        return replace(assignment, cluster=p.argmax(axis=1).astype(np.int32) + 1, probabilities=p)


def name_clusters(names: Mapping[int, str], sizes: NDArray[np.int64]) -> ClusterNames:
    """Number the populations that ``names`` define.

    The largest population has number 1; on a tie, the one with the lowest cluster comes first. Sizes are those of the
    training cells, so that numbers do not depend on the files that are assigned.

    Parameters
    ----------
    names
        Names of clusters, numbered from 1. A cluster without a name becomes a population of its own, "cluster 7".
    sizes : ndarray of int64, shape (n_clusters,)
        Training cells in each cluster.

    Raises
    ------
    UsageError
        If a named cluster does not exist.
    """
    unknown = sorted(cluster for cluster in names if not 1 <= cluster <= len(sizes))
    if unknown:
        raise UsageError(f"there is no cluster {unknown[0]} to name, only 1 … {len(sizes)}")
    name_of_each = [names.get(cluster) or f"cluster {cluster}" for cluster in range(1, len(sizes) + 1)]
    total: dict[str, int] = {}
    for name, size in zip(name_of_each, sizes.tolist(), strict=True):
        total[name] = total.get(name, 0) + size
    populations = tuple(sorted(total, key=lambda name: -total[name]))  # stable: ties keep the order of clusters
    return ClusterNames(populations, np.array([populations.index(name) + 1 for name in name_of_each], dtype=np.int32))


def read_names(path: Path, n_clusters: int) -> dict[int, str]:
    """Read the table of names at ``path``, see :func:`parse_names`."""
    return parse_names(read_text(path, "names"), path, n_clusters)


def parse_names(text: str, path: Path, n_clusters: int) -> dict[int, str]:
    """Parse a table of names.

    Parameters
    ----------
    text
        A text table with the columns ``cluster`` and ``name`` (or ``population``). Other columns are ignored; an
        empty name leaves its cluster unnamed.
    path
        Where the table is, for messages.
    n_clusters
        The number of clusters of the model.

    Returns
    -------
    dict
        The name of each named cluster.

    Raises
    ------
    InputError
        If a line cannot be parsed, or its cluster is a duplicate or not in 1 … ``n_clusters``.
    """
    table = parse_table(text, path)
    header = [column.casefold() for column in table.header]
    columns = next((pair for pair in _HEADERS if set(pair) <= set(header)), None)
    if columns is None:
        raise InputError(path, "header", repr(table.first_line), "columns cluster, name")
    cluster_column, name_column = (header.index(column) for column in columns)
    names: dict[int, str] = {}
    seen: set[int] = set()
    for number, cells in table.rows:
        cluster = cells[cluster_column]
        if not (cluster.isascii() and cluster.isdecimal() and 1 <= int(cluster) <= n_clusters):
            raise InputError(path, f"line {number}, cluster", repr(cluster), f"a number in 1 … {n_clusters}")
        if int(cluster) in seen:
            raise InputError(path, f"line {number}, cluster", f"{cluster} again", "one row for each cluster")
        seen.add(int(cluster))
        name = " ".join(cells[name_column].split())
        if name:
            names[int(cluster)] = name
    return names
