"""Collects the content of a report from a model and files: one pass over all cells, and a sample for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_gates import gates_of_clusters
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import InputError, UsageError
from cytovae.metrics import contingency, score
from cytovae.model_folder.record import ModelRecord, matched_inputs
from cytovae.report.content import (
    HIGH_NOVELTY,
    LOW_PROBABILITY,
    Agreement,
    Cells,
    Groups,
    LandmarkMap,
    NamedPopulations,
    ReportContent,
    ReportFile,
    population_groups,
    population_titles,
)
from cytovae.report.explored import explored_cells
from cytovae.report.file_differences import FileDifferences, differences_of_files
from cytovae.study.assign_study import AssignStudy, assigned_chunks
from cytovae.study.sampling import draw_cells


@dataclass(frozen=True, eq=False)
class _AllCells:
    """Cluster, probability, gate and novelty of every cell, (n,), file by file; ``first`` is the row of each file's
    first cell, with the number of cells at the end. ``population_probability`` is None if clusters have no names.
    """

    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    population: NDArray[np.int32]
    novelty: NDArray[np.float32] | None
    population_probability: NDArray[np.float32] | None
    first: NDArray[np.int64]

    def at(self, file: NDArray[np.integer], event: NDArray[np.int64], values: NDArray[np.float32]) -> Cells:
        """The cells that are ``event`` of the file at index ``file``, with their marker ``values``."""
        rows = self.first[file] + event
        novelty = None if self.novelty is None else self.novelty[rows]
        return Cells(values, self.cluster[rows], self.probability[rows], self.population[rows], novelty)


def collect(
    study: AssignStudy,
    record: ModelRecord,
    *,
    gates: GateLabels | None = None,
    max_cells: int = 100_000,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _done: None,
) -> ReportContent:
    """Assign every event of a study and summarise the result.

    Parameters
    ----------
    study : AssignStudy
        The files and the model.
    record : ModelRecord
        How the model came about.
    gates : GateLabels, optional
        The gate of every event, file by file.
    max_cells : int
        Number of cells that medians and distributions are computed from.
    seed : int
        Seed of the sample of these cells.
    progress : callable
        Receives the number of events that are assigned.

    Raises
    ------
    InputError
        If a value is not finite, or no file has an event.
    UsageError
        If the number of gate labels differs from the number of events.
    """
    n_events = sum(file.n_events for file in study.files)
    if not n_events:
        paths = ", ".join(str(file.file.path) for file in study.files)
        raise InputError(paths, "$TOT", "no events", "cells to report on")
    if gates is not None and len(gates) != n_events:
        raise UsageError(f"{len(gates)} gate labels do not fit {n_events} events")
    everything = _assign(study, gates, progress)
    drawn = draw_cells(study.files, at_most=max_cells, seed=seed)
    sample = everything.at(drawn.source, drawn.event, drawn.values)
    inputs = matched_inputs([file.file for file in study.files], record.inputs, record.paths)
    files = tuple(
        _report_file(study, everything, index, in_training=position is not None)
        for index, position in enumerate(inputs)
    )
    landmarks = _landmarks(study, record, everything, inputs)
    explored = explored_cells(
        study.saved.model,
        str(study.assigner.device),
        sample.values,
        None if landmarks is None else (landmarks.coordinates, landmarks.cells.values),
        seed=seed,
    )
    return ReportContent(
        saved=study.saved,
        record=record,
        files=files,
        cluster=everything.cluster,
        probability=everything.probability,
        cells=sample,
        medians=_medians(sample.values, sample.cluster - 1, study.n_clusters),
        explored=explored,
        landmarks=landmarks,
        agreement=_agreement(everything.cluster, gates),
        novelty=everything.novelty,
        gates_of_clusters=() if gates is None else gates_of_clusters(everything.cluster, gates, study.n_clusters),
        names=study.names,
        named=_named_populations(study, everything, sample, gates),
        sheet=study.samples,
        differences=_differences(study, sample, drawn.source, files),
    )


def _differences(
    study: AssignStudy, sample: Cells, source: NDArray[np.int32], files: tuple[ReportFile, ...]
) -> FileDifferences | None:
    if len(files) < 2:
        return None
    scaling = study.saved.model.scaling
    counts = np.stack([file.counts for file in files])
    return differences_of_files(sample.values, sample.cluster - 1, source, counts, scaling.high - scaling.low)


def _assign(study: AssignStudy, gates: GateLabels | None, progress: Callable[[int], None]) -> _AllCells:
    first = np.cumsum([0, *(file.n_events for file in study.files)]).astype(np.int64)
    n_events = int(first[-1])
    cluster = np.empty(n_events, dtype=np.int32)
    probability = np.empty(n_events, dtype=np.float32)
    novelty: list[NDArray[np.float32]] = []
    of_population: list[NDArray[np.float32]] = []
    names = study.extras.names
    done = 0
    for file in study.files:
        for chunk in assigned_chunks(file, study.assigner, workers=study.workers):
            if chunk.novelty is not None:
                novelty.append(chunk.novelty)
            if study.names is not None:
                number = names.numbers_of_cells(chunk.cluster, chunk.novelty)
                of_population.append(names.probability(chunk.cluster, chunk.probabilities, number))
            rows = slice(done, done + len(chunk))
            cluster[rows], probability[rows] = chunk.cluster, chunk.probabilities.max(axis=1)
            done += len(chunk)
            progress(done)
    population = np.full(n_events, UNGATED, dtype=np.int32) if gates is None else gates.population
    return _AllCells(cluster, probability, population, _joined(novelty), _joined(of_population), first)


def _joined(chunks: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    return np.concatenate(chunks) if chunks else None


def _report_file(study: AssignStudy, cells: _AllCells, index: int, *, in_training: bool) -> ReportFile:
    file = study.files[index]
    rows = slice(cells.first[index], cells.first[index + 1])
    return ReportFile(
        name=file.name,
        path=str(file.file.path),
        counts=np.bincount(cells.cluster[rows], minlength=study.n_clusters + 1)[1:],
        in_training=in_training,
        sample=study.samples.of(file.name),
        n_low_probability=int((cells.probability[rows] < LOW_PROBABILITY).sum()),
        n_high_novelty=0 if cells.novelty is None else int((cells.novelty[rows] >= HIGH_NOVELTY).sum()),
    )


def _medians(values: NDArray[np.float32], group: NDArray[np.integer], n_groups: int) -> NDArray[np.float32]:
    """Median of each marker in each group 0, 1, …, (n_groups, n_markers); NaN for a group without cells."""
    medians = np.full((n_groups, values.shape[1]), np.nan, dtype=np.float32)
    for index in range(n_groups):
        in_group = group == index
        if in_group.any():
            medians[index] = np.median(values[in_group], axis=0)
    return medians


def _named_populations(
    study: AssignStudy,
    cells: _AllCells,
    sample: Cells,
    gates: GateLabels | None,
) -> NamedPopulations | None:
    names, probability = study.extras.names, cells.population_probability
    if probability is None or not names.populations:
        return None
    titles = population_titles(names)
    group = population_groups(names, cells.cluster, cells.novelty)
    sizes = np.bincount(group, minlength=len(titles))
    sums = np.bincount(group, weights=probability, minlength=len(titles))
    of_cluster = population_groups(names, np.arange(1, study.n_clusters + 1, dtype=np.int32), None)
    of_files = np.split(group, cells.first[1:-1])
    groups = Groups(
        titles=titles,
        numbers=titles,
        counts=np.stack([np.bincount(each, minlength=len(titles)) for each in of_files]),
        medians=_medians(sample.values, population_groups(names, sample.cluster, sample.novelty), len(titles)),
        clusters=tuple(tuple((np.flatnonzero(of_cluster == index) + 1).tolist()) for index in range(len(titles))),
    )
    mean = np.divide(sums, sizes, out=np.full(len(titles), np.nan), where=sizes > 0)
    number = names.numbers_of_cells(cells.cluster, cells.novelty)
    return NamedPopulations(names, groups, mean, _agreement(number, gates) if number.any() else None)


def _landmarks(
    study: AssignStudy, record: ModelRecord, cells: _AllCells, inputs: tuple[int | None, ...]
) -> LandmarkMap | None:
    """The landmarks that come from the files of the study; None if there are none."""
    landmarks = record.landmarks
    coordinates, source, events, values = [], [], [], []
    for index, (file, position) in enumerate(zip(study.files, inputs, strict=True)):
        if position is None:
            continue
        rows = np.flatnonzero(landmarks.source == position)
        rows = rows[np.argsort(landmarks.event[rows], kind="stable")]
        event = landmarks.event[rows]  # ascending
        if not len(rows) or event[0] < 0 or event[-1] >= file.n_events:
            continue
        coordinates.append(landmarks.coordinates[rows])
        source.append(np.full(len(rows), index, dtype=np.int64))
        events.append(event)
        values.append(file.values_at(event))
    if not coordinates:
        return None
    sources = np.concatenate(source)
    landmark_cells = cells.at(sources, np.concatenate(events), np.concatenate(values))
    return LandmarkMap(np.concatenate(coordinates), sources, landmark_cells)


def _agreement(cluster: NDArray[np.int32], gates: GateLabels | None) -> Agreement | None:
    if gates is None:
        return None
    return Agreement(gates.names, contingency(cluster, gates), score(cluster, gates))
