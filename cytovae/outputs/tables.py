"""Clusters and probabilities of cells → Parquet, CSV, FlowJo's tables and AnnData; whole under its name, or not at all.

What the rows of tables hold is in :mod:`cytovae.outputs.columns`, how an FCS file gets clusters in
:mod:`cytovae.outputs.fcs_copy`; row i is event i in every format.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa
from pyarrow import csv, parquet

from cytovae.atomic import check_target, hidden_name, put_in_place, whole_file
from cytovae.cells import Assignment, check_assignment
from cytovae.delimited import csv_line
from cytovae.errors import OutputError
from cytovae.outputs.columns import PLAIN, Extras, TableFormat, table_rows, table_schema


def write_table(path: Path, table: pa.Table, *, force: bool = False) -> None:
    """Write ``table`` as CSV, with empty cells for what is missing. Raises :class:`OutputError`."""
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with whole_file(path, force=force) as partial, partial.open("xb") as stream:
        stream.write(csv_line(table.column_names).encode())
        csv.write_csv(table, stream, options)


def write_cells(target: Path | IO[bytes], table: pa.Table, kind: TableFormat, *, force: bool = False) -> None:
    """Write a ``table`` with a row for each cell, on a path whole or not at all. Raises :class:`OutputError`."""

    def put(stream: Any) -> None:
        with contextlib.closing(_open_table(stream, kind, table.schema)) as rows:
            rows.write_table(table)

    if isinstance(target, Path):
        with whole_file(target, force=force) as partial, partial.open("xb") as file:
            put(file)
    else:
        outlet = _Outlet(target)
        put(outlet)
        outlet.flush()


class AssignmentWriter:
    """A table of assignments in the making; a context manager.

    On a path it is written under another name in the same folder, checked, and renamed when the block ends without an
    error; otherwise nothing is left. On a stream the rows go out as they come.
    """

    def __init__(
        self,
        target: Path | IO[bytes],
        kind: TableFormat,
        n_clusters: int,
        n_rows: int,
        *,
        extras: Extras = PLAIN,
        force: bool = False,
    ) -> None:
        self.name = str(target) if isinstance(target, Path) else "standard output"
        self.n_clusters = n_clusters
        self.n_rows = n_rows
        self.rows = 0
        self.force = force
        self._kind: TableFormat = kind
        self._extras = extras
        self._schema = table_schema(kind, n_clusters, extras)
        self._target = target
        self._final: Path | None = None
        self._partial: Path | None = None
        self._stream: Any = None
        self._table: Any = None

    def __enter__(self) -> "AssignmentWriter":
        if isinstance(self._target, Path):
            check_target(self._target, force=self.force)
            self._final = self._target.resolve()  # a link stays, what it points to is replaced
            self._partial = hidden_name(self._final, "partial")
        try:
            self._stream = _Outlet(self._target) if self._partial is None else self._partial.open("xb")
            self._table = _open_table(self._stream, self._kind, self._schema)
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
        check_assignment(assignment, self.n_clusters, file)
        batch = table_rows(self._kind, self._schema, file, first_event, assignment, self._extras)
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
        try:
            put_in_place(self._partial, self._final, force=self.force)
        except FileExistsError as error:
            raise OutputError(f"{self.name} exists already; use --force to replace it, or another name") from error

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


# --- formats ----------------------------------------------------------------------------------------------------------


def _open_table(stream: Any, kind: TableFormat, schema: pa.Schema) -> Any:
    """A writer of record batches with the methods ``write`` and ``close``."""
    if kind != "parquet":
        options = csv.WriteOptions(include_header=False, quoting_style="needed")
        stream.write(csv_line(schema.names).encode())
        return csv.CSVWriter(stream, schema, write_options=options)
    # Probabilities hardly compress (90 of 96 bytes a cell; zstd 82, at two thirds of the speed), and a dictionary of
    # their values makes writing five times slower. Snappy is read everywhere.
    return parquet.ParquetWriter(
        stream,
        schema,
        compression="snappy",
        use_dictionary=[name for name in schema.names if pa.types.is_string(schema.field(name).type)],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in schema.names if name == "event"} or None,
        store_schema=False,
    )
