"""The folder of quality control: a table of events and a picture for each file, and one table of all files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from cytovae.atomic import check_own_folder, output_errors, readable, whole_folder
from cytovae.delimited import csv_line
from cytovae.events.event_file import EventFile
from cytovae.plain_file import sha256_of
from cytovae.quality.check import REASONS
from cytovae.quality.file_quality import FileQuality
from cytovae.quality.layout import COLUMNS, EVENT, EVENTS_SUFFIX, INDEX, PASSES, PICTURE_SUFFIX, REASON

_SCHEMA = pa.schema([(EVENT, pa.int64()), (PASSES, pa.bool_()), (REASON, pa.string())])


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Check that quality control can be written to ``folder``, see :func:`cytovae.atomic.check_own_folder`."""

    def belongs(name: str) -> bool:
        return name == INDEX or name.endswith((EVENTS_SUFFIX, PICTURE_SUFFIX))

    check_own_folder(folder, INDEX, belongs, "quality control", force=force)


class QualityFolder:
    """A folder of quality control that is being filled, one file after another; see :func:`quality_folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[tuple[str, ...]] = []
        self._stems: set[str] = set()
        self._checksums: dict[Path, str] = {}

    def add(self, file: EventFile, quality: FileQuality, picture: bytes | None = None) -> None:
        """Write the events of a file, and its picture (PNG) if there is one."""
        stem = self._free_stem(file)
        table = f"{stem}{EVENTS_SUFFIX}"
        reasons = pa.DictionaryArray.from_arrays(pa.array(quality.reason.astype(np.int32)), ["", *REASONS])
        events = pa.table(
            [np.arange(quality.n_events), quality.reason == 0, reasons.cast(pa.string())],
            schema=_SCHEMA,
        )
        parquet.write_table(events, self.folder / table, compression="zstd", store_schema=False)
        if picture is not None:
            (self.folder / f"{stem}{PICTURE_SUFFIX}").write_bytes(picture)
        if file.path not in self._checksums:
            self._checksums[file.path] = sha256_of(file.path)
        self._rows.append(_row(file, quality, self._checksums[file.path], table))

    def finish(self) -> None:
        """Write the table of all files."""
        lines = [csv_line(COLUMNS), *map(csv_line, self._rows)]
        (self.folder / INDEX).write_text("".join(lines), encoding="utf-8")

    def _free_stem(self, file: EventFile) -> str:
        wanted = file.part.replace("/", "_") or file.path.stem
        stem, number = wanted, 1
        while stem.casefold() in self._stems:
            number += 1
            stem = f"{wanted}_{number}"
        self._stems.add(stem.casefold())
        return stem


@contextmanager
def quality_folder(folder: Path, *, force: bool = False) -> Iterator[QualityFolder]:
    """A folder of quality control to fill; it appears when the block ends without an error.

    Raises
    ------
    OutputError
        If the folder cannot be written, or holds other files.
    """
    check_folder(folder, force=force)
    with whole_folder(folder) as partial, output_errors(folder):
        filling = QualityFolder(partial)
        yield filling
        filling.finish()


def _row(file: EventFile, quality: FileQuality, checksum: str, table: str) -> tuple[str, ...]:
    counts = ["" if check.failed is None else str(int(check.failed.sum())) for check in quality.checks]
    missing = [f"{check.reason}: {check.why_not}" for check in quality.checks if check.failed is None]
    percent = f"{100 * quality.n_failed / quality.n_events:.2f}" if quality.n_events else ""
    found: Sequence[Any] = (readable(file.path), file.part, checksum, table, quality.n_events, quality.n_failed)
    return (*map(str, found), percent, *counts, "; ".join(missing), "; ".join(quality.warnings))
