"""Options that several commands share, and what their values mean."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cytovae.cli import console
from cytovae.errors import UsageError
from cytovae.plain_file import resolved
from cytovae.settings import LARGEST_SEED, Settings

if TYPE_CHECKING:
    from cytovae.annotations.marker_table import PanelTypes
    from cytovae.annotations.sample_sheet import SampleSheet
    from cytovae.cells import GateLabels
    from cytovae.events.compensation import Compensation
    from cytovae.events.event_file import EventFile
    from cytovae.events.marker_file import MarkerFile
    from cytovae.quality.flags import EventFlags

MOST_THREADS = 4096
BYTES_FOR_WORKERS = 150_000  # about 5,000 events of eight channels; fewer need no worker process
STDIN = Path("-")
FILES_HELP = (
    "FCS files, .h5ad files, or CSV or Parquet tables with a row per event; a folder stands for the FCS files in it, "
    "and - for names on standard input."
)

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help=FILES_HELP, show_default=False)]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything that is random.")]
Device = Annotated[str, typer.Option(help="auto (the GPU if there is one), cpu, cuda, cuda:N or mps.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, metavar="N", help="CPU threads.", show_default="all")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors.")]
Gates = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC",
        help="Manual gates to score against: `beside` (NAME.gates.csv beside each file), a table, a folder, "
        "or the name of a channel (in .h5ad files, a column of obs). Repeat the option to name the gates file by file: "
        "NAME.gates.csv, or NAME.fcs with its gates beside it, belongs to the file NAME.",
        show_default=False,
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Layer of .h5ad files that holds the values.", show_default="X"),
]
FileKey = Annotated[
    str | None,
    typer.Option(
        metavar="OBS",
        help="Column of obs in .h5ad files: the cells of each of its values are a file of their own.",
        show_default=False,
    ),
]
DataSet = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Data set of FCS files that hold several, counted from 0 (`cytovae inspect` lists them).",
        show_default="0",
    ),
]
Offsets = Annotated[
    Literal["auto", "header", "text"],
    typer.Option(help="Which offsets of DATA to use in FCS files: those that fit, of HEADER, or of TEXT."),
]
ZeroUngated = Annotated[
    bool, typer.Option("--zero-ungated", help="The label 0 in gates means ungated, as in FlowCAP's files.")
]
Samples = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Sample sheet: a table with the column file and any others, such as sample, batch or condition, which go "
        "to every output.",
        show_default=False,
    ),
]
Names = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Table of cluster and name. Clusters of one name are one population; clusters keep their numbers.",
        show_default=False,
    ),
]

Types = Annotated[
    Path | None,
    typer.Option(
        "--types",
        metavar="CSV",
        help="Marker table: what each population is, as +, - or ~ for each marker (`cytovae types` writes one to start "
        "from). It names populations.",
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Training steps. With a marker table or labels, one and a half times as many are taken.",
    ),
]
QualityControl = Annotated[
    Path | None,
    typer.Option(
        "--qc",
        metavar="DIR",
        help="Folder that `cytovae qc` wrote. Files are found in it by their checksums.",
        show_default=False,
    ),
]


def words(text: str | None, option: str) -> tuple[str, ...]:
    """The parts of the comma-separated ``option``; none if it is not given.

    Raises :class:`UsageError` if it is given and names nothing, because that would otherwise mean its default.
    """
    named = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not named:
        raise UsageError(f"{option} names nothing, found {text!r}; leave the option out for its default")
    return named


def whole_number(text: str) -> int | None:
    """The whole number that ``text`` spells, None if it spells none or one with more than 18 digits."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def n_threads(asked: int | None) -> int:
    """The number of threads asked for. Default: one for each processor that this process may use."""
    from cytovae.environment import n_processors

    return asked if asked is not None else n_processors()


def workers_for_training(threads: int | None, files: Sequence[Path], settings: Settings) -> int:
    """The number of workers. If they will be needed they are started, to be ready when the files have been read."""
    from cytovae.populations.worker_process import start_ahead

    workers = n_threads(threads)
    n_bytes = sum(path.stat().st_size for path in files if path.is_file())
    if settings.resolution == "merge" and n_bytes >= BYTES_FOR_WORKERS:
        start_ahead(workers - 1)
    return workers


def read_gates(
    specs: Sequence[str] | None, files: "Sequence[EventFile]", *, zero_ungated: bool = False
) -> "GateLabels | None":
    """The labels of all events of ``files`` that ``specs`` name, see ``Gates``; None without any."""
    if not specs:
        return None
    from cytovae.annotations.study_gates import read_study_gates

    return read_study_gates(specs, files, zero_is_ungated=zero_ungated)


