"""Whole columns of a file, a few at a time, so that memory is bounded by the number of events."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile

_BYTES_AT_ONCE = 96 << 20
_EVENTS_AT_ONCE = 65_536


def read_columns(file: EventFile, columns: Sequence[int]) -> NDArray[Any]:
    """The values of ``columns``, shape (n_columns, n_events); each row is contiguous."""
    values = np.empty((len(columns), file.n_events), dtype=file.dtype)
    first = 0
    for chunk in file.chunks(list(columns), _EVENTS_AT_ONCE):
        values[:, first : first + len(chunk)] = chunk.T
        first += len(chunk)
    return values


def each_column(file: EventFile, columns: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Each of ``columns`` with its values (n_events,); the file is read once for every 96 MiB of them."""
    at_once = max(1, _BYTES_AT_ONCE // max(1, file.n_events * file.dtype.itemsize))
    for start in range(0, len(columns), at_once):
        block = list(columns[start : start + at_once])
        yield from zip(block, read_columns(file, block), strict=True)
