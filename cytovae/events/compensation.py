"""Compensation: fluorescence that spills into other detectors is taken off again, before any transform.

A detector measures r = t S, where t are the dyes' own signals and row i of the spillover matrix S says how much of dye
i each detector sees (FCS 3.1, $SPILLOVER; Bagwell & Adams 1993); so t = r S⁻¹. The matrix is each file's own, or
one for all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.delimited import is_number, read_text, split_lines
from cytovae.errors import InputError, UsageError
from cytovae.events.channel_names import find_channels, nearest_names
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts

KEYWORDS = ("SPILLOVER", "SPILL", "COMP")  # where files carry a matrix, the standard's keyword first


FROM_FILE = "file"


_MOST_CONDITION = 1e10  # beyond it, float64 leaves too few digits of the events


@dataclass(frozen=True, eq=False)
class Spillover:
    """A matrix: ``values`` float64 (n, n), row i is what dye i gives to each detector; ``channels`` names both."""

    channels: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.channels)
        if self.values.shape != (n, n) or not n:
            raise UsageError(f"a matrix of shape {self.values.shape} does not fit {n} channels")
        twice = [name for name, count in Counter(self.channels).items() if count > 1]
        if twice:
            raise UsageError(f"{twice[0]} is named twice")
        if not np.isfinite(self.values).all():
            raise UsageError("it holds values that are not finite")
        if np.allclose(np.diag(self.values), 100):
            raise UsageError("its diagonal is 100, so it is in per cent; divide it by 100")
        if not np.linalg.cond(self.values) < _MOST_CONDITION:
            raise UsageError("it is singular, so there is no way back from it")


@dataclass(frozen=True, eq=False)
class Compensation:
    """What is done to files: nothing ("none"), each file's own matrix ("file"), or ``spillover`` to all ("matrix")."""

    source: Literal["none", "file", "matrix"] = "none"
    spillover: Spillover | None = None

    def __post_init__(self) -> None:
        if self.source not in ("none", "file", "matrix"):
            raise UsageError(f"compensation is 'none', 'file' or 'matrix', not {self.source!r}")
        if (self.spillover is not None) != (self.source == "matrix"):
            raise UsageError("one matrix for all files is given with 'matrix', and only then")

    def of(self, file: EventFile) -> EventFile:
        """``file`` with compensated values; itself where nothing is to be done.

        Raises :class:`InputError` where the file has no matrix of its own, or lacks a channel of the matrix.
        """
        if self.source == "none":
            return file
        spillover = self.spillover or spillover_of(file)
        if spillover is None:
            raise InputError(
                file.path,
                f"${KEYWORDS[0]}",
                "no spillover matrix",
                "one in the file",
                "Give one for all files with --compensate MATRIX.csv.",
            )
        return compensated(file, spillover)


NO_COMPENSATION = Compensation()


def spillover_of(file: EventFile) -> Spillover | None:
    """The matrix that ``file`` carries, None where there is none. Raises :class:`InputError` where it is malformed."""
    keywords = {name.lstrip("$"): value for name, value in file.keywords.items()}
    keyword = next((name for name in KEYWORDS if keywords.get(name, "").strip()), None)
    if keyword is None:
        return None
    parts = [part.strip() for part in keywords[keyword].split(",")]
    expected = "n, n names of channels, n × n numbers"
    try:
        n = int(parts[0])
        numbers = [float(part) for part in parts[n + 1 :]]
    except ValueError as error:
        raise InputError(file.path, keyword, str(error), expected) from error
    if n < 1 or len(numbers) != n * n:
        raise InputError(file.path, keyword, f"{len(parts)} parts for {n} channels", expected)
    try:
        return Spillover(tuple(parts[1 : n + 1]), np.array(numbers).reshape(n, n))
    except UsageError as error:
        raise InputError(file.path, keyword, str(error), "a matrix that can be inverted") from error


