"""A model and files to outputs: what `cytovae assign` does, without a terminal."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment, GateLabels
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import EVENTS_PER_CHUNK, MarkerFile, files_for_model
from cytovae.outputs.columns import Extras
from cytovae.outputs.formats import AssignmentSink
from cytovae.quality.flags import QC_VALUES, EventFlags
from cytovae.study.cuts import AS_TRAINED, Cuts

if TYPE_CHECKING:
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.trained_model import SavedModel
    from cytovae.inference.umap_placement import Interpolator


@dataclass(frozen=True, eq=False)
class AssignStudy:
    """Files to assign, and everything the outputs say about them.

    Attributes
    ----------
    raw : tuple of EventFile
        The files as they are; copies of FCS files come from these.
    files : tuple of MarkerFile
        The same files as the model sees them.
    saved : SavedModel
        The model.
    assigner : Assigner
        The model on its device.
    names : ClusterNames or None
        Names of the clusters.
    samples : SampleSheet
        What is known of each file.
    interpolator : Interpolator or None
        Gives UMAP coordinates, if they are asked for.
    gates : GateLabels or None
        The gates of all events of the files, if they are known.
    quality : EventFlags or None
        The results of quality control, if they are known.
    split : tuple of str
        The name of each cluster, if FCS copies are split by them.
    workers : int
        Number of threads.
    cuts : Cuts
        The cuts of the tree: that of the model ``saved``, and further ones.
    """

    raw: tuple[EventFile, ...]
    files: tuple[MarkerFile, ...]
    saved: "SavedModel"
    assigner: "Assigner"
    names: ClusterNames | None = None
    samples: SampleSheet = NO_SAMPLES
    interpolator: "Interpolator | None" = None
    gates: GateLabels | None = None
    quality: EventFlags | None = None
    split: tuple[str, ...] = ()
    workers: int = 1
    cuts: Cuts = AS_TRAINED

    @property
    def populations(self) -> tuple[str, ...]:
        """The population of each cluster; empty if clusters have no names."""
        return self.names.of_cluster if self.names is not None else ()

    @property
    def known_below(self) -> tuple[float, ...]:
        """The novelty above which a cell of each cluster is unknown; infinite where the name comes from no label.

        Empty in a model that learned no labels, or that measures no novelty.
        """
        naming = self.saved.model.naming
        if self.names is None or naming is None or not self.assigner.has_novelty:
            return ()
        return naming.known_below(self.names)

    @property
    def n_clusters(self) -> int:
        """Highest number of a cluster: the number of clusters, or more in a refined model."""
        return self.saved.model.highest_cluster

    @property
    def extras(self) -> Extras:
        """The optional columns of the outputs."""
        shift = self.interpolator.shift if self.interpolator is not None else (0.0, 0.0)
        qc = QC_VALUES if self.quality is not None else ()
        return Extras(
            self.populations,
            self.samples,
            self.assigner.has_novelty,
            self.interpolator is not None,
            shift,
            qc,
            self.cuts.column,
            self.cuts.further,
            self.known_below,
            self.saved.model.retired_clusters,
        )


@dataclass(frozen=True, eq=False)
class AssignedFile:
    """The clusters of one file, int32 (n_events,), the mean probability of them, and the seconds that it took."""

    name: str
    cluster: NDArray[np.int32] = field(repr=False)
    mean_probability: float
    n_clusters: int
    seconds: float

    @property
    def n_used(self) -> int:
        """Number of clusters with at least one cell."""
        return len(np.unique(self.cluster))


def assigned_chunks(
    file: MarkerFile, assigner: "Assigner", *, workers: int = 1, interpolator: "Interpolator | None" = None
) -> Iterator[Assignment]:
    """Assign all events of a file, chunk by chunk in their order.

    If novelty depends on the file, some of its events are read and assigned before.

    Parameters
    ----------
    file : MarkerFile
        The file.
    assigner : Assigner
        The model.
    workers : int
        Number of chunks that are processed at the same time. Memory is bounded whatever the size of the file.
    interpolator : Interpolator, optional
        Adds UMAP coordinates to every cell.

    Raises
    ------
    InputError
        If a marker has a value that is not finite.
    """
    if assigner.depends_on_file:
        assigner = assigner.for_file(file.values_at(assigner.events_before(file.n_events)))

    def assign(start: int) -> Assignment:
        values = file.values(start, start + EVENTS_PER_CHUNK)
        assigned = assigner.assign(values)
        if interpolator is None:
            return assigned
        return replace(assigned, coordinates=interpolator.place(assigner.codes(values)))

    pending: deque[Future[Assignment]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, file.n_events, EVENTS_PER_CHUNK):
                pending.append(pool.submit(assign, start))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def assign_file(
    study: AssignStudy,
    index: int,
    sinks: Sequence[AssignmentSink] = (),
    progress: Callable[[int], None] = lambda _done: None,
) -> AssignedFile:
    """Assign every event of the file at ``index`` and hand the chunks to ``sinks``.

    ``progress`` receives the number of events that are done.
    """
    file = study.files[index]
    began = perf_counter()
    cluster = np.empty(file.n_events, dtype=np.int32)
    probability, done = 0.0, 0
    for chunk in assigned_chunks(file, study.assigner, workers=study.workers, interpolator=study.interpolator):
        if study.quality is not None:
            chunk = replace(chunk, qc=study.quality.of_files[index][done : done + len(chunk)])
        for sink in sinks:
            sink.write(file.name, done, chunk)
        cluster[done : done + len(chunk)] = chunk.cluster
        probability += float(chunk.probabilities.max(axis=1).sum(dtype=np.float64))
        done += len(chunk)
        progress(done)
    mean = probability / done if done else float("nan")
    return AssignedFile(file.name, cluster, mean, study.saved.model.n_clusters, perf_counter() - began)


def open_assign_study(
    saved: "SavedModel", raw: Sequence[EventFile], assigner: "Assigner", **options: object
) -> AssignStudy:
    """The study of files through the model ``saved``; ``options`` are further fields of :class:`AssignStudy`.

    Raises :class:`ModelError` if a file lacks a marker, :class:`InputError` if it cannot be compensated.
    """
    compensated = tuple(saved.compensation.of(file) for file in raw)
    files = files_for_model(compensated, saved.panel, saved.transform)
    return AssignStudy(tuple(raw), files, saved, assigner, **options)  # type: ignore[arg-type]
