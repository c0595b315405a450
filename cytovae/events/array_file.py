"""Arrays and data frames in memory as files of events."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import UsageError
from cytovae.events.table_header import is_row_index, split_name
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts, selected_columns, selected_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """Events in memory, with the interface of :class:`cytovae.events.event_file.EventFile`.

    ``path`` holds a name, since there is no file.
    """

    path: Path
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]
    values: NDArray[Any] = field(repr=False)
    version: str = "array"
    part: str = ""

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.values)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return self.values.dtype

    @property
    def keywords(self) -> Mapping[str, str]:
        """An array has no keywords."""
        return {}

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Events ``start`` to ``stop`` − 1 of the given columns, (n, n_columns)."""
        selected = selected_columns(columns, len(self.channels), self.path)
        events = selected_rows(start, stop, self.n_events, self.path)
        rows = self.values[events.start : events.stop]
        return rows.copy() if columns is None else rows[:, selected]

    def chunks(self, columns: Sequence[int] | None, chunk_size: int) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``."""
        for start in chunk_starts(self.n_events, chunk_size):
            yield self.read(columns, start, start + chunk_size)


def array_file(values: ArrayLike, names: Sequence[str], name: str = "array") -> ArrayFile:
    """An array as a file of events.

    Parameters
    ----------
    values : array-like of shape (n_events, n_channels)
        Numbers. Anything but float32 is converted to float64.
    names : sequence of str
        Name of each column.
    name : str
        How tables name the array.

    Raises
    ------
    UsageError
        If ``values`` is not a table of numbers, or has another number of columns than ``names``.

    Examples
    --------
    >>> array_file([[1.0, 2.0], [3.0, 4.0]], ["CD3", "CD19"]).n_events
    2
    """
    try:
        table = np.asarray(values)
        table = table if table.dtype == np.float32 else table.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} holds values that are not numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] != len(names):
        raise UsageError(f"{name} has shape {table.shape}, expected (n_events, {len(names)}), one column per name")
    channels = tuple(Channel(index, *split_name(str(text)), math.nan) for index, text in enumerate(names))
    return ArrayFile(Path(name), channels, (), table)


def frame_file(frame: "pd.DataFrame", name: str = "table") -> ArrayFile:
    """The numeric columns of a data frame as a file of events; other columns are ignored and named in ``notes``."""
    numeric = frame.select_dtypes(include="number")
    numeric = numeric[[column for column in numeric.columns if not is_row_index(str(column))]]
    found = array_file(numeric.to_numpy(), [str(column) for column in numeric.columns], name)
    left_out = [str(column) for column in frame.columns if column not in numeric.columns]
    named = ", ".join(left_out[:8])
    notes = (f"columns that are row numbers or not numeric were ignored: {named}.",) if left_out else ()
    return ArrayFile(found.path, found.channels, notes, found.values)
