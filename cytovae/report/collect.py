"""Numbers of a report, collected from a model and files."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import InputError, UsageError
from cytovae.events.event_file import EventFile, file_names
from cytovae.events.marker_file import CHUNK
from cytovae.events.panel import columns_of
from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import SavedModel
from cytovae.metrics import contingency, score
from cytovae.model_folder.record import ModelRecord, matched_inputs
from cytovae.report.content import DOUBTFUL, STRANGE, Agreement, Cells, LandmarkMap, ReportContent, Sample
from cytovae.study.assign_study import assigned_chunks
from cytovae.study.sampling import read_cells


def collect(
    saved: SavedModel,
    record: ModelRecord,
    files: Sequence[EventFile],
    assigner: Assigner,
    *,
    gates: GateLabels | None = None,
    names: ClusterNames | None = None,
    sheet: SampleSheet = NO_SAMPLES,
    max_cells: int = 100_000,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> ReportContent:
    """Assign every event of ``files`` and sum up. ``gates`` are row-aligned with the files' events, one after another;
    ``progress`` is told how many events are done.

    Raises :class:`ModelError` where a file lacks a marker, :class:`InputError` for values that are not finite or files
    without any event, and :class:`UsageError` where gates have another length.
    """
    sizes = [file.n_events for file in files]
    total = sum(sizes)
    if not total:
        raise InputError(", ".join(str(file.path) for file in files), "$TOT", "no events", "cells to report on")
    if gates is not None and len(gates) != total:
        raise UsageError(f"{len(gates)} gate labels do not fit {total} events")
    columns = [columns_of(saved.panel, file).tolist() for file in files]
    cluster = np.empty(total, dtype=np.int32)
    probability = np.empty(total, dtype=np.float32)
    novelties: list[NDArray[np.float32]] = []
    done = 0
    for file, where in zip(files, columns, strict=True):
        for part in assigned_chunks(file, where, saved.panel.names, saved.transform, assigner, workers=workers):
            rows = slice(done, done + len(part))
            if part.novelty is not None:
                novelties.append(part.novelty)
            if names is not None:
                part = names.apply(part)
            cluster[rows], probability[rows] = part.cluster, part.probabilities.max(axis=1)
            done += len(part)
            if progress is not None:
                progress(done)
    population = np.full(total, UNGATED, dtype=np.int32) if gates is None else gates.population

    novelty = np.concatenate(novelties) if novelties else None

    def cells_at(rows: NDArray[np.int64], values: NDArray[np.float32]) -> Cells:
        told = None if novelty is None else novelty[rows]
        return Cells(values, cluster[rows], probability[rows], population[rows], told)

    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    drawn = read_cells(files, saved.panel, saved.transform, at_most=max_cells, seed=seed)
    sampled = cells_at(first[drawn.source] + drawn.event, drawn.values)

    inputs = matched_inputs(files, record.inputs)
    landmarks = _landmarks(saved, record, files, columns, inputs)
    called = file_names(files)
    n_clusters = saved.model.n_clusters if names is None else len(names.populations)

    def sample(index: int, file: EventFile) -> Sample:
        own = slice(first[index], first[index + 1])
        return Sample(
            called[index],
            str(file.path),
            np.bincount(cluster[own], minlength=n_clusters + 1)[1:],
            inputs[index] is not None,
            sheet.of(called[index]),
            int((probability[own] < DOUBTFUL).sum()),
            0 if novelty is None else int((novelty[own] >= STRANGE).sum()),
        )

    return ReportContent(
        saved=saved,
        record=record,
        samples=tuple(sample(index, file) for index, file in enumerate(files)),
        cluster=cluster,
        probability=probability,
        cells=sampled,
        medians=_medians(sampled, n_clusters),
        landmarks=None
        if landmarks is None
        else LandmarkMap(landmarks[0], landmarks[1], cells_at(first[landmarks[1]] + landmarks[2], landmarks[3])),
        agreement=_agreement(cluster, gates),
        novelty=novelty,
        names=names,
        sheet=sheet,
    )


def _medians(cells: Cells, n_clusters: int) -> NDArray[np.float32]:
    medians = np.full((n_clusters, cells.values.shape[1]), np.nan, dtype=np.float32)
    for index in range(n_clusters):
        own = cells.cluster == index + 1
        if own.any():
            medians[index] = np.median(cells.values[own], axis=0)
    return medians


def _landmarks(
    saved: SavedModel,
    record: ModelRecord,
    files: Sequence[EventFile],
    columns: Sequence[Sequence[int]],
    inputs: Sequence[int | None],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None:
    """Coordinates, file, event and values of the landmarks that come from ``files``; None where none does."""
    coordinates, source, events, values = [], [], [], []
    for index, (file, where, place) in enumerate(zip(files, columns, inputs, strict=True)):
        own = np.flatnonzero(record.landmarks.source == place) if place is not None else np.empty(0, dtype=np.int64)
        own = own[np.argsort(record.landmarks.event[own], kind="stable")]
        event = record.landmarks.event[own]
        if not len(own) or event[0] < 0 or event[-1] >= file.n_events:
            continue
        for number, chunk in enumerate(file.chunks(where, CHUNK)):
            low, high = np.searchsorted(event, [number * CHUNK, (number + 1) * CHUNK])
            values.append(saved.transform.apply(chunk[event[low:high] - number * CHUNK]))
        coordinates.append(record.landmarks.coordinates[own])
        source.append(np.full(len(own), index, dtype=np.int64))
        events.append(event)
    if not coordinates:
        return None
    return np.concatenate(coordinates), np.concatenate(source), np.concatenate(events), np.concatenate(values)


def _agreement(cluster: NDArray[np.int32], gates: GateLabels | None) -> Agreement | None:
    if gates is None:
        return None
    return Agreement(gates.names, contingency(cluster, gates), score(cluster, gates))
