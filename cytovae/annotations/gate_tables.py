"""Tables of gates: one label per event, aligned with the events of files while they are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytovae.annotations.file_column import match_cells
from cytovae.annotations.label_tables import EVENT, FILE, PARQUET_SUFFIXES, POPULATION_COLUMNS, is_no_label
from cytovae.delimited import check_columns, check_n_cells, plain_name, read_text, split_lines
from cytovae.errors import GateError
from cytovae.events.event_file import EventFile
from cytovae.plain_file import open_plain


@dataclass(frozen=True)
class _GateTable:
    """A table of text: plain names of the columns, of which only unused ones may repeat, and their cells."""

    path: Path
    header: Sequence[str]
    columns: Sequence[Sequence[str]]
    n_rows: int

    def column(self, name: str) -> Sequence[str] | None:
        """The cells of a column; None if there is none of that plain name."""
        return self.columns[self.header.index(name)] if name in self.header else None


def read_gate_table(path: Path, files: Sequence[EventFile]) -> list[str]:
    """Read a table of gates and align it with the events of ``files``.

    Parameters
    ----------
    path
        A Parquet or text table. The labels are in the column ``population`` or ``label``, or in the only column
        besides ``file`` and ``event``. Without those two, rows are events, in the order of ``files``. A text table
        with a single column and no header is accepted if it has a line for each event and its first label occurs
        again.
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
    labels, file_column, events = _gate_column(table), table.column(FILE), table.column(EVENT)
    if file_column is not None:
        rows_of_files = _rows_of_files(table, file_column, files)
        return [
            label
            for file, rows in zip(files, rows_of_files, strict=True)
            for label in _labels_of_file(table, labels, events, rows, file)
        ]
    if events is not None and len(files) == 1:
        return _by_event(table, labels, events, range(table.n_rows), files[0])
    if table.n_rows != n_events:
        described = f"{files[0].path}" if len(files) == 1 else f"the {len(files)} files together"
        raise GateError(
            path,
            "rows",
            f"{table.n_rows} rows",
            f"{n_events}, one for each event of {described}",
            "A table for some events only needs the columns file, event and population.",
        )
    if events is not None:
        _check_order(path, events, files)
    return list(labels)


def files_in_gate_table(path: Path, files: Sequence[EventFile]) -> tuple[int, ...]:
    """The indices of the ``files`` that the column ``file`` of a table names; () without that column.

    Raises :class:`GateError` if the table cannot be read, or a cell fits several files.
    """
    if path.suffix.casefold() in PARQUET_SUFFIXES:
        table = _read_parquet_gates(path)
    else:
        lines = split_lines(read_text(path, "gates", GateError), path, GateError)
        if not lines or len(lines[0][1]) < 2:
            return ()
        table = _read_text_gates(path, 0)  # the number of events matters for a single column only
    cells = table.column(FILE)
    if cells is None:
        return ()
    found = match_cells(cells, _paths_of(files), path, GateError)
    return tuple(sorted({index for indices in found.values() for index in indices}))


def _check_order(path: Path, events: Sequence[str], files: Sequence[EventFile]) -> None:
    """Raise an error unless ``events`` counts the events of each file in turn, or those of all files."""
    in_files = [str(event) for file in files for event in range(file.n_events)]
    cells = [cell.strip() for cell in events]
    if cells not in (in_files, [str(event) for event in range(len(cells))]):
        found = f"a column event in another order, of {len(files)} files"
        raise GateError(path, "header", found, "a column file", "It tells events of different files apart.")


def _read_text_gates(path: Path, n_events: int) -> _GateTable:
    """A text table. In a single column, a blank line is an ungated event, except at the end."""
    lines = split_lines(read_text(path, "gates", GateError), path, GateError)
    if not lines:
        raise GateError(path, "gates", "an empty file", "a header and one row for each event")
    n_columns = len(lines[0][1])
    for number, cells in lines[1:]:
        if cells:
            check_n_cells(number, cells, n_columns, path, GateError)
    if n_columns < 2:
        return _single_column(path, [cells for _, cells in lines], n_events)
    body = [cells for _, cells in lines[1:] if cells]
    return _gate_table(path, lines[0][1], [[cells[column] for cells in body] for column in range(n_columns)], len(body))


