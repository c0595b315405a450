"""The samples of a comparison: files joined by the sample sheet, and the design that its columns make."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.file_column import without_suffix
from cytovae.annotations.sample_sheet import SampleSheet, parse_samples
from cytovae.comparison.design import Design, Factor, check_design
from cytovae.delimited import parse_table, read_text
from cytovae.errors import InputError, UsageError

SAMPLE = "sample"


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples, in the order of their first files.

    Attributes
    ----------
    names : tuple of str
        Their names.
    of_file : ndarray of int64, shape (n_files,)
        The sample of each file.
    design : Design
        Their groups.
    """

    names: tuple[str, ...]
    of_file: NDArray[np.int64]
    design: Design

    def join(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sum counts of files (n_files, n_populations) to counts of samples (n_samples, n_populations)."""
        joined = np.zeros((len(self.names), counts.shape[1]), dtype=np.int64)
        np.add.at(joined, self.of_file, counts)
        return joined


def read_design(
    sheet: Path,
    files: Sequence[str],
    condition: str,
    *,
    reference: str | None = None,
    block: str | None = None,
    batch: str | None = None,
    describe: bool = False,
) -> Samples:
    """Look up ``files`` in a sample sheet and join those of one sample.

    Parameters
    ----------
    sheet : Path
        A table with the column ``file`` and others. Files with the same text in the column ``sample`` are joined.
        Without the column, or where it is empty, a file is a sample by itself.
    files : sequence of str
        Names of files, as tables name them.
    condition, block, batch : str
        Names of columns. Case and spaces do not matter.
    reference : str, optional
        The level of the condition that others are compared with. Default: the first in alphabetical order.
    describe : bool
        Accept groups that are too small for tests.

    Raises
    ------
    InputError
        If the sheet cannot be read, a file has no row, a column is missing or blank, the files of one sample differ
        in a column, or the design cannot be estimated, see :func:`cytovae.comparison.design.check_design`.
    UsageError
        If a column is named for two purposes.
    """
    columns = {purpose: _key(name) for purpose, name in _named(condition=condition, block=block, batch=batch)}
    if len(set(columns.values())) < len(columns):
        raise UsageError("--condition, --block and --batch must name different columns")
    text = read_text(sheet, "samples")
    table = parse_samples(text, sheet, _paths_in_sheet(text, sheet, files))
    names = [_cell(table, SAMPLE, file) or file for file in files]
    samples = list(dict.fromkeys(names))
    factors = [_factor(table, sheet, column, files, names, samples) for column in columns.values()]
    levels = factors[0].levels
    design = Design(factors[0], " ".join(reference.split()) if reference else levels[0], tuple(factors[1:]))
    check_design(design, sheet, describe=describe)
    of_file = np.array([samples.index(name) for name in names], dtype=np.int64)
    return Samples(tuple(samples), of_file, design)


def _named(**options: str | None) -> list[tuple[str, str]]:
    return [(purpose, name) for purpose, name in options.items() if name is not None]


def _key(column: str) -> str:
    """The name of a column as :func:`parse_samples` spells it."""
    return "_".join(column.casefold().split())


def _cell(table: SampleSheet, column: str, file: str) -> str:
    """A cell of the sheet; '' if there is no such column."""
    return table.of(file)[table.columns.index(column)] if column in table.columns else ""


def _factor(
    table: SampleSheet, sheet: Path, column: str, files: Sequence[str], names: Sequence[str], samples: Sequence[str]
) -> Factor:
    """A column of the sheet with a value for each of ``samples``; ``names`` is the sample of each of ``files``."""
    if column not in table.columns:
        raise InputError(sheet, "header", f"columns file, {', '.join(table.columns)}", f"a column {column}")
    values: dict[str, str] = {}
    for file, name in zip(files, names, strict=True):
        value = _cell(table, column, file)
        if not value:
            raise InputError(sheet, f"column {column}", f"an empty cell for {file}", f"the {column} of each file")
        if values.setdefault(name, value) != value:
            found = f"{values[name]!r} and {value!r} for files of the sample {name}"
            raise InputError(sheet, f"column {column}", found, f"one {column} for all files of a sample")
    return Factor(column, tuple(values[name] for name in samples))


def _paths_in_sheet(text: str, sheet: Path, files: Sequence[str]) -> dict[str, Path]:
    """Where the sheet says that each file is.

    Tables name files without their folder, sheets often with it, and an FCS copy or a table may have another suffix.
    A file whose name fits no row, or several, keeps its own name.
    """
    table = parse_table(text, sheet)
    header = [_key(column) for column in table.header]
    cells = [row[header.index("file")] for _, row in table.rows] if "file" in header else []
    paths = {}
    for file in files:
        for form in (str, _last_part, without_suffix):
            fitting = {cell for cell in cells if cell and form(cell) == form(file)}
            if len(fitting) == 1:
                paths[file] = sheet.parent / fitting.pop()
                break
        else:
            paths[file] = Path(file)
    return paths


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]
