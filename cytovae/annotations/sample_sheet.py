"""The sample sheet: a table (file, sample, batch, condition, …) that says what each file of a study is. No files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytovae.delimited import parse_sheet
from cytovae.errors import InputError

# Columns that outputs have already, under the same name.
_TAKEN = re.compile(r"file|event|cluster|population|probability|novelty|umap_[12]|p_\d+|cells|fraction|cluster_\d+")


@dataclass(frozen=True)
class SampleSheet:
    """What each file is: ``columns`` beside ``file``, and for the name that each file goes by in tables a text for
    each of them, empty where nothing is known.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, file: str) -> tuple[str, ...]:
        """The texts of ``file``, one for each column."""
        return self.rows[file] if self.columns else ()


NO_SAMPLES = SampleSheet()


def parse_samples(text: str, path: Path, files: Mapping[str, Path]) -> SampleSheet:
    """The sheet in ``text``, for ``files``: the path of each by the name it goes by in tables.

    Comma, semicolon or tab separate the columns; ``file`` must be one of them, every other is carried along under its
    name in small letters. A row is about the file whose path it names, taken as given or from the folder of the sheet
    (``path``), else about the one file of that name, with or without its suffix. Rows about other files are ignored, so
    one sheet serves a whole study. :class:`InputError` names the line that cannot be understood or names a file twice,
    a column that outputs have already, and the files that no row is about.
    """
    sheet = parse_sheet(text, path)
    header = ["_".join(column.casefold().split()) for column in sheet.header]
    if header.count("file") != 1 or len(header) < 2 or len(set(header)) < len(header) or "" in header:
        expected = "the column file and others beside it, such as sample, batch, condition, each once"
        raise InputError(path, "header", repr(sheet.first_line), expected)
    taken = [column for column in header if column != "file" and _TAKEN.fullmatch(column)]
    if taken:
        hint = "Give it another name; outputs have a column of that name."
        raise InputError(path, f"column {taken[0]}", "a name that is taken", "names of your own", hint)
    where = header.index("file")
    found: dict[str, tuple[str, ...]] = {}
    for number, cells in sheet.rows:
        texts = [" ".join(cell.split()) for cell in cells]
        for name in _meant(cells[where], path, files):
            if name in found:
                raise InputError(path, f"line {number}, file", f"{cells[where]} again", "one row for each file")
            found[name] = tuple(text for place, text in enumerate(texts) if place != where)
    without = [name for name in files if name not in found]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        raise InputError(path, "file", f"no row for {', '.join(without[:3])}{more}", "a row for each file")
    return SampleSheet(tuple(column for column in header if column != "file"), found)


def _meant(cell: str, sheet: Path, files: Mapping[str, Path]) -> Sequence[str]:
    """The names of the files that ``cell`` is about: one, or none."""
    for place in (Path(cell), sheet.parent / cell):
        same = [name for name, file in files.items() if file.resolve() == place.resolve()]
        if same:
            return same
    named = [name for name, file in files.items() if cell in (file.name, file.stem)]
    return named if len(named) == 1 else []


def read_samples(path: Path, files: Mapping[str, Path]) -> SampleSheet:
    """The sample sheet at ``path``, see :func:`cytovae.annotations.sample_sheet.parse_samples`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "samples", str(error), "a readable text file in UTF-8") from error
    return parse_samples(text, path, files)
