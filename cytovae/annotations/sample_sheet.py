"""The sample sheet: a text table (file, sample, batch, condition, …) with a row for each file of a study.

:func:`read_samples` looks up files that a command has opened; :func:`read_study` lists the files of a workflow.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytovae.annotations.file_column import match_cells
from cytovae.delimited import TextTable, check_columns, parse_table, plain_name, read_text
from cytovae.errors import InputError

STUDY_COLUMNS = ("file", "sample", "batch", "condition")
"""The columns that a workflow uses."""

# Columns that outputs already have under the same name.
_RESERVED = re.compile(
    r"_index|file|event|(?:cluster|population)(?:_\d+|_probability)?|probability|gate|novelty|umap_[12]|p_\d+|cells|fraction"
)

_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")


# --- annotations of opened files --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SampleSheet:
    """Annotations of files, for the tables that outputs write.

    Attributes
    ----------
    columns
        Names of the annotations: the columns of the sheet except ``file``.
    rows
        For each file, by its name in tables, one text per column. A text is empty if the cell is.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, file: str) -> tuple[str, ...]:
        """The annotations of ``file``, one per column."""
        return self.rows[file] if self.columns else ()


NO_SAMPLES = SampleSheet()


def read_samples(path: Path, files: Mapping[str, Path]) -> SampleSheet:
    """Read the sample sheet at ``path`` for ``files``, see :func:`parse_samples`."""
    return parse_samples(read_text(path, "samples"), path, files)


def parse_samples(text: str, path: Path, files: Mapping[str, Path]) -> SampleSheet:
    """Parse a sample sheet and look up ``files`` in it.

    A row annotates the file that its cell names, see :func:`cytovae.annotations.file_column.match_cells`. Rows of
    other files are ignored, so one sheet can serve a whole study.

    Parameters
    ----------
    text
        The table: a column ``file`` and at least one other. Names of columns become lower case, with underscores
        for spaces.
    path
        Where the sheet is, for relative paths and messages.
    files
        The path of each file, by its name in tables.

    Raises
    ------
    InputError
        If a line cannot be parsed, a file has two rows or none, a row fits several files, two columns have the same
        name, or a column has a name that outputs use.
    """
    table = parse_table(text, path)
    check_columns(table.header, {plain_name(name) for name in table.header} - {""}, path)
    header = _column_names(table)
    if "file" not in header or len(header) < 2 or len(set(header)) < len(header) or "" in header:
        expected = "a column file and others beside it, such as sample, batch, condition, each once"
        raise InputError(path, "header", repr(table.first_line), expected)
    reserved = [column for column in header if column != "file" and _RESERVED.fullmatch(column)]
    if reserved:
        hint = "Rename it; outputs have a column of that name."
        raise InputError(path, f"column {reserved[0]}", "a name that is taken", "another name", hint)
    file_column = header.index("file")
    rows: dict[str, tuple[str, ...]] = {}
    known = tuple(files)
    found = match_cells((cells[file_column] for _, cells in table.rows), tuple(files.values()), path, names=known)
    for number, cells in table.rows:
        texts = [" ".join(cell.split()) for cell in cells]
        for name in (known[index] for index in found.get(cells[file_column], ())):
            if name in rows:
                raise InputError(path, f"line {number}, file", f"{cells[file_column]} again", "one row for each file")
            rows[name] = tuple(text for column, text in enumerate(texts) if column != file_column)
    missing = [name for name in files if name not in rows]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(path, "file", f"no row for {', '.join(missing[:3])}{more}", "a row for each file")
    return SampleSheet(tuple(column for column in header if column != "file"), rows)


# --- the files of a workflow ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyFile:
    """One file of a study.

    Attributes
    ----------
    name
        A unique name for its outputs, safe in paths.
    path
        The absolute path of the file.
    sample, batch, condition
        The cells of the sheet. An empty sample is the name; the others may be empty.
    """

    name: str
    path: Path
    sample: str = ""
    batch: str = ""
    condition: str = ""


def read_study(path: Path) -> tuple[StudyFile, ...]:
    """List the files of the sample sheet at ``path``, in its order.

    The column ``file`` holds paths relative to the sheet. ``sample``, ``batch`` and ``condition`` are optional, other
    columns are ignored. The name of a file is its stem, or a longer part of its path if stems are not unique.

    Raises
    ------
    InputError
        If a line cannot be parsed, names a file that does not exist or a file twice, or if names cannot be made
        unique.
    """
    table = parse_table(read_text(path, "samples"), path)
    header = _column_names(table)
    if "file" not in header:
        raise InputError(path, "header", repr(table.first_line), f"a column file (and {', '.join(STUDY_COLUMNS[1:])})")
    check_columns(table.header, STUDY_COLUMNS, path)
    rows = [dict(zip(header, cells, strict=True)) for _, cells in table.rows]
    files: list[Path] = []
    for (number, _), row in zip(table.rows, rows, strict=True):
        # Not resolved, because the user may know the file by the name of a link.
        file = Path(os.path.normpath(path.absolute().parent / row["file"])) if row["file"] else Path()
        if not file.is_file():
            raise InputError(path, f"line {number}, file", repr(row["file"]), "an existing file")
        if file in files:
            raise InputError(path, f"line {number}, file", f"{row['file']} again", "one row for each file")
        if "\n" in str(file) or "\r" in str(file):
            raise InputError(path, f"line {number}, file", repr(row["file"]), "a path without line breaks")
        files.append(file)
    if not files:
        raise InputError(path, "rows", "none", "a row for each file")
    return tuple(
        StudyFile(name, file, row.get("sample") or name, row.get("batch", ""), row.get("condition", ""))
        for name, file, row in zip(_unique_names(files, path), files, rows, strict=True)
    )


def _unique_names(files: Sequence[Path], sheet: Path) -> list[str]:
    """A safe name for each file: its stem, or its path from the folder that all files share."""
    stems = Counter(_safe_name(file.stem) for file in files)
    top = Path(os.path.commonpath([file.parent for file in files]))
    names = [
        _safe_name(file.stem)
        if stems[_safe_name(file.stem)] == 1
        else "__".join(map(_safe_name, file.relative_to(top).with_suffix("").parts))
        for file in files
    ]
    for name, times in Counter(names).items():
        if times > 1:
            same = [str(file) for file, own in zip(files, names, strict=True) if own == name]
            raise InputError(sheet, "file", f"{same[0]} and {same[1]}", "names that differ by more than odd characters")
    return names


def _safe_name(name: str) -> str:
    return _UNSAFE_CHARACTERS.sub("_", name).lstrip(".") or "_"


def _column_names(table: TextTable) -> list[str]:
    return ["_".join(column.casefold().split()) for column in table.header]
