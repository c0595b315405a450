"""Tables that people type or export from a spreadsheet: their header and rows, each with its line. No files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.errors import InputError


@dataclass(frozen=True)
class Sheet:
    """``header`` as it stands, and ``rows``: the number of the line, and as many cells as the header has."""

    first_line: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def parse_sheet(text: str, path: Path) -> Sheet:
    """The table in ``text``; comma, semicolon or tab separate, whichever the first line has most of.

    Cells are trimmed and empty lines left out. ``path`` is for messages: :class:`InputError` names the line that is
    none of a table, or has more or fewer cells than the header.
    """
    first_line = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first_line.count))
    try:
        lines = [(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader]
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}", str(error), "a table") from error
    header = lines[0][1] if lines else ()
    rows = tuple((number, cells) for number, cells in lines[1:] if any(cells))
    for number, cells in rows:
        if len(cells) != len(header):
            hint = "Quote texts that hold the separator."
            raise InputError(path, f"line {number}", f"{len(cells)} cells", f"{len(header)}, as in the header", hint)
    return Sheet(first_line.strip(), header, rows)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_line(cells: Sequence[str]) -> str:
    """A line of CSV, quoted where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
