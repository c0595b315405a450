"""Cluster labels of any method, from tables, FCS channels and AnnData, aligned with the events of files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.file_column import match_files
from cytovae.annotations.label_spec import split_spec
from cytovae.annotations.label_tables import CLUSTER, EVENT, FILE, POPULATION_COLUMNS, is_no_label, read_cluster_table
from cytovae.cells import UNASSIGNED
from cytovae.errors import InputError
from cytovae.events.anndata_file import SUFFIX as ANNDATA_SUFFIX
from cytovae.events.anndata_file import open_h5ad
from cytovae.events.channel_names import find_channels
from cytovae.events.panel import find_channel
from cytovae.fcs.file import open_fcs

FCS_SUFFIXES = (".fcs", ".lmd")
USUAL_COLUMNS = (CLUSTER, "cytovae_cluster")
"""Names of the column or channel of labels, unless another one is named; the second is what cytovae adds."""


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


def read_labels(spec: str | Path, column: str | None = None) -> ClusterLabels:
    """Read cluster labels.

    Parameters
    ----------
    spec
        A Parquet, CSV, TSV or TXT table (text also as ``.gz``), an FCS file, an .h5ad file, or ``FILE:COLUMN``.
    column
        The column or channel of labels, where ``spec`` names none. Default: ``cluster``, ``cytovae_cluster``, or the
        only column.

    Returns
    -------
    ClusterLabels
        Numbers below 1, missing values and words such as "unassigned" are unassigned; in a column ``population``, also
        "unknown", the population of clusters without a name.

    Raises
    ------
    InputError
        If the file cannot be read, has no such column, or holds numbers that are not whole.
    """
    path, own = split_spec(spec)
    table = _read_table(path, own or column)
    if (own or column) == POPULATION_COLUMNS[0]:
        table[CLUSTER] = table[CLUSTER].mask(table[CLUSTER] == UNKNOWN)
    cluster, names, holds_zero = _as_clusters(str(path), table[CLUSTER])
    file, files = _file_column(str(path), table)
    return ClusterLabels(str(path), cluster, names, files, file, _event_column(str(path), table), holds_zero)


def read_label_sets(specs: Sequence[str | Path], column: str | None = None) -> tuple[tuple[str, ClusterLabels], ...]:
    """Read the labels of several methods, each with a title.

    FCS files hold the labels of one file each, so FCS files with the same channel are one set of labels. Every other
    spec is a set of its own.

    Parameters
    ----------
    specs, column
        See :func:`read_labels`.

    Returns
    -------
    tuple of (str, ClusterLabels)
        In the order of the first file of each set. The title is the channel of several FCS files, else the shortest
        end of the path that no other set has.

    Raises
    ------
    InputError
        See :func:`read_labels`; also if a file is named twice with the same column.
    """
    groups: dict[tuple[str, str | None], list[tuple[Path, str | None]]] = {}
    for spec in specs:
        path, own = split_spec(spec)
        is_fcs = path.suffix.lower() in FCS_SUFFIXES
        group = groups.setdefault(("" if is_fcs else str(path), own or column), [])
        if path in [other for other, _ in group]:
            raise InputError(path, "labels", "the file is named twice", "other labels", "Name a column: FILE:COLUMN.")
        group.append((path, own))
    sets = []
    for (name, wanted), group in groups.items():
        path, own = group[0]
        if len(group) > 1:
            sets.append((wanted or USUAL_COLUMNS[1], _joined_channels([path for path, _ in group], wanted)))
        else:
            short = _short_name(path, [Path(other) for other, _ in groups if other not in ("", name)])
            sets.append((f"{short}:{own}" if own else short, read_labels(path, wanted)))
    return tuple(sets)


def align_labels(labels: ClusterLabels, files: Sequence[str | Path], sizes: Sequence[int]) -> NDArray[np.int32]:
    """Put cluster labels in the order of the events of ``files``.

    Parameters
    ----------
    labels
        Without a ``file`` column: one row per event, in the order of ``files``. With it, the rows of each file are
        looked up by the end of the path, with or without suffix, and rows of other files are left out. With
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
        indices = match_files(labels.files, [str(file) for file in files], labels.path)
        for file, size, index in zip(files, sizes, indices, strict=True):
            rows = np.flatnonzero(labels.file == index)
            _check_n_rows(labels.path, len(rows), size, Path(file).name)
            rows_of_files.append(rows)
    if labels.event is not None:
        rows_of_files = [sorted_by_event(labels.path, labels.event, rows) for rows in rows_of_files]
    return labels.cluster[np.concatenate(rows_of_files)]


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_table(path: Path, column: str | None) -> pd.DataFrame:
    """The labels as column ``cluster``, with the columns ``file`` and ``event`` if they exist."""
    if path.suffix.lower() in FCS_SUFFIXES:
        return pd.DataFrame({CLUSTER: _read_channel(path, column)})
    if path.suffix.lower() == ANNDATA_SUFFIX:
        return read_observations(path, column, USUAL_COLUMNS)
    return read_cluster_table(path, column, USUAL_COLUMNS)


