"""The numbers of a report: one pass over the files for clusters and probabilities, a sample of cells for the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.assignment import Assigner
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import InputError, UsageError
from cytovae.event_files import EventFile
from cytovae.metrics import Contingency, ScoreReport, contingency, score
from cytovae.modelfile import SavedModel
from cytovae.names import ClusterNames
from cytovae.panel import columns_of
from cytovae.report.record import ModelRecord, matched_inputs
from cytovae.samples import NO_SAMPLES, SampleSheet
from cytovae.study import CHUNK, assigned_chunks, file_names, read_cells

DOUBTFUL, SURE = 0.5, 0.9
ODD, STRANGE = 0.5, 0.9  # novelty
_MOST_NAMED = 4  # markers named as a cluster's own


@dataclass(frozen=True, eq=False)
class Sample:
    """One file: ``counts`` int64 (n_clusters,), all its cells by cluster, whether the model learned from it, what the
    sample sheet says of it, and how many of its cells are of low probability and high novelty.
    """

    name: str
    path: str
    counts: NDArray[np.int64]
    learned_from: bool
    about: tuple[str, ...] = ()
    n_doubtful: int = 0
    n_strange: int = 0

    def title(self, sheet: SampleSheet) -> str:
        """The sample's name where the sheet has one, else the file's."""
        return self.about[sheet.columns.index("sample")] or self.name if "sample" in sheet.columns else self.name

    @property
    def n_cells(self) -> int:
        """All cells of the file."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells: transformed ``values`` float32 (n, n_markers), ``cluster`` int32 (n,) from 1, ``probability``
    float32 (n,) of that cluster, ``population`` int32 (n,), −1 where ungated or where there are no gates, and
    ``novelty`` float32 (n,), where the model tells it.
    """

    values: NDArray[np.float32]
    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    population: NDArray[np.int32]
    novelty: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class LandmarkMap:
    """Landmarks of the files at hand, with the UMAP ``coordinates`` float32 (n, 2) that training gave them, and the
    place of each one's file among the samples, ``source`` int64 (n,).
    """

    coordinates: NDArray[np.float32]
    source: NDArray[np.int64]
    cells: Cells


@dataclass(frozen=True, eq=False)
class Agreement:
    """Clusters against manual gates: the names of populations, the counted pairs, and the scores made of them."""

    names: tuple[str, ...]
    table: Contingency
    scores: ScoreReport


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows.

    ``cells`` are the sample that medians and distributions are taken from. ``medians`` (n_clusters, n_markers) are on
    the transformed scale, NaN for a cluster without a cell in it. ``probability`` float32 (n,), ``cluster`` int32 (n,)
    and ``novelty`` float32 (n,), where the model tells it, are of all cells, file after file. With ``names`` clusters
    are the populations of that table, and ``sheet`` names the columns of what is known of each sample.
    """

    saved: SavedModel
    record: ModelRecord
    samples: tuple[Sample, ...]
    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    cells: Cells
    medians: NDArray[np.float32]
    landmarks: LandmarkMap | None
    agreement: Agreement | None
    novelty: NDArray[np.float32] | None = None
    names: ClusterNames | None = None
    sheet: SampleSheet = NO_SAMPLES

    @property
    def markers(self) -> tuple[str, ...]:
        """The names of the markers, in the order of the model."""
        return self.saved.panel.names

    @property
    def n_clusters(self) -> int:
        """Clusters of the model, also those without a cell here; with names, the populations."""
        return self.saved.model.n_clusters if self.names is None else len(self.names.populations)

    @property
    def titles(self) -> tuple[str, ...]:
        """What each cluster is called: its number, and its name where it has one."""
        numbers = [str(number) for number in range(1, self.n_clusters + 1)]
        if self.names is None:
            return tuple(numbers)
        return tuple(f"{number} {name}" for number, name in zip(numbers, self.names.populations, strict=True))

    @property
    def counts(self) -> NDArray[np.int64]:
        """All cells by cluster, int64 (n_clusters,)."""
        counts: NDArray[np.int64] = np.bincount(self.cluster, minlength=self.n_clusters + 1)[1:]
        return counts

    @property
    def scaled_medians(self) -> NDArray[np.float32]:
        """The medians with the range of each marker in training as [0, 1]."""
        return self.saved.model.scaling.scale(self.medians)


@dataclass(frozen=True)
class ClusterRow:
    """One line of the table of clusters: its cells, how sure the model is of them, and what sets them apart.

    ``high`` and ``low`` are the markers whose scaled median differs most from the mean over clusters.
    """

    cluster: int
    cells: int
    share: float
    mean_probability: float
    n_doubtful: int
    n_unsure: int
    high: tuple[str, ...]
    low: tuple[str, ...]
    population: str
    purity: float
    n_strange: int = 0


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


def cluster_rows(content: ReportContent) -> tuple[ClusterRow, ...]:
    """The table of clusters, in the order of their numbers."""
    counts = content.counts
    n_bins = content.n_clusters + 1
    total = np.bincount(content.cluster, weights=content.probability, minlength=n_bins)[1:]
    doubtful = np.bincount(content.cluster[content.probability < DOUBTFUL], minlength=n_bins)[1:]
    unsure = np.bincount(content.cluster[content.probability < SURE], minlength=n_bins)[1:]
    strange = np.zeros(content.n_clusters, dtype=np.int64)
    if content.novelty is not None:
        strange = np.bincount(content.cluster[content.novelty >= STRANGE], minlength=n_bins)[1:]
    scaled = content.scaled_medians
    present = np.flatnonzero(np.isfinite(scaled).all(axis=1))
    contrast = scaled - scaled[present].mean(axis=0)
    rows = []
    for index, count in enumerate(counts.tolist()):
        order = np.argsort(contrast[index]) if index in present else np.empty(0, dtype=np.int64)
        population, purity = _main_population(content.agreement, index + 1)
        rows.append(
            ClusterRow(
                cluster=index + 1,
                cells=count,
                share=count / len(content.cluster),
                mean_probability=float(total[index] / count) if count else float("nan"),
                n_doubtful=int(doubtful[index]),
                n_unsure=int(unsure[index]),
                high=tuple(content.markers[m] for m in order[::-1][:_MOST_NAMED] if contrast[index, m] > 0.1),
                low=tuple(content.markers[m] for m in order[:_MOST_NAMED] if contrast[index, m] < -0.1),
                population=population,
                purity=purity,
                n_strange=int(strange[index]),
            )
        )
    return tuple(rows)


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


def _main_population(agreement: Agreement | None, cluster: int) -> tuple[str, float]:
    """The population with most of a cluster's gated cells, and its share of them; nothing where none is gated."""
    if agreement is None or cluster not in agreement.table.clusters:
        return "", float("nan")
    column = agreement.table.counts[:, int(np.searchsorted(agreement.table.clusters, cluster))]
    return agreement.table.names[int(column.argmax())], float(column.max() / column.sum())
