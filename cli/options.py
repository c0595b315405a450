"""Options that several commands share, and how their texts are understood."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.annotations.sample_sheet import SampleSheet
    from cytovae.cells import GateLabels
    from cytovae.events.compensation import Compensation
    from cytovae.events.event_file import EventFile
    from cytovae.events.panel import Panel
    from cytovae.events.transform import Transform

BESIDE = "beside"
STDIN = Path("-")
FILES_HELP = "FCS files, or CSV or Parquet tables with a row per event; - reads their names from standard input."

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help=FILES_HELP, show_default=False)]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn at random.")]
Device = Annotated[str, typer.Option(help="auto (the GPU if there is one), cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads.", show_default="all")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings, errors and what was asked for.")]
Gates = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="Manual gates to score against: `beside` (NAME.gates.csv beside each file), a table, a folder, "
        "or the name of a channel.",
    ),
]
ZeroUngated = Annotated[
    bool, typer.Option("--zero-ungated", help="The label 0 in gates means in no gate, as in FlowCAP's files.")
]
Samples = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Sample sheet: a table of file, sample, batch, condition (any columns), carried to every output.",
        show_default=False,
    ),
]
Names = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Table of cluster, name: clusters of one name become one, numbered anew by their size in training.",
        show_default=False,
    ),
]


def words(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def n_threads(asked: int | None) -> int:
    """The threads asked for, or one for each processor this process may use."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_spec(spec: str, files: "Sequence[EventFile]", *, zero_ungated: bool = False) -> "GateLabels":
    """The labels of all events of ``files`` that ``spec`` names, see ``Gates``."""
    from cytovae.annotations.gates import read_gates_of_files

    return read_gates_of_files(files, None if spec == BESIDE else spec, zero_is_ungated=zero_ungated)


def named_files(paths: Sequence[Path], *, allow_twice: bool = False) -> tuple[Path, ...]:
    """The paths, with those that stand on standard input, one a line, in the place of ``-``.

    Raises :class:`UsageError` for a file that is named twice (unless that is allowed), for ``-`` at a terminal, and
    where no file is left.
    """
    if paths.count(STDIN) > 1:
        raise UsageError("standard input can be read only once: name - once")
    found: list[Path] = []
    for path in paths:
        if path != STDIN:
            found.append(path)
            continue
        if sys.stdin.isatty():
            raise UsageError("- reads names of files from standard input; pipe them: find . -name '*.fcs' | cytovae …")
        found += [Path(line.rstrip("\r\n")) for line in sys.stdin if line.strip()]
    if not found:
        raise UsageError("no files: standard input was empty")
    seen: set[Path] = set()
    for path in found:
        if path.resolve() in seen and not allow_twice:
            raise UsageError(f"{path} is named twice")
        seen.add(path.resolve())
    return tuple(found)


def open_files(paths: Sequence[Path]) -> "tuple[EventFile, ...]":
    """The files at ``paths``, see :func:`cytovae.events.event_file.open_events`."""
    from cytovae.events.event_file import open_events

    return tuple(open_events(path) for path in paths)


def compensation_of(spec: str | None) -> "Compensation":
    """What ``--compensate`` asks for: nothing, ``file``, or the matrix in a table."""
    from cytovae.events.compensation import FROM_FILE, Compensation, read_matrix

    if spec is None:
        return Compensation()
    return Compensation("file") if spec == FROM_FILE else Compensation("matrix", read_matrix(Path(spec)))


def sheet_of(path: Path | None, files: "Sequence[EventFile]") -> "SampleSheet":
    """The sample sheet of ``files``; one without columns where there is none."""
    from cytovae.annotations.sample_sheet import NO_SAMPLES, read_samples
    from cytovae.events.event_file import file_names

    if path is None:
        return NO_SAMPLES
    return read_samples(path, {name: file.path for name, file in zip(file_names(files), files, strict=True)})


def warn_about(
    files: "Sequence[EventFile]", columns: Sequence[Sequence[int]], panel: "Panel", transform: "Transform"
) -> None:
    """Say once what is odd about files, with the names of all it is true of."""
    from cytovae.events.event_file import file_names
    from cytovae.events.marker_file import file_warnings

    concerned: dict[str, list[str]] = {}
    for name, file, where in zip(file_names(files), files, columns, strict=True):
        for warning in file_warnings(file, where, panel, transform):
            concerned.setdefault(warning, []).append(name)
    for warning, names in concerned.items():
        shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} other files"
        console.warn(f"{shown}: {warning}")
