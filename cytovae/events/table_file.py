"""CSV and Parquet tables as files of events."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.delimited import delimiter_of, is_number
from cytovae.errors import InputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table of events: a channel for each column of numbers, in their order, named as in the header.

    Columns of text are left out and named in ``notes``. An empty cell is NaN. A Parquet file is read piece by piece; of
    CSV files the last one read is held in memory (8 bytes a value).
    """

    path: Path
    version: str
    n_events: int
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]
    dtype: np.dtype[Any]
    _columns: tuple[str, ...] = field(repr=False)

    @property
    def keywords(self) -> Mapping[str, str]:
        """None: tables have no keywords."""
        return {}

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Events ``start`` … ``stop`` − 1 of the given columns (all where None), shape (n, n_columns)."""
        wanted = list(range(len(self.channels))) if columns is None else [int(column) for column in columns]
        outside = [column for column in wanted if not 0 <= column < len(self.channels)]
        if outside:
            raise UsageError(f"column {outside[0]} of {self.path}: there are {len(self.channels)}, counted from 0")
        stop = self.n_events if stop is None else min(stop, self.n_events)
        if start < 0 or stop < 0:
            raise UsageError(f"events {start} to {stop} of {self.path}: rows are counted from 0")
        if stop <= start:
            return np.empty((0, len(wanted)), self.dtype)
        if self.version == "CSV":
            return _csv_values(self.path)[start:stop, wanted]
        values = np.empty((stop - start, len(wanted)), self.dtype)
        _read_row_groups(self.path, [self._columns[column] for column in wanted], start, values)
        return values

    def chunks(self, columns: Sequence[int] | None, n_events: int) -> Iterator[NDArray[Any]]:
        """The same values in consecutive pieces of at most ``n_events`` rows; none where there are no events."""
        for start in chunk_starts(self.n_events, n_events):
            yield self.read(columns, start, start + n_events)


def _table_file(
    path: Path, version: str, n_events: int, names: Sequence[str], left_out: Sequence[str], dtype: np.dtype[Any]
) -> TableFile:
    if not names:
        found = f"columns {', '.join(left_out[:8])}" if left_out else "no column"
        raise InputError(path, "header", f"{found}, none of numbers", "a column of numbers for each channel")
    channels = tuple(Channel(place, name, "", math.nan) for place, name in enumerate(names))
    notes = (f"columns without numbers are left out: {', '.join(left_out[:8])}.",) if left_out else ()
    return TableFile(path, version, n_events, channels, notes, dtype, tuple(names))


# --- Parquet ----------------------------------------------------------------------------------------------------------


def open_parquet(path: Path) -> TableFile:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema, n_events = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a readable Parquet file") from error
    if len(set(schema.names)) < len(schema.names):
        raise InputError(path, "columns", "a name twice", "a name of its own for each channel")
    numbers = [
        part for part in schema if pa.types.is_floating(part.type) or pa.types.is_integer(part.type)
    ]  # no booleans: they are gates
    left_out = [part.name for part in schema if part not in numbers]
    # float32 holds whole numbers of 16 bits and what is float32 already.
    narrow = all(part.type in (pa.float32(), pa.float16()) or part.type.bit_width <= 16 for part in numbers)
    dtype = np.dtype(np.float32 if narrow else np.float64)
    return _table_file(path, "Parquet", n_events, [part.name for part in numbers], left_out, dtype)


def _read_row_groups(path: Path, names: Sequence[str], start: int, values: NDArray[Any]) -> None:
    """Fill ``values`` with the rows from ``start`` on; only the row groups that hold them are read."""
    import pyarrow as pa
    from pyarrow import parquet

    stop, first = start + len(values), 0
    try:
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                low, high = max(start, first), min(stop, first + n_rows)
                if low < high:
                    table = file.read_row_group(group, columns=list(dict.fromkeys(names)))
                    for place, name in enumerate(names):
                        column = table.column(name).slice(low - first, high - low)
                        values[low - start : high - start, place] = column.to_numpy()
                first += n_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a readable Parquet file") from error
    if first < stop:
        raise InputError(path, "rows", f"{first} rows", "as many as when it was opened")


# --- CSV --------------------------------------------------------------------------------------------------------------

_READING = Lock()  # several threads ask for pieces of one file: it is parsed once


def open_csv(path: Path) -> TableFile:
    with _READING:
        names, left_out, values = _parsed(path)
    return _table_file(path, "CSV", len(values), names, left_out, values.dtype)


def _csv_values(path: Path) -> NDArray[np.float64]:
    with _READING:
        return _parsed(path)[2]


@lru_cache(maxsize=1)
def _parsed(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
    """Names of the columns of numbers, names of the others, and the numbers (n_events, n_columns)."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first_line = file.readline(1 << 20)
        if not first_line.strip():
            raise InputError(path, "header", "an empty line", "the names of the channels")
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter=delimiter_of(first_line), newlines_in_values=False),
            convert_options=csv.ConvertOptions(null_values=["", "NA", "NaN", "nan", "N/A", "null", "NULL"]),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a table in UTF-8 with a header and a row for each event") from error
    names = [name.strip() for name in table.column_names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(path, "header", f"the column {twice[0]!r} twice", "a name of its own for each channel")
    if names and all(is_number(name) for name in names):
        raise InputError(path, "header", "numbers", "the names of the channels in the first line")
    used = [
        place
        for place, kind in enumerate(table.schema.types)
        if names[place] and (pa.types.is_floating(kind) or pa.types.is_integer(kind))
    ]
    values = np.empty((table.num_rows, len(used)), dtype=np.float64)
    for target, place in enumerate(used):
        values[:, target] = table.column(place).to_numpy()
    left_out = tuple(name or "(no name)" for place, name in enumerate(names) if place not in used)
    values.flags.writeable = False  # it is shared
    return tuple(names[place] for place in used), left_out, values