def read_matrix(path: Path) -> Spillover:
    """The matrix in a table: names of detectors in the first line, then a line of numbers for each dye.

    A first column of names, as FlowJo writes it, may stand before the numbers; its lines may have any order. Comma,
    semicolon or tab separate the cells. Raises :class:`InputError` naming what is wrong.
    """
    raw = split_lines(read_text(path, "matrix"), path)
    lines = [cells for _, line in raw if any(cells := [cell.strip() for cell in line])]
    if len(lines) < 2:
        raise InputError(path, "matrix", f"{len(lines)} lines", "names of channels, then a line for each")
    named = len(lines[1]) and not is_number(lines[1][0])
    header = lines[0][1:] if named and len(lines[0]) == len(lines[1]) else lines[0]
    names = tuple(_channel_name(name) for name in header)
    rows, row_names = [], []
    for number, cells in enumerate(lines[1:], start=2):
        numbers = cells[1:] if named else cells
        if len(numbers) != len(names) or not all(is_number(cell) for cell in numbers):
            raise InputError(path, f"line {number}", ", ".join(cells)[:80], f"{len(names)} numbers")
        rows.append([float(cell) for cell in numbers])
        row_names.append(_channel_name(cells[0]) if named else "")
    if len(rows) != len(names):
        raise InputError(path, "matrix", f"{len(rows)} lines for {len(names)} channels", "as many lines as columns")
    values = np.array(rows)
    if named:
        if set(row_names) != set(names) or len(set(row_names)) < len(row_names):
            odd = sorted(set(row_names) ^ set(names)) or [name for name in row_names if row_names.count(name) > 1]
            raise InputError(path, "matrix", f"{odd[0]!r} in lines and columns not alike", "the same names in both")
        values = values[[row_names.index(name) for name in names]]
    try:
        return Spillover(names, values)
    except UsageError as error:
        raise InputError(path, "matrix", str(error), "a matrix that can be inverted") from error


def compensated(file: EventFile, spillover: Spillover) -> "CompensatedFile":
    """``file`` with ``spillover`` taken off. Raises :class:`InputError` for channels that it does not have."""
    columns = []
    for name in spillover.channels:
        found = find_channels(file.channels, name)
        if len(found) != 1:
            near = ", ".join(nearest_names(file.channels, name))
            hint = f"Nearest: {near}." if near else ""
            raise InputError(
                file.path, "compensation", f"{len(found)} channels called {name!r}", "each channel of the matrix", hint
            )
        columns.append(found[0].index)
    if len(set(columns)) < len(columns):
        raise InputError(file.path, "compensation", "two names in the matrix for one channel", "each channel once")
    return CompensatedFile(file, tuple(columns), np.linalg.inv(spillover.values).astype(np.float64))


@dataclass(frozen=True, eq=False)
class CompensatedFile:
    """A file whose channels at ``columns`` are compensated as they are read: raw values (n, k) times ``inverse``
    float64 (k, k). All else is that of ``file``.
    """

    file: EventFile
    columns: tuple[int, ...]
    inverse: NDArray[np.float64] = field(repr=False)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.file.path

    @property
    def version(self) -> str:
        """Its format."""
        return self.file.version

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.file.n_events

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, in order."""
        return self.file.channels

    @property
    def keywords(self) -> Mapping[str, str]:
        """What the file says beside its events."""
        return self.file.keywords

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that were tolerated, a sentence each."""
        return self.file.notes

    @property
    def dtype(self) -> np.dtype[Any]:
        """What :meth:`read` gives."""
        return self.file.dtype

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Events ``start`` … ``stop`` − 1 of the given columns (all where None), shape (n, n_columns)."""
        wanted = list(range(len(self.channels))) if columns is None else [int(column) for column in columns]
        place = {column: number for number, column in enumerate(self.columns)}
        mixed = [target for target, column in enumerate(wanted) if column in place]
        if not mixed:
            return self.file.read(wanted, start, stop)
        alone = [column for column in dict.fromkeys(wanted) if column not in place]
        raw = self.file.read([*self.columns, *alone], start, stop)
        values = np.empty((len(raw), len(wanted)), dtype=self.dtype)
        n_mixed = len(self.columns)
        unmix = self.inverse[:, [place[wanted[target]] for target in mixed]]
        values[:, mixed] = raw[:, :n_mixed].astype(np.float64) @ unmix
        for target, column in enumerate(wanted):
            if column not in place:
                values[:, target] = raw[:, n_mixed + alone.index(column)]
        return values

    def chunks(self, columns: Sequence[int] | None, n_events: int) -> Iterator[NDArray[Any]]:
        """The same values in consecutive pieces of at most ``n_events`` rows; none where there are no events."""
        for start in chunk_starts(self.n_events, n_events):
            yield self.read(columns, start, start + n_events)


def _channel_name(text: str) -> str:
    """The channel of a name in a matrix: FlowJo writes ``Comp-FITC-A :: CD3`` or ``FITC-A :: CD3``."""
    return text.partition(" :: ")[0].strip().removeprefix("Comp-")


def has_spillover(file: EventFile) -> bool:
    """Whether ``file`` carries a spillover matrix, under any of the names in use."""
    keywords = {name.lstrip("$"): value for name, value in file.keywords.items()}
    return any(keywords.get(name, "").strip() for name in KEYWORDS)
