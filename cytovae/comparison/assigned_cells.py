"""Assigned cells of any output of `cytovae assign`, counted by file and population."""

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from cytovae.annotations.cluster_labels import FCS_SUFFIXES
from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.label_tables import CLUSTER, EVENT, FILE, PARQUET_SUFFIXES, is_no_label
from cytovae.delimited import delimiter_of
from cytovae.errors import InputError
from cytovae.events.anndata_file import SUFFIX as ANNDATA_SUFFIX
from cytovae.events.anndata_file import open_h5ad
from cytovae.events.panel import find_channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.outputs.columns import CLUSTER_CHANNEL, POPULATION, POPULATION_CHANNELS, QC, QC_CHANNEL

_ROWS_PER_CHUNK = 1_000_000
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".gz")
_NO_POPULATION = -1
# Each column, and the names that it may have.
_COLUMNS = {
    FILE: (FILE,),
    EVENT: (EVENT,),
    CLUSTER: (CLUSTER, CLUSTER_CHANNEL),
    POPULATION: (POPULATION, POPULATION_CHANNELS[0]),
    QC: (QC,),
}


@dataclass(frozen=True, eq=False)
class AssignedCells:
    """The cells of a study, counted.

    Attributes
    ----------
    files : tuple of str
        The names of the files of events.
    sources : tuple of Path
        The table of each file.
    populations : tuple of str
        Names of populations; "cluster 7" for a cluster without a name. In the order of their clusters.
    counts : ndarray of int64, shape (n_files, n_populations)
        Number of cells.
    n_unassigned : int
        Number of cells without cluster and population, which are not counted.
    n_failed : int
        Number of cells that quality control marked, which are not counted.
    codes : tuple of ndarray of int32, one of shape (n_events,) for each file
        The population of each event, −1 for an event that is not counted. Empty unless requested.
    has_events : tuple of bool
        Whether the table of each file numbers its events; otherwise it must have a row for each of them.
    """

    files: tuple[str, ...]
    sources: tuple[Path, ...]
    populations: tuple[str, ...]
    counts: NDArray[np.int64]
    n_unassigned: int = 0
    n_failed: int = 0
    codes: tuple[NDArray[np.int32], ...] = ()
    has_events: tuple[bool, ...] = ()


def read_assigned(paths: Sequence[Path], *, with_codes: bool = False) -> AssignedCells:
    """Count the cells in tables (Parquet, CSV, TSV), FCS copies and .h5ad files with clusters.

    Tables are read in chunks, and only their columns ``file``, ``event``, ``cluster``, ``population`` and ``qc``. A
    table without the column ``file`` is one file, named like the table.

    Parameters
    ----------
    paths : sequence of Path
        The inputs.
    with_codes : bool
        Keep the population of every event, too.

    Raises
    ------
    InputError
        If an input cannot be read or has neither clusters nor populations, or if a file is in two inputs.
    """
    counter = _Counter(with_codes=with_codes)
    for path in paths:
        for chunk in _chunks(path):
            counter.add(path, chunk)
    return counter.result(paths)


