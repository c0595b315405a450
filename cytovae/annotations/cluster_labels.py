"""What files say of cells, for scoring: the clusters some method wrote, and the manual gates to compare them with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytovae.annotations.label_tables import CLUSTER, EVENT, FILE, NO_LABEL, read_cluster_table
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import GateError, InputError
from cytovae.metrics import UNASSIGNED

FCS_SUFFIXES = (".fcs", ".lmd")


@dataclass(frozen=True, eq=False)
class ClusterLabels:
    """The clusters of cells as a file tells them, row by row.

    ``cluster`` is int32 (n_rows,), from 1, 0 = unassigned. Labels that are no whole numbers are numbered in sorted
    order and kept in ``names`` (empty for numbers): cluster i is ``names[i - 1]``. Where the file says so, ``file`` is
    int32 (n_rows,), an index into ``files``, and ``event`` is int64 (n_rows,), the 0-based row there; else None.
    ``holds_zero`` tells that the number 0 stands in the file, which its writer may have meant as a cluster.
    """

    source: str
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
    """The gates of several files, one after another; ``sizes`` are the numbers of events of ``files``."""

    gates: GateLabels
    files: tuple[str, ...]
    sizes: tuple[int, ...]


def read_labels(spec: str | Path, column: str | None = None) -> ClusterLabels:
    """Read cluster labels from a ``.parquet``, ``.csv``, ``.tsv`` or ``.txt`` (``.gz``) file, or ``FILE.fcs:CHANNEL``.

    The column is ``column``, else ``cluster``, else the only one there is; columns ``file`` and ``event`` are read
    with it. Numbers below 1, missing values and the texts of ``NO_LABEL`` are unassigned. Raises :class:`InputError`
    if the file cannot be read, has no such column, or holds numbers that are not whole.
    """
    path, channel = _split(spec)
    if channel is not None or path.suffix.lower() in FCS_SUFFIXES:
        table = _read_channel(path, column or channel or CLUSTER)
    else:
        table = read_cluster_table(path, column, (CLUSTER,))
    source = str(path)
    cluster, names, holds_zero = _clusters(source, table[CLUSTER])
    file, files = _files(source, table)
    return ClusterLabels(source, cluster, names, files, file, _events(source, table), holds_zero)


def read_gated_files(specs: Sequence[str | Path], *, zero_is_ungated: bool = False) -> GatedFiles:
    """The gates at ``specs``, joined in that order, populations of the same name taken together.

    Each is an FCS file with its gates beside it, ``FILE.fcs:CHANNEL``, or a table. A table is checked against
    ``NAME.fcs`` where that lies beside ``NAME.gates.csv``, and otherwise taken at its word. Raises
    :class:`InputError` for gates that are missing or cannot be read.
    """
    parts = [_read_gates(spec, zero_is_ungated) for spec in specs]
    return GatedFiles(join_gates(parts), tuple(str(_split(spec)[0]) for spec in specs), tuple(map(len, parts)))


def join_gates(parts: Sequence[GateLabels]) -> GateLabels:
    """Gates one after another, with one index for populations of the same name."""
    names: dict[str, int] = {}
    joined = []
    for part in parts:
        # Ungated cells are −1, so their place is the last.
        places = np.array([*(names.setdefault(name, len(names)) for name in part.names), UNGATED], dtype=np.int32)
        joined.append(places[part.population])
    return GateLabels(np.concatenate(joined), tuple(names))


def align_labels(labels: ClusterLabels, files: Sequence[str | Path], sizes: Sequence[int]) -> NDArray[np.int32]:
    """The clusters, int32 (sum of ``sizes``,), of the events of ``files`` in that order.

    ``sizes`` are the numbers of events. Labels without a ``file`` column must have one row per event, in the order of
    ``files``. With it, each file's rows are looked up by name (the path as given, else its last part, else that
    without suffix), rows of other files are left out, and with ``event`` they may come in any order. Raises
    :class:`InputError` if rows are missing, too many or ambiguous.
    """
    if labels.file is None or (len(files) == 1 and len(labels.files) == 1):
        _expect_rows(labels.source, len(labels), sum(sizes), ", ".join(Path(file).name for file in files))
        parts = np.split(np.arange(len(labels)), np.cumsum(sizes)[:-1])
    else:
        parts = []
        for file, size in zip(files, sizes, strict=True):
            rows = np.flatnonzero(labels.file == _find_file(labels, str(file)))
            _expect_rows(labels.source, len(rows), size, Path(file).name)
            parts.append(rows)
    if labels.event is not None:
        parts = [_by_event(labels.source, labels.event, rows) for rows in parts]
    return labels.cluster[np.concatenate(parts)]


# --- reading ---


def _split(spec: str | Path) -> tuple[Path, str | None]:
    """``FILE.fcs:CHANNEL`` into its two parts; any other path has no channel."""
    match = re.fullmatch(r"(.+?\.(?:fcs|lmd)):(.+)", str(spec), flags=re.IGNORECASE)
    return (Path(match[1]), match[2]) if match and not Path(spec).exists() else (Path(spec), None)


def _read_channel(path: Path, channel: str) -> pd.DataFrame:
    from cytovae.events.panel import find_channel
    from cytovae.fcs.file import open_fcs

    file = open_fcs(path)
    column = find_channel(file, channel, field="cluster labels").index
    return pd.DataFrame({CLUSTER: file.read([column])[:, 0]})


def _read_gates(spec: str | Path, zero: bool) -> GateLabels:
    from cytovae.annotations.gates import read_gates, read_gates_of_files
    from cytovae.fcs.file import open_fcs

    path, channel = _split(spec)
    if channel is not None:
        return read_gates(channel, open_fcs(path), zero_is_ungated=zero)
    if path.suffix.lower() in FCS_SUFFIXES:
        return read_gates_of_files([open_fcs(path)], zero_is_ungated=zero)
    fcs = path.with_name(_bare(path.name) + ".fcs")
    if path.is_file() and fcs.is_file():
        return read_gates(path, open_fcs(fcs), zero_is_ungated=zero)
    table = read_cluster_table(path, None, ("population", "label"))
    if FILE in table or EVENT in table:
        hint = "Name the FCS file instead, with its gates beside it."
        raise GateError(path, "header", "a column file or event", "a label for each event of one file, in order", hint)
    texts = _texts(table[CLUSTER])
    codes, names = pd.factorize(texts.where(texts != "0") if zero else texts, sort=True)
    return GateLabels(codes.astype(np.int32), tuple(map(str, names)))


# --- columns into arrays ---


def _clusters(source: str, values: "pd.Series[Any]") -> tuple[NDArray[np.int32], tuple[str, ...], bool]:
    """Ids, the names they stand for (none if they were numbers), and whether the number 0 occurs."""
    if not pd.api.types.is_numeric_dtype(values):
        texts = _texts(values)
        values = pd.to_numeric(texts, errors="coerce")
        if values.isna().sum() > texts.isna().sum():
            codes, names = pd.factorize(texts, sort=True)
            return (codes + 1).astype(np.int32), tuple(map(str, names)), False
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(numbers)
    odd = numbers[~missing & ((numbers != np.rint(numbers)) | (np.abs(numbers) > np.iinfo(np.int32).max))]
    if len(odd):
        hint = "Probabilities and measurements are not labels: name the column of clusters with --channel."
        raise InputError(source, CLUSTER, f"{odd[0]:g}", "whole numbers (32 bit) or names of clusters", hint)
    ids = np.where(missing, UNASSIGNED, np.maximum(numbers, UNASSIGNED)).astype(np.int32)
    return ids, (), bool((numbers == 0).any())


def _texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Labels as text, missing where a cell has none."""
    texts = values.convert_dtypes().astype("string").str.strip()
    return texts.mask(texts.str.lower().isin(NO_LABEL))


