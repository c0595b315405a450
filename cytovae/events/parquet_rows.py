"""Rows of Parquet files: row groups are read whole, or streamed where they are large.

A row group can only be read from its beginning. So the reader of a large group stays open after a request, and the next
one goes on from there: chunk after chunk, each row is decoded once, in memory that does not grow with the group.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from cytovae.errors import InputError
from cytovae.plain_file import open_plain

# Larger groups are streamed. Writers make groups of about a million rows by default.
LARGE_GROUP = 2_000_000

# Rows that are decoded at once, and bytes read at once from each column.
_BATCH_ROWS = 65_536
_BUFFER = 1 << 20

# Readers kept open: one for each thread that reads chunks.
_MOST_READERS = 4


def read_rows(path: Path, names: Sequence[str], start: int, values: NDArray[Any]) -> None:
    """Fill ``values`` (n, len(names)) with the rows of a Parquet file from ``start`` on.

    Raises
    ------
    InputError
        If the file cannot be read, or has fewer rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    stop, first = start + len(values), 0
    try:
        with open_plain(path) as stream, parquet.ParquetFile(stream) as file:
            for group in range(file.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                low, high = max(start, first), min(stop, first + n_rows)
                if low < high:
                    rows = values[low - start : high - start]
                    if n_rows > LARGE_GROUP:
                        _OPEN_READERS.fill(path, group, tuple(names), low - first, rows)
                    else:
                        table = file.read_row_group(group, columns=list(dict.fromkeys(names)))
                        _copy(table.slice(low - first, high - low), names, rows)
                first += n_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "file", str(error), "a readable Parquet file") from error
    if first < stop:
        raise InputError(path, "rows", f"{first} rows", "as many as when the file was opened")


def _copy(table: Any, names: Sequence[str], values: NDArray[Any]) -> None:
    for position, name in enumerate(names):
        values[:, position] = table.column(name).to_numpy(zero_copy_only=False)


class _GroupReader:
    """Reads a row group from its beginning; ``position`` is the next row."""

    def __init__(self, path: Path, group: int, names: Sequence[str]) -> None:
        from pyarrow import parquet

        self._names = names
        with ExitStack() as stack:
            stream = stack.enter_context(open_plain(path))
            file = stack.enter_context(parquet.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False))
            columns = list(dict.fromkeys(names))
            self._batches = file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)
            self._open = stack.pop_all()
        self._batch: Any = ()
        self.position = 0

    def fill(self, row: int, values: NDArray[Any]) -> None:
        """Fill ``values`` with the rows from ``row`` on, which is not before ``position``."""
        done = 0
        while done < len(values):
            if not len(self._batch):
                self._batch = next(self._batches, ())
            if not len(self._batch):
                raise OSError(f"a row group ends after {self.position} rows")
            skipped = min(row + done - self.position, len(self._batch))
            taken = min(len(self._batch) - skipped, len(values) - done)
            _copy(self._batch.slice(skipped, taken), self._names, values[done : done + taken])
            self._batch = self._batch.slice(skipped + taken)
            self.position += skipped + taken
            done += taken

    def close(self) -> None:
        self._open.close()


class _OpenReaders:
    """The readers that were used last, so that they go on where they are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers: list[tuple[tuple[object, ...], _GroupReader]] = []

    def fill(self, path: Path, group: int, names: tuple[str, ...], row: int, values: NDArray[Any]) -> None:
        status = path.stat()
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns, group, names)
        with self._lock:
            fitting = [each for each in self._readers if each[0] == key and each[1].position <= row]
            entry = max(fitting, key=lambda each: each[1].position, default=None)
            if entry is not None:
                self._readers.remove(entry)
        reader = entry[1] if entry is not None else _GroupReader(path, group, names)
        try:
            reader.fill(row, values)
        except StopIteration as error:
            reader.close()
            raise InputError(
                path, "rows", f"{reader.position} in a row group", "as many as its metadata say"
            ) from error
        except BaseException:
            reader.close()
            raise
        with self._lock:
            self._readers.append((key, reader))
            old, self._readers = self._readers[:-_MOST_READERS], self._readers[-_MOST_READERS:]
        for _, unused in old:
            unused.close()


_OPEN_READERS = _OpenReaders()