class _Counter:
    """Counts chunk by chunk. Populations are numbered in the order of their appearance, and sorted at the end."""

    def __init__(self, *, with_codes: bool) -> None:
        self.populations: dict[str, int] = {}
        self.first_cluster: dict[str, tuple[float, str]] = {}  # the sort key of each population
        self.sources: dict[str, Path] = {}
        self.counts: dict[tuple[str, int], int] = {}
        self.n_unassigned = self.n_failed = 0
        self.events: dict[str, list[tuple[NDArray[np.int64] | None, NDArray[np.int32]]]] | None = (
            {} if with_codes else None
        )

    def add(self, path: Path, chunk: pd.DataFrame) -> None:
        codes = self._codes(chunk)  # (n_rows,)
        self.n_unassigned += int((codes == _NO_POPULATION).sum())
        if QC in chunk:
            failed = chunk[QC].notna().to_numpy() & ~chunk[QC].astype("string").isin(["", "pass"]).to_numpy(bool)
            self.n_failed += int((failed & (codes != _NO_POPULATION)).sum())
            codes = np.where(failed, np.int32(_NO_POPULATION), codes)
        numbers, names = pd.factorize(chunk[FILE])
        if (numbers < 0).any():
            raise InputError(path, FILE, f"{int((numbers < 0).sum())} rows without a file", "a file name in each row")
        for number, name in enumerate(map(str, names)):
            if self.sources.setdefault(name, path) != path:
                hint = "Name each table once. If two different files have one name, assign them again in one command."
                raise InputError(path, FILE, f"{name}, which is also in {self.sources[name]}", "other files", hint)
            rows = np.flatnonzero(numbers == number)
            own, n = np.unique(codes[rows], return_counts=True)
            for code, count in zip(own.tolist(), n.tolist(), strict=True):
                self.counts[name, code] = self.counts.get((name, code), 0) + count
            if self.events is not None:
                event = chunk[EVENT].to_numpy(np.int64)[rows] if EVENT in chunk else None
                self.events.setdefault(name, []).append((event, codes[rows]))

    def _codes(self, chunk: pd.DataFrame) -> NDArray[np.int32]:
        """The number of the population of each row; −1 without one."""
        keys = [name for name in (CLUSTER, POPULATION) if name in chunk]
        groups = chunk.groupby(keys, observed=True, dropna=False, sort=False)
        first = chunk[keys].drop_duplicates()
        of_group = np.empty(len(first), dtype=np.int32)
        numbers = groups.ngroup().to_numpy()
        of_first = numbers[chunk.index.get_indexer(first.index)]
        for group, row in zip(of_first.tolist(), first.itertuples(index=False), strict=True):
            of_group[group] = self._code(getattr(row, CLUSTER, None), getattr(row, POPULATION, None))
        return of_group[numbers]

    def _code(self, cluster: Any, population: Any) -> int:
        label, name = _text(cluster), _text(population)
        number = int(label) if re.fullmatch(r"-?\d+", label) else None
        if not name or name.casefold() == UNKNOWN:
            name = name if not label else label if number is None else f"cluster {number}"
        if not name or (number is not None and number < 1):
            return _NO_POPULATION
        key = (float(number) if number is not None else np.inf, name)
        self.first_cluster[name] = min(self.first_cluster.get(name, key), key)
        return self.populations.setdefault(name, len(self.populations))

    def result(self, paths: Sequence[Path]) -> AssignedCells:
        if not self.populations:
            raise InputError(paths[0], CLUSTER, "no assigned cell", "the cluster or population of each cell")
        populations = sorted(self.populations, key=lambda name: self.first_cluster[name])
        position = np.full(len(populations) + 1, _NO_POPULATION, dtype=np.int32)  # the last one is for −1
        for index, name in enumerate(populations):
            position[self.populations[name]] = index
        files = tuple(self.sources)
        counts = np.zeros((len(files), len(populations)), dtype=np.int64)
        for (name, code), count in self.counts.items():
            if code != _NO_POPULATION:
                counts[files.index(name), position[code]] += count
        codes: tuple[NDArray[np.int32], ...] = ()
        has_events: tuple[bool, ...] = ()
        if self.events is not None:
            codes = tuple(position[_by_event(name, self.sources[name], self.events[name])] for name in files)
            has_events = tuple(self.events[name][0][0] is not None for name in files)
        return AssignedCells(
            files,
            tuple(self.sources.values()),
            tuple(populations),
            counts,
            self.n_unassigned,
            self.n_failed,
            codes,
            has_events,
        )


def _by_event(
    name: str, path: Path, chunks: Sequence[tuple[NDArray[np.int64] | None, NDArray[np.int32]]]
) -> NDArray[np.int32]:
    """The codes of a file in the order of its events; −1 for events without a row."""
    codes = np.concatenate([codes for _, codes in chunks])
    numbered = [event for event, _ in chunks if event is not None]
    if not numbered:
        return codes
    event = np.concatenate(numbered)
    if np.array_equal(event, np.arange(len(event))):
        return codes
    if event.min() < 0 or np.bincount(event).max() > 1:
        raise InputError(path, EVENT, f"negative or repeated events of {name}", "each event of a file at most once")
    ordered = np.full(int(event.max()) + 1, _NO_POPULATION, dtype=np.int32)
    ordered[event] = codes
    return ordered


def _text(value: Any) -> str:
    """A label as trimmed text; '' for a missing one, whole numbers without a decimal point."""
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = " ".join(str(value).split())
    return "" if is_no_label(text) else text


