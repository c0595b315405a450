"""A model and files to outputs: what `cytovae assign` does, without a terminal."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.annotations.cluster_names import ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.atomic import check_target
from cytovae.cells import Assignment, GateLabels
from cytovae.errors import UsageError
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import EVENTS_PER_CHUNK, MarkerFile, files_for_model
from cytovae.outputs.columns import Extras
from cytovae.outputs.formats import ONE_FILE_EACH, AssignmentSink, OutputFormat, assignment_writer, suffix_of
from cytovae.plain_file import folder_exists, resolved
from cytovae.quality.flags import QC_VALUES, EventFlags
from cytovae.study.protected_files import ProtectedFiles

if TYPE_CHECKING:
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.trained_model import SavedModel
    from cytovae.inference.umap_placement import Interpolator
    from cytovae.outputs.cluster_summary import ClusterSummary

TABLES = ("abundance.csv", "cluster_medians.csv")


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
    workers : int
        Number of threads.
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
    workers: int = 1

    @property
    def populations(self) -> tuple[str, ...]:
        """The population of each cluster; empty if clusters have no names."""
        return self.names.of_cluster if self.names is not None else ()

    @property
    def n_clusters(self) -> int:
        """Number of clusters of the model."""
        return self.saved.model.n_clusters

    @property
    def extras(self) -> Extras:
        """The optional columns of the outputs."""
        shift = self.interpolator.shift if self.interpolator is not None else (0.0, 0.0)
        qc = QC_VALUES if self.quality is not None else ()
        return Extras(
            self.populations, self.samples, self.assigner.has_novelty, self.interpolator is not None, shift, qc
        )


@dataclass(frozen=True)
class Target:
    """One output: where it goes, and the files (positions in the study) whose cells it holds."""

    path: Path | IO[bytes]
    files: tuple[int, ...]


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
    return AssignedFile(file.name, cluster, mean, study.n_clusters, perf_counter() - began)


# --- outputs ----------------------------------------------------------------------------------------------------------


def plan_targets(
    output: str,
    files: Sequence[Path],
    form: OutputFormat,
    protected: ProtectedFiles,
    *,
    is_folder: bool,
    force: bool,
    stems: Sequence[str] | None = None,
) -> tuple[Target, ...]:
    """The outputs to write, checked before any work.

    Parameters
    ----------
    output : str
        A file, a folder, or "-" for standard output.
    files : sequence of Path
        The files to assign.
    form : OutputFormat
        Format of the outputs.
    protected : ProtectedFiles
        The files that must not be replaced.
    is_folder : bool
        Whether ``output`` is a folder with one output for each file.
    force : bool
        Whether existing outputs may be replaced.
    stems : sequence of str, optional
        Names of the outputs in a folder, without suffix. Default: those of ``files``.

    Raises
    ------
    UsageError
        If the format holds one file only, two outputs would have one name, or an output would replace an input.
    OutputError
        If an output cannot be written.
    """
    if form in ONE_FILE_EACH and len(files) > 1 and not is_folder:
        raise UsageError(f"{form} holds one file; end {output} with a slash to get one for each of {len(files)} files")
    everything = tuple(range(len(files)))
    if output == "-":
        return (Target(sys.stdout.buffer, everything),)
    if is_folder:
        stems = [Path(stem).stem for stem in stems] if stems else [file.stem for file in files]
        targets = tuple(Target(Path(output) / f"{stem}{suffix_of(form)}", (index,)) for index, stem in enumerate(stems))
    else:
        targets = (Target(Path(output), everything),)
    paths = [resolved(target.path) for target in targets if isinstance(target.path, Path)]
    if len(set(paths)) < len(paths):
        raise UsageError(f"files of the same name cannot each have an output in {output}; write one table instead")
    for path in paths:
        protected.check(path)
        if folder_exists(path.parent) or not is_folder:
            check_target(path, force=force)
    return targets


def check_tables(folder: Path, targets: Sequence[Target], protected: ProtectedFiles, *, force: bool) -> None:
    """Raise before any work if a summary table cannot be written to ``folder`` or would replace something else."""
    outputs = [resolved(target.path) for target in targets if isinstance(target.path, Path)]
    for name in TABLES:
        protected.check(folder / name)
        if resolved(folder / name) in outputs:
            raise UsageError(f"--tables would write over another output, {folder / name}")
        if folder_exists(folder):
            check_target(folder / name, force=force)


def open_writer(
    study: AssignStudy, target: Target, form: OutputFormat, *, force: bool
) -> "AbstractContextManager[AssignmentSink]":
    """A context manager that writes the files of ``target``; the output appears when it ends without an error."""
    saved = study.saved
    gates = None
    if study.gates is not None:
        last = np.cumsum([file.n_events for file in study.files])
        gated = np.split(study.gates.population, last[:-1])
        gates = GateLabels(np.concatenate([gated[index] for index in target.files]), study.gates.names)
    about = {
        "version": __version__,
        "transform": saved.transform.kind,
        "compensation": saved.compensation.source,
        "n_clusters": study.n_clusters,
        "settings": asdict(saved.model.settings),
    }
    return assignment_writer(
        target.path,
        form,
        [study.files[index] for index in target.files],
        [study.raw[index] for index in target.files],
        study.n_clusters,
        encode=lambda values: study.assigner.codes(values),
        about=about,
        gates=gates,
        extras=study.extras,
        force=force,
    )


def cluster_summary(study: AssignStudy) -> "ClusterSummary":
    """Counts and medians per cluster, to be filled while the files of ``study`` are assigned."""
    from cytovae.outputs.cluster_summary import ClusterSummary

    return ClusterSummary(study.files, study.n_clusters, populations=study.populations, samples=study.samples)


def write_tables(folder: Path, summary: "ClusterSummary", *, force: bool) -> tuple[Path, ...]:
    """Write the summary tables; returns their paths."""
    from cytovae.outputs.tables import write_table

    folder.mkdir(parents=True, exist_ok=True)
    for name, table in zip(TABLES, (summary.abundance(), summary.medians()), strict=True):
        write_table(folder / name, table, force=force)
    return tuple(folder / name for name in TABLES)


def open_assign_study(
    saved: "SavedModel", raw: Sequence[EventFile], assigner: "Assigner", **options: object
) -> AssignStudy:
    """The study of files through the model ``saved``; ``options`` are further fields of :class:`AssignStudy`.

    Raises :class:`ModelError` if a file lacks a marker, :class:`InputError` if it cannot be compensated.
    """
    compensated = tuple(saved.compensation.of(file) for file in raw)
    files = files_for_model(compensated, saved.panel, saved.transform)
    return AssignStudy(tuple(raw), files, saved, assigner, **options)  # type: ignore[arg-type]


def is_folder_name(output: str) -> bool:
    """Whether ``output`` names a folder: it ends with a slash or is an existing one."""
    return output.endswith(("/", os.sep)) or folder_exists(Path(output))
