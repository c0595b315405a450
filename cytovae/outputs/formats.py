"""Formats of outputs: from suffix or option to a writer."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

from cytovae.cells import Assignment
from cytovae.errors import UsageError
from cytovae.outputs.columns import TableFormat

OutputFormat = Literal[TableFormat, "fcs", "h5ad"]


ONE_FILE_EACH = frozenset({"clr", "flowjo-csv", "fcs"})  # formats with no place for the name of a file


class AssignmentSink(Protocol):
    """Where the cells of files go, chunk after chunk in their order."""

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Take the cells ``first_event``, ``first_event`` + 1, … of ``file``."""


def output_format(target: str, asked: str | None = None) -> OutputFormat:
    """The format ``asked`` for, else the one that the suffix of ``target`` says; CSV on standard output ("-").

    Raises :class:`UsageError` where neither is a format of ours, where it cannot go to standard output, or where the
    package it needs is not installed.
    """
    known: tuple[OutputFormat, ...] = (*get_args(TableFormat), "fcs", "h5ad")
    wanted = asked or ("csv" if target == "-" else Path(target).suffix.casefold().lstrip("."))
    if target == "-" and wanted in ("fcs", "h5ad"):
        raise UsageError(f"{wanted} cannot go to standard output; name a file with --output")
    if wanted == "h5ad" and find_spec("anndata") is None:
        raise UsageError("h5ad needs the package anndata, which is not installed: pip install 'cytovae[h5ad]'")
    for name in known:
        if name == wanted:
            return name
    raise UsageError(
        f"the format of {target} is not known; name it .parquet or .csv, or say --format {'|'.join(known)}"
    )


def suffix_of(kind: OutputFormat) -> str:
    """The suffix of files of this format, with its dot."""
    return ".csv" if kind == "flowjo-csv" else f".{kind}"


CellFormat = Literal["fcs", "parquet", "csv"]


def cell_format(target: str, asked: str | None = None) -> CellFormat:
    """The format ``asked`` for, else the one that the suffix of ``target`` says; CSV on standard output ("-").

    Raises :class:`UsageError` where neither is a format of cells, or where it cannot go to standard output.
    """
    wanted = asked or ("csv" if target == "-" else Path(target).suffix.casefold().lstrip("."))
    if target == "-" and wanted == "fcs":
        raise UsageError("fcs cannot go to standard output; name a file with --output")
    if wanted not in ("fcs", "parquet", "csv"):
        raise UsageError(
            f"the format of {target} is not known; name it .fcs, .parquet or .csv, or say --format fcs|parquet|csv"
        )
    return wanted  # type: ignore[return-value]