def labels_to_learn(
    specs: Sequence[str] | None, files: "Sequence[EventFile]", *, zero_ungated: bool = False
) -> "GateLabels | None":
    """The labels of all events of ``files`` to learn from, one spelling for each population; None without any."""
    from cytovae.annotations.known_labels import known_labels

    labels = read_gates(specs, files, zero_ungated=zero_ungated)
    if labels is None:
        return None
    known = known_labels(labels, ", ".join(specs or ()))
    for warning in known.warnings:
        console.warn(warning)
    return known.labels


def named_files(paths: Sequence[Path], *, allow_twice: bool = False) -> tuple[Path, ...]:
    """The paths, where ``-`` stands for those on standard input (one on each line, or
    separated by NUL as from ``find -print0``), and a folder for its FCS files.

    Raises :class:`UsageError` for a file that is named twice (unless that is allowed), for ``-`` at a terminal, and if
    no file is left.
    """
    from cytovae.events.event_file import with_folders_listed

    if paths.count(STDIN) > 1:
        raise UsageError("standard input can be read only once: name - once")
    named: list[Path] = []
    for path in paths:
        if path != STDIN:
            named.append(path)
            continue
        if sys.stdin.isatty():
            raise UsageError("- reads names of files from standard input; pipe them: find . -name '*.fcs' | cytovae …")
        named += _names_on_stdin()
    if not named:
        raise UsageError("no files: standard input was empty")
    named = list(with_folders_listed(named))
    seen: set[Path] = set()
    for path in named:
        if resolved(path) in seen and not allow_twice:
            raise UsageError(f"{path} is named twice")
        seen.add(resolved(path))
    return tuple(named)


def _names_on_stdin() -> list[Path]:
    """Names of files as bytes: they may not be text, and after ``find -print0`` they may hold line breaks."""
    content = sys.stdin.buffer.read()
    names = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    return [Path(os.fsdecode(name)) for name in names if name.strip()]


def open_files(
    paths: Sequence[Path],
    *,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Literal["auto", "header", "text"] = "auto",
) -> "tuple[EventFile, ...]":
    """The files of events at ``paths``, see :func:`cytovae.events.event_file.open_event_files`."""
    from cytovae.events.event_file import open_event_files

    return open_event_files(paths, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)


def reading_of(layer: str | None, file_key: str | None, data_set: int | None, offsets: str) -> dict[str, object]:
    """The options of :func:`open_files` that are not the defaults, by name, for the record of a model."""
    named = {"layer": layer, "file_key": file_key, "data_set": data_set, "offsets": offsets}
    return {name: value for name, value in named.items() if value not in (None, "auto")}


def compensation_of(spec: str | None) -> "Compensation":
    """The compensation that ``--compensate`` names: none, ``file``, or the matrix in a table."""
    from cytovae.events.compensation import FROM_FILE, Compensation
    from cytovae.events.spillover import read_matrix

    if spec is None:
        return Compensation()
    return Compensation("file") if spec == FROM_FILE else Compensation("matrix", read_matrix(Path(spec)))


def flags_of(folder: Path | None, files: "Sequence[EventFile]", data_set: int | None) -> "EventFlags | None":
    """What quality control in ``folder`` says of the events of ``files``; None without a folder.

    Raises :class:`UsageError` for another data set than the first, which is the one that `cytovae qc` checks.
    """
    from cytovae.quality.flags import read_flags

    if folder is None:
        return None
    if data_set:
        raise UsageError("--qc is about the first data set of a file; leave out --data-set or --qc")
    return read_flags(folder, files)


def sheet_of(path: Path | None, files: "Sequence[EventFile]") -> "SampleSheet":
    """The sample sheet of ``files``; an empty one without ``path``."""
    from cytovae.annotations.sample_sheet import NO_SAMPLES, read_samples
    from cytovae.events.event_file import file_names

    if path is None:
        return NO_SAMPLES
    return read_samples(path, {name: file.path for name, file in zip(file_names(files), files, strict=True)})


def warn_about(files: "Sequence[MarkerFile]") -> None:
    """Show each warning once, with the names of the files that it concerns."""
    concerned: dict[str, list[str]] = {}
    for file in files:
        for warning in file.warnings():
            concerned.setdefault(warning, []).append(file.name)
    for warning, names in concerned.items():
        shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} other files"
        console.warn(f"{shown}: {warning}")


def types_of(path: Path | None, markers: Sequence[str], *, quiet: bool) -> "PanelTypes | None":
    """The marker table at ``path`` for these markers, None without one. Says what the markers cannot decide."""
    if path is None:
        return None
    from cytovae.annotations.marker_table import JOINED, read_marker_table, types_of_panel

    table = read_marker_table(path)
    types = types_of_panel(table, markers, path)
    if types.missing and not quiet:
        console.say(f"{path}: markers that the panel lacks are ignored: {', '.join(types.missing)}")
    joined = [name for name in types.populations if name not in table.populations and JOINED in name]
    if joined and not quiet:
        console.say(f"{path}: populations that the panel cannot tell apart are one: {'; '.join(joined)}")
    return types
