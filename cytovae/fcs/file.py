"""FCS files → events and the table of their channels. A file is refused, by one error, where it cannot be trusted.

:func:`open_fcs` reads and checks HEADER and TEXT and touches no event; :meth:`FcsFile.read` and
:meth:`FcsFile.chunks` decode only the rows and columns that are asked for. Values are raw: no gain ($PnG), no clipping
at $PnR, no compensation; the one exception is the log amplification $PnE of integer data, without which those numbers
are channel numbers of a logarithmic converter. What was odd but could be settled is said in ``notes``.

The layouts read: FCS 2.0 to 3.2, list mode, $DATATYPE F, D and I (8, 16, 24, 32, 64 bits, mixed widths, both byte
orders, Beckman's 10 bits in 16-bit words), channels of different types ($PnDATATYPE). ASCII data, histograms and
mixed byte orders are refused by name. 64-bit integers above 2^53 lose their last digits in float64.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import FcsError, InputError, UsageError
from cytovae.fcs.channels import Channel, read_channels
from cytovae.fcs.decode import decode
from cytovae.fcs.layout import Layout, read_layout
from cytovae.fcs.placement import place_data
from cytovae.fcs.text import read_text


@dataclass(frozen=True, eq=False)
class FcsFile:
    """One data set of an FCS file, checked but not yet read.

    ``keywords`` are those of TEXT and supplemental TEXT, names upper-case and trimmed; ``notes`` are the oddities that
    were tolerated, one sentence each, for the caller to show as warnings.
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
        """What :meth:`read` gives: float32 where every channel is $DATATYPE F, else float64; native byte order."""
        return self._layout.dtype

    def read(
        self,
        columns: Sequence[int] | None = None,
        start: int = 0,
        stop: int | None = None,
        *,
        apply_log: bool = True,
    ) -> NDArray[Any]:
        """Events ``start`` … ``stop`` − 1 of the given columns (0-based; all where None), shape (n, n_columns).

        A ``stop`` beyond the last event means the last event. ``apply_log=False`` leaves integers with a log $PnE as
        they are stored, which is what fcsparser and FlowIO's ``as_array(preprocess=False)`` give.

        Raises :class:`UsageError` for a column or row that cannot be, and :class:`FcsError` where the file has become
        shorter since it was opened.
        """
        wanted = self._wanted(columns)
        stop = self.n_events if stop is None else min(stop, self.n_events)
        if start < 0 or stop < 0:
            raise UsageError(f"events {start} to {stop} of {self.path}: rows are counted from 0")
        n_rows = max(0, stop - start)
        if not n_rows:
            return np.empty((0, len(wanted)), self.dtype)
        rows = self._rows(start, n_rows)
        return decode(rows, self._layout, wanted, apply_log)

    def chunks(self, columns: Sequence[int] | None, n_events: int, *, apply_log: bool = True) -> Iterator[NDArray[Any]]:
        """The same values in consecutive pieces of at most ``n_events`` rows; none where there are no events."""
        wanted = self._wanted(columns)
        for start in piece_starts(self.n_events, n_events):
            yield self.read(wanted, start, start + n_events, apply_log=apply_log)

    def _rows(self, start: int, n_rows: int) -> NDArray[np.uint8]:
        row_bytes = self._layout.row_bytes
        try:
            return np.memmap(self.path, np.uint8, "r", self._first_byte + start * row_bytes, (n_rows, row_bytes))
        except OSError as error:
            raise InputError(self.path, "file", error.strerror or str(error), "a readable FCS file") from error
        except ValueError as error:  # a map that would reach beyond the end
            raise FcsError(self.path, "DATA", "a shorter file than when it was opened", "the same file") from error

    def mapped(self) -> NDArray[Any] | None:
        """All events as they lie in the file, read-only and without a copy of it, in the file's own byte order; None
        where they are not plain floats of one width and must be decoded. Pages are read when they are used: keep
        nothing of it longer than the file is sure to stay.
        """
        widths = {column.width for column in self._layout.columns}
        if not self.n_events or len(widths) != 1 or any(column.kind == "I" for column in self._layout.columns):
            return None
        return self._rows(0, self.n_events).view(f"{self._layout.order}f{widths.pop()}")

    def _wanted(self, columns: Sequence[int] | None) -> list[int]:
        if columns is None:
            return list(range(len(self.channels)))
        wanted = [index(column) for column in columns]
        outside = [column for column in wanted if not 0 <= column < len(self.channels)]
        if outside:
            raise UsageError(f"column {outside[0]} of {self.path}: there are {len(self.channels)}, counted from 0")
        return wanted


def piece_starts(n_rows: int, n_events: int) -> range:
    """Where consecutive pieces of at most ``n_events`` of ``n_rows`` rows begin."""
    if n_events < 1:
        raise UsageError(f"a piece of {n_events} events is none")
    return range(0, n_rows, n_events)


def open_fcs(
    path: str | Path, *, data_set: int | None = None, offsets: Literal["auto", "header", "text"] = "auto"
) -> FcsFile:
    """Read HEADER and TEXT of an FCS file and check them against each other and against the file's size.

    ``data_set`` chooses one of several data sets, counted from 0; None takes the first and notes how many there are.
    ``offsets`` says whose word counts where HEADER and TEXT put DATA in different places: "auto" takes the one that
    fits (see :func:`cytovae.fcs.placement.place_data`), "header" and "text" ask only that one.

    Raises :class:`InputError` where nothing at ``path`` can be read, and :class:`FcsError`, which names the keyword or
    field, where the file cannot be trusted or uses a layout that is not supported.
    """
    text = read_text(Path(path), data_set)
    notes = list(text.notes)
    channels = read_channels(text, notes)
    layout = read_layout(text, notes)
    n_events, first_byte = place_data(text, layout.row_bytes, offsets, notes)
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
