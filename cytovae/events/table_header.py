"""The head of a text table of events: where the header is, how cells are separated, and the channel in each name.

FlowJo writes ``Comp-FITC-A :: CD3``, CellEngine ``<FITC-A (CD3)>``, Cytobank ``FITC-A (CD3)`` below a line with the
name of the file, pandas and R a first column with row numbers, and programs with European settings decimal commas.
"""

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cytovae.delimited import delimiter_of, is_number
from cytovae.errors import InputError

_MOST_LINES_ABOVE = 20
_ROWS_FOR_DECIMALS = 20
_MOST_CHARACTERS = 1 << 20  # of one line

_OPTICAL = re.compile(r".+[-_ ](?:[AHW]|Area|Height|Width)|FL\d+.*")
_MASS = r"(?:[89]\d|1\d\d|20\d)"
_METAL = re.compile(rf"(?:{_MASS}[A-Z][a-z]?|[A-Z][a-z]?{_MASS})(?:D[id])?")
_IN_BRACKETS = re.compile(r"(?P<first>.*?\S)\s+\((?P<second>.+)\)")
_UNNAMED = re.compile(r"unnamed: \d+(?:[_.]\w+)*|__index_level_\d+__|\.\.\.1", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[.,' ]\d{3})*[.,]\d+")


# --- names ---


@lru_cache(maxsize=65_536)
def split_name(text: str) -> tuple[str, str]:
    """The channel ($PnN) and the label ($PnS, '' if there is none) in the name of a column.

    Examples
    --------
    >>> split_name("Comp-FITC-A :: CD3"), split_name("<PE-A (CD4)>"), split_name("CD45")
    (('Comp-FITC-A', 'CD3'), ('PE-A', 'CD4'), ('CD45', ''))
    """
    text = text.strip()
    in_angles = len(text) > 2 and text.startswith("<") and text.endswith(">")
    if in_angles:
        text = text[1:-1].strip()
    channel, separator, label = text.partition("::")
    if separator and channel.strip():
        return channel.strip(), label.strip()
    brackets = _IN_BRACKETS.fullmatch(text)
    if brackets:
        first, second = brackets["first"].strip(), brackets["second"].strip()
        if _OPTICAL.fullmatch(second) and not _OPTICAL.fullmatch(first):
            return second, first  # CD3 (FITC-A)
        if in_angles or _OPTICAL.fullmatch(first) or _METAL.fullmatch(first):
            return first, second
    return text, ""


def is_row_index(name: str) -> bool:
    """Whether a column of this name holds row numbers: pandas and R write them without a name."""
    return not name.strip() or _UNNAMED.fullmatch(name.strip()) is not None


# --- where the header is ---


@dataclass(frozen=True)
class TextHeader:
    """How to read a text table.

    Attributes
    ----------
    lines_above
        The number of lines above the header.
    delimiter
        The delimiter of cells.
    decimal_comma
        Whether numbers have a decimal comma.
    names
        The names of the columns if the header lacks that of the row numbers, as in tables of R; otherwise None.
    doubtful
        A number of the first rows that is spelled in no way that is understood, '' if there is none.
    """

    lines_above: int
    delimiter: str
    decimal_comma: bool
    names: tuple[str, ...] | None
    doubtful: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, a sentence each."""
        above = "" if not self.lines_above else "one line" if self.lines_above == 1 else f"{self.lines_above} lines"
        skipped = (f"the header was found below {above}.",) if above else ()
        return (*skipped, "numbers have decimal commas.") if self.decimal_comma else skipped


def read_header(path: Path) -> TextHeader:
    """Look at the first lines of a text table.

    Raises :class:`InputError` if the file is empty. Raises OSError or UnicodeDecodeError if it cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = [file.readline(_MOST_CHARACTERS) for _ in range(_MOST_LINES_ABOVE + _ROWS_FOR_DECIMALS)]
    if not lines[0].strip():
        raise InputError(path, "header", "an empty line", "the names of the channels")
    lines_above = _lines_above(lines)
    delimiter = delimiter_of(lines[lines_above])
    cells = [cell for line in lines[lines_above + 1 :] for cell in _cells(line, delimiter)]
    with_comma = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    decimal_comma = delimiter != "," and bool(with_comma) and not any("." in cell and is_number(cell) for cell in cells)
    doubtful = [cell for cell in cells if not is_number(cell) and _GROUPED.fullmatch(cell)]
    return TextHeader(
        lines_above,
        delimiter,
        decimal_comma,
        _names_of_shifted_header(*(_cells(line, delimiter) for line in lines[lines_above : lines_above + 2])),
        "" if decimal_comma or not doubtful else doubtful[0],
    )


def _names_of_shifted_header(names: list[str], values: list[str]) -> tuple[str, ...] | None:
    """The names of all columns if the rows have one cell more than the header: R's write.table omits that name."""
    shifted = len(values) == len(names) + 1 and values[-1] and any(map(_is_spelled_number, values))
    return ("", *names) if shifted else None


def _lines_above(lines: list[str]) -> int:
    """The number of lines above the header: lines with fewer names than the header, which numbers follow."""
    rows = [_cells(line, delimiter_of(line)) for line in lines]
    filled = [sum(map(bool, row)) for row in rows]
    for number in range(1, min(_MOST_LINES_ABOVE, len(rows) - 1)):
        names, values = rows[number], rows[number + 1]
        if (
            len(names) == len(values)
            and filled[number] > max(filled[:number])
            and not any(_is_spelled_number(cell) for cell in names)
            and any(_is_spelled_number(cell) for cell in values)
        ):
            return number
    return 0


def _is_spelled_number(cell: str) -> bool:
    return is_number(cell) or _DECIMAL_COMMA.fullmatch(cell) is not None


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for row in csv.reader([line], delimiter=delimiter) for cell in row]
