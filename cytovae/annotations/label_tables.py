"""Tables with one label per event: gates and cluster labels.

Gate tables are aligned with the events of their files while they are read, and every row is checked. Cluster tables
may have many columns and are aligned later, so only the columns that matter are read.
"""

import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytovae.delimited import delimiter_of, read_text, split_lines
from cytovae.errors import GateError, InputError
from cytovae.events.event_file import EventFile
from cytovae.plain_file import is_plain, open_plain

if TYPE_CHECKING:
    import pandas as pd

CLUSTER, FILE, EVENT = "cluster", "file", "event"
POPULATION_COLUMNS = ("population", "label")
"""Usual names of the column of gates."""

PARQUET_SUFFIXES = (".parquet", ".pq")
TEXT_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
"""The customary delimiter of each suffix."""

_NO_LABEL = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "ungated", "unassigned", "notgated"})


def is_no_label(text: str) -> bool:
    """Whether a label means "in no gate" or "in no cluster", ignoring case and white space."""
    return _plain(text) in _NO_LABEL


# --- gate tables ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _GateTable:
    """A table of text: plain names of the columns (see ``_plain``), and their cells."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    n_rows: int


def read_gate_table(path: Path, files: Sequence[EventFile]) -> list[str]:
    """Read a table of gates and align it with the events of ``files``.

    Parameters
    ----------
    path
        A Parquet or text table. The labels are in the column ``population`` or ``label``, or in the only column
        besides ``file`` and ``event``. Without those two, rows are events, in the order of ``files``. A text table
        with a single column and no header is accepted if it has a line for each event.
    files
        The files of the gates.

    Returns
    -------
    list of str
        The label of each event as it is in the table; empty for events without a row.

    Raises
    ------
    GateError
        If the table cannot be read, or does not fit the events.
    """
    n_events = sum(file.n_events for file in files)
    is_parquet = path.suffix.casefold() in PARQUET_SUFFIXES
    table = _read_parquet_gates(path) if is_parquet else _read_text_gates(path, n_events)
    labels = _gate_column(table)
    if FILE in table.columns:
        return [label for file in files for label in _rows_of_file(table, labels, file)]
    if EVENT in table.columns and len(files) == 1:
        return _by_event(table, labels, range(table.n_rows), files[0])
    if table.n_rows != n_events:
        described = f"{files[0].path}" if len(files) == 1 else f"the {len(files)} files together"
        raise GateError(
            path,
            "rows",
            f"{table.n_rows} rows",
            f"{n_events}, one for each event of {described}",
            "A table for some events only needs the columns file, event and population.",
        )
    return list(labels)


def _read_text_gates(path: Path, n_events: int) -> _GateTable:
    """A text table. In a single column, a blank line is an ungated event, except at the end."""
    lines = split_lines(read_text(path, "gates", GateError), path, GateError)
    if not lines:
        raise GateError(path, "gates", "an empty file", "a header and one row for each event")
    rows = [cells for _, cells in lines]
    header = [_plain(name) for name in rows[0]]
    if len(header) == 1:
        # If there are as many lines as events, the first line is a label, not a header.
        if len(rows) == n_events and header[0] not in POPULATION_COLUMNS:
            return _GateTable(path, {POPULATION_COLUMNS[0]: _first_cells(rows)}, n_events)
        body = rows[1:]
        while len(body) > n_events and not any(body[-1]):
            body.pop()
        return _GateTable(path, {header[0]: _first_cells(body)}, len(body))
    body = [cells for cells in rows[1:] if cells]
    for number, cells in enumerate(body, start=2):
        if len(cells) != len(header):
            raise GateError(path, f"row {number}", f"{len(cells)} cells", f"{len(header)}, as in the header")
    columns = {name: [cells[column] for cells in body] for column, name in enumerate(header)}
    return _GateTable(path, columns, len(body))


def _first_cells(rows: Iterable[Sequence[str]]) -> list[str]:
    return [cells[0] if cells else "" for cells in rows]


def _read_parquet_gates(path: Path) -> _GateTable:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with open_plain(path, "gates", GateError) as stream:
            table = parquet.read_table(stream)
    except (OSError, pa.ArrowException) as error:
        raise GateError(path, "gates", str(error), "a readable Parquet file") from error
    columns = {
        _plain(name): [_as_text(value) for value in table.column(column).to_pylist()]
        for column, name in enumerate(table.column_names)
    }
    return _GateTable(path, columns, table.num_rows)


def _as_text(value: Any) -> str:
    """A cell as text: empty if missing, whole numbers without a decimal point."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _gate_column(table: _GateTable) -> Sequence[str]:
    for name in POPULATION_COLUMNS:
        if name in table.columns:
            return table.columns[name]
    # R writes row names into a column without a name.
    others = [name for name in table.columns if name not in ("", FILE, EVENT)]
    if len(others) == 1:
        return table.columns[others[0]]
    expected = f"a column {' or '.join(POPULATION_COLUMNS)}"
    raise GateError(table.path, "header", f"columns {', '.join(table.columns)}", expected)


