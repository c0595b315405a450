"""Files of events whatever their format: FCS, and tables (CSV, Parquet) with a row for each event and a header.

The rooms behind this one ask only for what :class:`EventFile` has, so cells of a table, or compensated ones
(:mod:`cytovae.events.compensation`), go the same way as those of an FCS file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cytovae.atomic import readable
from cytovae.events.table_file import TABLE_SUFFIXES, open_csv, open_parquet
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs


class EventFile(Protocol):
    """A file of events, checked but not yet read; see :class:`cytovae.fcs.file.FcsFile` for what each part means."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def version(self) -> str:
        """Its format: FCS3.1, CSV, Parquet."""

    @property
    def n_events(self) -> int:
        """Number of events."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, in order."""

    @property
    def keywords(self) -> Mapping[str, str]:
        """What the file says beside its events."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that were tolerated, a sentence each."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What :meth:`read` gives."""

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Events ``start`` … ``stop`` − 1 of the given columns, shape (n, n_columns)."""

    def chunks(self, columns: Sequence[int] | None, n_events: int) -> Iterator[NDArray[Any]]:
        """The same values in consecutive pieces of at most ``n_events`` rows."""


def open_events(path: Path) -> EventFile:
    """The file of events at ``path``: a table where its suffix says so, else FCS. Raises :class:`InputError`."""
    if path.suffix.casefold() == ".parquet":
        return open_parquet(path)
    if path.suffix.casefold() in TABLE_SUFFIXES:
        return open_csv(path)
    return open_fcs(path)


def file_names(files: Sequence[EventFile]) -> tuple[str, ...]:
    """How tables call the files: by their last part where that tells them apart, else by the path as given."""
    shared = Counter(file.path.name for file in files)
    return tuple(readable(file.path.name if shared[file.path.name] == 1 else file.path) for file in files)
