"""Text tables with comma, semicolon or tab: one reader for all of them."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
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
    return list(iterate_lines(io.StringIO(text), delimiter_of(text.partition("\n")[0]), path, error))


def iterate_lines(
    lines: Iterable[str], delimiter: str, path: Path, error: type[InputError] = InputError
) -> Iterator[tuple[int, list[str]]]:
    """Yield line number (from 1) and cells of each row of a text table; no cells for an empty line.

    Raises ``error`` if a row cannot be parsed, or if an unpaired quotation mark has joined several rows to one.
    """
    reader = csv.reader(lines, delimiter=delimiter)
    n_columns, last = 0, 0
    try:
        for cells in reader:
            is_header, n_columns = last == 0, n_columns or len(cells)
            if reader.line_num > last + 1 and _is_joined(cells, n_columns, delimiter, is_header):
                hint = "Is a quotation mark unpaired?"
                raise error(path, f"line {last + 1}", "a cell of several lines", "one line for each row", hint)
            last = reader.line_num
            yield last, cells
    except csv.Error as cause:
        raise error(path, f"line {reader.line_num}", str(cause), "a table") from cause


def _is_joined(cells: Sequence[str], n_columns: int, delimiter: str, is_header: bool) -> bool:
    """Whether a cell of several lines contains what looks like other rows."""
    if n_columns == 1 or is_header:
        return n_columns == 1 and any("\n" in cell for cell in cells)
    return any(line.count(delimiter) >= n_columns - 1 for cell in cells for line in cell.split("\n")[1:])


def check_n_cells(
    number: int, cells: Sequence[str], n_columns: int, path: Path, error: type[InputError] = InputError
) -> None:
    """Raise ``error`` if the row on line ``number`` has another number of cells than the header."""
    if len(cells) != n_columns:
        found, hint = f"{len(cells)} cells", "Quote cells that contain the delimiter."
        raise error(path, f"line {number}", found, f"{n_columns}, as in the header", hint)


def plain_name(text: str) -> str:
    """The name of a column in lower case without white space."""
    return "".join(text.casefold().split())


def check_columns(
    header: Sequence[str], used: Collection[str], path: Path, error: type[InputError] = InputError
) -> None:
    """Raise ``error`` if two columns of ``header`` have the same plain name, and it is one of ``used``."""
    first: dict[str, str] = {}
    for name in header:
        plain = plain_name(name)
        if plain in used and plain in first:
            hint = "Rename or remove one of them."
            raise error(path, "header", f"{first[plain]!r} and {name!r}", f"each column once: {plain}", hint)
        first[plain] = name


def parse_table(text: str, path: Path, error: type[InputError] = InputError) -> TextTable:
    """Parse a text table with a header. ``path`` is for messages only.

    Raises
    ------
    InputError
        Of the type ``error``: if a line cannot be parsed, or has another number of cells than the header.
    """
    lines = [(number, tuple(cell.strip() for cell in cells)) for number, cells in split_lines(text, path, error)]
    header = lines[0][1] if lines else ()
    rows = tuple((number, cells) for number, cells in lines[1:] if any(cells))
    for number, cells in rows:
        check_n_cells(number, cells, len(header), path, error)
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
