"""Compensation: removes fluorescence that spills into other detectors, before any transform.

Detectors measure r = t S, where t are the signals of the dyes and row i of the spillover matrix S is the share of dye i
that each detector sees (FCS 3.1, $SPILLOVER; Bagwell & Adams 1993). Hence t = r S⁻¹. S comes from each file, or
is one matrix for all files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import InputError, UsageError
from cytovae.events.channel_names import find_channels, nearest_names
from cytovae.events.detector_names import plain_text, pulse_of
from cytovae.events.event_file import EventFile
from cytovae.events.spillover import KEYWORD, Spillover, channel_in, file_spillover
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts, selected_columns

FROM_FILE = "file"


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

        Raises :class:`InputError` if the file has no matrix of its own, lacks a channel of the matrix, or holds values
        that are compensated already.
        """
        if self.source == "none":
            return file
        if self.spillover is not None:
            return compensated(file, self.spillover)
        found = file_spillover(file)
        if found is None:
            if done := compensated_channels(file.channels):
                raise _already_compensated(file, done)
            raise InputError(
                file.path,
                KEYWORD,
                "no spillover matrix",
                "one in the file",
                "Give one matrix for all files with --compensate MATRIX.csv.",
            )
        if not found.spillover.is_identity:
            # Where raw and compensated channels stand side by side, the compensated ones are the markers.
            copies = {plain_text(channel.name).casefold(): channel for channel in compensated_channels(file.channels)}
            matrix = [plain_text(channel_in(name)).casefold() for name in found.spillover.channels]
            if done := tuple(copies[name] for name in matrix if name in copies):
                raise _already_compensated(file, done)
        return compensated(file, found.spillover, found.note)


NO_COMPENSATION = Compensation()


# --- whether values are compensated ---


class CompensationState(Enum):
    """What a file says about the compensation of its values."""

    NONE = "none"
    IDENTITY = "identity (nothing to take off)"
    COMPENSATED = "values are compensated already"
    NOT_COMPENSATED = "values may not be compensated yet (train --compensate file does it)"
    UNUSABLE = "a spillover matrix that cannot be used"


def compensated_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The channels whose name says that their values are compensated: Comp-X, FJComp-X, <X>."""
    return tuple(channel for channel in channels if pulse_of(channel.name).compensated)


def compensation_state(file: EventFile, columns: Sequence[int]) -> CompensationState:
    """Whether the values of some channels are compensated.

    Parameters
    ----------
    file
        The file.
    columns
        The indices of the channels, usually those of the markers.

    Returns
    -------
    COMPENSATED if the names of the channels say so. NOT_COMPENSATED if the matrix of the file concerns them.
    """
    channels = [file.channels[column] for column in columns]
    done = compensated_channels(channels)
    try:
        found = file_spillover(file)
    except InputError:
        return CompensationState.COMPENSATED if done else CompensationState.UNUSABLE
    if found is not None and not found.spillover.is_identity:
        raw = {channel.index for channel in channels} - {channel.index for channel in done}
        concerned = {match.index for name in found.spillover.channels for match in _matches(file.channels, name)}
        if raw & concerned or not done:
            return CompensationState.NOT_COMPENSATED
    if done:
        return CompensationState.COMPENSATED
    return CompensationState.NONE if found is None else CompensationState.IDENTITY


def _already_compensated(file: EventFile, channels: Sequence[Channel]) -> InputError:
    named = ", ".join(channel.name for channel in channels[:4]) + (", …" if len(channels) > 4 else "")
    return InputError(
        file.path,
        "compensation",
        f"channels that are compensated already: {named}",
        "raw values",
        "Leave --compensate out: a second compensation would distort the values.",
    )


# --- compensated files ---


def compensated(file: EventFile, spillover: Spillover, note: str = "") -> "CompensatedFile":
    """``file`` with compensated values; ``note`` is added to its notes.

    Raises :class:`InputError` if the file lacks a channel of the matrix, or if one is compensated already.
    """
    columns = []
    for name in spillover.channels:
        matches = _matches(file.channels, name)
        if len(matches) != 1:
            nearest = ", ".join(nearest_names(file.channels, name))
            hint = f"Nearest: {nearest}." if nearest else ""
            found = f"{len(matches)} channels with the name {name!r}"
            raise InputError(file.path, "compensation", found, "exactly one for each channel of the matrix", hint)
        columns.append(matches[0].index)
    if len(set(columns)) < len(columns):
        found = "two names in the matrix for the same channel"
        raise InputError(file.path, "compensation", found, "one name for each channel")
    done = compensated_channels([file.channels[column] for column in columns])
    if done and not spillover.is_identity:
        raise _already_compensated(file, done)
    return CompensatedFile(file, tuple(columns), np.linalg.inv(spillover.values).astype(np.float64), note)


def _matches(channels: Sequence[Channel], name: str) -> tuple[Channel, ...]:
    """The channels that a name in a matrix refers to: $PnN as it is, else as FlowJo or flowCore change it."""
    for text in dict.fromkeys((name, name.partition("::")[0].strip(), channel_in(name))):
        exact = tuple(channel for channel in channels if channel.name.strip() == text)
        if found := exact or find_channels(channels, text):
            return found
    return ()


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
    note
        Which matrix it is, if the file holds several; otherwise ''.
    """

    file: EventFile
    columns: tuple[int, ...]
    inverse: NDArray[np.float64] = field(repr=False)
    note: str = ""

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
        return (*self.file.notes, self.note) if self.note else self.file.notes

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
