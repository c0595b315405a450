"""Names that a user gives to clusters. Clusters of one name are one population; the clusters keep their numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.label_tables import is_no_label
from cytovae.delimited import check_columns, parse_table, read_text
from cytovae.errors import InputError, UsageError

UNKNOWN = "unknown"
"""The population of a cluster without a name: a reserved word."""

_HEADERS = (("cluster", "name"), ("cluster", "population"))
_DEFAULT_NAME = re.compile(r"(?:cluster[\s_-]*)?0*(\d+)", flags=re.IGNORECASE)
_RESERVED = ("ungated", "unassigned", "not gated", "notgated")  # a cell with such a label has no population


@dataclass(frozen=True)
class ClusterNames:
    """The population of each cluster of a model.

    Attributes
    ----------
    of_cluster : tuple of str
        The population of clusters 1, 2, …; "unknown" for a cluster without a name. Several clusters may share one.
    known_below : tuple of float
        The novelty above which a cell of each cluster is unknown; empty if a cell always has the name of its cluster.
    """

    of_cluster: tuple[str, ...]
    known_below: tuple[float, ...] = ()

    @cached_property
    def populations(self) -> tuple[str, ...]:
        """The names, each once, in the order of their first clusters, without "unknown"."""
        return tuple(name for name in dict.fromkeys(self.of_cluster) if name != UNKNOWN)

    @cached_property
    def numbers(self) -> NDArray[np.int32]:
        """The population of each cluster as a number from 1 in the order of ``populations``; 0 is unknown."""
        number = {name: index for index, name in enumerate(self.populations, start=1)} | {UNKNOWN: 0}
        return np.array([number[name] for name in self.of_cluster], dtype=np.int32)

    def numbers_of_cells(self, cluster: NDArray[np.int32], novelty: NDArray[np.float32] | None) -> NDArray[np.int32]:
        """The population of each cell as a number, as in ``numbers``.

        It is that of its cluster, even if another population has a larger sum of probabilities, so that cluster and
        population never contradict each other; or unknown.

        Parameters
        ----------
        cluster : ndarray of int32, shape (n_cells,)
            The cluster of each cell, from 1.
        novelty : ndarray of float32, shape (n_cells,), optional
            How unlike the training cells each cell is.
        """
        numbers = self.numbers[cluster - 1]
        if novelty is None or not self.known_below:
            return numbers
        limit = np.asarray(self.known_below, dtype=np.float32)[cluster - 1]
        return np.where(novelty > limit, np.int32(0), numbers)

    def probability(
        self, cluster: NDArray[np.int32], p: NDArray[np.float32], numbers: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        """The probability of each cell's population: the sum of ``p`` over the clusters of that population.

        Parameters
        ----------
        cluster : ndarray of int32, shape (n_cells,)
            The cluster of each cell, from 1.
        p : ndarray of float32, shape (n_cells, n_clusters)
            Probability of each cluster.
        numbers : ndarray of int32, shape (n_cells,), optional
            The population of each cell, see :meth:`numbers_of_cells`. Default: that of its cluster.

        Returns
        -------
        ndarray of float32, shape (n_cells,)
            At most 1. At least the probability of the cluster itself, except for a cell that is unknown by its
            novelty: its sum is over clusters without a name, and 0 if there are none.
        """
        sums = np.zeros((len(p), len(self.populations) + 1), dtype=np.float32)
        for column, number in enumerate(self.numbers):
            sums[:, number] += p[:, column]
        numbers = self.numbers[cluster - 1] if numbers is None else numbers
        own = np.take_along_axis(sums, numbers[:, None], axis=1)[:, 0]
        return np.minimum(own, np.float32(1))


def name_clusters(names: Mapping[int, str], n_clusters: int, known: ClusterNames | None = None) -> ClusterNames:
    """The population of each of ``n_clusters`` clusters, from the ``names`` of some of them, numbered from 1.

    Clusters that ``names`` leaves out have the name that is ``known`` of them.

    Raises
    ------
    UsageError
        If a named cluster does not exist, or a name is refused by :func:`refusal`.
    """
    absent = sorted(cluster for cluster in names if not 1 <= cluster <= n_clusters)
    if absent:
        raise UsageError(f"there is no cluster {absent[0]} to name, only 1 … {n_clusters}")
    for cluster, name in names.items():
        reason = refusal(cluster, name)
        if reason:
            raise UsageError(f"cluster {cluster} cannot be called {name!r}: {reason}")
    others = (UNKNOWN,) * n_clusters if known is None else known.of_cluster
    return ClusterNames(tuple(names.get(cluster) or other for cluster, other in enumerate(others, start=1)))


def refusal(cluster: int, name: str) -> str:
    """Why ``cluster`` cannot have this name; empty if it can.

    The number or default name of another cluster ("2", "cluster 2", "cluster_2") would be taken for that cluster, and
    "ungated" or "unassigned" for a cell without a label.
    """
    default = _DEFAULT_NAME.fullmatch(name)
    if default and int(default[1]) != cluster:
        return f"that is what cluster {int(default[1])} is called without a name"
    return "the word means that a cell has no population" if name.casefold() in _RESERVED else ""


def read_names(path: Path, n_clusters: int) -> dict[int, str]:
    """Read the table of names at ``path``, see :func:`parse_names`."""
    return parse_names(read_text(path, "names"), path, n_clusters)


def parse_names(text: str, path: Path, n_clusters: int) -> dict[int, str]:
    """Parse a table of names.

    Parameters
    ----------
    text
        A text table with the columns ``cluster`` and ``name`` (or ``population``). Other columns are ignored. An empty
        name, NA or "unknown" leaves its cluster without a name.
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
        If a line cannot be parsed, if its cluster is a duplicate or not in 1 … ``n_clusters``, or if its name is
        refused by :func:`refusal`.
    """
    table = parse_table(text, path)
    header = [column.casefold() for column in table.header]
    columns = next((pair for pair in _HEADERS if set(pair) <= set(header)), None)
    if columns is None:
        raise InputError(path, "header", repr(table.first_line), "columns cluster, name")
    check_columns(table.header, columns, path)
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
        reason = refusal(int(cluster), name)
        if reason:
            raise InputError(path, f"line {number}, name", repr(name), f"another name for cluster {cluster}: {reason}")
        if name.casefold() != UNKNOWN and not is_no_label(name):
            names[int(cluster)] = name
    return names
