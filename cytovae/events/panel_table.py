"""The panel table that a user writes."""

import math
from dataclasses import dataclass
from pathlib import Path

from cytovae.delimited import read_text, split_lines
from cytovae.errors import PanelError

_YES = frozenset({"", "1", "1.0", "yes", "y", "true", "t", "x"})
_NO = frozenset({"0", "0.0", "no", "n", "false", "f"})


@dataclass(frozen=True)
class PanelRow:
    """One row of a panel table; ``cofactor`` is None if its cell is empty."""

    channel: str
    marker: str
    use: bool
    cofactor: float | None


def read_panel(path: Path) -> tuple[PanelRow, ...]:
    """Read a panel table.

    The columns are ``channel``, ``marker``, ``use`` and ``cofactor``. Only one of the first two is required. Without
    ``use``, all rows are used; without ``cofactor``, the cofactor of the run applies.

    Raises
    ------
    PanelError
        If the table is malformed or no row is used; it names the line.
    """
    text = read_text(path, "panel table", PanelError)
    lines = split_lines(text, path, PanelError)
    header = [column.strip().casefold() for column in (lines[0][1] if lines else ())]
    if not {"channel", "marker"} & set(header):
        found = repr(text.partition("\n")[0].strip())
        expected = "columns channel, marker, use, cofactor (at least channel or marker)"
        raise PanelError(path, "header", found, expected)
    rows = []
    for number, fields in lines[1:]:
        cells = {column: cell.strip() for column, cell in zip(header, fields, strict=False)}
        if any(cells.values()):
            rows.append(_row(cells, path, f"line {number}"))
    if not any(row.use for row in rows):
        raise PanelError(path, "use", "no marker to use", "at least one row with use = 1")
    return tuple(rows)


def _row(cells: dict[str, str], path: Path, line: str) -> PanelRow:
    channel, marker, use = cells.get("channel", ""), cells.get("marker", ""), cells.get("use", "").casefold()
    if not (channel or marker):
        raise PanelError(path, line, "neither channel nor marker", "at least one of them")
    if use not in _YES | _NO:
        raise PanelError(path, f"{line}, use", repr(use), "1 or 0, yes or no")
    return PanelRow(channel, marker, use in _YES, _cofactor(cells.get("cofactor", ""), path, line))


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
