"""`cytovae assign`: clusters and probabilities of every cell of FCS files, from a trained model."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from cytovae.cli import console, options
from cytovae.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cytovae.annotations.cluster_names import ClusterNames
    from cytovae.events.event_file import EventFile
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.trained_model import SavedModel
    from cytovae.inference.umap_placement import Interpolator
    from cytovae.outputs.cluster_summary import ClusterSummary
    from cytovae.outputs.columns import Extras
    from cytovae.outputs.fcs_copy import FcsWriter
    from cytovae.outputs.formats import AssignmentSink, OutputFormat
    from cytovae.outputs.h5ad import H5adWriter
    from cytovae.outputs.tables import AssignmentWriter

TABLES = ("abundance.csv", "cluster_medians.csv")


@dataclass(frozen=True)
class Job:
    """One table to write: where to, and the files (places in the command line) whose cells go there."""

    target: Path | IO[bytes]
    files: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """What is assigned: files as they are and as the model reads them (compensated, if it does), where the markers are
    in each, what each is called, the model, its clusters, and what else is told of the cells.
    """

    raw: "tuple[EventFile, ...]"
    files: "tuple[EventFile, ...]"
    columns: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    saved: "SavedModel"
    n_clusters: int
    extras: "Extras"


def assign_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train` wrote.")],
    files: options.Files,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .parquet, .csv or .h5ad table of all files, DIR/ for one output each, or - for standard output. "
            "fcs, clr and flowjo-csv need DIR/ where there are several files.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="parquet; csv; fcs (all channels, raw, with cytovae_cluster and cytovae_probability); "
            "clr (FlowJo: a probability per class); flowjo-csv (FlowJo: the class); h5ad (AnnData, for scanpy).",
            show_default="by suffix",
        ),
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cut into N clusters.", show_default="as trained")
    ] = None,
    names: options.Names = None,
    samples: options.Samples = None,
    umap: Annotated[
        bool,
        typer.Option(
            "--umap",
            help="Add UMAP coordinates, interpolated between the landmarks nearest in the latent space: "
            "columns umap_1, umap_2; obsm X_umap; FCS channels.",
        ),
    ] = False,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write abundance.csv (cells per file and cluster) and cluster_medians.csv (all channels, not "
            "transformed) there.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    gates: options.Gates = None,
    zero_ungated: options.ZeroUngated = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Assign every cell of FCS files a cluster and probabilities.

    Markers are found by name, whatever their order. A row for each event, in the order of the file: file, event
    (from 0), cluster (from 1), probability (of that cluster), p_1 … p_K.

    Example: cytovae assign model/ sample_data/*.fcs -o with_clusters/ --format fcs --tables tables/
    """
    from cytovae.annotations.cluster_names import read_names
    from cytovae.events.event_file import file_names
    from cytovae.events.panel import columns_of
    from cytovae.outputs.formats import output_format

    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    form = output_format(output, kind or ("parquet" if is_folder else None))
    files = list(options.named_files(files))
    if umap and form in ("clr", "flowjo-csv"):
        raise UsageError(f"{form} has no place for UMAP coordinates; leave --umap out or choose another format")
    inputs = _inputs(model, files, (names, samples), gates)
    jobs = _jobs(output, files, form, inputs, is_folder=is_folder, force=force)
    if tables is not None:
        _check_tables(tables, jobs, inputs, force=force)

    from cytovae.annotations.cluster_names import name_clusters
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.umap_placement import Interpolator
    from cytovae.model_folder.load import load_model
    from cytovae.model_folder.record import load_landmark_places
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.outputs.cluster_summary import ClusterSummary
    from cytovae.outputs.columns import Extras

    place = resolve_device(device)
    saved = load_model(model)
    if clusters is not None:
        saved = replace(saved, model=saved.model.with_clusters(clusters))
    n_clusters = saved.model.n_clusters
    named = name_clusters(read_names(names, n_clusters), saved.model.cluster_cells) if names else None
    raw = options.open_files(files)
    opened = tuple(saved.compensation.of(file) for file in raw)
    columns = [columns_of(saved.panel, file).tolist() for file in opened]
    labels = options.read_spec(gates, raw, zero_ungated=zero_ungated) if gates is not None else None
    sheet = options.sheet_of(samples, raw)
    interpolator = Interpolator(load_landmark_places(model)) if umap else None
    options.warn_about(opened, columns, saved.panel, saved.transform)

    workers = options.n_threads(threads)
    use_threads(1)  # chunks are worked on at the same time, one thread each
    assigner = Assigner(saved.model, place)
    called = file_names(opened)
    populations = named.populations if named else ()
    extras = Extras(populations, sheet, tells_novelty(assigner), umap)
    study = Study(raw, opened, tuple(map(tuple, columns)), called, saved, len(populations) or n_clusters, extras)
    summary = (
        ClusterSummary(
            dict(zip(called, opened, strict=True)),
            dict(zip(called, columns, strict=True)),
            saved.panel.names,
            study.n_clusters,
            populations=populations,
            samples=sheet,
        )
        if tables is not None
        else None
    )
    found = [np.empty(0, dtype=np.int32) for _ in opened]
    try:
        if is_folder:
            Path(output).mkdir(parents=True, exist_ok=True)
        if tables is not None:
            tables.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            with _writer(job, form, study, assigner, force=force) as writer:
                for index in job.files:
                    sinks = [writer, *([summary] if summary else [])]
                    found[index] = assign_file(
                        opened[index],
                        columns[index],
                        called[index],
                        saved,
                        assigner,
                        workers,
                        sinks,
                        named,
                        interpolator,
                        quiet=quiet,
                    )
            if isinstance(job.target, Path) and not quiet:
                console.say(f"wrote {job.target}")
        if summary is not None and tables is not None:
            _write_tables(tables, summary, force=force, quiet=quiet)
    except OSError as error:
        raise OutputError(f"{error.filename or output} cannot be written: {error.strerror or error}") from error
    if labels is not None:
        from cytovae.cli.score import report_table
        from cytovae.metrics import score

        shown = console.talk if output == "-" else console.results
        shown.print(report_table(score(np.concatenate(found), labels), populations))


