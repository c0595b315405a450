"""The panel table: a row for each channel, written by `inspect --panel-out` or by a user."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cytovae.atomic import whole_file
from cytovae.delimited import check_columns, parse_table, read_text
from cytovae.errors import PanelError

_YES = frozenset({"", "1", "1.0", "yes", "y", "true", "t", "x"})
_NO = frozenset({"0", "0.0", "no", "n", "false", "f"})
_CLASSES = frozenset({"", "type", "state", "none"})
_COLUMNS = ("channel", "marker", "class", "use", "cofactor", "reason")


@dataclass(frozen=True)
class PanelRow:
    """One row of a panel table; ``cofactor`` is None if its cell is empty.

    ``marker_class`` and ``reason`` inform the reader; ``use`` decides.
    """

    channel: str
    marker: str
    use: bool
    cofactor: float | None
    marker_class: str = ""
    reason: str = ""


def read_panel(path: Path) -> tuple[PanelRow, ...]:
    """Read a panel table.

    The columns are ``channel``, ``marker``, ``class``, ``use``, ``cofactor`` and ``reason``. Only one of the first two
    is required. Without ``use``, all rows are used; without ``cofactor``, the cofactor of the run applies.

    Raises
    ------
    PanelError
        If the table is malformed or no row is used; it names the line.
    """
    table = parse_table(read_text(path, "panel table", PanelError), path, PanelError)
    header = [column.casefold() for column in table.header]
    if not {"channel", "marker"} & set(header):
        expected = f"columns {', '.join(_COLUMNS)} (at least channel or marker)"
        raise PanelError(path, "header", repr(table.first_line), expected)
    check_columns(table.header, _COLUMNS, path, PanelError)
    rows = [_row(dict(zip(header, cells, strict=True)), path, f"line {number}") for number, cells in table.rows]
    if not any(row.use for row in rows):
        raise PanelError(path, "use", "no marker to use", "at least one row with use = 1")
    return tuple(rows)


def _row(cells: dict[str, str], path: Path, line: str) -> PanelRow:
    channel, marker, use = cells.get("channel", ""), cells.get("marker", ""), cells.get("use", "").casefold()
    if not (channel or marker):
        raise PanelError(path, line, "neither channel nor marker", "at least one of them")
    if use not in _YES | _NO:
        raise PanelError(path, f"{line}, use", repr(use), "1 or 0, yes or no")
    marker_class = cells.get("class", "").casefold()
    if marker_class not in _CLASSES:
        raise PanelError(path, f"{line}, class", repr(marker_class), "type, state, or an empty cell")
    cofactor = _cofactor(cells.get("cofactor", ""), path, line)
    return PanelRow(channel, marker, use in _YES, cofactor, marker_class, cells.get("reason", ""))


def _cofactor(cell: str, path: Path, line: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise PanelError(path, f"{line}, cofactor", repr(cell), "a positive number, or an empty cell")
    return value


def write_panel(path: Path, rows: Iterable[PanelRow], *, force: bool = False) -> None:
    """Write a panel table that :func:`read_panel` reads. Raises :class:`OutputError` if ``path`` exists."""
    with whole_file(path, force=force) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            cofactor = "" if row.cofactor is None else f"{row.cofactor:g}"
            writer.writerow((row.channel, row.marker, row.marker_class, int(row.use), cofactor, row.reason))
