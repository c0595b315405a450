"""The gates that cluster labels are scored against: of one file or several, found by name where a folder is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytovae.annotations.cluster_labels import (
    FCS_SUFFIXES,
    ClusterLabels,
    as_texts,
    read_observations,
    sorted_by_event,
)
from cytovae.annotations.file_column import without_suffix
from cytovae.annotations.gates import read_gates, read_gates_of_files
from cytovae.annotations.label_spec import split_spec
from cytovae.annotations.label_tables import CLUSTER, EVENT, FILE, POPULATION_COLUMNS, read_cluster_table
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import GateError
from cytovae.events.anndata_file import SUFFIX as ANNDATA_SUFFIX
from cytovae.fcs.file import open_fcs
from cytovae.plain_file import folder_exists, is_plain

BESIDE = "beside"
GATE = "gate"
"""The column of ``obs`` with gates, unless another one is named; ``assign`` writes it."""

_ENDING = ".gates.csv"


@dataclass(frozen=True, eq=False)
class GatedFiles:
    """Gates of several files, one after another, and the number of events of each file."""

    gates: GateLabels
    files: tuple[str, ...]
    sizes: tuple[int, ...]


def read_gated_files(
    specs: Sequence[str | Path], labels: ClusterLabels | None = None, *, zero_is_ungated: bool = False
) -> GatedFiles:
    """Read and join gates, with populations of the same name taken together.

    Parameters
    ----------
    specs
        FCS files with their gates beside them, ``FILE.fcs:CHANNEL``, ``FILE.h5ad:COLUMN`` (default: gate), tables, a
        folder of tables ``NAME.gates.csv``, or "beside". A table ``NAME.gates.csv`` must fit ``NAME.fcs`` if that is
        beside it; any other table must have one row for each event of one file, in order.
    labels
        The labels to score. A folder and "beside" mean the gates of their files: in the folder, or beside the files
        that their column ``file`` names, as paths from here or from the folder of the labels.
    zero_is_ungated
        The label 0 means in no gate.

    Returns
    -------
    GatedFiles
        In the order of ``specs``; the files of a folder in the order of the labels.

    Raises
    ------
    InputError
        If gates are missing or cannot be read.
    """
    names: list[str] = []
    parts: list[GateLabels] = []
    for spec in specs:
        for name, part in _read_spec(spec, labels, zero_is_ungated):
            names.append(name)
            parts.append(part)
    return GatedFiles(join_gates(parts), tuple(names), tuple(map(len, parts)))


def join_gates(parts: Sequence[GateLabels]) -> GateLabels:
    """Join gates one after another, with one index for populations of the same name."""
    index_of: dict[str, int] = {}
    joined = []
    for part in parts:
        # Ungated cells are -1 and so select the last entry.
        indices = [*(index_of.setdefault(name, len(index_of)) for name in part.names), UNGATED]
        joined.append(np.array(indices, dtype=np.int32)[part.population])
    return GateLabels(np.concatenate(joined), tuple(index_of))


def _read_spec(
    spec: str | Path, labels: ClusterLabels | None, zero_is_ungated: bool
) -> Sequence[tuple[str, GateLabels]]:
    """The names of the files that ``spec`` is about, and their gates."""
    path, column = split_spec(spec)
    if path.suffix.lower() == ANNDATA_SUFFIX:
        return _read_anndata(path, column, zero_is_ungated)
    if spec == BESIDE:
        tables: Sequence[Path] = _tables_beside(labels)
    elif folder_exists(path):
        tables = _tables_in(path, labels)
    else:
        return [(str(path), _read_gates(path, column, zero_is_ungated))]
    return [(str(table), _read_gates(table, None, zero_is_ungated)) for table in tables]


def _read_gates(path: Path, channel: str | None, zero_is_ungated: bool) -> GateLabels:
    if path.suffix.lower() in FCS_SUFFIXES:
        if channel is not None:
            return read_gates(channel, open_fcs(path), zero_is_ungated=zero_is_ungated)
        return read_gates_of_files([open_fcs(path)], zero_is_ungated=zero_is_ungated)
    fcs = path.with_name(without_suffix(path.name) + ".fcs")
    if is_plain(path) and is_plain(fcs) and channel is None:
        return read_gates(path, open_fcs(fcs), zero_is_ungated=zero_is_ungated)
    table = read_cluster_table(path, channel, POPULATION_COLUMNS)
    if FILE in table or EVENT in table:
        hint = "Name the FCS file instead, with its gates beside it."
        raise GateError(path, "header", "a column file or event", "a label for each event of one file, in order", hint)
    return _as_gates(table[CLUSTER], zero_is_ungated)


def _read_anndata(path: Path, column: str | None, zero_is_ungated: bool) -> Sequence[tuple[str, GateLabels]]:
    """The gates in a column of ``obs``; for each of its files if ``obs`` has a column ``file``, in its first order."""
    table = read_observations(path, column, (GATE,))
    if FILE not in table:
        return [(str(path), _as_gates(table[CLUSTER], zero_is_ungated))]
    codes, names = pd.factorize(table[FILE])
    parts = []
    for index, name in enumerate(map(str, names)):
        rows = np.flatnonzero(codes == index)
        if EVENT in table:
            rows = sorted_by_event(str(path), table[EVENT].to_numpy(dtype=np.int64), rows)
        parts.append((name, _as_gates(table[CLUSTER].iloc[rows], zero_is_ungated)))
    return parts


def _as_gates(values: "pd.Series[Any]", zero_is_ungated: bool) -> GateLabels:
    texts = as_texts(values)
    codes, names = pd.factorize(texts.where(texts != "0") if zero_is_ungated else texts, sort=True)
    return GateLabels(codes.astype(np.int32), tuple(map(str, names)))


def _named_files(labels: ClusterLabels | None) -> tuple[str, ...]:
    """The files that the labels name: in a column ``file``, or the FCS file that the labels are in."""
    if labels is None:
        return ()
    is_fcs = Path(labels.path).suffix.lower() in FCS_SUFFIXES
    return labels.files or ((labels.path,) if is_fcs else ())


def _tables_beside(labels: ClusterLabels | None) -> list[Path]:
    """``NAME.gates.csv`` beside each file that the labels name and that has one."""
    names = _named_files(labels)
    folder = Path(labels.path).parent if labels is not None else Path()
    found = []
    for name in names:
        places = (Path(name), folder / name)
        found += [place.with_suffix(_ENDING) for place in places if is_plain(place.with_suffix(_ENDING))][:1]
    _check_distinct(found, names, folder)
    if not found:
        shown = ", ".join(names[:5]) or "no file is named by the labels"
        hint = "Name the folder of the gates: --gates DIR."
        raise GateError(labels.path if labels else BESIDE, "gates", f"none beside {shown}", "NAME.gates.csv", hint)
    return found


def _tables_in(folder: Path, labels: ClusterLabels | None) -> list[Path]:
    """The tables ``NAME.gates.csv`` in a folder: those of the files that the labels name, or all, by name."""
    tables = sorted(folder.glob(f"*{_ENDING}"))
    names = _named_files(labels)
    if tables and names:
        by_stem = {without_suffix(table.name): table for table in tables}
        chosen = [by_stem[stem] for stem in map(without_suffix, names) if stem in by_stem]
        _check_distinct(chosen, names, folder)
        if not chosen:
            raise GateError(folder, "gates", f"gates of {', '.join(sorted(by_stem)[:5])}", f"of {', '.join(names[:5])}")
        return chosen
    if not tables:
        raise GateError(folder, "gates", "no table", "tables NAME.gates.csv")
    return tables


def _check_distinct(tables: Sequence[Path], names: Sequence[str], folder: Path) -> None:
    """Raise an error if two files of the labels would get the same table."""
    for table in tables:
        if tables.count(table) > 1:
            same = " and ".join(name for name in names if without_suffix(name) == without_suffix(table.name))
            found = f"{table.name}, which fits {same}"
            raise GateError(folder, "gates", found, "one table for each file", "Name the FCS files one by one instead.")
