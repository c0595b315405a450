"""Cluster labels of any method, aligned with the events of files; and the gates to score them against."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytovae.annotations.gates import read_gates, read_gates_of_files
from cytovae.annotations.label_tables import (
    CLUSTER,
    EVENT,
    FILE,
    POPULATION_COLUMNS,
    is_no_label,
    read_cluster_table,
)
from cytovae.cells import UNASSIGNED, UNGATED, GateLabels
from cytovae.errors import GateError, InputError
from cytovae.events.panel import find_channel
from cytovae.fcs.file import open_fcs

FCS_SUFFIXES = (".fcs", ".lmd")


@dataclass(frozen=True, eq=False)
class ClusterLabels:
    """Cluster labels as they are in a file, row by row.

    Attributes
    ----------
    path : str
        The file of the labels.
    cluster : ndarray of int32, shape (n_rows,)
        Numbers of clusters from 1; 0 for unassigned cells.
    names : tuple of str
        If labels are not whole numbers, they are numbered in sorted order, and cluster i is ``names[i - 1]``.
        Otherwise empty.
    files : tuple of str
        The values of the column ``file``.
    file : ndarray of int32, shape (n_rows,), optional
        Index into ``files``; None without such a column.
    event : ndarray of int64, shape (n_rows,), optional
        Row in that file, from 0; None without such a column.
    holds_zero : bool
        The number 0 occurs, which may have been meant as a cluster.
    """

    path: str
    cluster: NDArray[np.int32]
    names: tuple[str, ...]
    files: tuple[str, ...]
    file: NDArray[np.int32] | None
    event: NDArray[np.int64] | None
    holds_zero: bool

    def __len__(self) -> int:
        return len(self.cluster)


@dataclass(frozen=True, eq=False)
class GatedFiles:
    """Gates of several files, one after another, and the number of events of each file."""

    gates: GateLabels
    files: tuple[str, ...]
    sizes: tuple[int, ...]


def read_labels(spec: str | Path, column: str | None = None) -> ClusterLabels:
    """Read cluster labels.

    Parameters
    ----------
    spec
        A Parquet, CSV, TSV or TXT table (text also as ``.gz``), an FCS file, or ``FILE.fcs:CHANNEL``.
    column
        The column or channel of labels. Default: ``cluster``, or the only column.

    Returns
    -------
    ClusterLabels
        Numbers below 1, missing values and words such as "unassigned" are unassigned.

    Raises
    ------
    InputError
        If the file cannot be read, has no such column, or holds numbers that are not whole.
    """
    path, channel = _split(spec)
    if channel is not None or path.suffix.lower() in FCS_SUFFIXES:
        table = _read_channel(path, column or channel or CLUSTER)
    else:
        table = read_cluster_table(path, column, (CLUSTER,))
    cluster, names, holds_zero = _as_clusters(str(path), table[CLUSTER])
    file, files = _file_column(str(path), table)
    return ClusterLabels(str(path), cluster, names, files, file, _event_column(str(path), table), holds_zero)


def read_gated_files(specs: Sequence[str | Path], *, zero_is_ungated: bool = False) -> GatedFiles:
    """Read and join gates, with populations of the same name taken together.

    Parameters
    ----------
    specs
        FCS files with their gates beside them, ``FILE.fcs:CHANNEL``, or tables. A table ``NAME.gates.csv`` must fit
        ``NAME.fcs`` if that is beside it; any other table must have one row for each event of one file, in order.
    zero_is_ungated
        The label 0 means in no gate.

    Returns
    -------
    GatedFiles
        In the order of ``specs``.

    Raises
    ------
    InputError
        If gates are missing or cannot be read.
    """
    parts = [_read_gates(spec, zero_is_ungated) for spec in specs]
    return GatedFiles(join_gates(parts), tuple(str(_split(spec)[0]) for spec in specs), tuple(map(len, parts)))


def join_gates(parts: Sequence[GateLabels]) -> GateLabels:
    """Join gates one after another, with one index for populations of the same name."""
    index_of: dict[str, int] = {}
    joined = []
    for part in parts:
        # Ungated cells are -1 and so select the last entry.
        indices = [*(index_of.setdefault(name, len(index_of)) for name in part.names), UNGATED]
        joined.append(np.array(indices, dtype=np.int32)[part.population])
    return GateLabels(np.concatenate(joined), tuple(index_of))


def align_labels(labels: ClusterLabels, files: Sequence[str | Path], sizes: Sequence[int]) -> NDArray[np.int32]:
    """Put cluster labels in the order of the events of ``files``.

    Parameters
    ----------
    labels
        Without a ``file`` column: one row per event, in the order of ``files``. With it, the rows of each file are
        looked up by path, by file name, or by file name without suffix, and rows of other files are left out. With
        ``event``, the rows of a file may have any order.
    files
        Names of the files.
    sizes
        Number of events of each file.

    Returns
    -------
    ndarray of int32, shape (sum of ``sizes``,)
        The cluster of each event.

    Raises
    ------
    InputError
        If rows are missing, superfluous or ambiguous.
    """
    if labels.file is None or (len(files) == 1 and len(labels.files) == 1):
        _check_n_rows(labels.path, len(labels), sum(sizes), ", ".join(Path(file).name for file in files))
        rows_of_files = np.split(np.arange(len(labels)), np.cumsum(sizes)[:-1])
    else:
        rows_of_files = []
        for file, size in zip(files, sizes, strict=True):
            rows = np.flatnonzero(labels.file == _find_file(labels, str(file)))
            _check_n_rows(labels.path, len(rows), size, Path(file).name)
            rows_of_files.append(rows)
    if labels.event is not None:
        rows_of_files = [_sorted_by_event(labels.path, labels.event, rows) for rows in rows_of_files]
    return labels.cluster[np.concatenate(rows_of_files)]


# --- reading ----------------------------------------------------------------------------------------------------------


def _split(spec: str | Path) -> tuple[Path, str | None]:
    """Path and channel of ``FILE.fcs:CHANNEL``; any other path has no channel."""
    match = re.fullmatch(r"(.+?\.(?:fcs|lmd)):(.+)", str(spec), flags=re.IGNORECASE)
    return (Path(match[1]), match[2]) if match and not Path(spec).exists() else (Path(spec), None)


def _read_channel(path: Path, channel: str) -> pd.DataFrame:
    file = open_fcs(path)
    column = find_channel(file, channel, field="cluster labels").index
    return pd.DataFrame({CLUSTER: file.read([column])[:, 0]})


def _read_gates(spec: str | Path, zero_is_ungated: bool) -> GateLabels:
    path, channel = _split(spec)
    if channel is not None:
        return read_gates(channel, open_fcs(path), zero_is_ungated=zero_is_ungated)
    if path.suffix.lower() in FCS_SUFFIXES:
        return read_gates_of_files([open_fcs(path)], zero_is_ungated=zero_is_ungated)
    fcs = path.with_name(_without_suffix(path.name) + ".fcs")
    if path.is_file() and fcs.is_file():
        return read_gates(path, open_fcs(fcs), zero_is_ungated=zero_is_ungated)
    table = read_cluster_table(path, None, POPULATION_COLUMNS)
    if FILE in table or EVENT in table:
        hint = "Name the FCS file instead, with its gates beside it."
        raise GateError(path, "header", "a column file or event", "a label for each event of one file, in order", hint)
    texts = _as_texts(table[CLUSTER])
    codes, names = pd.factorize(texts.where(texts != "0") if zero_is_ungated else texts, sort=True)
    return GateLabels(codes.astype(np.int32), tuple(map(str, names)))


# --- columns as arrays ------------------------------------------------------------------------------------------------


def _as_clusters(path: str, values: "pd.Series[Any]") -> tuple[NDArray[np.int32], tuple[str, ...], bool]:
    """Numbers of clusters, their names (empty if labels are numbers), and whether the number 0 occurs."""
    if not pd.api.types.is_numeric_dtype(values):
        texts = _as_texts(values)
        values = pd.to_numeric(texts, errors="coerce")
        if values.isna().sum() > texts.isna().sum():  # some texts are not numbers
            codes, names = pd.factorize(texts, sort=True)
            return (codes + 1).astype(np.int32), tuple(map(str, names)), False
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(numbers)
    wrong = numbers[~missing & ((numbers != np.rint(numbers)) | (np.abs(numbers) > np.iinfo(np.int32).max))]
    if len(wrong):
        hint = "Probabilities and measurements are not labels: name the column of clusters with --channel."
        raise InputError(path, CLUSTER, f"{wrong[0]:g}", "whole numbers (32 bit) or names of clusters", hint)
    cluster = np.where(missing, UNASSIGNED, np.maximum(numbers, UNASSIGNED)).astype(np.int32)
    return cluster, (), bool((numbers == 0).any())


def _as_texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Labels as trimmed text, missing for cells without a label."""
    texts = values.convert_dtypes().astype("string").str.strip()
    return texts.mask(texts.isin([text for text in texts.dropna().unique() if is_no_label(text)]))


