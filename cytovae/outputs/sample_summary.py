"""Abundance and medians per sample and population: two tables of ``assign --tables``. Opens no files.

A sample is the files with the same text in the column ``sample`` of the sheet, else one file. A population is the
clusters of one name; a cluster without a name is one by itself, "cluster 7".
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment
from cytovae.events.marker_file import MarkerFile
from cytovae.outputs.cluster_summary import CELLS_FOR_MEDIANS, ClusterSummary

SAMPLE = "sample"


class SampleSummary:
    """Counts and medians of samples and populations, collected chunk by chunk with :meth:`write`.

    The cells of a sample are kept only until its last file is finished, so memory does not grow with their number.

    Parameters
    ----------
    files : sequence of MarkerFile
        The files, in the order in which they are written.
    n_clusters : int
        Number of clusters.
    populations : sequence of str, optional
        The population of each cluster, if clusters have names.
    known_below : sequence of float, optional
        The novelty above which a cell of each cluster is unknown, see :class:`cytovae.outputs.columns.Extras`.
    samples : SampleSheet, optional
        What is known of each file.
    retired : sequence of int, optional
        Numbers of clusters that are not in use, in a refined model.
    at_most : int
        Number of cells of a sample that medians are computed from, see :class:`ClusterSummary`.
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
    ) -> None:
        named = [
            f"cluster {number}" if name == UNKNOWN else name
            for number, name in enumerate(populations or [UNKNOWN] * n_clusters, start=1)
        ]
        in_use = [name for number, name in enumerate(named, start=1) if number not in retired]
        self.populations = tuple(dict.fromkeys(in_use))
        self._known_below = np.asarray(known_below, dtype=np.float32)
        if len(self._known_below):
            self.populations = (*self.populations, UNKNOWN)
        self._number = np.array(
            [self.populations.index(name) + 1 if name in in_use else 0 for name in named], dtype=np.int32
        )
        self._at_most = at_most
        self._sample = {file.name: _sample_of(file.name, samples) for file in files}
        self._files = {sample: [f for f in files if self._sample[f.name] == sample] for sample in self._sample.values()}
        self._left = {sample: sum(file.n_events for file in own) for sample, own in self._files.items()}
        self._open: dict[str, ClusterSummary] = {}
        self._abundance: dict[str, pa.Table] = {}
        self._medians: dict[str, pa.Table] = {}
        for sample, left in list(self._left.items()):
            if not left:
                self._finish(sample)

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on; reads their raw values."""
        sample = self._sample[file]
        number = self._number[assignment.cluster - 1]
        if len(self._known_below) and assignment.novelty is not None:
            unlike = assignment.novelty > self._known_below[assignment.cluster - 1]
            number = np.where(unlike, np.int32(len(self.populations)), number)
        of_population = replace(assignment, cluster=number)
        self._summary(sample).write(file, first_event, of_population)
        self._left[sample] -= len(assignment)
        if not self._left[sample]:
            self._finish(sample)

    def abundance(self) -> pa.Table:
        """Cells of each population in each sample, and their fraction of its cells."""
        return pa.concat_tables([self._abundance[sample] for sample in self._files])

    def medians(self) -> pa.Table:
        """Medians of the raw values: a row for each sample, population and channel."""
        return pa.concat_tables([self._medians[sample] for sample in self._files], promote_options="permissive")

    def _summary(self, sample: str) -> ClusterSummary:
        if sample not in self._open:
            n_groups = len(self.populations)
            self._open[sample] = ClusterSummary(
                self._files[sample], n_groups, populations=self.populations, at_most=self._at_most
            )
        return self._open[sample]

    def _finish(self, sample: str) -> None:
        summary = self._summary(sample)
        counts = summary.counts.sum(axis=0)
        total = int(counts.sum())
        self._abundance[sample] = pa.table(
            {
                SAMPLE: pa.array([sample] * len(counts)),
                "population": pa.array(self.populations),
                "cells": pa.array(counts),
                "fraction": pa.array(counts / max(total, 1), mask=np.full(len(counts), not total)),
            }
        )
        medians = summary.medians().drop_columns(["cluster"])
        self._medians[sample] = medians.add_column(0, SAMPLE, pa.array([sample] * len(medians), pa.string()))
        del self._open[sample]


def _sample_of(file: str, samples: SampleSheet) -> str:
    if SAMPLE not in samples.columns:
        return file
    return samples.of(file)[samples.columns.index(SAMPLE)] or file
