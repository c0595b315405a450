"""Names for clusters: a table (cluster, name) → populations. Clusters of one name become one. No files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import Assignment
from cytovae.delimited import parse_sheet
from cytovae.errors import InputError, UsageError

_HEADERS = (("cluster", "name"), ("cluster", "population"))


@dataclass(frozen=True, eq=False)
class ClusterNames:
    """How the clusters of a model become named populations.

    ``populations`` are the names, in the order of their new numbers; ``merged`` is the new number, from 1, of each of
    the model's clusters, int32 of shape (n_clusters,).
    """

    populations: tuple[str, ...]
    merged: NDArray[np.int32]

    def apply(self, assignment: Assignment) -> Assignment:
        """The same cells with clusters of one name merged: probabilities are summed, and the largest sum decides.

        So a cell that is torn between two clusters of one name may move there from a third one.
        """
        if assignment.probabilities.shape[1] != len(self.merged):
            raise UsageError(f"{assignment.probabilities.shape[1]} clusters do not fit names for {len(self.merged)}")
        p = np.zeros((len(assignment), len(self.populations)), dtype=np.float32)
        for old, new in enumerate(self.merged):
            p[:, new - 1] += assignment.probabilities[:, old]
        return replace(assignment, cluster=p.argmax(axis=1).astype(np.int32) + 1, probabilities=p)


def name_clusters(names: Mapping[int, str], sizes: NDArray[np.int64]) -> ClusterNames:
    """Populations from the ``names`` of clusters, numbered from 1; ``sizes`` (n_clusters,) are those of the training
    cells.

    Clusters of one name are one population. A cluster without a name stays by itself, as "cluster 7". Populations are
    numbered by size, the largest first, on a tie by their lowest cluster; the training cells decide, so the numbers
    are the same whatever files are assigned. Raises :class:`UsageError` for a cluster that there is not.
    """
    unknown = sorted(cluster for cluster in names if not 1 <= cluster <= len(sizes))
    if unknown:
        raise UsageError(f"there is no cluster {unknown[0]} to name, only 1 … {len(sizes)}")
    each = [names.get(cluster) or f"cluster {cluster}" for cluster in range(1, len(sizes) + 1)]
    total: dict[str, int] = {}
    for name, size in zip(each, sizes.tolist(), strict=True):
        total[name] = total.get(name, 0) + size
    populations = tuple(sorted(total, key=lambda name: -total[name]))  # stable: ties stay in order
    return ClusterNames(populations, np.array([populations.index(name) + 1 for name in each], dtype=np.int32))


def parse_names(text: str, path: Path, n_clusters: int) -> dict[int, str]:
    """The names by cluster from a table with the columns ``cluster`` and ``name`` (or ``population``).

    Comma, semicolon or tab separate them; other columns are ignored, and an empty name is none. ``path`` is for
    messages: :class:`InputError` names the line that cannot be understood, names a cluster twice or one that is not
    among 1 … ``n_clusters``.
    """
    sheet = parse_sheet(text, path)
    header = [column.casefold() for column in sheet.header]
    columns = next((pair for pair in _HEADERS if set(pair) <= set(header)), None)
    if columns is None:
        raise InputError(path, "header", repr(sheet.first_line), "columns cluster, name")
    where_cluster, where_name = (header.index(column) for column in columns)
    names: dict[int, str] = {}
    seen: set[int] = set()
    for number, cells in sheet.rows:
        cluster = cells[where_cluster]
        if not (cluster.isascii() and cluster.isdecimal() and 1 <= int(cluster) <= n_clusters):
            raise InputError(path, f"line {number}, cluster", repr(cluster), f"a number in 1 … {n_clusters}")
        if int(cluster) in seen:
            raise InputError(path, f"line {number}, cluster", f"{cluster} again", "one row for each cluster")
        seen.add(int(cluster))
        name = " ".join(cells[where_name].split())
        if name:
            names[int(cluster)] = name
    return names


def read_names(path: Path, n_clusters: int) -> dict[int, str]:
    """The names of clusters in the table at ``path``, see :func:`cytovae.annotations.cluster_names.parse_names`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "names", str(error), "a readable text file in UTF-8") from error
    return parse_names(text, path, n_clusters)
