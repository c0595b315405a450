"""Text tables with comma, semicolon or tab: one reader for all of them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.errors import InputError
from cytovae.plain_file import check_plain

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes
    ----------
    first_line
        The header as it is in the file, for error messages.
    header
        Names of the columns, trimmed.
    rows
        Line number and trimmed cells of every row that is not empty; as many cells as ``header`` has.
    """

    first_line: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def delimiter_of(first_line: str) -> str:
    """The delimiter of a text table: comma, semicolon or tab, whichever its first line contains most often."""
    return max(_DELIMITERS, key=first_line.count)


def read_text(path: Path, field: str, error: type[InputError] = InputError) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises ``error`` about ``field`` if it cannot be read."""
    check_plain(path, field, error)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(path, field, str(cause), "a readable text file in UTF-8") from cause
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise error(path, f"line {line}", "the character NUL", "a text file in UTF-8")
    return text


def split_lines(text: str, path: Path, error: type[InputError] = InputError) -> list[tuple[int, list[str]]]:
    """The lines of a text table as they are: line number (from 1) and cells, none for an empty line.

    ``path`` is for messages only. Raises ``error`` with the number of a line that cannot be parsed.
    """
    reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text.partition("\n")[0]))
    try:
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as cause:
        raise error(path, f"line {reader.line_num}", str(cause), "a table") from cause


def parse_table(text: str, path: Path) -> TextTable:
    """Parse a text table with a header. ``path`` is for messages only.

    Raises
    ------
    InputError
        If a line cannot be parsed, or has another number of cells than the header.
    """
    lines = [(number, tuple(cell.strip() for cell in cells)) for number, cells in split_lines(text, path)]
    header = lines[0][1] if lines else ()
    rows = tuple((number, cells) for number, cells in lines[1:] if any(cells))
    for number, cells in rows:
        if len(cells) != len(header):
            hint = "Quote cells that contain the delimiter."
            raise InputError(path, f"line {number}", f"{len(cells)} cells", f"{len(header)}, as in the header", hint)
    return TextTable(text.partition("\n")[0].strip(), header, rows)


def is_number(text: str) -> bool:
    """Whether ``text`` is a number, as Python spells it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_line(cells: Sequence[str]) -> str:
    """One line of CSV, with quotes where they are needed."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