def _file_column(path: str, table: pd.DataFrame) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    if FILE not in table:
        return None, ()
    codes, names = pd.factorize(table[FILE])
    if (codes < 0).any():
        raise InputError(path, FILE, f"{int((codes < 0).sum())} rows without a file", "a file name in each row")
    return codes.astype(np.int32), tuple(map(str, names))


def _event_column(path: str, table: pd.DataFrame) -> NDArray[np.int64] | None:
    if EVENT not in table:
        return None
    if not pd.api.types.is_integer_dtype(table[EVENT]) or table[EVENT].isna().any():
        raise InputError(path, EVENT, f"values of type {table[EVENT].dtype}", "whole numbers from 0")
    return table[EVENT].to_numpy(dtype=np.int64)


# --- rows in the order of events --------------------------------------------------------------------------------------


def _check_n_rows(path: str, n_rows: int, n_events: int, files: str) -> None:
    if n_rows != n_events:
        hint = "Labels and gates must belong to the same events, one row for each."
        raise InputError(path, "rows", f"{n_rows} labels", f"{n_events}, one for each event of {files}", hint)


def _find_file(labels: ClusterLabels, file: str) -> int:
    """The index in ``labels.files`` of the file that the user calls ``file``."""
    for form in (str, _file_name, _without_suffix):
        matches = [index for index, name in enumerate(labels.files) if form(name) == form(file)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(labels.files[index] for index in matches)
            hint = "Give the path as it is in the table."
            raise InputError(labels.path, FILE, f"several files like {file}: {names}", "one", hint)
    known = ", ".join(labels.files[:5]) + (" …" if len(labels.files) > 5 else "")
    raise InputError(labels.path, FILE, f"rows of {known or 'no file'}", f"rows of {file}")


def _file_name(name: str) -> str:
    """The last part of a path that may come from Windows."""
    return re.split(r"[/\\]", name)[-1]


def _without_suffix(name: str) -> str:
    return re.sub(r"(\.gates)?\.(fcs|lmd|csv|tsv|txt|parquet)$", "", _file_name(name), flags=re.IGNORECASE)


def _sorted_by_event(path: str, event: NDArray[np.int64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """The ``rows`` of one file in the order of its events. Each event must occur once."""
    order = rows[np.argsort(event[rows], kind="stable")]
    if not np.array_equal(event[order], np.arange(len(rows))):
        found = f"{len(rows)} rows with events twice or out of range"
        raise InputError(path, EVENT, found, f"each of 0 … {len(rows) - 1} once")
    return order
