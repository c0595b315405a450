"""The panel table that a user writes."""

import math
from dataclasses import dataclass
from pathlib import Path

from cytovae.delimited import read_text, split_lines
from cytovae.errors import PanelError


@dataclass(frozen=True)
class PanelRow:
    """One row of a panel table; ``cofactor`` is None where its cell is empty."""

    channel: str
    marker: str
    use: bool
    cofactor: float | None


# --- a panel table ----------------------------------------------------------------------------------------------------

_YES = frozenset({"", "1", "1.0", "yes", "y", "true", "t", "x"})


_NO = frozenset({"0", "0.0", "no", "n", "false", "f"})


def read_panel(path: Path) -> tuple[PanelRow, ...]:
    """The rows of a panel table: text with the columns ``channel``, ``marker``, ``use`` and ``cofactor``.

    Comma, semicolon or tab separate them. ``channel`` or ``marker`` must be there, the rest may be missing: ``use`` is
    then yes and ``cofactor`` that of the run. Raises :class:`PanelError` naming the line.
    """
    text = read_text(path, "panel table", PanelError)
    lines = split_lines(text, path, PanelError)
    header = [column.strip().casefold() for column in (lines[0][1] if lines else ())]
    if not {"channel", "marker"} & set(header):
        raise PanelError(
            path,
            "header",
            repr(text.partition("\n")[0].strip()),
            "columns channel, marker, use, cofactor (the first or the second at least)",
        )
    rows = []
    for number, fields in lines[1:]:
        cells = {column: cell.strip() for column, cell in zip(header, fields, strict=False)}
        if not any(cells.values()):
            continue
        where = f"line {number}"
        channel, marker, use = cells.get("channel", ""), cells.get("marker", ""), cells.get("use", "").casefold()
        if not (channel or marker):
            raise PanelError(path, where, "neither channel nor marker", "one of them")
        if use not in _YES | _NO:
            raise PanelError(path, f"{where}, use", repr(use), "1 or 0, yes or no")
        rows.append(PanelRow(channel, marker, use in _YES, _cofactor(cells.get("cofactor", ""), path, where)))
    if not any(row.use for row in rows):
        raise PanelError(path, "use", "no marker to use", "at least one row with use = 1")
    return tuple(rows)


def _cofactor(cell: str, path: Path, where: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise PanelError(path, f"{where}, cofactor", repr(cell), "a positive number, or nothing")
    return value
