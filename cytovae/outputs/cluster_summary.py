"""Abundance and medians per cluster: the tables of ``assign --tables``. Opens no files.

Counts include every cell, with quality control every one that passes. Medians are exact for up to a million cells in
all. Beyond that, at most a million divided by the number of clusters are used of each cluster: all cells of a rare
cluster, a random sample of a larger one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment
from cytovae.errors import NumericalError, UsageError
from cytovae.events.channel_names import marker_of
from cytovae.events.marker_file import MarkerFile
from cytovae.fcs.channels import Channel
from cytovae.outputs.columns import CLUSTER, Extras, abundance_schema, clusters_schema, medians_schema

CELLS_FOR_MEDIANS = 1_000_000


class ClusterSummary:
    """Counts and medians of clusters, collected chunk by chunk with :meth:`write`.

    A channel of one file and a channel of another are the same if they measure the same marker of the panel, else if
    they have the same $PnN.

    Parameters
    ----------
    files : sequence of MarkerFile
        The files to summarise.
    n_clusters : int
        Number of clusters.
    populations : sequence of str, optional
        The population of each cluster, if clusters have names.
    known_below : sequence of float, optional
        The novelty above which a cell of each cluster is unknown, see :class:`cytovae.outputs.columns.Extras`.
    samples : SampleSheet, optional
        What is known of each file; its columns go into the table of abundances.
    retired : sequence of int, optional
        Numbers of clusters that are not in use, in a refined model; they have no rows.
    at_most : int
        Number of cells that medians are computed from, over all clusters.
    seed : int
        Seed of the samples of large clusters.

    Raises
    ------
    UsageError
        If the number of names differs from the number of clusters.
    """

    def __init__(
        self,
        files: Sequence[MarkerFile],
        n_clusters: int,
        *,
        populations: Sequence[str] = (),
        known_below: Sequence[float] = (),
        samples: SampleSheet = NO_SAMPLES,
        retired: Sequence[int] = (),
        at_most: int = CELLS_FOR_MEDIANS,
        seed: int = 0,
    ) -> None:
        if populations and len(populations) != n_clusters:
            raise UsageError(f"{len(populations)} names do not fit {n_clusters} clusters")
        self.files = {file.name: file for file in files}
        self.n_clusters = n_clusters
        self.counts = np.zeros((len(self.files), n_clusters), dtype=np.int64)
        self.unknown = np.zeros_like(self.counts)  # cells whose population is unknown
        self._extras = Extras(
            tuple(populations), samples, retired=tuple(retired), known_below=tuple(known_below) if populations else ()
        )
        self._n_seen: Counter[str] = Counter()
        self._positions: dict[tuple[bool, str, int], int] = {}  # (is a marker, name, occurrence) -> column here
        self._channels: list[Channel] = []
        self._columns = {name: self._register(file) for name, file in self.files.items()}
        n_cells = sum(file.n_events for file in self.files.values())
        capacity = n_cells if n_cells <= at_most else max(1, at_most // n_clusters)
        dtype = np.result_type(np.float32, *(file.file.dtype for file in self.files.values()))
        self._samples = [_Sample(capacity, len(self._positions), dtype) for _ in range(n_clusters)]
        self._rng = np.random.default_rng(seed)

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on; reads their raw values.

        Cells that fail quality control are left out.
        """
        raw = self.files[file].file.read(None, first_event, first_event + len(assignment))
        self._n_seen[file] += len(assignment)
        if assignment.qc is not None:
            raw, assignment = raw[assignment.qc == 0], _passing(assignment)
        values = np.full((len(raw), len(self._positions)), np.nan, dtype=self._samples[0].dtype)
        values[:, self._columns[file]] = raw
        sizes = np.bincount(assignment.cluster - 1, minlength=self.n_clusters)
        index = list(self.files).index(file)
        self.counts[index] += sizes
        if self._extras.known_below:
            number = self._extras.names.numbers_of_cells(assignment.cluster, assignment.novelty)
            self.unknown[index] += np.bincount(assignment.cluster[number == 0] - 1, minlength=self.n_clusters)
        keys = self._rng.random(len(raw))
        by_cluster = np.split(np.argsort(assignment.cluster, kind="stable"), np.cumsum(sizes)[:-1])
        for sample, rows in zip(self._samples, by_cluster, strict=True):
            sample.add(keys[rows], values[rows])

    def abundance(self) -> pa.Table:
        """Cells per file and cluster: a row for each pair, also without cells.

        Returns
        -------
        pyarrow.Table
            File, its columns of the sample sheet, cluster, population, cells, and their fraction of the file's cells
            (null for a file without events). In a model that learned labels, also the number of those cells whose
            population is unknown, because they are unlike anything labelled.

        Raises
        ------
        NumericalError
            If the number of cells of a file differs from its number of events.
        """
        for name, file in self.files.items():
            if self._n_seen[name] != file.n_events:
                raise NumericalError(
                    f"{name}: {self._n_seen[name]:,} cells were counted of {file.n_events:,} events; please report this"
                )
        n_files = len(self.files)
        totals = np.repeat(self.counts.sum(axis=1), self.n_clusters)
        cells = self.counts.ravel()
        fraction = np.divide(cells, totals, out=np.zeros(len(cells)), where=totals > 0)
        samples = [self._extras.samples.of(file) for file in self.files for _ in range(self.n_clusters)]
        columns = [
            np.repeat(list(self.files), self.n_clusters),
            *([texts[index] for texts in samples] for index in range(len(self._extras.samples.columns))),
            *(names * n_files for names in self._clusters()),
            cells,
            pa.array(fraction, mask=totals == 0),
            *([self.unknown.ravel()] if self._extras.known_below else []),
        ]
        return self._present(_table(columns, abundance_schema(self._extras)))

    def clusters(self, support: NDArray[np.float32] | None = None) -> pa.Table:
        """Cells of each cluster in all files.

        Parameters
        ----------
        support : ndarray of float32, shape (n_clusters,), optional
            Support of each cluster. Default: not measured.

        Returns
        -------
        pyarrow.Table
            Cluster, population, cells, their fraction of all cells (null without cells), and support (null if it was
            not measured). In a model that learned labels, also the number of cells whose population is unknown.
        """
        cells = self.counts.sum(axis=0)
        total = max(1, int(cells.sum()))
        values = np.full(self.n_clusters, np.nan) if support is None else support.astype(np.float64)
        columns = [
            *self._clusters(),
            cells,
            pa.array(cells / total, mask=np.full(len(cells), not cells.any())),
            pa.array(values, mask=np.isnan(values)),
            *([self.unknown.sum(axis=0)] if self._extras.known_below else []),
        ]
        return self._present(_table(columns, clusters_schema(self._extras)))

    def medians(self) -> pa.Table:
        """Medians of the raw values: a row for each cluster and channel.

        Returns
        -------
        pyarrow.Table
            ``n_cells`` is the number of cells of the cluster in files that have the channel, ``n_values`` the number
            of values that the median is computed from (NaN is skipped). The median is null if there are none.
        """
        n_channels = len(self._positions)
        is_present = np.zeros((len(self.files), n_channels), dtype=np.int64)
        for index, columns in enumerate(self._columns.values()):
            is_present[index, columns] = 1
        medians = [sample.medians() for sample in self._samples]
        values = np.concatenate([median for median, _ in medians])
        n_values = np.concatenate([count for _, count in medians])
        markers = [
            name if is_marker else marker_of(channel)
            for (is_marker, name, _), channel in zip(self._positions, self._channels, strict=True)
        ]
        table = [
            *([value for value in column for _ in range(n_channels)] for column in self._clusters()),
            [channel.name for channel in self._channels] * self.n_clusters,
            markers * self.n_clusters,
            [is_marker for is_marker, _, _ in self._positions] * self.n_clusters,
            pa.array(values, mask=n_values == 0),
            (self.counts.T @ is_present).ravel(),
            n_values,
        ]
        return self._present(_table(table, medians_schema(self._extras, pa.from_numpy_dtype(values.dtype))))

    def _present(self, table: pa.Table) -> pa.Table:
        """The rows of clusters whose numbers are in use."""
        if not self._extras.retired:
            return table
        return table.filter(~np.isin(table.column(CLUSTER).to_numpy(), self._extras.retired))

    def _clusters(self) -> list[list[Any]]:
        """Numbers of the clusters, and their names if they have some."""
        populations = list(self._extras.populations)
        return [list(range(1, self.n_clusters + 1)), *([populations] if populations else [])]

    def _register(self, file: MarkerFile) -> NDArray[np.int64]:
        """The column here of each channel of ``file``; unknown channels get a new one."""
        markers = dict(zip(file.columns, file.panel.names, strict=True))
        seen: Counter[tuple[bool, str]] = Counter()
        positions = []
        for channel in file.file.channels:
            key = (channel.index in markers, markers.get(channel.index, channel.name))
            seen[key] += 1
            if (*key, seen[key]) not in self._positions:
                self._channels.append(channel)
            positions.append(self._positions.setdefault((*key, seen[key]), len(self._positions)))
        return np.array(positions, dtype=np.int64)