def _files(source: str, table: pd.DataFrame) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    if FILE not in table:
        return None, ()
    codes, names = pd.factorize(table[FILE])
    if (codes < 0).any():
        raise InputError(source, FILE, f"{int((codes < 0).sum())} rows without a file", "a file name in each row")
    return codes.astype(np.int32), tuple(map(str, names))


def _events(source: str, table: pd.DataFrame) -> NDArray[np.int64] | None:
    if EVENT not in table:
        return None
    if not pd.api.types.is_integer_dtype(table[EVENT]) or table[EVENT].isna().any():
        raise InputError(source, EVENT, f"values of type {table[EVENT].dtype}", "whole numbers from 0")
    return table[EVENT].to_numpy(dtype=np.int64)


# --- rows into order ---


def _expect_rows(source: str, found: int, expected: int, where: str) -> None:
    if found != expected:
        hint = "Labels and gates must belong to the same events, a row for each."
        raise InputError(source, "rows", f"{found} labels", f"{expected}, one for each event of {where}", hint)


def _find_file(labels: ClusterLabels, file: str) -> int:
    """Place in ``labels.files`` of the file that the user calls ``file``."""
    for spelling in (str, _last_part, _bare):
        found = [place for place, name in enumerate(labels.files) if spelling(name) == spelling(file)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(labels.files[place] for place in found)
            hint = "Give the path as it is written there."
            raise InputError(labels.source, FILE, f"several files like {file}: {names}", "one", hint)
    known = ", ".join(labels.files[:5]) + (" …" if len(labels.files) > 5 else "")
    raise InputError(labels.source, FILE, f"rows of {known or 'no file'}", f"rows of {file}")


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _bare(name: str) -> str:
    return re.sub(r"(\.gates)?\.(fcs|lmd|csv|tsv|txt|parquet)$", "", _last_part(name), flags=re.IGNORECASE)


def _by_event(source: str, event: NDArray[np.int64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """``rows``, which belong to one file, in the order of its events: each must occur once."""
    order = rows[np.argsort(event[rows], kind="stable")]
    if not np.array_equal(event[order], np.arange(len(rows))):
        found = f"{len(rows)} rows with events twice or out of range"
        raise InputError(source, EVENT, found, f"each of 0 … {len(rows) - 1} once")
    return order
