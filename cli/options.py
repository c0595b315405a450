"""Options that several commands share, and how their texts are understood."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.cells import GateLabels
    from cytovae.fcs import FcsFile
    from cytovae.panel import Panel
    from cytovae.transform import Transform

BESIDE = "beside"

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="FCS files.", show_default=False)]
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


def words(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def n_threads(asked: int | None) -> int:
    """The threads asked for, or one for each processor this process may use."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_spec(spec: str, files: "Sequence[FcsFile]") -> "GateLabels":
    """The labels of all events of ``files`` that ``spec`` names, see ``Gates``."""
    from cytovae.gates import read_gates_of_files

    return read_gates_of_files(files, None if spec == BESIDE else spec)


def open_files(paths: Sequence[Path]) -> "tuple[FcsFile, ...]":
    """The FCS files at ``paths``. Raises :class:`UsageError` for a file that is named twice."""
    from cytovae.fcs import open_fcs

    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UsageError(f"{path} is named twice")
        seen.add(path.resolve())
    return tuple(open_fcs(path) for path in paths)


def warn_about(
    files: "Sequence[FcsFile]", columns: Sequence[Sequence[int]], panel: "Panel", transform: "Transform"
) -> None:
    """Say once what is odd about files, with the names of all it is true of."""
    from cytovae.study import file_names, file_warnings

    concerned: dict[str, list[str]] = {}
    for name, file, where in zip(file_names(files), files, columns, strict=True):
        for warning in file_warnings(file, where, panel, transform):
            concerned.setdefault(warning, []).append(name)
    for warning, names in concerned.items():
        shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} other files"
        console.warn(f"{shown}: {warning}")
