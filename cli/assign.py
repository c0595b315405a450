"""`cytovae assign`: clusters and probabilities of every cell of FCS files, from a trained model."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from cytovae.cli import console, options
from cytovae.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cytovae.assignment import Assigner
    from cytovae.fcs import FcsFile
    from cytovae.modelfile import SavedModel
    from cytovae.outputs import AssignmentSink, OutputFormat


@dataclass(frozen=True)
class Job:
    """One table to write: where to, and the files (places in the command line) whose cells go there."""

    target: Path | IO[bytes]
    files: tuple[int, ...]


def assign_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train` wrote.")],
    files: options.Files,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .parquet or .csv table of all files, DIR/ for one output each, or - for standard output. "
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
            "clr (FlowJo: a probability per class) or flowjo-csv (FlowJo: the class).",
            show_default="by suffix",
        ),
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cut into N clusters.", show_default="as trained")
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    gates: options.Gates = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Assign every cell of FCS files a cluster and probabilities.

    Markers are found by name, whatever their order. A row for each event, in the order of the file: file, event
    (from 0), cluster (from 1), probability (of that cluster), p_1 … p_K.
    """
    from cytovae.outputs import AssignmentWriter, FcsWriter, output_format
    from cytovae.panel import columns_of
    from cytovae.study import file_names

    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    form: OutputFormat = output_format(output, kind or ("parquet" if is_folder else None))
    jobs = _jobs(output, files, form, model, is_folder=is_folder, force=force)

    from cytovae.assignment import Assigner
    from cytovae.learning import resolve_device
    from cytovae.modelfile import load_model, use_threads

    place = resolve_device(device)
    saved = load_model(model)
    if clusters is not None:
        saved = replace(saved, model=saved.model.with_clusters(clusters))
    opened = options.open_files(files)
    columns = [columns_of(saved.panel, file).tolist() for file in opened]
    labels = options.read_spec(gates, opened) if gates is not None else None
    options.warn_about(opened, columns, saved.panel, saved.transform)

    workers = options.n_threads(threads)
    use_threads(1)  # chunks are worked on at the same time, one thread each
    assigner = Assigner(saved.model, place)
    names = file_names(opened)
    found = [np.empty(0, dtype=np.int32) for _ in opened]
    try:
        if is_folder:
            Path(output).mkdir(parents=True, exist_ok=True)
        for job in jobs:
            n_rows = sum(opened[index].n_events for index in job.files)
            n_clusters = saved.model.n_clusters
            with (
                FcsWriter(job.target, opened[job.files[0]], n_clusters, force=force)
                if form == "fcs" and isinstance(job.target, Path)
                else AssignmentWriter(job.target, form, n_clusters, n_rows, force=force)
            ) as writer:
                for index in job.files:
                    found[index] = assign_file(
                        opened[index], columns[index], names[index], saved, assigner, workers, writer, quiet=quiet
                    )
            if isinstance(job.target, Path) and not quiet:
                console.say(f"wrote {job.target}")
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error
    if labels is not None:
        from cytovae.cli.score import report_table
        from cytovae.metrics import score

        shown = console.talk if output == "-" else console.results
        shown.print(report_table(score(np.concatenate(found), labels)))


def assign_file(
    file: "FcsFile",
    columns: Sequence[int],
    name: str,
    saved: "SavedModel",
    assigner: "Assigner",
    workers: int,
    writer: "AssignmentSink | None" = None,
    *,
    quiet: bool = False,
) -> NDArray[np.int32]:
    """Assign every event of ``file``, write it where there is a writer, and say a line about it.

    Returns the clusters, int32 (n_events,).
    """
    from cytovae.study import assigned_chunks

    if not file.n_events:
        console.warn(f"{name} has no events")
    began = perf_counter()
    cluster = np.empty(file.n_events, dtype=np.int32)
    probability, done = 0.0, 0
    with console.meter(name, file.n_events) if not quiet else nullcontext() as meter:
        for part in assigned_chunks(file, columns, saved.panel.names, saved.transform, assigner, workers=workers):
            if writer is not None:
                writer.write(name, done, part)
            cluster[done : done + len(part)] = part.cluster
            probability += float(part.probabilities.max(axis=1).sum(dtype=np.float64))
            done += len(part)
            if meter is not None:
                meter.update(done)
    if done and not quiet:
        sizes = np.bincount(cluster, minlength=saved.model.n_clusters + 1)[1:]
        console.say(
            f"{name}: {done:,} cells in {int((sizes > 0).sum())} of {len(sizes)} clusters, "
            f"mean probability {probability / done:.3f}, {perf_counter() - began:.1f} s"
        )
    return cluster


def _jobs(
    output: str, files: Sequence[Path], form: "OutputFormat", model: Path, *, is_folder: bool, force: bool
) -> tuple[Job, ...]:
    """The tables to write. Raises before any work where one of them cannot be, or is one of the inputs."""
    from cytovae.outputs import ONE_FILE_EACH, check_target, suffix_of

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
    inputs = {file.resolve() for file in files}
    for target in targets:
        if target in inputs or target.is_relative_to(model.resolve()):
            raise UsageError(f"{output} would write over an input; name another output")
        if target.parent.is_dir() or not is_folder:
            check_target(target, force=force)
    return jobs
