"""Manual gates of files: one label per event, from a table, a channel, or one FCS file per population."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cytovae.annotations.gate_tables import read_gate_table
from cytovae.annotations.label_tables import PARQUET_SUFFIXES, TEXT_DELIMITERS, is_no_label
from cytovae.annotations.population_files import read_populations
from cytovae.cells import UNGATED, GateLabels
from cytovae.delimited import read_text
from cytovae.errors import GateError
from cytovae.events.anndata_file import AnnDataFile
from cytovae.events.channel_names import find_channels, nearest_names
from cytovae.events.event_file import EventFile
from cytovae.plain_file import folder_exists, is_plain

_TABLE_SUFFIXES = (*TEXT_DELIMITERS, *PARQUET_SUFFIXES)
_WHOLE_NUMBER = re.compile(r"\d+\.0+")


def gates_beside(path: Path) -> Path | None:
    """The file ``NAME.gates.csv`` beside ``NAME.fcs``, or None if it does not exist."""
    table = table_beside(path)
    return table if is_plain(table) else None


def read_gates(
    spec: str | Path,
    file: EventFile,
    *,
    names: Path | None = None,
    zero_is_ungated: bool = False,
) -> GateLabels:
    """Read the gates of one file.

    Parameters
    ----------
    spec
        A CSV, TSV or Parquet table, a folder with one FCS file per population, or the name of a channel with one
        number per population, or of a column of ``obs`` in an .h5ad file. Empty cells, NaN and words such as "ungated"
        mean in no gate.
    file
        The events.
    names
        A text file of label, tab, population that renames labels.
    zero_is_ungated
        The label 0 means in no gate, as in FlowCAP's label files and in 0/1 labels of a rare population.

    Returns
    -------
    GateLabels
        With the names of populations sorted; numbers by size.

    Raises
    ------
    GateError
        If the gates cannot be read, or do not fit the events.
    """
    return gates_from_labels(labels_of_events(spec, (file,), zero_is_ungated), names)


def read_gates_of_files(
    files: Sequence[EventFile],
    spec: str | Path | None = None,
    *,
    names: Path | None = None,
    zero_is_ungated: bool = False,
) -> GateLabels:
    """Read the gates of several files, one after another, with common populations.

    Parameters
    ----------
    files
        The events.
    spec
        A table with a column ``file``, or with one row for each event of each file in turn; a channel that every file
        has; or a folder with ``NAME.gates.csv`` or a folder ``NAME`` for each file. Default: the table beside each
        file, see :func:`gates_beside`.
    names, zero_is_ungated
        See :func:`read_gates`.

    Returns
    -------
    GateLabels
        With one label for each event of each file.

    Raises
    ------
    GateError
        If the gates cannot be read, or do not fit the events.
    """
    if spec is not None:
        return gates_from_labels(labels_of_events(spec, files, zero_is_ungated), names)
    missing = [str(table_beside(file.path)) for file in files if gates_beside(file.path) is None]
    if missing:
        expected = "NAME.gates.csv beside NAME.fcs"
        raise GateError(", ".join(missing), "gates", "no such file", expected, "Or name the gates with --gates.")
    labels = [label for file in files for label in labels_of_events(table_beside(file.path), (file,), zero_is_ungated)]
    return gates_from_labels(labels, names)


def table_beside(path: Path) -> Path:
    """The place of the gates of a file: ``NAME.gates.csv`` beside ``NAME.fcs``."""
    return path.with_suffix(".gates.csv")


def labels_of_events(spec: str | Path, files: Sequence[EventFile], zero_is_ungated: bool) -> list[str]:
    """One label for each event of ``files``, see :func:`read_gates_of_files`; empty for ungated events."""
    path = Path(spec)
    if folder_exists(path):
        labels = _read_folder(path, files, zero_is_ungated)
    elif is_plain(path):
        labels = read_gate_table(path, files)
    elif isinstance(spec, Path) or path.suffix.casefold() in _TABLE_SUFFIXES:
        raise GateError(spec, "gates", "no such file or folder", "a table, a folder, or a channel of the FCS file")
    else:
        labels = [label for file in files for label in _read_channel(spec, file)]
    return [_clean(label, zero_is_ungated) for label in labels]


def _clean(label: str, zero_is_ungated: bool) -> str:
    """The label without surrounding white space; empty if it means in no gate."""
    label = label.strip()
    if _WHOLE_NUMBER.fullmatch(label):
        # Programs write a column of whole numbers with gaps as 1.0, 2.0, …
        label = label.partition(".")[0]
    return "" if is_no_label(label) or (zero_is_ungated and label == "0") else label


def gates_from_labels(labels: Iterable[str], names: Path | None = None) -> GateLabels:
    """Labels as indices into their sorted names, after renaming them by ``names``."""
    new_name = _read_new_names(names) if names is not None else {}
    texts = [new_name.get(label, label) for label in labels]
    populations = sorted(set(texts) - {""}, key=lambda text: (0, int(text), text) if text.isdecimal() else (1, 0, text))
    index = {name: position for position, name in enumerate(populations)} | {"": UNGATED}
    return GateLabels(np.array([index[text] for text in texts], dtype=np.int32), tuple(populations))


def _read_new_names(path: Path) -> dict[str, str]:
    """The population of each label, from lines of label, tab, population. A header line is allowed."""
    names: dict[str, str] = {}
    for number, line in enumerate(read_text(path, "gates", GateError).splitlines(), start=1):
        label, tab, population = line.partition("\t")
        label, population = label.strip().strip('"'), population.strip().strip('"')
        if not line.strip() or (number == 1 and label.casefold() in ("label", "population")):
            continue
        if not tab or "\t" in population:
            raise GateError(path, f"line {number}", repr(line), "label, tab, population")
        if label in names:
            raise GateError(path, f"line {number}", f"{label} again", "one line for each label")
        names[label] = _clean(population, zero_is_ungated=False)
    return names


def _read_channel(name: str, file: EventFile) -> list[str]:
    """Labels from a channel of whole numbers, where NaN is ungated, or from a column of ``obs``."""
    if isinstance(file, AnnDataFile):
        return _read_observations(name, file)
    matches = find_channels(file.channels, name)
    if len(matches) != 1:
        near = ", ".join(nearest_names(file.channels, name)) or ", ".join(channel.name for channel in file.channels[:8])
        found = f"{len(matches)} channels called {name!r} (and no file of that name)"
        raise GateError(file.path, "gates", found, "one", f"Nearest: {near}.")
    values = file.read([matches[0].index])[:, 0]
    gated = values[~np.isnan(values)]
    if not np.array_equal(gated, np.rint(gated)) or not np.isfinite(gated).all():
        expected = "a whole number for each population, NaN for ungated"
        raise GateError(file.path, f"channel {matches[0].name}", "measurements", expected)
    return ["" if np.isnan(value) else str(int(value)) for value in values]


def _read_observations(name: str, file: AnnDataFile) -> list[str]:
    """Labels from a column of ``obs``; missing values are ungated."""
    if name not in file.observations.columns:
        columns = ", ".join(map(str, file.observations.columns)) or "none"
        raise GateError(file.path, "obs", f"columns {columns}", f"a column {name!r} with the population of each event")
    column = file.observations[name]
    return ["" if missing else str(label) for label, missing in zip(column, column.isna(), strict=True)]


def _read_folder(folder: Path, files: Sequence[EventFile], zero_is_ungated: bool) -> list[str]:
    """Labels from a folder: a table or a folder of populations for each file, or the populations of the only file."""
    labels = []
    stems = Counter(file.path.stem for file in files)
    for file in files:
        if stems[file.path.stem] > 1 and len({other.path for other in files if other.path.stem == file.path.stem}) > 1:
            hint = "Use gates beside the files, or a table with the columns file, event and population."
            raise GateError(folder, "gates", f"several files called {file.path.stem}", "files of different names", hint)
        table, populations = folder / f"{file.path.stem}.gates.csv", folder / file.path.stem
        if table.is_file() or populations.is_dir():
            labels += labels_of_events(table if table.is_file() else populations, (file,), zero_is_ungated)
        elif len(files) == 1:
            labels += read_populations(folder, file)
        else:
            found = f"neither {table.name} nor a folder {populations.name}"
            raise GateError(folder, "gates", found, f"one of them for {file.path}")
    return labels