def assign_file(
    file: "EventFile",
    columns: Sequence[int],
    name: str,
    saved: "SavedModel",
    assigner: "Assigner",
    workers: int,
    sinks: "Sequence[AssignmentSink]" = (),
    named: "ClusterNames | None" = None,
    interpolator: "Interpolator | None" = None,
    *,
    quiet: bool = False,
) -> NDArray[np.int32]:
    """Assign every event of ``file``, hand it to the sinks, merged as ``named`` says, and say a line about it.

    Returns the clusters, int32 (n_events,).
    """
    from cytovae.study.assign_study import assigned_chunks

    if not file.n_events:
        console.warn(f"{name} has no events")
    began = perf_counter()
    cluster = np.empty(file.n_events, dtype=np.int32)
    probability, done = 0.0, 0
    with console.meter(name, file.n_events) if not quiet else nullcontext() as meter:
        markers, transform = saved.panel.names, saved.transform
        chunks = assigned_chunks(
            file, columns, markers, transform, assigner, workers=workers, interpolator=interpolator
        )
        for found in chunks:
            part = named.apply(found) if named is not None else found
            for sink in sinks:
                sink.write(name, done, part)
            cluster[done : done + len(part)] = part.cluster
            probability += float(part.probabilities.max(axis=1).sum(dtype=np.float64))
            done += len(part)
            if meter is not None:
                meter.update(done)
    if done and not quiet:
        n_clusters = len(named.populations) if named is not None else saved.model.n_clusters
        sizes = np.bincount(cluster, minlength=n_clusters + 1)[1:]
        console.say(
            f"{name}: {done:,} cells in {int((sizes > 0).sum())} of {len(sizes)} clusters, "
            f"mean probability {probability / done:.3f}, {perf_counter() - began:.1f} s"
        )
    return cluster


def tells_novelty(assigner: "Assigner") -> bool:
    """Whether the model says of cells how unlike those of training they are."""
    one_cell = np.zeros((1, len(assigner.markers)), dtype=np.float32)
    return assigner.assign(one_cell).novelty is not None


