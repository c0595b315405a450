"""Compensation: removes fluorescence that spills into other detectors, before any transform.

Detectors measure r = t S, where t are the signals of the dyes and row i of the spillover matrix S is the share of dye i
that each detector sees (FCS 3.1, $SPILLOVER; Bagwell & Adams 1993). Hence t = r S⁻¹. S comes from each file, or
is one matrix for all files.
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
from cytovae.fcs.selection import chunk_starts, selected_columns

FROM_FILE = "file"
_KEYWORDS = ("SPILLOVER", "SPILL", "COMP")  # the keyword of the standard first
_MAX_CONDITION = 1e10  # a larger condition number leaves too few correct digits in float64


@dataclass(frozen=True, eq=False)
class Spillover:
    """A spillover matrix.

    Attributes
    ----------
    channels
        Names of the n detectors, for rows and columns.
    values
        float64 of shape (n, n); row i is the share of dye i that each detector sees.

    Raises
    ------
    UsageError
        If the matrix has the wrong shape, names a channel twice, is in per cent, or cannot be inverted.
    """

    channels: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        # Errors are noun phrases: readers use them for what they found.
        n = len(self.channels)
        if self.values.shape != (n, n) or not n:
            raise UsageError(f"a spillover matrix of shape {self.values.shape} for {n} channels")
        twice = [name for name, count in Counter(self.channels).items() if count > 1]
        if twice:
            raise UsageError(f"a spillover matrix with {twice[0]} named twice")
        if not np.isfinite(self.values).all():
            raise UsageError("a spillover matrix with values that are not finite")
        if np.allclose(np.diag(self.values), 100):
            raise UsageError("a spillover matrix in per cent, because its diagonal is 100; divide it by 100")
        if not np.linalg.cond(self.values) < _MAX_CONDITION:
            raise UsageError("a singular spillover matrix")


@dataclass(frozen=True, eq=False)
class Compensation:
    """How files are compensated.

    Attributes
    ----------
    source
        "none"; "file", the matrix of each file; or "matrix", one matrix for all files.
    spillover
        The matrix for all files with "matrix", otherwise None.
    """

    source: Literal["none", "file", "matrix"] = "none"
    spillover: Spillover | None = None

    def __post_init__(self) -> None:
        if self.source not in ("none", "file", "matrix"):
            raise UsageError(f"compensation {self.source!r}, which is not 'none', 'file' or 'matrix'")
        if (self.spillover is not None) != (self.source == "matrix"):
            count = "no spillover matrix" if self.spillover is None else "a spillover matrix"
            raise UsageError(f"compensation {self.source!r} with {count}; only 'matrix' takes one")

    def of(self, file: EventFile) -> EventFile:
        """``file`` with compensated values, or ``file`` itself with "none".

        Raises :class:`InputError` if the file has no matrix of its own, or lacks a channel of the matrix.
        """
        if self.source == "none":
            return file
        spillover = self.spillover or spillover_of(file)
        if spillover is None:
            raise InputError(
                file.path,
                f"${_KEYWORDS[0]}",
                "no spillover matrix",
                "one in the file",
                "Give one matrix for all files with --compensate MATRIX.csv.",
            )
        return compensated(file, spillover)


NO_COMPENSATION = Compensation()


# --- the matrix of a file ---


def has_spillover(file: EventFile) -> bool:
    """Whether ``file`` carries a spillover matrix, valid or not."""
    return _spillover_keyword(file) is not None


def spillover_of(file: EventFile) -> Spillover | None:
    """The spillover matrix of ``file``; None if it has none. Raises :class:`InputError` if it is malformed."""
    keyword = _spillover_keyword(file)
    if keyword is None:
        return None
    name, value = keyword
    parts = [part.strip() for part in value.split(",")]
    expected = "n, n names of channels, n × n numbers"
    try:
        n = int(parts[0])
        numbers = [float(part) for part in parts[n + 1 :]]
    except ValueError as error:
        raise InputError(file.path, name, str(error), expected) from error
    if n < 1 or len(numbers) != n * n:
        raise InputError(file.path, name, f"{len(parts)} parts for {n} channels", expected)
    return _checked(tuple(parts[1 : n + 1]), np.array(numbers).reshape(n, n), file.path, name)


def identity_spillover(channels: Sequence[str]) -> dict[str, str]:
    """The keyword of a matrix without spillover, which marks the values of ``channels`` as compensated."""
    names = (name.replace(",", "_") for name in channels)  # a comma separates the parts
    numbers = (f"{value:g}" for value in np.eye(len(channels)).ravel())
    return {_KEYWORDS[0]: ",".join([str(len(channels)), *names, *numbers])}


def _spillover_keyword(file: EventFile) -> tuple[str, str] | None:
    """Name and value of the first keyword that holds a matrix."""
    keywords = {name.lstrip("$"): value for name, value in file.keywords.items()}
    return next(((name, keywords[name]) for name in _KEYWORDS if keywords.get(name, "").strip()), None)


def _checked(channels: tuple[str, ...], values: NDArray[np.float64], path: Path, field: str) -> Spillover:
    try:
        return Spillover(channels, values)
    except UsageError as error:
        raise InputError(path, field, str(error), "a matrix that can be inverted") from error


# --- a matrix in a table ---


def read_matrix(path: Path) -> Spillover:
    """Read a spillover matrix from a text table.

    The first line names the detectors; each further line holds the numbers of one dye. A first column with names may
    precede the numbers, as in exports of FlowJo; the lines may then have any order.

    Raises
    ------
    InputError
        If the table is malformed or the matrix cannot be inverted.
    """
    table = [
        (number, [cell.strip() for cell in cells])
        for number, cells in split_lines(read_text(path, "matrix"), path)
        if any(cell.strip() for cell in cells)
    ]
    if len(table) < 2:
        raise InputError(path, "matrix", f"{len(table)} lines", "a line of channel names and a line for each channel")
    (_, header), (_, first_row) = table[:2]
    has_names = not is_number(first_row[0])
    if has_names and len(header) == len(first_row):
        header = header[1:]
    channels = tuple(_channel_name(name) for name in header)
    rows, row_names = [], []
    for number, cells in table[1:]:
        numbers = cells[1:] if has_names else cells
        if len(numbers) != len(channels) or not all(is_number(cell) for cell in numbers):
            raise InputError(path, f"line {number}", ", ".join(cells)[:80], f"{len(channels)} numbers")
        rows.append([float(cell) for cell in numbers])
        row_names.append(_channel_name(cells[0]))
    if len(rows) != len(channels):
        found = f"{len(rows)} lines for {len(channels)} channels"
        raise InputError(path, "matrix", found, "as many lines of numbers as channels")
    values = np.array(rows)
    if has_names:
        values = values[_row_order(row_names, channels, path)]
    return _checked(channels, values, path, "matrix")


def _row_order(row_names: list[str], channels: tuple[str, ...], path: Path) -> list[int]:
    """The row of each channel."""
    twice = [name for name in row_names if row_names.count(name) > 1]
    different = sorted(set(row_names) ^ set(channels)) or twice
    if different:
        found = f"{different[0]!r}, which differs between lines and columns"
        raise InputError(path, "matrix", found, "the same names in both")
    return [row_names.index(name) for name in channels]


def _channel_name(text: str) -> str:
    """The channel in a matrix of FlowJo, which writes ``Comp-FITC-A :: CD3`` or ``FITC-A :: CD3``."""
    return text.partition(" :: ")[0].strip().removeprefix("Comp-")


# --- compensated files ---


def compensated(file: EventFile, spillover: Spillover) -> "CompensatedFile":
    """``file`` with compensated values. Raises :class:`InputError` if it lacks a channel of the matrix."""
    columns = []
    for name in spillover.channels:
        matches = find_channels(file.channels, name)
        if len(matches) != 1:
            nearest = ", ".join(nearest_names(file.channels, name))
            hint = f"Nearest: {nearest}." if nearest else ""
            found = f"{len(matches)} channels with the name {name!r}"
            raise InputError(file.path, "compensation", found, "exactly one for each channel of the matrix", hint)
        columns.append(matches[0].index)
    if len(set(columns)) < len(columns):
        found = "two names in the matrix for the same channel"
        raise InputError(file.path, "compensation", found, "one name for each channel")
    return CompensatedFile(file, tuple(columns), np.linalg.inv(spillover.values).astype(np.float64))


@dataclass(frozen=True, eq=False)
class CompensatedFile:
    """A file of events that are compensated when they are read.

    Attributes
    ----------
    file
        The file with raw values.
    columns
        The k channels that are compensated.
    inverse
        The inverse of the spillover matrix, float64 of shape (k, k).
    """

    file: EventFile
    columns: tuple[int, ...]
    inverse: NDArray[np.float64] = field(repr=False)

    @property
    def part(self) -> str:
        """The part of the file."""
        return self.file.part

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.file.path

    @property
    def version(self) -> str:
        """The format."""
        return self.file.version

    @property
    def n_events(self) -> int:
        """The number of events."""
        return self.file.n_events

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, in order."""
        return self.file.channels

    @property
    def keywords(self) -> Mapping[str, str]:
        """Metadata of the file by upper-case name."""
        return self.file.keywords

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that were tolerated, a sentence each."""
        return self.file.notes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values that :meth:`read` returns."""
        return self.file.dtype

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read events; see :meth:`cytovae.fcs.file.FcsFile.read`."""
        selected = selected_columns(columns, len(self.channels), self.path)
        row_of = {column: row for row, column in enumerate(self.columns)}
        mixed = [position for position, column in enumerate(selected) if column in row_of]
        if not mixed:
            return self.file.read(selected, start, stop)
        others = [column for column in dict.fromkeys(selected) if column not in row_of]
        raw = self.file.read([*self.columns, *others], start, stop)  # (n, k + n_others)
        values = np.empty((len(raw), len(selected)), dtype=self.dtype)  # (n, n_columns)
        k = len(self.columns)
        unmix = self.inverse[:, [row_of[selected[position]] for position in mixed]]  # (k, n_mixed)
        values[:, mixed] = raw[:, :k].astype(np.float64) @ unmix
        for position, column in enumerate(selected):
            if column not in row_of:
                values[:, position] = raw[:, k + others.index(column)]
        return values

    def chunks(self, columns: Sequence[int] | None, chunk_size: int) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``."""
        for start in chunk_starts(self.n_events, chunk_size):
            yield self.read(columns, start, start + chunk_size)