# --- chunks: the columns of _COLUMNS that exist, always with `file` -----------------------------------------------


def _chunks(path: Path) -> Iterator[pd.DataFrame]:
    if not path.is_file():
        found = "no such file" if not path.exists() else "not a plain file"
        raise InputError(path, "assigned cells", found, "an output of `cytovae assign`")
    suffix = path.suffix.casefold()
    if suffix in FCS_SUFFIXES:
        yield from _fcs_chunks(path)
    elif suffix == ANNDATA_SUFFIX:
        observations = open_h5ad(path)[0].observations.reset_index(drop=True)
        wanted = _wanted(path, [str(name) for name in observations.columns])
        yield _named(observations[list(wanted)].rename(columns=wanted), path)
    elif suffix in PARQUET_SUFFIXES:
        yield from _parquet_chunks(path)
    elif suffix in _TEXT_SUFFIXES:
        yield from _text_chunks(path)
    else:
        known = ", ".join((*PARQUET_SUFFIXES, ".csv", ".tsv", ".txt", *FCS_SUFFIXES, ANNDATA_SUFFIX))
        raise InputError(path, "assigned cells", f"a file ending in {suffix!r}", f"one of {known}")


def _parquet_chunks(path: Path) -> Iterator[pd.DataFrame]:
    try:
        schema = parquet.read_schema(path)
        wanted = _wanted(path, schema.names)
        texts = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            for batch in file.iter_batches(_ROWS_PER_CHUNK, columns=list(wanted)):
                yield _named(batch.to_pandas().rename(columns=wanted), path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "assigned cells", str(error), "a readable Parquet file") from error


def _text_chunks(path: Path) -> Iterator[pd.DataFrame]:
    try:
        opened = gzip.open if path.suffix.casefold() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as stream:
            separator = delimiter_of(stream.readline())
        options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "index_col": False}
        wanted = _wanted(path, [str(name) for name in pd.read_csv(path, nrows=0, **options)])
        types: Any = {name: "category" for name, column in wanted.items() if column != EVENT}
        with pd.read_csv(path, usecols=list(wanted), dtype=types, chunksize=_ROWS_PER_CHUNK, **options) as chunks:
            for chunk in chunks:
                yield _named(chunk.rename(columns=wanted), path)
    except (OSError, EOFError, UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(path, "assigned cells", str(error), "a readable table with a header") from error


def _fcs_chunks(path: Path) -> Iterator[pd.DataFrame]:
    file = open_fcs(path)
    column = find_channel(file, CLUSTER_CHANNEL, field="clusters").index
    names = _names_of_clusters(file)
    checked = [channel.index for channel in file.channels if channel.name == QC_CHANNEL]
    for values in file.chunks([column, *checked[:1]], _ROWS_PER_CHUNK):
        chunk = pd.DataFrame({CLUSTER: np.rint(values[:, 0]).astype(np.int64)})
        if checked:
            chunk[QC] = np.where(values[:, 1] == 0, "", "failed")
        if names:
            chunk[POPULATION] = chunk[CLUSTER].map(names)
        yield _named(chunk, path)


def _names_of_clusters(file: FcsFile) -> dict[int, str]:
    """The population of each cluster from the keywords CYTOVAE_CLUSTER_n."""
    found = {key: re.fullmatch(r"CYTOVAE_CLUSTER_(\d+)", key) for key in file.keywords}
    return {int(match[1]): file.keywords[key] for key, match in found.items() if match}


def _wanted(path: Path, present: Sequence[str]) -> dict[str, str]:
    """The columns to read, and what they are called here."""
    wanted = {}
    for column, names in _COLUMNS.items():
        name = next((name for name in names if name in present), None)
        if name is not None:
            wanted[name] = column
    if not {CLUSTER, POPULATION} & set(wanted.values()):
        shown = ", ".join(present[:8]) + (", …" if len(present) > 8 else "")
        raise InputError(path, "columns", shown or "none", f"a column {CLUSTER} or {POPULATION}")
    return wanted


def _named(chunk: pd.DataFrame, path: Path) -> pd.DataFrame:
    return chunk if FILE in chunk else chunk.assign(**{FILE: path.name})
