"""Parquet, CSV and FlowJo tables of assigned cells; a file appears whole under its name, or not at all."""

import contextlib
import io
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa
from pyarrow import csv, parquet

from cytovae.atomic import already_exists, check_target, hidden_name, output_errors, put_in_place, whole_file
from cytovae.cells import Assignment, check_assignment
from cytovae.delimited import csv_line
from cytovae.errors import OutputError
from cytovae.outputs.columns import EVENT, NO_EXTRAS, Extras, TableFormat, table_rows, table_schema
from cytovae.plain_file import resolved


def write_table(path: Path, table: pa.Table, *, force: bool = False) -> None:
    """Write ``table`` as CSV, with empty cells for nulls. Raises :class:`OutputError` if that is impossible."""
    write_cells(path, table, "csv", force=force)


def write_cells(target: Path | IO[bytes], table: pa.Table, kind: TableFormat, *, force: bool = False) -> None:
    """Write ``table`` in a format to a file or a stream. Raises :class:`OutputError` if that is impossible."""
    if isinstance(target, Path):
        with whole_file(target, force=force) as partial, partial.open("xb") as file:
            _write(file, table, kind)
    else:
        stream = _ForwardStream(target)
        _write(stream, table, kind)
        stream.flush()


def _write(stream: Any, table: pa.Table, kind: TableFormat) -> None:
    with contextlib.closing(_open_table(stream, kind, table.schema)) as writer:
        writer.write_table(table)


class AssignmentWriter:
    """A table of assigned cells that is written chunk by chunk; a context manager.

    A file is written under another name in the same folder, checked, and renamed when the block ends without an error;
    otherwise nothing remains. Rows for a stream are written at once.

    Parameters
    ----------
    target : Path or binary stream
        The output.
    kind : TableFormat
        Its format.
    n_clusters : int
        Number of clusters.
    n_rows : int
        Number of cells that will be written; the file is discarded if there are more or fewer.
    extras : Extras
        Optional columns.
    force : bool
        Whether an existing file is replaced.
    """

    def __init__(
        self,
        target: Path | IO[bytes],
        kind: TableFormat,
        n_clusters: int,
        n_rows: int,
        *,
        extras: Extras = NO_EXTRAS,
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
            self._final = resolved(self._target)  # a link is kept; the file that it points to is replaced
            self._partial = hidden_name(self._final, "partial")
        try:
            with output_errors(self.name):
                self._stream = _ForwardStream(self._target) if self._partial is None else self._partial.open("xb")
                self._table = _open_table(self._stream, self._kind, self._schema)
        except BaseException:  # a signal before the block begins, too
            self._discard()
            raise
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Append the cells of consecutive events of ``file``, from ``first_event`` on.

        Raises
        ------
        NumericalError
            If probabilities do not sum to 1, or a cluster does not exist.
        OutputError
            If the table cannot be written.
        """
        check_assignment(assignment, self.n_clusters, file)
        batch = table_rows(self._kind, self._schema, file, first_event, assignment, self._extras)
        with output_errors(self.name):
            self._table.write(batch)
        self.rows += len(assignment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with output_errors(self.name):
                self._finish()
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
        if self._kind == "parquet" and (on_disk := parquet.read_metadata(self._partial).num_rows) != self.n_rows:
            raise OutputError(f"{self.name} was not written: {on_disk} of {self.n_rows} rows are on the disk")
        check_target(self._final, force=self.force)  # another process may have created it meanwhile
        try:
            put_in_place(self._partial, self._final, force=self.force)
        except FileExistsError as error:
            raise already_exists(self.name) from error

    def _discard(self) -> None:
        # Closing writes a footer, which fails if writing failed before.
        with contextlib.suppress(OSError, ValueError):
            if self._partial is not None and self._table is not None:
                self._table.close()
        with contextlib.suppress(OSError):
            if self._partial is not None and self._stream is not None:
                self._stream.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)


class _ForwardStream(io.RawIOBase):
    """A stream that cannot be rewound (a pipe), for writers that call ``tell``; closing it leaves the stream open."""

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


def _open_table(stream: Any, kind: TableFormat, schema: pa.Schema) -> Any:
    """A writer with the methods ``write`` (a record batch), ``write_table`` and ``close``."""
    if kind != "parquet":
        options = csv.WriteOptions(include_header=False, quoting_style="needed")
        stream.write(csv_line(schema.names).encode())
        return csv.CSVWriter(stream, schema, write_options=options)
    # Probabilities hardly compress (90 of 96 bytes per cell with snappy; 82 with zstd, at two thirds of the speed), and
    # a dictionary of their values makes writing five times slower. Every reader knows snappy.
    return parquet.ParquetWriter(
        stream,
        schema,
        compression="snappy",
        use_dictionary=[name for name in schema.names if pa.types.is_string(schema.field(name).type)],
        column_encoding={EVENT: "DELTA_BINARY_PACKED"} if EVENT in schema.names else None,
        store_schema=False,
    )
