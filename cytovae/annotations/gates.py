"""Manual gates of files, one label per event: from a table, a channel of the file, or an FCS file per population."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cytovae.annotations.label_tables import read_label_table, read_text
from cytovae.annotations.population_files import read_populations
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import GateError
from cytovae.events.channel_names import find_channels, nearest_names
from cytovae.events.event_file import EventFile

# Spellings of "in no gate", without case and white space.
_UNGATED = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "ungated", "unassigned", "notgated"})


_WHOLE_NUMBER = re.compile(r"\d+\.0+")


_TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")


def gates_beside(path: Path) -> Path | None:
    """``NAME.gates.csv`` beside ``NAME.fcs``, or None where there is none."""
    beside = path.with_suffix(".gates.csv")
    return beside if beside.is_file() else None


def read_gates(
    spec: str | Path,
    file: EventFile,
    *,
    names: Path | None = None,
    zero_is_ungated: bool = False,
) -> GateLabels:
    """The gates of the events of one file, population names sorted (numbers by size).

    ``spec`` is a table (CSV, TSV, Parquet), a folder of one FCS file per population, or the name of a channel that
    holds a number per population. Empty, NaN, "ungated" and "unassigned" mean in no gate; with ``zero_is_ungated``
    so does 0, as in FlowCAP's label files and in 0/1 labels of a rare population. ``names`` is a text file of label,
    tab, population. Raises :class:`GateError`.
    """
    return _as_gates(_labels_of(spec, (file,), zero_is_ungated), names)


def read_gates_of_files(
    files: Sequence[EventFile],
    spec: str | Path | None = None,
    *,
    names: Path | None = None,
    zero_is_ungated: bool = False,
) -> GateLabels:
    """The gates of several files, one after another, with common population names.

    Without ``spec`` each file's gates are those beside it. A table serves all files if it has a column ``file``, or one
    row for each event of each file in turn; a channel is read in each file; a folder holds ``NAME.gates.csv`` or a
    folder ``NAME`` for each file. Raises :class:`GateError`.
    """
    if spec is None:
        without = [str(file.path.with_suffix(".gates.csv")) for file in files if gates_beside(file.path) is None]
        if without:
            raise GateError(
                ", ".join(without),
                "gates",
                "no such file",
                "NAME.gates.csv beside NAME.fcs",
                "Or say where with --gates.",
            )
        labels = [
            label
            for file in files
            for label in _labels_of(file.path.with_suffix(".gates.csv"), (file,), zero_is_ungated)
        ]
        return _as_gates(labels, names)
    return _as_gates(_labels_of(spec, files, zero_is_ungated), names)


def _labels_of(spec: str | Path, files: Sequence[EventFile], zero_is_ungated: bool) -> list[str]:
    """One label for each event of ``files``, empty where ungated."""
    path = Path(spec)
    if path.is_dir():
        labels = _folder(path, files, zero_is_ungated)
    elif path.is_file():
        labels = read_label_table(path, files)
    elif isinstance(spec, Path) or path.suffix.casefold() in _TABLE_SUFFIXES:
        raise GateError(spec, "gates", "no such file or folder", "a table, a folder, or a channel of the FCS file")
    else:
        labels = [label for file in files for label in _channel(spec, file)]
    return [_clean(label, zero_is_ungated) for label in labels]


def _clean(label: str, zero_is_ungated: bool) -> str:
    label = label.strip()
    if _WHOLE_NUMBER.fullmatch(label):
        # A column of whole numbers with gaps is often written as 1.0, 2.0 ...
        label = label.partition(".")[0]
    ungated = "".join(label.casefold().split()) in _UNGATED or (zero_is_ungated and label == "0")
    return "" if ungated else label


def _as_gates(labels: Iterable[str], names: Path | None) -> GateLabels:
    """Labels as indices into their sorted names; ``names`` renames them first."""
    renamed = _read_names(names) if names is not None else {}
    texts = [renamed.get(label, label) for label in labels]
    found = sorted(set(texts) - {""}, key=lambda text: (0, int(text), text) if text.isdecimal() else (1, 0, text))
    index = {name: position for position, name in enumerate(found)} | {"": UNGATED}
    return GateLabels(np.array([index[text] for text in texts], dtype=np.int32), tuple(found))


def _read_names(path: Path) -> dict[str, str]:
    """Population by label from lines of label, tab, population; a header line is allowed."""
    names = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        label, tab, population = line.partition("\t")
        label, population = label.strip().strip('"'), population.strip().strip('"')
        if not line.strip() or (number == 1 and label.casefold() in ("label", "population")):
            continue
        if not tab:
            raise GateError(path, f"line {number}", repr(line), "label, tab, population")
        names[label] = _clean(population, zero_is_ungated=False)
    return names


# --- a channel --------------------------------------------------------------------------------------------------------


def _channel(name: str, file: EventFile) -> list[str]:
    """Labels from a channel of whole numbers; NaN is ungated."""
    found = find_channels(file.channels, name)
    if len(found) != 1:
        near = ", ".join(nearest_names(file.channels, name)) or ", ".join(channel.name for channel in file.channels[:8])
        raise GateError(
            file.path, "gates", f"{len(found)} channels called {name!r} (and no file of that name)", "one",
            f"Nearest: {near}.",
        )  # fmt: skip
    values = file.read([found[0].index])[:, 0]
    gated = values[~np.isnan(values)]
    if not np.array_equal(gated, np.rint(gated)) or not np.isfinite(gated).all():
        raise GateError(
            file.path, f"channel {found[0].name}", "measurements", "a whole number for each population, NaN for ungated"
        )
    return ["" if np.isnan(value) else str(int(value)) for value in values]


# --- one FCS file per population --------------------------------------------------------------------------------------


def _folder(folder: Path, files: Sequence[EventFile], zero_is_ungated: bool) -> list[str]:
    """Labels from a folder: gates by file name, or one FCS file per population."""
    labels = []
    for file in files:
        table, populations = folder / f"{file.path.stem}.gates.csv", folder / file.path.stem
        if table.is_file() or populations.is_dir():
            labels += _labels_of(table if table.is_file() else populations, (file,), zero_is_ungated)
        elif len(files) == 1:
            labels += read_populations(folder, file)
        else:
            raise GateError(
                folder, "gates", f"neither {table.name} nor a folder {populations.name}", f"one of them for {file.path}"
            )
    return labels
