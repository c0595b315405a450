"""Formats of outputs: from suffix or option to a writer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import Assignment, GateLabels
from cytovae.errors import UsageError
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import MarkerFile
from cytovae.outputs.columns import NO_EXTRAS, Extras, TableFormat

OutputFormat = Literal[TableFormat, "fcs", "h5ad"]
CellFormat = Literal["fcs", "parquet", "csv"]  # of generated cells
ONE_FILE_EACH = frozenset({"clr", "flowjo-csv", "fcs"})  # formats that have no column for the name of a file
_FILES_ONLY = frozenset({"fcs", "h5ad"})  # formats that cannot be streamed

_Kind = TypeVar("_Kind", bound=str)


class AssignmentSink(Protocol):
    """A consumer of the cells of files, chunk by chunk in the order of their events."""

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Take the cells of consecutive events of ``file``, from ``first_event`` on."""


def output_format(target: str, option: str | None = None) -> OutputFormat:
    """The format of an output of ``assign``.

    Parameters
    ----------
    target : str
        A file, whose suffix decides, or "-" for standard output, which gets CSV.
    option : str, optional
        The format that the user named; it takes precedence.

    Raises
    ------
    UsageError
        If the format is unknown, cannot go to standard output, or needs a package that is not installed.
    """
    known: tuple[OutputFormat, ...] = (*get_args(TableFormat), "fcs", "h5ad")
    kind = _format(target, option, known, ".parquet or .csv")
    if kind == "h5ad" and find_spec("anndata") is None:
        raise UsageError("h5ad needs anndata; install cytovae with its extra: pip install '.[h5ad]' in a checkout")
    return kind


def cell_format(target: str, option: str | None = None) -> CellFormat:
    """The format of an output of ``generate``; see :func:`output_format`."""
    known: tuple[CellFormat, ...] = ("fcs", "parquet", "csv")
    return _format(target, option, known, ".fcs, .parquet or .csv")


def suffix_of(kind: OutputFormat) -> str:
    """The suffix of files of this format, with its dot."""
    return ".csv" if kind == "flowjo-csv" else f".{kind}"


def assignment_writer(
    target: Path | IO[bytes],
    kind: OutputFormat,
    files: Sequence[MarkerFile],
    raw: Sequence[EventFile],
    n_clusters: int,
    *,
    encode: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    about: Mapping[str, object] | None = None,
    gates: GateLabels | None = None,
    extras: Extras = NO_EXTRAS,
    split: Sequence[str] = (),
    force: bool = False,
) -> AbstractContextManager[AssignmentSink]:
    """The writer of a format, a context manager; the output appears when the block ends without an error.

    Parameters
    ----------
    target : Path or binary stream
        The output.
    kind : OutputFormat
        Its format.
    files : sequence of MarkerFile
        The files whose cells it will hold.
    raw : sequence of EventFile
        The same files, not compensated; the first one is copied for FCS.
    n_clusters : int
        Number of clusters.
    encode : callable
        Latent codes (n, d) of marker values (n, n_markers), for AnnData.
    about : mapping, optional
        What an AnnData file says about the model.
    gates : GateLabels, optional
        The gates of all events of ``files``, for AnnData.
    extras : Extras
        Optional columns.
    split : sequence of str, optional
        The name of each cluster, for a folder of FCS files with one for each name.
    force : bool
        Whether an existing output is replaced.

    Raises
    ------
    UsageError
        If the format cannot be written to a stream.
    """
    if kind == "fcs" or kind == "h5ad":
        if not isinstance(target, Path):
            raise UsageError(_not_to_standard_output(kind))
        if kind == "fcs":
            from cytovae.outputs.fcs_copy import FcsWriter

            return FcsWriter(target, raw[0], n_clusters, extras=extras, split=split, force=force)

        from cytovae.outputs.h5ad import H5adWriter

        return H5adWriter(target, files, n_clusters, encode, about=about, gates=gates, extras=extras, force=force)

    from cytovae.outputs.tables import AssignmentWriter

    n_rows = sum(file.n_events for file in files)
    return AssignmentWriter(target, kind, n_clusters, n_rows, extras=extras, force=force)


def _format(target: str, option: str | None, known: Sequence[_Kind], suffixes: str) -> _Kind:
    """The format that ``option`` names, else that of the suffix of ``target``; one of those ``known``."""
    wanted = option or ("csv" if target == "-" else Path(target).suffix.casefold().lstrip("."))
    kind = next((name for name in known if name == wanted), None)
    if kind is None:
        raise UsageError(f"the format of {target} is unknown; name it {suffixes}, or use --format {'|'.join(known)}")
    if target == "-" and kind in _FILES_ONLY:
        raise UsageError(_not_to_standard_output(kind))
    return kind


def _not_to_standard_output(kind: str) -> str:
    return f"{kind} cannot go to standard output; name a file with --output"
