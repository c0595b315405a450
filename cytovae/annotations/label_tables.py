"""Tables with one label per event: one reader for gates and for cluster labels."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from cytovae.errors import GateError, InputError
from cytovae.events.event_file import EventFile

_LABEL_COLUMNS = ("population", "label")


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(path, "gates", str(error), "a readable text file in UTF-8") from error


# --- a table ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A table as text: column names without case and white space, and the cells of each column."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    n_rows: int
    first_line_is_data: bool = False


def read_label_table(path: Path, files: Sequence[EventFile]) -> list[str]:
    n_events = sum(file.n_events for file in files)
    table = _read_parquet(path) if path.suffix.casefold() == ".parquet" else _read_csv(path, n_events)
    labels = _label_column(table)
    if "file" in table.columns:
        return [label for file in files for label in _rows_of_file(table, labels, file)]
    if "event" in table.columns and len(files) == 1:
        return _by_event(table, labels, range(table.n_rows), files[0])
    if table.n_rows != n_events:
        of_files = f"{files[0].path}" if len(files) == 1 else f"the {len(files)} files together"
        raise GateError(
            path, "rows", f"{table.n_rows} rows", f"{n_events}, one for each event of {of_files}",
            "A table for some events only needs the columns file, event and population.",
        )  # fmt: skip
    return list(labels)


def _read_csv(path: Path, n_events: int) -> _Table:
    """A delimited text table. A blank line of a one-column table is an ungated event; at the end it is none."""
    text = read_text(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise GateError(path, "gates", str(error), "a table with one row for each event") from error
    if not rows:
        raise GateError(path, "gates", "an empty file", "a header and one row for each event")
    header = ["".join(name.casefold().split()) for name in rows[0]]
    one_column = len(header) == 1
    if not one_column:
        rows = rows[:1] + [row for row in rows[1:] if row]
    # Some label files have no header: then there are as many lines as events, and the first is no column name.
    headless = one_column and len(rows) == n_events and header[0] not in _LABEL_COLUMNS
    if headless:
        return _Table(path, {_LABEL_COLUMNS[0]: [row[0] if row else "" for row in rows]}, n_events)
    body = rows[1:]
    while one_column and len(body) > n_events and not any(body[-1]):
        body.pop()
    for number, row in enumerate(body, start=2):
        if not one_column and len(row) != len(header):
            raise GateError(path, f"row {number}", f"{len(row)} cells", f"{len(header)}, as in the header")
    columns = {name: [row[position] if row else "" for row in body] for position, name in enumerate(header)}
    return _Table(path, columns, len(body))


def _read_parquet(path: Path) -> _Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise GateError(path, "gates", str(error), "a readable Parquet file") from error
    columns = {
        "".join(name.casefold().split()): [_spell(value) for value in table.column(position).to_pylist()]
        for position, name in enumerate(table.column_names)
    }
    return _Table(path, columns, table.num_rows)


def _spell(value: Any) -> str:
    """A cell as text: nothing for missing values, whole numbers without a decimal point."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _label_column(table: _Table) -> Sequence[str]:
    for name in _LABEL_COLUMNS:
        if name in table.columns:
            return table.columns[name]
    # R writes row names into a column without a name.
    others = [name for name in table.columns if name not in ("", "file", "event")]
    if len(others) == 1:
        return table.columns[others[0]]
    raise GateError(
        table.path, "header", f"columns {', '.join(table.columns)}", f"a column {' or '.join(_LABEL_COLUMNS)}"
    )


def _rows_of_file(table: _Table, labels: Sequence[str], file: EventFile) -> list[str]:
    """The labels of one file out of a table with a column ``file`` (its path, its name, or its name without suffix)."""
    accepted = {str(file.path), file.path.name, file.path.stem}
    rows = [row for row, name in enumerate(table.columns["file"]) if name.strip() in accepted]
    if not rows:
        present = list(dict.fromkeys(table.columns["file"]))
        raise GateError(
            table.path, "file", f"no row for {file.path.name}", "its name in the column file",
            f"The table is about {', '.join(present[:5])}{', …' if len(present) > 5 else ''}.",
        )  # fmt: skip
    if "event" in table.columns:
        return _by_event(table, labels, rows, file)
    if len(rows) != file.n_events:
        raise GateError(
            table.path, "rows", f"{len(rows)} rows for {file.path.name}", f"{file.n_events}, one for each event"
        )
    return [labels[row] for row in rows]


def _by_event(table: _Table, labels: Sequence[str], rows: Iterable[int], file: EventFile) -> list[str]:
    """Labels put at their 0-based event; events that no row names are ungated."""
    placed: dict[int, str] = {}
    for row in rows:
        cell = table.columns["event"][row]
        try:
            event = int(cell)
        except ValueError:
            event = -1
        if not 0 <= event < file.n_events or event in placed:
            found = f"{cell!r} a second time" if event in placed else repr(cell)
            raise GateError(
                table.path, "event", found, f"each of 0 … {file.n_events - 1} of {file.path.name} at most once"
            )
        placed[event] = labels[row]
    return [placed.get(event, "") for event in range(file.n_events)]


CLUSTER, FILE, EVENT = "cluster", "file", "event"


SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


NO_LABEL = frozenset({"", "na", "n/a", "nan", "<na>", "none", "null", "unassigned", "ungated", "not gated"})
"""Texts that say, in any case of letters, that a cell has no cluster or lies in no gate."""


def read_cluster_table(path: Path, column: str | None, usual: tuple[str, ...]) -> pd.DataFrame:
    """The labels as a column named ``cluster``, with ``file`` and ``event`` where there are such columns."""
    if not path.is_file():
        raise InputError(path, "labels", "no such file", "a Parquet, CSV, TSV or FCS file with labels")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            wanted = _columns(path, parquet.read_schema(path).names, column, usual)
            table = parquet.read_table(path, columns=wanted).to_pandas(ignore_metadata=True)
        else:
            options = _text_options(path)
            wanted = _columns(path, [str(name) for name in pd.read_csv(path, nrows=0, **options)], column, usual)
            table = pd.read_csv(path, usecols=wanted, low_memory=False, **options)
    except (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OSError) as error:
        raise InputError(path, "labels", str(error), "a readable table in the format of its suffix") from error
    return pd.DataFrame(table).rename(columns={wanted[0]: CLUSTER})


def _text_options(path: Path) -> dict[str, Any]:
    """How pandas reads a text table. A blank line is a cell without a label, not a line to skip."""
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() not in SEPARATORS:
        raise InputError(path, "labels", f"a file ending in {suffix!r}", f".parquet, .fcs, {', '.join(SEPARATORS)}")
    separator = SEPARATORS[suffix.lower()]
    return {"sep": separator, "skip_blank_lines": False, "encoding": "utf-8-sig", "index_col": False}


def _columns(path: Path, present: list[str], column: str | None, usual: tuple[str, ...]) -> list[str]:
    """The column of labels, and those that say where each cell lies."""
    if column is None:
        column = next((name for name in usual if name in present), present[0] if len(present) == 1 else usual[0])
        if column not in usual and re.fullmatch(r"-?\d+(\.\d*)?|Unnamed: 0", column):
            raise InputError(path, "first line", repr(column), "the name of the column", "Add a header line.")
    if column not in present:
        hint = "Name the column of cluster labels with --channel."
        raise InputError(path, "columns", ", ".join(map(repr, present)) or "none", f"a column {column!r}", hint)
    return [column, *(name for name in (FILE, EVENT) if name in present and name != column)]
