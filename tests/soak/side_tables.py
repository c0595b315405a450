"""Damaged tables beside the events, and damaged files of a model: refused, or what is read stays the same."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import Effort, Row

sys.path[:0] = [str(Path(__file__).parents[1] / "annotations"), str(Path(__file__).parents[1])]
import test_side_tables as side
from helpers.tiny_model import write_tiny_model

from cytovae.errors import ModelError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.model_folder.layout import FILES, RUN
from cytovae.model_folder.load import load_model
from cytovae.model_folder.record import load_landmark_places, read_record

Lines = list[list[str]]


def _dropped(table: side.Table, lines: Lines, rng: random.Random) -> str | None:
    """A row is missing. Tables whose rows stand for themselves may lack one."""
    if table.is_partial:
        return None
    at = rng.randrange(1 if table.header else 0, len(lines))
    return side.text_of(lines[:at] + lines[at + 1 :])


def _repeated_row(table: side.Table, lines: Lines, rng: random.Random) -> str | None:
    """A row stands twice. In a panel this is refused when its channels are looked up."""
    if table.name == "panel":
        return None
    at = rng.randrange(1, len(lines))
    return side.text_of(lines[: at + 1] + lines[at:])


def _repeated_column(table: side.Table, lines: Lines, rng: random.Random) -> str:
    """A column stands twice, with the cells of other rows and perhaps in other letters."""
    at = rng.randrange(len(lines[0]))
    moved = [lines[0], *lines[2:], lines[1]] if table.header else [*lines[1:], lines[0]]
    spelling = rng.choice([str, str.upper, str.title])
    cells = [spelling(moved[0][at]), *(line[at] for line in moved[1:])]
    return side.text_of([[*line, cell] for line, cell in zip(lines, cells, strict=True)])


def _without_quotes(_table: side.Table, lines: Lines, _rng: random.Random) -> str:
    """A comma in a name now separates cells."""
    return side.text_of(lines).replace('"', "")


def _shuffled(table: side.Table, lines: Lines, rng: random.Random) -> str | None:
    """Rows that say what they are about are in another order."""
    if not table.has_keys:
        return None
    return side.text_of([lines[0], *rng.sample(lines[1:], len(lines) - 1)])


DAMAGES: dict[str, Callable[[side.Table, Lines, random.Random], str | None]] = {
    "a row dropped": _dropped,
    "a row repeated": _repeated_row,
    "a column repeated": _repeated_column,
    "without quotes": _without_quotes,
    "rows in another order": _shuffled,
}


def tables(folder: Path, effort: Effort) -> list[Row]:
    """Damage every kind of table: it is refused, or read as before. A dropped row is always refused."""
    files = _two_files(folder)
    rows = []
    for damage, change in DAMAGES.items():
        rng = random.Random(f"{damage} {effort.seed}")
        refused = same = 0
        failures = []
        for table in side.TABLES:
            for _ in range(effort.count(200, 5)):
                lines = side.lines_of(table, [rng.choice(side.LABELS) for _ in side.EVENTS])
                text = change(table, lines, rng)
                truth = side.outcome(table, files, side.text_of(lines))
                if text is None or truth == side.REFUSED:
                    continue
                found = _outcome(table, files, text)
                refused += found == side.REFUSED
                same += found == truth
                if found != side.REFUSED and (found != truth or change is _dropped):
                    failures.append(f"{table.name}: {text!r}: read as {found}, not {truth}")
        tried = f"tables of gates, labels, samples, names, panels, matrices: {damage}"
        rows.append(Row(tried, refused + same, f"{refused:,} refused, {same:,} read as before", tuple(failures)))
    return rows


def _outcome(table: side.Table, files: list[FcsFile], text: str) -> Any:
    try:
        return side.outcome(table, files, text)
    except Exception as error:  # noqa: BLE001 (any error but ours is a failure)
        return repr(error)


def _two_files(folder: Path) -> list[FcsFile]:
    channels = [Channel(0, "CD3", "", 1024.0), Channel(1, "CD4", "", 1024.0)]
    paths = [folder / name for name in ("1/a.fcs", "2/b.fcs")]
    for path, size in zip(paths, side.SIZES, strict=True):
        path.parent.mkdir()
        write_fcs(path, np.zeros((size, 2), np.float32), channels)
    return [open_fcs(path) for path in paths]


def model_files(folder: Path, effort: Effort) -> list[Row]:
    """Change one byte of each file of a model, and remove it. The checksums of four are in ``run.json``, the fifth."""
    model = write_tiny_model(folder / "model")
    rng = random.Random(effort.seed)
    rows = []
    for name in FILES:
        path = model / name
        sound = path.read_bytes()
        refused = read = 0
        failures = []
        for number in range(effort.count(300, 10)):
            at, byte = rng.randrange(len(sound)), rng.randrange(1, 256)
            if number:
                path.write_bytes(sound[:at] + bytes([sound[at] ^ byte]) + sound[at + 1 :])
            else:
                path.unlink()
            try:
                load_model(model)
                read_record(model)
                load_landmark_places(model)
            except ModelError:
                refused += 1
                continue
            except Exception as error:  # noqa: BLE001 (any other error is a failure)
                failures.append(f"{name}: byte {at} changed by {byte}: {error!r}")
                continue
            read += 1
            if name != RUN or not number:  # a command or a time in run.json may be any text or number
                failures.append(f"{name}: byte {at} changed by {byte}: read")
        path.write_bytes(sound)
        happened = f"{refused:,} refused, {read:,} read"
        rows.append(Row(f"a model with one byte of {name} changed", refused + read, happened, tuple(failures)))
    return rows