def read_observations(path: Path, column: str | None, usual: Sequence[str] = ()) -> pd.DataFrame:
    """A column of ``obs`` in an .h5ad file as column ``cluster``, with ``file`` and ``event`` if they exist.

    Without ``column``, it is the first of ``usual`` that exists. Raises :class:`InputError` if there is no such column.
    """
    observations = open_h5ad(path)[0].observations
    present = [str(name) for name in observations.columns]
    chosen = column or next((name for name in usual if name in present), None)
    if chosen is None or chosen not in present:
        expected = f"a column {column!r}" if column else f"a column {' or '.join(usual)}" if usual else "one named"
        hint = f"Name the column: {path.name}:COLUMN."
        raise InputError(path, "obs", f"columns {', '.join(present) or 'none'}", expected, hint)
    others = [name for name in (FILE, EVENT) if name in present and name != chosen]
    table = {CLUSTER: observations[chosen], **{name: observations[name] for name in others}}
    return pd.DataFrame(table).reset_index(drop=True)


def _read_channel(path: Path, channel: str | None) -> Any:
    """The values of a channel; where none is named, of ``cluster`` or else of the one that cytovae adds."""
    file = open_fcs(path)
    if channel is None:
        channel = next((name for name in USUAL_COLUMNS if find_channels(file.channels, name)), USUAL_COLUMNS[0])
    column = find_channel(file, channel, field="cluster labels").index
    return file.read([column])[:, 0]


def _joined_channels(paths: Sequence[Path], channel: str | None) -> ClusterLabels:
    """The labels of several FCS files as one set, with the files that they belong to."""
    parts = [read_labels(path, channel) for path in paths]
    return ClusterLabels(
        path=", ".join(map(str, paths)),
        cluster=np.concatenate([part.cluster for part in parts]),
        names=(),
        files=tuple(map(str, paths)),
        file=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]),
        event=None,
        holds_zero=any(part.holds_zero for part in parts),
    )


def _short_name(path: Path, others: Sequence[Path]) -> str:
    """The shortest end of ``path`` that differs from the ends of ``others``."""
    for length in range(1, len(path.parts)):
        end = path.parts[-length:]
        if all(other.parts[-length:] != end for other in others):
            return str(Path(*end))
    return str(path)


# --- columns as arrays ------------------------------------------------------------------------------------------------


def _as_clusters(path: str, values: "pd.Series[Any]") -> tuple[NDArray[np.int32], tuple[str, ...], bool]:
    """Numbers of clusters, their names (empty if labels are numbers), and whether the number 0 occurs."""
    if not pd.api.types.is_numeric_dtype(values):
        texts = as_texts(values)
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


def as_texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
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


def sorted_by_event(path: str, event: NDArray[np.int64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """The ``rows`` of one file in the order of its events. Each event must occur once."""
    order = rows[np.argsort(event[rows], kind="stable")]
    if not np.array_equal(event[order], np.arange(len(rows))):
        found = f"{len(rows)} rows with events twice or out of range"
        raise InputError(path, EVENT, found, f"each of 0 … {len(rows) - 1} once")
    return order