def _single_column(path: Path, rows: list[list[str]], n_events: int) -> _GateTable:
    """A table of one column, whose first line is a header, or the label of the first event.

    An unknown header with a row too few has as many lines as a table without a header, so that the first line is a
    label only if it occurs again. Superfluous blank lines at the end are ignored; a quoted empty cell is an event.
    """
    lines = ["".join(cells) for cells in rows]
    is_known = plain_name(lines[0]) in POPULATION_COLUMNS
    is_label = not is_known and _is_label(lines[0], lines[1:])
    while len(lines) > n_events + (not is_label) and rows[len(lines) - 1] != [""] and not lines[-1].strip():
        lines.pop()
    if is_label and len(lines) == n_events:
        return _GateTable(path, POPULATION_COLUMNS[:1], (lines,), n_events)
    if is_label or (not is_known and len(lines) != n_events + 1):
        expected = f"a header and {n_events} rows, one for each event"
        found = f"{len(lines)} lines, of which the first is {lines[0].strip()!r}"
        raise GateError(path, "rows", found, expected, "Name the column 'population' in the first line.")
    return _gate_table(path, lines[:1], (lines[1:],), len(lines) - 1)


def _is_label(first: str, others: Iterable[str]) -> bool:
    """Whether the first line of a column looks like a label: it occurs again, or means "in no gate"."""
    text = first.strip()
    return bool(text) and (is_no_label(text) or any(text == other.strip() for other in others))


def _gate_table(path: Path, header: Sequence[str], columns: Sequence[Sequence[str]], n_rows: int) -> _GateTable:
    check_columns(header, (*POPULATION_COLUMNS, FILE, EVENT), path, GateError)
    return _GateTable(path, tuple(map(plain_name, header)), columns, n_rows)


def _read_parquet_gates(path: Path) -> _GateTable:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with open_plain(path, "gates", GateError) as stream:
            table = parquet.read_table(stream)
    except (OSError, pa.ArrowException) as error:
        raise GateError(path, "gates", str(error), "a readable Parquet file") from error
    columns = [[_as_text(value) for value in column.to_pylist()] for column in table.columns]
    return _gate_table(path, table.column_names, columns, table.num_rows)


def _as_text(value: Any) -> str:
    """A cell as text: empty if missing, whole numbers without a decimal point."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _gate_column(table: _GateTable) -> Sequence[str]:
    for name in POPULATION_COLUMNS:
        if (column := table.column(name)) is not None:
            return column
    # R writes row names into a column without a name.
    others = [index for index, name in enumerate(table.header) if name not in ("", FILE, EVENT)]
    if len(others) == 1:
        return table.columns[others[0]]
    expected = f"a column {' or '.join(POPULATION_COLUMNS)}"
    raise GateError(table.path, "header", f"columns {', '.join(table.header)}", expected)


def _rows_of_files(table: _GateTable, cells: Sequence[str], files: Sequence[EventFile]) -> list[list[int]]:
    """The rows of each file, which the column ``file`` names."""
    paths = _paths_of(files)
    found = match_cells(cells, paths, table.path, GateError)
    rows: list[list[int]] = [[] for _ in files]
    for row, cell in enumerate(cells):
        for index in found.get(cell, ()):
            rows[index].append(row)
    for path, own in zip(paths, rows, strict=True):
        if not own:
            present = list(dict.fromkeys(cells))
            hint = f"The table is about {', '.join(present[:5])}{', …' if len(present) > 5 else ''}."
            raise GateError(table.path, FILE, f"no row for {path.name}", "its name in the column file", hint)
        folders = {cells[row].strip().rpartition("/")[0]: cells[row] for row in own}
        if len(folders) > 1:
            found_names = " and ".join(list(folders.values())[:2])
            raise GateError(table.path, FILE, f"{found_names} for {path}", "one path for each file")
    return rows


def _paths_of(files: Sequence[EventFile]) -> list[Path]:
    """The path of each file; parts of one file are told apart."""
    return [file.path / file.part if file.part else file.path for file in files]


def _labels_of_file(
    table: _GateTable, labels: Sequence[str], events: Sequence[str] | None, rows: Sequence[int], file: EventFile
) -> list[str]:
    """The labels of one file, from its rows."""
    if events is not None:
        return _by_event(table, labels, events, rows, file)
    if len(rows) != file.n_events:
        found = f"{len(rows)} rows for {file.path.name}"
        raise GateError(table.path, "rows", found, f"{file.n_events}, one for each event")
    return [labels[row] for row in rows]


def _by_event(
    table: _GateTable, labels: Sequence[str], events: Sequence[str], rows: Iterable[int], file: EventFile
) -> list[str]:
    """Labels in the order of events; empty for events without a row."""
    label_of: dict[int, str] = {}
    for row in rows:
        cell = events[row]
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
