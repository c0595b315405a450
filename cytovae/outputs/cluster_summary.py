"""Cells per file and cluster, and medians of every channel per cluster: what goes into ``--tables``. No files.

Memory is bounded whatever the number of cells: counts are always of all cells; medians are exact where there are at
most a million cells in all, and for each cluster of at most a million divided by the number of clusters. Of larger
clusters they are taken over a random sample of that size, drawn from the seed, so that rare clusters stay exact.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment
from cytovae.errors import NumericalError, UsageError
from cytovae.events.channel_names import marker_of
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel

CELLS_FOR_MEDIANS = 1_000_000


class ClusterSummary:
    """Counts and values of clusters, gathered chunk after chunk; read :meth:`abundance` and :meth:`medians` at the end.

    ``files`` are the files by the name they go by in tables, and ``columns`` says where in each the ``markers`` of the
    model are. A channel of several files is the same where it is the same marker, else where it has the same $PnN.
    """

    def __init__(
        self,
        files: Mapping[str, EventFile],
        columns: Mapping[str, Sequence[int]],
        markers: Sequence[str],
        n_clusters: int,
        *,
        populations: Sequence[str] = (),
        samples: SampleSheet = NO_SAMPLES,
        at_most: int = CELLS_FOR_MEDIANS,
        seed: int = 0,
    ) -> None:
        if populations and len(populations) != n_clusters:
            raise UsageError(f"{len(populations)} names do not fit {n_clusters} clusters")
        self.files = dict(files)
        self.markers = tuple(markers)
        self.n_clusters = n_clusters
        self.populations = tuple(populations)
        self.samples = samples
        self.counts = np.zeros((len(self.files), n_clusters), dtype=np.int64)
        self._place: dict[tuple[bool, str, int], int] = {}  # a channel of the study → its column here
        self._channels: list[Channel] = []
        self._columns = {name: self._join(file.channels, columns[name]) for name, file in self.files.items()}
        n_cells = sum(file.n_events for file in self.files.values())
        capacity = n_cells if n_cells <= at_most else max(1, at_most // n_clusters)
        dtype = np.result_type(np.float32, *(file.dtype for file in self.files.values()))
        self._samples = [_Sample(capacity, len(self._place), dtype) for _ in range(n_clusters)]
        self._draw = np.random.default_rng(seed)

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Take the cells ``first_event``, ``first_event`` + 1, … of ``file``; their values are read here."""
        raw = self.files[file].read(None, first_event, first_event + len(assignment))
        values = np.full((len(raw), len(self._place)), np.nan, dtype=self._samples[0].dtype)
        values[:, self._columns[file]] = raw
        sizes = np.bincount(assignment.cluster - 1, minlength=self.n_clusters)
        self.counts[list(self.files).index(file)] += sizes
        keys = self._draw.random(len(raw))
        by_cluster = np.split(np.argsort(assignment.cluster, kind="stable"), np.cumsum(sizes)[:-1])
        for sample, rows in zip(self._samples, by_cluster, strict=True):
            sample.add(keys[rows], values[rows])

    def abundance(self) -> pa.Table:
        """A row for each file and cluster, also where there are none: what the sample sheet says of the file, cells,
        and their fraction of the file's cells.

        The fraction is empty where a file has no events. Raises :class:`NumericalError` where the cells of a file are
        not as many as its events.
        """
        for (name, file), n_cells in zip(self.files.items(), self.counts.sum(axis=1).tolist(), strict=True):
            if n_cells != file.n_events:
                raise NumericalError(
                    f"{name}: {n_cells:,} cells were counted of {file.n_events:,} events; please report this"
                )
        totals = np.repeat(self.counts.sum(axis=1), self.n_clusters)
        cells = self.counts.ravel()
        fraction = np.divide(cells, totals, out=np.zeros(len(cells)), where=totals > 0)
        return pa.table(
            {
                "file": np.repeat(list(self.files), self.n_clusters),
                **{
                    column: [self.samples.of(file)[place] for file in self.files for _ in range(self.n_clusters)]
                    for place, column in enumerate(self.samples.columns)
                },
                **self._clusters(len(self.files)),
                "cells": cells,
                "fraction": pa.array(fraction, mask=totals == 0),
            }
        )

    def medians(self) -> pa.Table:
        """A row for each cluster and channel, with the median of the raw values.

        ``n_cells`` are the cells of the cluster in files that have the channel, ``n_values`` those of them that the
        median was taken over (NaN left out). The median is empty where there are none.
        """
        n_channels = len(self._place)
        has = np.zeros((len(self.files), n_channels), dtype=np.int64)
        for number, columns in enumerate(self._columns.values()):
            has[number, columns] = 1
        found = [sample.medians() for sample in self._samples]
        values = np.concatenate([medians for medians, _ in found])
        n_values = np.concatenate([count for _, count in found])
        keys = list(self._place)
        clusters = {
            name: [value for value in column for _ in range(n_channels)] for name, column in self._clusters(1).items()
        }
        return pa.table(
            {
                **clusters,
                "channel": [channel.name for channel in self._channels] * self.n_clusters,
                "marker": [
                    name if used else marker_of(channel)
                    for (used, name, _), channel in zip(keys, self._channels, strict=True)
                ]
                * self.n_clusters,
                "used_for_clustering": [used for used, _, _ in keys] * self.n_clusters,
                "median": pa.array(values, mask=n_values == 0),
                "n_cells": (self.counts.T @ has).ravel(),
                "n_values": n_values,
            }
        )

    def _clusters(self, times: int) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {"cluster": list(range(1, self.n_clusters + 1)) * times}
        return columns | ({"population": list(self.populations) * times} if self.populations else {})

    def _join(self, channels: Sequence[Channel], columns: Sequence[int]) -> NDArray[np.int64]:
        """The column here of each of the channels of a file; channels not yet known get one."""
        markers = dict(zip(columns, self.markers, strict=True))
        seen: Counter[tuple[bool, str]] = Counter()
        places = []
        for channel in channels:
            key = (channel.index in markers, markers.get(channel.index, channel.name))
            seen[key] += 1
            if (*key, seen[key]) not in self._place:
                self._channels.append(channel)
            places.append(self._place.setdefault((*key, seen[key]), len(self._place)))
        return np.array(places, dtype=np.int64)


