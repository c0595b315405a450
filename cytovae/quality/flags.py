"""The result of `cytovae qc`, read again for the files that it is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

from cytovae.delimited import check_columns, parse_table, plain_name, read_text
from cytovae.errors import InputError
from cytovae.events.event_file import EventFile
from cytovae.plain_file import is_plain, open_plain, sha256_of
from cytovae.quality.check import PASS, REASONS
from cytovae.quality.layout import CHECKSUM, EVENT, EVENTS, INDEX, PART, PASSES, REASON, TABLE

QC_VALUES = (PASS, *REASONS)
"""What the column ``qc`` says, by the number of the reason; 0 is an event that passes."""

_HINT = "Run `cytovae qc` on it again; it may have changed since."


@dataclass(frozen=True, eq=False)
class EventFlags:
    """Which events of files fail quality control, and why.

    Attributes
    ----------
    of_files : tuple of ndarray of uint8, one of shape (n_events,) for each file
        The reason of each event, an index into :data:`QC_VALUES`; 0 if it passes.
    """

    of_files: tuple[NDArray[np.uint8], ...]

    def passing(self) -> tuple[NDArray[np.int64], ...]:
        """The rows of the events of each file that pass, ascending."""
        return tuple(np.flatnonzero(reason == 0) for reason in self.of_files)

    @property
    def n_failed(self) -> int:
        """Number of events that fail."""
        return sum(int(np.count_nonzero(reason)) for reason in self.of_files)


def read_flags(folder: Path, files: Sequence[EventFile]) -> EventFlags:
    """The flags of files, found by their checksums in a folder that `cytovae qc` wrote.

    Parameters
    ----------
    folder
        The folder.
    files
        The files, under any name.

    Raises
    ------
    InputError
        If the folder has no ``qc.csv``, a file is not in it, or its table does not fit the file.
    """
    tables = _tables(folder)
    checksums: dict[Path, str] = {}
    flags = []
    for file in files:
        if file.path not in checksums:
            checksums[file.path] = sha256_of(file.path)
        table = tables.get((checksums[file.path], file.part))
        if table is None:
            found = f"no row with the checksum of {file.path}{f', part {file.part}' if file.part else ''}"
            raise InputError(folder / INDEX, CHECKSUM, found, "a row for each file", _HINT)
        flags.append(_reasons(table, file))
    return EventFlags(tuple(flags))


def _tables(folder: Path) -> dict[tuple[str, str], Path]:
    """The table of events by checksum and part of the file."""
    index = folder / INDEX
    if not is_plain(index):
        raise InputError(folder, INDEX, "no such file", "a folder that `cytovae qc` wrote")
    table = parse_table(read_text(index, INDEX), index)
    names = [plain_name(name) for name in table.header]
    wanted = (CHECKSUM, PART, TABLE, EVENTS)
    check_columns(table.header, wanted, index)
    if missing := [name for name in wanted if name not in names]:
        raise InputError(index, "header", table.first_line, f"a column {missing[0]}")
    rows = [dict(zip(names, cells, strict=True)) for _, cells in table.rows]
    return {(row[CHECKSUM], row[PART]): folder / Path(row[TABLE]).name for row in rows}


def _reasons(path: Path, file: EventFile) -> NDArray[np.uint8]:
    try:
        with open_plain(path) as stream:
            table: Any = parquet.read_table(stream, columns=[EVENT, PASSES, REASON])
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, "table of events", str(error), "a readable Parquet file", _HINT) from error
    event = table[EVENT].to_numpy()
    if not np.array_equal(event, np.arange(file.n_events)):
        found = f"{len(event):,} events" if len(event) != file.n_events else "events in another order"
        raise InputError(path, EVENT, found, f"each of the {file.n_events:,} events of {file.path} in order", _HINT)
    number = compute.index_in(table[REASON], pa.array(["", *REASONS]))
    if number.null_count:
        unknown = compute.filter(table[REASON], compute.is_null(number))[0].as_py()
        raise InputError(path, REASON, repr(unknown), f"one of {', '.join(REASONS)}, or nothing")
    reason: NDArray[np.uint8] = number.to_numpy().astype(np.uint8)
    if not np.array_equal(table[PASSES].to_numpy(), reason == 0):
        raise InputError(path, PASSES, "an event that passes with a reason, or fails without", "one or the other")
    return reason
