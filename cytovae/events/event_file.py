"""What every file of events offers, whatever its format, and how to open one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cytovae.atomic import readable
from cytovae.errors import InputError, UsageError
from cytovae.events.anndata_file import SUFFIX as ANNDATA_SUFFIX
from cytovae.events.anndata_file import open_h5ad
from cytovae.events.table_file import TABLE_SUFFIXES, open_table
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.placement import Offsets
from cytovae.plain_file import check_plain, folder_exists

FCS_SUFFIXES = (".fcs", ".lmd")
"""What counts as an FCS file in a folder; a file that is named may have any suffix."""


class EventFile(Protocol):
    """A file of events, checked but not yet read.

    Implementations are :class:`cytovae.fcs.file.FcsFile`, :class:`cytovae.events.table_file.TableFile`,
    :class:`cytovae.events.anndata_file.AnnDataFile`, :class:`cytovae.events.array_file.ArrayFile` and
    :class:`cytovae.events.compensation.CompensatedFile`.
    """

    @property
    def path(self) -> Path:
        """The path of the file."""

    @property
    def part(self) -> str:
        """The part of a file that holds several, such as a donor in an .h5ad file; empty otherwise."""

    @property
    def version(self) -> str:
        """The format: FCS3.1, CSV, Parquet."""

    @property
    def n_events(self) -> int:
        """The number of events."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, in order."""

    @property
    def keywords(self) -> Mapping[str, str]:
        """Metadata of the file by upper-case name."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that were tolerated, a sentence each."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values that :meth:`read` returns."""

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read events ``start`` to ``stop`` − 1 of the given channels (default: all), shape (n, n_columns)."""

    def chunks(self, columns: Sequence[int] | None, chunk_size: int) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``."""


def open_events(path: Path) -> EventFile:
    """Open a file of events: a table or an .h5ad file if its suffix says so, otherwise an FCS file.

    Raises :class:`InputError` if the file cannot be read.
    """
    return open_parts(path)[0]


def open_parts(
    path: Path,
    *,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Offsets = "auto",
) -> tuple[EventFile, ...]:
    """The files of events in the file at ``path``: one, or several in an .h5ad file with a ``file_key``.

    ``layer`` and ``file_key`` concern .h5ad files only, see :func:`cytovae.events.anndata_file.open_h5ad`; ``data_set``
    and ``offsets`` FCS files only, see :func:`cytovae.fcs.file.open_fcs`.
    """
    check_plain(path)
    suffix = path.suffix.casefold()
    if suffix == ANNDATA_SUFFIX:
        return open_h5ad(path, layer=layer, file_key=file_key)
    return (open_table(path) if suffix in TABLE_SUFFIXES else open_fcs(path, data_set=data_set, offsets=offsets),)


def with_folders_listed(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths, where a folder stands for the FCS files in it, sorted by name. Hidden files do not count.

    Raises :class:`InputError` if a folder holds no FCS file.
    """
    return tuple(file for path in paths for file in (_fcs_files_in(path) if folder_exists(path) else (path,)))


def _fcs_files_in(folder: Path) -> tuple[Path, ...]:
    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.casefold() in FCS_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise InputError(folder, "folder", error.strerror or str(error), "a readable folder") from error
    if not files:
        expected = f"files with the suffix {' or '.join(FCS_SUFFIXES)}"
        raise InputError(folder, "folder", "no FCS files", expected, "Name files of other kinds one by one.")
    return tuple(files)


def open_event_files(
    paths: Sequence[Path],
    *,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Offsets = "auto",
) -> tuple[EventFile, ...]:
    """The files of events at ``paths``; see :func:`open_parts`.

    Raises
    ------
    UsageError
        If an option is given that concerns none of the files.
    InputError
        If a file cannot be read.
    """
    if (layer, file_key) != (None, None) and not any(path.suffix.casefold() == ANNDATA_SUFFIX for path in paths):
        raise UsageError("a layer or a file key is for .h5ad files, and none of the files is one")
    if (data_set, offsets) != (None, "auto") and not any(map(_is_fcs, paths)):
        raise UsageError("a data set or offsets are for FCS files, and none of the files is one")
    return tuple(
        file
        for path in paths
        for file in open_parts(path, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
    )


def _is_fcs(path: Path) -> bool:
    return path.suffix.casefold() not in (ANNDATA_SUFFIX, *TABLE_SUFFIXES)


def file_names(files: Sequence[EventFile]) -> tuple[str, ...]:
    """The names of files in outputs: the last part of the path, or the path as given if several files share that.

    The parts of an .h5ad file have names of their own.
    """
    short = [file.part or file.path.name for file in files]
    counts = Counter(short)
    return tuple(
        readable(name if counts[name] == 1 else f"{file.path}/{file.part}" if file.part else file.path)
        for name, file in zip(short, files, strict=True)
    )
