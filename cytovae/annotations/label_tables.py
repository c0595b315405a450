"""Tables of cluster labels, and words that mean "no label".

The tables may have many columns and are aligned with events later, so only the columns that matter are read.
"""

import gzip
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cytovae.delimited import (
    check_columns,
    check_n_cells,
    delimiter_of,
    iterate_lines,
    plain_name,
)
from cytovae.errors import InputError
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
    return plain_name(text) in _NO_LABEL


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
            delimiter = _delimiter(path)
            with _open_text(path) as stream:
                wanted = _check_text(stream, delimiter, path, column, usual)
            table = pd.read_csv(
                path,
                usecols=wanted,
                low_memory=False,
                sep=delimiter,
                skip_blank_lines=False,
                encoding="utf-8-sig",
                index_col=False,
            )
    except (*unreadable, UnicodeError, OSError, EOFError) as error:
        raise InputError(path, "labels", str(error), "a readable table in the format of its suffix") from error
    new_names = {name: plain_name(name) for name in wanted[1:]} | {wanted[0]: CLUSTER}
    return pd.DataFrame(table).rename(columns=new_names)


def _open_text(path: Path) -> TextIO:
    """Open a text table, compressed or not."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_text(stream: TextIO, delimiter: str, path: Path, column: str | None, usual: tuple[str, ...]) -> list[str]:
    """The columns to read from a text table, once each row has as many cells as the header or is blank."""
    lines = iterate_lines(stream, delimiter, path)
    header = next(lines, (0, []))[1]
    if not header:
        raise InputError(path, "labels", "no header", "a readable table in the format of its suffix")
    wanted = _wanted_columns(path, header, column, usual)
    is_label = False
    for number, cells in lines:
        if cells:
            check_n_cells(number, cells, len(header), path)
            is_label = is_label or cells[0].strip() == header[0].strip()
    if is_label and len(header) == 1 and column is None and plain_name(header[0]) not in usual:
        found = f"{header[0]!r}, which is also a label"
        raise InputError(path, "first line", found, "the name of the column", "Add a header line.")
    return wanted


def _delimiter(path: Path) -> str:
    """The customary delimiter of the suffix, unless only another one is in both of the first two lines."""
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    customary = TEXT_DELIMITERS.get(suffix.lower())
    if customary is None:
        expected = f"{', '.join(PARQUET_SUFFIXES)}, .fcs, {', '.join(TEXT_DELIMITERS)}"
        raise InputError(path, "labels", f"a file ending in {suffix!r}", expected)
    with _open_text(path) as stream:
        header, row = [*islice(stream, 2), "", ""][:2]
    if customary in header:
        return customary
    other = delimiter_of(header)
    return other if other in header and other in row else customary


def _wanted_columns(path: Path, present: list[str], column: str | None, usual: tuple[str, ...]) -> list[str]:
    """The column of labels, followed by the existing ones of ``file`` and ``event``, as the table spells them."""
    check_columns(present, (FILE, EVENT) if column else (*usual, FILE, EVENT), path)
    if column is None:
        column = next((name for name in usual if name in present), present[0] if len(present) == 1 else usual[0])
        if column not in usual and re.fullmatch(r"-?\d+(\.\d*)?|Unnamed: 0|\s*", column):
            raise InputError(path, "first line", repr(column), "the name of the column", "Add a header line.")
    if column not in present:
        hint = "Name the column of cluster labels with --channel."
        raise InputError(path, "columns", ", ".join(map(repr, present)) or "none", f"a column {column!r}", hint)
    if present.count(column) > 1:
        raise InputError(path, "header", f"{column!r} twice", "each column once", "Rename or remove one of them.")
    return [column, *(name for name in present if plain_name(name) in (FILE, EVENT) and name != column)]
