"""An earlier comparison, read from its folder: what a report shows of it. Needs no statistics."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cytovae.comparison.layout import ABUNDANCE, FDR, FIGURES, LEVELS, PICTURES, SCHEMA_VERSION, SUMMARY
from cytovae.delimited import parse_table, read_text
from cytovae.drawing import DPI, PAGE_DPI, Picture
from cytovae.errors import InputError
from cytovae.plain_file import check_plain, folder_exists

LARGEST_PICTURE = 2_000_000
"""In bytes; a larger one would make a report too large to be mailed."""

_NUMBERS = ("effect", "ci_low", "ci_high", "p", "fdr")
_AGAIN = "Name the folder that `cytovae compare -o` wrote, or write it again."


@dataclass(frozen=True)
class StoredDifference:
    """One row of a differential table.

    Attributes
    ----------
    population, level, note : str
        The population, the group that is compared with the reference, and why there is no test.
    marker : str
        The state marker; empty for abundance.
    cells : int
        Cells of the population in all samples; 0 for levels.
    effect, low, high, p, fdr : float
        The effect, its confidence interval, the p value and the false discovery rate; NaN where there is none.
    """

    population: str
    level: str
    note: str
    marker: str
    cells: int
    effect: float
    low: float
    high: float
    p: float
    fdr: float

    @property
    def found(self) -> bool:
        """Whether the false discovery rate is at most 5 %."""
        return self.fdr <= FDR


@dataclass(frozen=True)
class StoredComparison:
    """A comparison as its folder tells it.

    Attributes
    ----------
    path : Path
        The folder.
    condition, reference : str
        The column of the sample sheet, and the group that the others are compared with.
    groups : tuple of (str, int)
        Each group and its number of samples.
    described : bool
        Whether there are effects without tests.
    abundance, levels : tuple of StoredDifference
        The differences, the smallest p value first.
    pictures : tuple of Picture
        The pictures that are there.
    """

    path: Path
    condition: str
    reference: str
    groups: tuple[tuple[str, int], ...]
    described: bool
    abundance: tuple[StoredDifference, ...]
    levels: tuple[StoredDifference, ...]
    pictures: tuple[Picture, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read."""
        names = [SUMMARY, ABUNDANCE, *([LEVELS] if self.levels else [])]
        return tuple(self.path / name for name in (*names, *(f"{FIGURES}/{p.name}.png" for p in self.pictures)))


def read_comparison(folder: Path) -> StoredComparison:
    """Read a comparison from the folder that `cytovae compare` wrote.

    Raises
    ------
    InputError
        If the folder is missing, holds something else, or one of its files cannot be read.
    """
    if not folder_exists(folder):
        found = "something else" if folder.exists() else "no such folder"
        raise InputError(folder, "folder", found, "the folder of a comparison", _AGAIN)
    if not (folder / SUMMARY).exists():
        raise InputError(folder, SUMMARY, "no such file", "the folder of a comparison, which has it", _AGAIN)
    summary = _read_summary(folder / SUMMARY)
    return StoredComparison(
        folder,
        summary["condition"],
        summary["reference"],
        tuple(summary["groups"].items()),
        summary["described_only"],
        _read_differences(folder / ABUNDANCE, with_marker=False),
        _read_differences(folder / LEVELS, with_marker=True) if "levels" in summary else (),
        tuple(
            _read_picture(folder / FIGURES / f"{name}.png", name, alt)
            for name, alt in PICTURES.items()
            if (folder / FIGURES / f"{name}.png").exists()
        ),
    )


def _read_summary(path: Path) -> dict[str, Any]:
    """The summary, with the fields that a report needs checked."""
    try:
        summary = json.loads(read_text(path, "summary"))
    except (ValueError, RecursionError) as cause:
        raise InputError(path, "summary", str(cause), "a JSON object", _AGAIN) from cause
    if not isinstance(summary, dict):
        raise InputError(path, "summary", type(summary).__name__, "a JSON object", _AGAIN)
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "schema_version": (lambda value: value == SCHEMA_VERSION, str(SCHEMA_VERSION)),
        "condition": (lambda value: isinstance(value, str), "a text"),
        "reference": (lambda value: isinstance(value, str), "a text"),
        "groups": (_are_sizes, "the number of samples of each group"),
        "described_only": (lambda value: isinstance(value, bool), "true or false"),
    }
    for field, (is_right, expected) in checks.items():
        if field not in summary or not is_right(summary[field]):
            found = repr(summary[field])[:80] if field in summary else "nothing"
            raise InputError(path, field, found, expected, _AGAIN)
    return summary


def _are_sizes(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(size, int) for size in value.values())


def _read_differences(path: Path, *, with_marker: bool) -> tuple[StoredDifference, ...]:
    table = parse_table(read_text(path, "table"), path)
    text = ("population", "level", "note", *(("marker",) if with_marker else ()))
    needed = (*text, *_NUMBERS, *(() if with_marker else ("cells",)))
    missing = [name for name in needed if name not in table.header]
    if missing:
        raise InputError(path, "header", f"no column {missing[0]}", ", ".join(needed), _AGAIN)
    found = []
    for line, cells in table.rows:
        row = dict(zip(table.header, cells, strict=True))
        numbers = [_number(path, line, name, row[name]) for name in _NUMBERS]
        size = 0 if with_marker else _number(path, line, "cells", row["cells"])
        found.append(
            StoredDifference(
                row["population"],
                row["level"],
                row["note"],
                row["marker"] if with_marker else "",
                0 if math.isnan(size) else int(size),
                *numbers,
            )
        )
    return tuple(sorted(found, key=lambda difference: math.inf if math.isnan(difference.p) else difference.p))


def _number(path: Path, line: int, column: str, text: str) -> float:
    """A finite number; NaN for an empty cell."""
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(path, f"line {line}, {column}", repr(text)[:80], "a number or nothing", _AGAIN)
    return number


def _read_picture(path: Path, name: str, alt: str) -> Picture:
    check_plain(path, "picture")
    if (size := path.stat().st_size) > LARGEST_PICTURE:
        raise InputError(path, "picture", f"{size:,} bytes", f"at most {LARGEST_PICTURE:,}", _AGAIN)
    png = path.read_bytes()
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            picture.load()
            width = picture.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as cause:
        raise InputError(path, "picture", f"no PNG ({cause})", "a picture of the comparison", _AGAIN) from cause
    return Picture(name, alt, png, None, round(width * PAGE_DPI / DPI))