class _Sample:
    """At most ``capacity`` rows of many, each row equally likely: those with the smallest random keys."""

    def __init__(self, capacity: int, width: int, dtype: np.dtype[Any]) -> None:
        self.capacity = capacity
        self.dtype = dtype
        self._limit = np.inf
        self._keys = [np.empty(0)]
        self._rows = [np.empty((0, width), dtype)]
        self._held = 0

    def add(self, keys: NDArray[np.float64], rows: NDArray[Any]) -> None:
        if self._limit < np.inf:
            near = keys < self._limit
            keys, rows = keys[near], rows[near]
        self._keys.append(keys)
        self._rows.append(rows)
        self._held += len(keys)
        if self._held > 2 * self.capacity:
            self._shrink()

    def medians(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The median of each column, and the number of values that it was taken over."""
        self._shrink()
        rows = self._rows[0]
        missing = np.isnan(rows)
        found = np.zeros(rows.shape[1], self.dtype)
        for column in range(rows.shape[1]):
            values = rows[~missing[:, column], column]
            if len(values):
                found[column] = np.median(values)
        return found, (~missing).sum(axis=0)

    def _shrink(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self.capacity:
            nearest = np.argpartition(keys, self.capacity - 1)[: self.capacity]
            keys, rows = keys[nearest], rows[nearest]
            self._limit = float(keys.max())
        self._keys, self._rows, self._held = [keys], [rows], len(keys)
