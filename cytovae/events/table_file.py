"""CSV and Parquet tables as files of events: one row per event, one column per channel."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.delimited import is_number
from cytovae.errors import InputError
from cytovae.events.parquet_rows import read_rows
from cytovae.events.table_header import is_row_index, read_header, split_name
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts, selected_columns, selected_rows
from cytovae.plain_file import open_plain

_PARQUET_SUFFIX = ".parquet"
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", _PARQUET_SUFFIX)


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table of events; see :class:`cytovae.events.event_file.EventFile`.

    The channels are the numeric columns, in the order of the file. Other columns, and row numbers without a name, are
    ignored and named in ``notes``. An empty cell is NaN. Parquet files are read in small steps. Of the CSV files, that
    read last is kept in memory (8 bytes per value).

    Attributes
    ----------
    columns
        The names of the channels as the file spells them; see :func:`cytovae.events.table_header.split_name`.
    """

    path: Path
    version: str
    n_events: int
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]
    dtype: np.dtype[Any]
    columns: tuple[str, ...]

    @property
    def part(self) -> str:
        """Empty: the file holds one set of events."""
        return ""

    @property
    def keywords(self) -> Mapping[str, str]:
        """Empty: tables have no keywords."""
        return {}

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read events; see :meth:`cytovae.fcs.file.FcsFile.read`."""
        selected = selected_columns(columns, len(self.channels), self.path)
        rows = selected_rows(start, stop, self.n_events, self.path)
        if not rows:
            return np.empty((0, len(selected)), self.dtype)
        if self.version == "CSV":
            return _csv_values(self.path)[rows.start : rows.stop, selected]
        values = np.empty((len(rows), len(selected)), self.dtype)
        read_rows(self.path, [self.columns[column] for column in selected], rows.start, values)
        return values

    def chunks(self, columns: Sequence[int] | None, chunk_size: int) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``."""
        for start in chunk_starts(self.n_events, chunk_size):
            yield self.read(columns, start, start + chunk_size)


def open_table(path: Path) -> TableFile:
    """Open a Parquet or CSV table of events.

    Raises :class:`InputError` if it cannot be read, has no numeric column, or two columns have the same name.
    """
    return _open_parquet(path) if path.suffix.casefold() == _PARQUET_SUFFIX else _open_csv(path)


def _table_file(
    path: Path,
    version: str,
    n_events: int,
    names: Sequence[str],
    ignored: Sequence[str],
    dtype: np.dtype[Any],
    notes: Sequence[str] = (),
) -> TableFile:
    if not names:
        found = f"only non-numeric columns: {', '.join(ignored[:8])}" if ignored else "no column"
        raise InputError(path, "header", found, "a numeric column for each channel")
    channels = tuple(Channel(index, *split_name(name), math.nan) for index, name in enumerate(names))
    if ignored:
        notes = (*notes, f"columns that are row numbers or not numeric were ignored: {', '.join(ignored[:8])}.")
    return TableFile(path, version, n_events, channels, tuple(notes), dtype, tuple(names))


# --- Parquet ---


def _open_parquet(path: Path) -> TableFile:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with open_plain(path) as stream, parquet.ParquetFile(stream) as file:
            schema, n_events = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a readable Parquet file") from error
    if len(set(schema.names)) < len(schema.names):
        raise InputError(path, "columns", "two columns with the same name", "a unique name for each channel")
    # Booleans are gates, not channels.
    numeric = [column for column in schema if pa.types.is_floating(column.type) or pa.types.is_integer(column.type)]
    numeric = [column for column in numeric if not is_row_index(column.name)]
    names = {column.name for column in numeric}
    ignored = [column.name for column in schema if column.name not in names]
    # float32 represents float16 and integers of up to 16 bits exactly.
    narrow = all(column.type in (pa.float32(), pa.float16()) or column.type.bit_width <= 16 for column in numeric)
    dtype = np.dtype(np.float32 if narrow else np.float64)
    return _table_file(path, "Parquet", n_events, [column.name for column in numeric], ignored, dtype)


# --- CSV ---

_CSV_LOCK = Lock()  # threads that read chunks of the same file must not parse it several times


def _open_csv(path: Path) -> TableFile:
    with _CSV_LOCK:
        table = _parsed_csv(path)
    return _table_file(path, "CSV", len(table.values), table.names, table.ignored, table.values.dtype, table.notes)


def _csv_values(path: Path) -> NDArray[np.float64]:
    with _CSV_LOCK:
        return _parsed_csv(path).values


@dataclass(frozen=True, eq=False)
class _ParsedCsv:
    """Names of the channels, names of the other columns, the numbers (n_events, n_channels), and oddities."""

    names: tuple[str, ...]
    ignored: tuple[str, ...]
    values: NDArray[np.float64]
    notes: tuple[str, ...]


@lru_cache(maxsize=1)
def _parsed_csv(path: Path) -> _ParsedCsv:
    import pyarrow as pa
    from pyarrow import csv

    try:
        header = read_header(path)
        with open_plain(path) as stream:
            table = csv.read_csv(
                stream,
                read_options=csv.ReadOptions(
                    skip_rows=header.lines_above + (header.names is not None),
                    column_names=None if header.names is None else list(header.names),
                ),
                parse_options=csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=False),
                convert_options=csv.ConvertOptions(
                    null_values=["", "NA", "NaN", "nan", "N/A", "null", "NULL"],
                    decimal_point="," if header.decimal_comma else ".",
                ),
            )
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a table in UTF-8 with a header and one row per event") from error
    names = [name.strip() for name in table.column_names]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise InputError(path, "header", f"the column {twice!r} twice", "a unique name for each channel")
    if names and all(is_number(name) for name in names):
        raise InputError(path, "header", "numbers", "the names of the channels in the first line")
    numeric = [
        column
        for column, kind in enumerate(table.schema.types)
        if not is_row_index(names[column])
        and (pa.types.is_floating(kind) or pa.types.is_integer(kind) or not table.num_rows)  # no rows: no types
    ]
    if not numeric and header.doubtful:
        expected = "numbers with a decimal point, or with a decimal comma in a table with semicolons or tabs"
        raise InputError(path, "cells", f"{header.doubtful!r}", expected, "Export again without thousands separators.")
    values = np.empty((table.num_rows, len(numeric)), dtype=np.float64)
    for position, column in enumerate(numeric):
        values[:, position] = table.column(column).to_numpy()
    channels = set(numeric)
    ignored = tuple(name or "(no name)" for column, name in enumerate(names) if column not in channels)
    values.flags.writeable = False  # the cache shares it
    return _ParsedCsv(tuple(names[column] for column in numeric), ignored, values, header.notes)
