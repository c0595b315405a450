"""A sample sheet: a CSV table with a row for each file of a study."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.delimited import parse_sheet
from cytovae.errors import InputError

COLUMNS = ("file", "sample", "batch", "condition")


_ODD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Sample:
    """One file of a study: its whole path, a ``name`` to call its outputs by, and what the sheet says about it."""

    name: str
    file: Path
    sample: str = ""
    batch: str = ""
    condition: str = ""


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The files of the sheet at ``path``, in its order.

    The column ``file`` is needed, paths are relative to the sheet; ``sample``, ``batch`` and ``condition`` may be
    there, other columns are left alone. Comma, semicolon or tab separate. A file's name is its stem, or more of its
    path where stems are not unique; an empty sample is called by that. Raises :class:`InputError` naming the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "samples", str(error), "a readable table in UTF-8") from error
    sheet = parse_sheet(text, path)
    header = [column.casefold() for column in sheet.header]
    if "file" not in header:
        raise InputError(path, "header", repr(sheet.first_line), f"a column file (and {', '.join(COLUMNS[1:])})")
    if repeated := [column for column, times in Counter(header).items() if times > 1 and column in COLUMNS]:
        raise InputError(path, "header", f"{repeated[0]} twice", "each column once")
    found: list[dict[str, str]] = []
    files: list[Path] = []
    for number, cells in sheet.rows:
        row = dict(zip(header, cells, strict=True))
        # Not resolved: a link may be the name that a user knows a file by.
        file = Path(os.path.normpath(path.absolute().parent / row["file"])) if row["file"] else Path()
        if not file.is_file():
            raise InputError(path, f"line {number}, file", repr(row["file"]), "a file that is there")
        if file in files:
            raise InputError(path, f"line {number}, file", f"{row['file']} again", "one row for each file")
        if "\n" in str(file) or "\r" in str(file):
            raise InputError(path, f"line {number}, file", repr(row["file"]), "a path without line breaks")
        files.append(file)
        found.append(row)
    if not files:
        raise InputError(path, "rows", "none", "a row for each file")
    samples = []
    for name, file, row in zip(_names(files, path), files, found, strict=True):
        samples.append(Sample(name, file, row.get("sample") or name, row.get("batch", ""), row.get("condition", "")))
    return tuple(samples)


def _names(files: Sequence[Path], sheet: Path) -> list[str]:
    """A name for each file that a path can hold: stems, or where they are not unique the way from a shared folder."""
    shared = Counter(_plain(file.stem) for file in files)
    top = Path(os.path.commonpath([file.parent for file in files]))
    names = [
        _plain(file.stem)
        if shared[_plain(file.stem)] == 1
        else "__".join(map(_plain, file.relative_to(top).with_suffix("").parts))
        for file in files
    ]
    for name, times in Counter(names).items():
        if times > 1:
            twice = [str(file) for file, own in zip(files, names, strict=True) if own == name]
            raise InputError(
                sheet, "file", f"{twice[0]} and {twice[1]}", "names that differ by more than odd characters"
            )
    return names


def _plain(name: str) -> str:
    return _ODD.sub("_", name).lstrip(".") or "_"