def _inputs(model: Path, files: Sequence[Path], tables: Sequence[Path | None], gates: str | None) -> tuple[Path, ...]:
    """What is read, and must not be written to: the model's folder and single files."""
    beside = [file.with_suffix(".gates.csv") for file in files] if gates == options.BESIDE else []
    single = [path for path in (*tables, Path(gates) if gates else None) if path is not None and path.is_file()]
    return tuple(path.resolve() for path in (model, *files, *beside, *single))


def _jobs(
    output: str, files: Sequence[Path], form: "OutputFormat", inputs: Sequence[Path], *, is_folder: bool, force: bool
) -> tuple[Job, ...]:
    """The tables to write. Raises before any work where one of them cannot be, or is one of the inputs."""
    from cytovae.atomic import check_target
    from cytovae.outputs.formats import ONE_FILE_EACH, suffix_of

    if form in ONE_FILE_EACH and len(files) > 1 and not is_folder:
        raise UsageError(f"{form} holds one file; end {output} with a slash to get one for each of {len(files)} files")
    if output == "-":
        return (Job(sys.stdout.buffer, tuple(range(len(files)))),)
    jobs = (
        tuple(Job(Path(output) / f"{file.stem}{suffix_of(form)}", (index,)) for index, file in enumerate(files))
        if is_folder
        else (Job(Path(output), tuple(range(len(files)))),)
    )
    targets = [job.target.resolve() for job in jobs if isinstance(job.target, Path)]
    if len(set(targets)) < len(targets):
        raise UsageError(f"files of the same name cannot each have an output in {output}; write one table instead")
    for target in targets:
        if any(target.is_relative_to(path) for path in inputs):
            raise UsageError(f"{output} would write over an input; name another output")
        if target.parent.is_dir() or not is_folder:
            check_target(target, force=force)
    return jobs


def _writer(
    job: Job, form: "OutputFormat", study: Study, assigner: "Assigner", *, force: bool
) -> "AssignmentWriter | FcsWriter | H5adWriter":
    """What writes the files of ``job`` in the format asked for."""
    from cytovae import __version__
    from cytovae.inference.assigner import latent_codes
    from cytovae.outputs.fcs_copy import FcsWriter
    from cytovae.outputs.tables import AssignmentWriter

    n_rows = sum(study.files[index].n_events for index in job.files)
    n_clusters, extras = study.n_clusters, study.extras
    if form != "fcs" and form != "h5ad":
        return AssignmentWriter(job.target, form, n_clusters, n_rows, extras=extras, force=force)
    if not isinstance(job.target, Path):
        raise UsageError(f"{form} cannot go to standard output")
    if form == "fcs":
        return FcsWriter(job.target, study.raw[job.files[0]], n_clusters, extras=extras, force=force)

    from cytovae.outputs.h5ad import H5adWriter

    saved = study.saved

    def read(name: str, first: int, stop: int) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        index = study.names.index(name)
        values = saved.transform.apply(study.files[index].read(study.columns[index], first, stop))
        return values, latent_codes(assigner, values)

    about = {
        "version": __version__,
        "transform": saved.transform.kind,
        "compensation": saved.compensation.source,
        "n_clusters": n_clusters,
        "settings": asdict(saved.model.settings),
    }
    return H5adWriter(job.target, saved.panel, n_clusters, n_rows, read, about=about, extras=extras, force=force)


def _check_tables(folder: Path, jobs: Sequence[Job], inputs: Sequence[Path], *, force: bool) -> None:
    """Raise before any work where a table cannot be written to ``folder``, or would replace something else."""
    from cytovae.atomic import check_target

    taken = (*inputs, *(job.target.resolve() for job in jobs if isinstance(job.target, Path)))
    for name in TABLES:
        target = (folder / name).resolve()
        if any(target.is_relative_to(path) for path in taken):
            raise UsageError(f"--tables would write over an input or another output, {folder / name}")
        if folder.exists():
            check_target(folder / name, force=force)


def _write_tables(folder: Path, summary: "ClusterSummary", *, force: bool, quiet: bool) -> None:
    from cytovae.outputs.tables import write_table

    for name, table in zip(TABLES, (summary.abundance(), summary.medians()), strict=True):
        write_table(folder / name, table, force=force)
        if not quiet:
            console.say(f"wrote {folder / name}")