def _rows_of_file(table: _GateTable, labels: Sequence[str], file: EventFile) -> list[str]:
    """The labels of one file, which the column ``file`` names by path, name or stem."""
    names = {str(file.path), file.path.name, file.path.stem}
    rows = [row for row, name in enumerate(table.columns[FILE]) if name.strip() in names]
    if not rows:
        present = list(dict.fromkeys(table.columns[FILE]))
        raise GateError(
            table.path,
            "file",
            f"no row for {file.path.name}",
            "its name in the column file",
            f"The table is about {', '.join(present[:5])}{', …' if len(present) > 5 else ''}.",
        )
    if EVENT in table.columns:
        return _by_event(table, labels, rows, file)
    if len(rows) != file.n_events:
        found = f"{len(rows)} rows for {file.path.name}"
        raise GateError(table.path, "rows", found, f"{file.n_events}, one for each event")
    return [labels[row] for row in rows]


def _by_event(table: _GateTable, labels: Sequence[str], rows: Iterable[int], file: EventFile) -> list[str]:
    """Labels in the order of events; empty for events without a row."""
    label_of: dict[int, str] = {}
    for row in rows:
        cell = table.columns[EVENT][row]
        try:
            event = int(cell)
        except ValueError:
            event = -1
        if not 0 <= event < file.n_events or event in label_of:
            found = f"{cell!r} a second time" if event in label_of else repr(cell)
            expected = f"each of 0 … {file.n_events - 1} of {file.path.name} at most once"
            raise GateError(table.path, "event", found, expected)
        label_of[event] = labels[row]
    return [label_of.get(event, "") for event in range(file.n_events)]


# --- cluster tables ---------------------------------------------------------------------------------------------------


def read_cluster_table(path: Path, column: str | None, usual: tuple[str, ...]) -> "pd.DataFrame":
    """Read labels whose events are not known yet.

    Parameters
    ----------
    path
        A Parquet or text table. A text table may be compressed (``.gz``).
    column
        The column of labels. Default: the first of ``usual`` that exists, or the only column.
    usual
        Usual names of the column of labels.

    Returns
    -------
    pandas.DataFrame
        The labels as column ``cluster``, with the columns ``file`` and ``event`` if the table has them. A blank line
        of a text table is a row without a label.

    Raises
    ------
    InputError
        If the table cannot be read, or has no such column.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    unreadable = (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError)
    if not is_plain(path):
        raise InputError(path, "labels", "no such file", "a Parquet, CSV, TSV or FCS file with labels")
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            with open_plain(path, "labels") as stream:
                wanted = _wanted_columns(path, parquet.read_schema(stream).names, column, usual)
                stream.seek(0)
                table = parquet.read_table(stream, columns=wanted).to_pandas(ignore_metadata=True)
        else:
            options: dict[str, Any] = {
                "sep": _delimiter(path),
                "skip_blank_lines": False,
                "encoding": "utf-8-sig",
                "index_col": False,
            }
            header = [str(name) for name in pd.read_csv(path, nrows=0, **options)]
            wanted = _wanted_columns(path, header, column, usual)
            table = pd.read_csv(path, usecols=wanted, low_memory=False, **options)
    except (*unreadable, UnicodeError, OSError, EOFError) as error:
        raise InputError(path, "labels", str(error), "a readable table in the format of its suffix") from error
    return pd.DataFrame(table).rename(columns={wanted[0]: CLUSTER})


def _delimiter(path: Path) -> str:
    """The customary delimiter of the suffix, unless only another one is in both of the first two lines."""
    is_gzip = path.suffix.lower() == ".gz"
    suffix = Path(path.stem).suffix if is_gzip else path.suffix
    customary = TEXT_DELIMITERS.get(suffix.lower())
    if customary is None:
        expected = f"{', '.join(PARQUET_SUFFIXES)}, .fcs, {', '.join(TEXT_DELIMITERS)}"
        raise InputError(path, "labels", f"a file ending in {suffix!r}", expected)
    with gzip.open(path, "rt", encoding="utf-8-sig") if is_gzip else path.open(encoding="utf-8-sig") as stream:
        header, row = [*islice(stream, 2), "", ""][:2]
    if customary in header:
        return customary
    other = delimiter_of(header)
    return other if other in header and other in row else customary


def _wanted_columns(path: Path, present: list[str], column: str | None, usual: tuple[str, ...]) -> list[str]:
    """The column of labels, followed by the existing ones of ``file`` and ``event``."""
    if column is None:
        column = next((name for name in usual if name in present), present[0] if len(present) == 1 else usual[0])
        if column not in usual and re.fullmatch(r"-?\d+(\.\d*)?|Unnamed: 0", column):
            raise InputError(path, "first line", repr(column), "the name of the column", "Add a header line.")
    if column not in present:
        hint = "Name the column of cluster labels with --channel."
        raise InputError(path, "columns", ", ".join(map(repr, present)) or "none", f"a column {column!r}", hint)
    return [column, *(name for name in (FILE, EVENT) if name in present and name != column)]


def _plain(text: str) -> str:
    """Lower case without white space."""
    return "".join(text.casefold().split())
