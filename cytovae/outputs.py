"""Clusters and probabilities of cells → a Parquet or CSV table, written chunk by chunk, whole or not at all.

The columns are ``file`` (string), ``event`` (int64, 0-based row in the file), ``cluster`` (int32, from 1),
``probability`` (float32, of that cluster) and ``p_1 … p_K`` (float32, rows sum to 1); rows are in input order.
"""

import contextlib
import io
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, get_args

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from cytovae.cells import Assignment
from cytovae.errors import NumericalError, OutputError, UsageError

TableFormat = Literal["parquet", "csv"]
SUM_TOLERANCE = 1e-5


def table_format(target: str, asked: str | None = None) -> TableFormat:
    """The format ``asked`` for, else the one that the suffix of ``target`` says; CSV on standard output ("-").

    Raises :class:`UsageError` where neither is a format of ours.
    """
    known: tuple[TableFormat, ...] = get_args(TableFormat)
    wanted = asked or ("csv" if target == "-" else Path(target).suffix.casefold().lstrip("."))
    for name in known:
        if name == wanted:
            return name
    raise UsageError(f"the format of {target} is not known; name it .parquet or .csv, or say --format")


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless a table can be written at ``path``: nothing is there (with ``force``: a plain
    file is allowed), and the folder it goes to can be written to.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; end it with a slash to get one table for each file there")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a plain file and is not replaced; use -o - for standard output")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; use --force to replace it, or another name")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {folder}")


class AssignmentWriter:
    """A table of assignments in the making; a context manager.

    On a path it is written under another name in the same folder, checked, and renamed when the block ends without an
    error; otherwise nothing is left. On a stream the rows go out as they come.
    """

    def __init__(
        self, target: Path | IO[bytes], kind: TableFormat, n_clusters: int, n_rows: int, *, force: bool = False
    ) -> None:
        self.name = str(target) if isinstance(target, Path) else "standard output"
        self.n_clusters = n_clusters
        self.n_rows = n_rows
        self.rows = 0
        self.force = force
        self._kind = kind
        self._target = target
        self._final: Path | None = None
        self._partial: Path | None = None
        self._stream: Any = None
        self._table: Any = None

    def __enter__(self) -> "AssignmentWriter":
        if isinstance(self._target, Path):
            check_target(self._target, force=self.force)
            self._final = self._target.resolve()  # a link stays, what it points to is replaced
            self._partial = self._final.with_name(f".{self._final.name[:200]}.{secrets.token_hex(4)}.partial")
        try:
            self._stream = _Outlet(self._target) if self._partial is None else self._partial.open("xb")
            self._table = _open_table(self._stream, self._kind, _schema(self.n_clusters))
        except OSError as error:
            self._discard()
            raise self._unwritable(error) from error
        except BaseException:  # a signal, before the block has begun
            self._discard()
            raise
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Append the cells ``first_event``, ``first_event`` + 1, … of ``file``.

        Raises :class:`NumericalError` where probabilities do not sum to 1 or do not fit the cluster, and
        :class:`OutputError` where the table cannot be written.
        """
        _check(assignment, self.n_clusters, file)
        batch = _record_batch(file, first_event, assignment, _schema(self.n_clusters))
        self._attempt(lambda: self._table.write(batch))
        self.rows += len(assignment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._attempt(self._finish)
        except BaseException:
            self._discard()
            raise

    def _finish(self) -> None:
        self._table.close()
        self._stream.flush()
        if self.rows != self.n_rows:
            raise OutputError(
                f"{self.name} was not written: it has {self.rows} rows, but there are {self.n_rows} cells"
            )
        if self._partial is None or self._final is None:
            return
        self._stream.close()
        if self._kind == "parquet" and (found := parquet.read_metadata(self._partial).num_rows) != self.n_rows:
            raise OutputError(f"{self.name} was not written: {found} of {self.n_rows} rows arrived on the disk")
        check_target(self._final, force=self.force)  # it may have appeared in the meantime
        self._partial.replace(self._final)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self.name} cannot be written: {error.strerror or error}")

    def _discard(self) -> None:
        # Closing writes a footer; that it fails where writing failed is no news.
        with contextlib.suppress(OSError, ValueError):
            if self._partial is not None and self._table is not None:
                self._table.close()
        with contextlib.suppress(OSError):
            if self._partial is not None and self._stream is not None:
                self._stream.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)


class _Outlet(io.RawIOBase):
    """A stream that cannot be rewound (a pipe), for writers that ask where they are; closing it leaves it open."""

    def __init__(self, stream: Any) -> None:
        self._out = stream
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        if not self._out.closed:
            self._out.flush()


# --- what a row holds -------------------------------------------------------------------------------------------------


def _schema(n_clusters: int) -> pa.Schema:
    return pa.schema(
        [
            ("file", pa.string()),
            ("event", pa.int64()),
            ("cluster", pa.int32()),
            ("probability", pa.float32()),
            *((f"p_{cluster}", pa.float32()) for cluster in range(1, n_clusters + 1)),
        ]
    )


def _record_batch(file: str, first_event: int, assignment: Assignment, schema: pa.Schema) -> pa.RecordBatch:
    """The columns in the order of the schema."""
    n_cells = len(assignment)
    by_cluster = np.ascontiguousarray(assignment.probabilities.T, dtype=np.float32)  # (n_clusters, n_cells)
    probability = np.take_along_axis(assignment.probabilities, assignment.cluster[:, None] - 1, axis=1)[:, 0]
    columns = [
        pa.repeat(file, n_cells),
        pa.array(np.arange(first_event, first_event + n_cells, dtype=np.int64)),
        pa.array(assignment.cluster.astype(np.int32, copy=False)),
        pa.array(probability.astype(np.float32, copy=False)),
        *(pa.array(column) for column in by_cluster),
    ]
    return pa.record_batch(columns, schema=schema)


def _check(assignment: Assignment, n_clusters: int, file: str) -> None:
    """Raise :class:`NumericalError` where a row is no distribution or its cluster none of the clusters."""
    p, cluster = assignment.probabilities, assignment.cluster
    if p.shape != (len(cluster), n_clusters):
        raise UsageError(f"{p.shape} probabilities do not fit {len(cluster)} cells and {n_clusters} clusters")
    if not len(cluster):
        return
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(p.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE) | ~(p.min(axis=1) >= 0)
    wrong |= (cluster < 1) | (cluster > n_clusters)
    if wrong.any():
        raise NumericalError(
            f"{int(wrong.sum())} cells of {file} have probabilities that do not sum to 1, or no cluster; "
            "look for extreme values with `cytovae inspect`"
        )


# --- formats ----------------------------------------------------------------------------------------------------------


def _open_table(stream: Any, kind: TableFormat, schema: pa.Schema) -> Any:
    """A writer of record batches with the methods ``write`` and ``close``."""
    if kind == "csv":
        options = csv.WriteOptions(include_header=False, quoting_style="needed")
        stream.write((",".join(schema.names) + "\n").encode())
        return csv.CSVWriter(stream, schema, write_options=options)
    # Probabilities hardly compress (90 of 96 bytes a cell; zstd 82, at two thirds of the speed), and a dictionary of
    # their values makes writing five times slower. Snappy is read everywhere.
    return parquet.ParquetWriter(
        stream,
        schema,
        compression="snappy",
        use_dictionary=["file"],
        column_encoding={"event": "DELTA_BINARY_PACKED"},
        store_schema=False,
    )
