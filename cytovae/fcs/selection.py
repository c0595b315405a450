"""Selections of columns, rows and chunks, checked; for files of events in any format."""

from collections.abc import Sequence
from operator import index
from pathlib import Path

from cytovae.errors import UsageError


def selected_columns(columns: Sequence[int] | None, n_columns: int, path: Path) -> list[int]:
    """The selected columns as plain integers, all if None. Raises :class:`UsageError` if one does not exist."""
    if columns is None:
        return list(range(n_columns))
    selected = [index(column) for column in columns]
    for column in selected:
        if not 0 <= column < n_columns:
            raise UsageError(f"{path} has no column {column}: it has {n_columns} columns, counted from 0")
    return selected


def selected_rows(start: int, stop: int | None, n_rows: int, path: Path) -> range:
    """The rows from ``start`` up to ``stop``, to the last one if None or beyond the end.

    Raises :class:`UsageError` if one of the bounds is negative.
    """
    stop = n_rows if stop is None else min(stop, n_rows)
    if start < 0 or stop < 0:
        raise UsageError(f"{path} has no events {start} to {stop}: events are counted from 0")
    return range(start, stop)


def chunk_starts(n_rows: int, chunk_size: int) -> range:
    """The first rows of consecutive chunks. Raises :class:`UsageError` if ``chunk_size`` is not positive."""
    if chunk_size < 1:
        raise UsageError(f"a chunk must have at least one event, not {chunk_size}")
    return range(0, n_rows, chunk_size)