def _passing(assignment: Assignment) -> Assignment:
    """Clusters, probabilities and novelty of the cells that pass quality control."""
    rows = assignment.qc == 0
    novelty = None if assignment.novelty is None else assignment.novelty[rows]
    return Assignment(assignment.cluster[rows], assignment.probabilities[rows], novelty=novelty)


class _Sample:
    """A random sample of at most ``capacity`` rows of a stream: those with the smallest random keys."""

    def __init__(self, capacity: int, n_columns: int, dtype: np.dtype[Any]) -> None:
        self.capacity = capacity
        self.dtype = dtype
        self._limit = np.inf
        self._keys = [np.empty(0)]
        self._rows = [np.empty((0, n_columns), dtype)]
        self._size = 0

    def add(self, keys: NDArray[np.float64], rows: NDArray[Any]) -> None:
        if self._limit < np.inf:
            below = keys < self._limit
            keys, rows = keys[below], rows[below]
        self._keys.append(keys)
        self._rows.append(rows)
        self._size += len(keys)
        if self._size > 2 * self.capacity:
            self._shrink()

    def medians(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The median of each column, and the number of values behind it; 0 if there are none."""
        self._shrink()
        rows = self._rows[0]
        missing = np.isnan(rows)
        medians = np.zeros(rows.shape[1], self.dtype)
        for column in range(rows.shape[1]):
            values = rows[~missing[:, column], column]
            if len(values):
                medians[column] = np.median(values)
        return medians, (~missing).sum(axis=0)

    def _shrink(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self.capacity:
            smallest = np.argpartition(keys, self.capacity - 1)[: self.capacity]
            keys, rows = keys[smallest], rows[smallest]
            self._limit = float(keys.max())
        self._keys, self._rows, self._size = [keys], [rows], len(keys)


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type)
        for column, type in zip(columns, schema.types, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
