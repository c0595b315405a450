"""An FCS file, checked but not yet read: FcsFile and open_fcs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import FcsError, InputError
from cytovae.fcs.channels import Channel, read_channels
from cytovae.fcs.decode import decode
from cytovae.fcs.layout import Layout, read_layout
from cytovae.fcs.placement import Offsets, locate_data
from cytovae.fcs.selection import chunk_starts, selected_columns, selected_rows
from cytovae.fcs.shifted_data import check_shift
from cytovae.fcs.text import read_text

_BLOCK_BYTES = 1 << 18  # read and decoded at once
_SKIPPED_BYTES = 1 << 14  # a longer stretch between two events is skipped


@dataclass(frozen=True, eq=False)
class FcsFile:
    """One data set of an FCS file, checked but not yet read.

    Attributes
    ----------
    version
        The version in HEADER, such as FCS3.1.
    keywords
        Values of TEXT and supplemental TEXT by trimmed, upper-case name.
    notes
        Oddities that were tolerated, a sentence each, for the caller to show as warnings.
    """

    path: Path
    version: str
    n_events: int
    channels: tuple[Channel, ...]
    keywords: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...]
    _layout: Layout = field(repr=False)
    _first_byte: int = field(repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of values: float32 if every channel is $DATATYPE F, else float64; native byte order."""
        return self._layout.dtype

    @property
    def is_logarithmic(self) -> bool:
        """Whether the file stores integers of a logarithmic amplifier ($PnE), which :meth:`read` makes linear."""
        return any(column.decades for column in self._layout.columns)

    @property
    def part(self) -> str:
        """Empty: the file holds one set of events."""
        return ""

    def read(
        self,
        columns: Sequence[int] | None = None,
        start: int = 0,
        stop: int | None = None,
        *,
        apply_log: bool = True,
    ) -> NDArray[Any]:
        """Read events.

        Parameters
        ----------
        columns
            Channel indices, counted from 0, in the order of the result (default: all).
        start, stop
            The first event, and the event after the last one (default: all events).
        apply_log
            False leaves integers with a logarithmic $PnE as they are stored, like fcsparser and FlowIO's
            ``as_array(preprocess=False)``.

        Returns
        -------
        Values of shape (n, n_columns).

        Raises
        ------
        UsageError
            If a column or row does not exist.
        FcsError
            If the file has become shorter since it was opened.
        """
        selected = selected_columns(columns, len(self.channels), self.path)
        rows = selected_rows(start, stop, self.n_events, self.path)
        out: NDArray[Any] = np.empty((len(rows), len(selected)), self.dtype)
        step = max(1, _BLOCK_BYTES // self._layout.row_bytes)
        with self._opened() as file:
            for begin in range(0, len(rows), step):
                end = min(begin + step, len(rows))
                raw = self._raw_rows(file, rows.start + begin, end - begin)
                out[begin:end] = decode(raw, self._layout, selected, apply_log)
        return out

    def read_at(self, rows: NDArray[np.int64], columns: Sequence[int] | None = None) -> NDArray[Any]:
        """Read the events at ascending ``rows``, without the long stretches between them; see :meth:`read`."""
        selected = selected_columns(columns, len(self.channels), self.path)
        out: NDArray[Any] = np.empty((len(rows), len(selected)), self.dtype)
        if not len(rows):
            return out
        row_bytes = self._layout.row_bytes
        # One access per stretch of rows. A stretch ends before a gap that is not worth reading, or a block's end.
        far = np.diff(rows) * row_bytes > _SKIPPED_BYTES
        block = rows * row_bytes // _BLOCK_BYTES
        starts = [0, *(np.flatnonzero(far | (np.diff(block) > 0)) + 1).tolist(), len(rows)]
        with self._opened() as file:
            for begin, end in pairwise(starts):
                first = int(rows[begin])
                raw = self._raw_rows(file, first, int(rows[end - 1]) - first + 1)
                out[begin:end] = decode(raw[rows[begin:end] - first], self._layout, selected, True)
        return out

    def chunks(
        self, columns: Sequence[int] | None, chunk_size: int, *, apply_log: bool = True
    ) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``; see :meth:`read`."""
        for start in chunk_starts(self.n_events, chunk_size):
            yield self.read(columns, start, start + chunk_size, apply_log=apply_log)

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        try:
            with FileIO(self.path) as file:
                yield file
        except OSError as error:
            raise InputError(self.path, "file", error.strerror or str(error), "a readable FCS file") from error

    def _raw_rows(self, file: FileIO, start: int, n_rows: int) -> NDArray[np.uint8]:
        """Raw bytes of shape (n_rows, row_bytes).

        They are copied and not mapped into memory: access to a mapped page of a file that was truncated in the
        meantime kills the process (SIGBUS), also if the size was checked just before.
        """
        raw = np.empty((n_rows, self._layout.row_bytes), np.uint8)
        missing = raw.data.cast("B")
        file.seek(self._first_byte + start * self._layout.row_bytes)
        while missing:
            if not (n_bytes := file.readinto(missing)):
                raise FcsError(self.path, "DATA", "a shorter file than when it was opened", "the same file")
            missing = missing[n_bytes:]
        return raw


def open_fcs(path: str | Path, *, data_set: int | None = None, offsets: Offsets = "auto") -> FcsFile:
    """Open an FCS file: read HEADER and TEXT and check them against each other and against the size of the file.

    Parameters
    ----------
    path
        The file.
    data_set
        Which of several data sets to open, counted from 0. None opens the first and notes what there is.
    offsets
        Which offsets of DATA to use if HEADER and TEXT differ. "auto" uses those that fit, see
        :func:`cytovae.fcs.placement.locate_data`.

    Raises
    ------
    InputError
        If ``path`` cannot be read.
    FcsError
        If the file cannot be trusted or uses an unsupported layout; it names the keyword or field.
    """
    text = read_text(Path(path), data_set)
    notes = list(text.notes)
    channels = read_channels(text, notes)
    layout = read_layout(text, notes)
    n_events, first_byte = locate_data(text, layout.row_bytes, offsets, notes)
    check_shift(text, layout, n_events, first_byte, offsets_chosen=offsets != "auto", notes=notes)
    return FcsFile(
        path=text.path,
        version=text.version,
        n_events=n_events,
        channels=channels,
        keywords=text.keywords,
        notes=tuple(notes),
        _layout=layout,
        _first_byte=first_byte,
    )
