"""Manual gates of files, one label per event: from a table, a channel of the file, or an FCS file per population."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import UNGATED, GateLabels
from cytovae.channels import find_channels, nearest_names
from cytovae.errors import GateError
from cytovae.event_files import EventFile
from cytovae.fcs import open_fcs

# Spellings of "in no gate", without case and white space.
_UNGATED = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "ungated", "unassigned", "notgated"})
_WHOLE_NUMBER = re.compile(r"\d+\.0+")
_LABEL_COLUMNS = ("population", "label")
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
        labels = _table(path, files)
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
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        label, tab, population = line.partition("\t")
        label, population = label.strip().strip('"'), population.strip().strip('"')
        if not line.strip() or (number == 1 and label.casefold() in ("label", "population")):
            continue
        if not tab:
            raise GateError(path, f"line {number}", repr(line), "label, tab, population")
        names[label] = _clean(population, zero_is_ungated=False)
    return names


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(path, "gates", str(error), "a readable text file in UTF-8") from error


# --- a table ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A table as text: column names without case and white space, and the cells of each column."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    n_rows: int
    first_line_is_data: bool = False


def _table(path: Path, files: Sequence[EventFile]) -> list[str]:
    n_events = sum(file.n_events for file in files)
    table = _read_parquet(path) if path.suffix.casefold() == ".parquet" else _read_csv(path, n_events)
    labels = _label_column(table)
    if "file" in table.columns:
        return [label for file in files for label in _rows_of_file(table, labels, file)]
    if "event" in table.columns and len(files) == 1:
        return _by_event(table, labels, range(table.n_rows), files[0])
    if table.n_rows != n_events:
        of_files = f"{files[0].path}" if len(files) == 1 else f"the {len(files)} files together"
        raise GateError(
            path, "rows", f"{table.n_rows} rows", f"{n_events}, one for each event of {of_files}",
            "A table for some events only needs the columns file, event and population.",
        )  # fmt: skip
    return list(labels)


def _read_csv(path: Path, n_events: int) -> _Table:
    """A delimited text table. A blank line of a one-column table is an ungated event; at the end it is none."""
    text = _read_text(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise GateError(path, "gates", str(error), "a table with one row for each event") from error
    if not rows:
        raise GateError(path, "gates", "an empty file", "a header and one row for each event")
    header = ["".join(name.casefold().split()) for name in rows[0]]
    one_column = len(header) == 1
    if not one_column:
        rows = rows[:1] + [row for row in rows[1:] if row]
    # Some label files have no header: then there are as many lines as events, and the first is no column name.
    headless = one_column and len(rows) == n_events and header[0] not in _LABEL_COLUMNS
    if headless:
        return _Table(path, {_LABEL_COLUMNS[0]: [row[0] if row else "" for row in rows]}, n_events)
    body = rows[1:]
    while one_column and len(body) > n_events and not any(body[-1]):
        body.pop()
    for number, row in enumerate(body, start=2):
        if not one_column and len(row) != len(header):
            raise GateError(path, f"row {number}", f"{len(row)} cells", f"{len(header)}, as in the header")
    columns = {name: [row[position] if row else "" for row in body] for position, name in enumerate(header)}
    return _Table(path, columns, len(body))


def _read_parquet(path: Path) -> _Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise GateError(path, "gates", str(error), "a readable Parquet file") from error
    columns = {
        "".join(name.casefold().split()): [_spell(value) for value in table.column(position).to_pylist()]
        for position, name in enumerate(table.column_names)
    }
    return _Table(path, columns, table.num_rows)


def _spell(value: Any) -> str:
    """A cell as text: nothing for missing values, whole numbers without a decimal point."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _label_column(table: _Table) -> Sequence[str]:
    for name in _LABEL_COLUMNS:
        if name in table.columns:
            return table.columns[name]
    # R writes row names into a column without a name.
    others = [name for name in table.columns if name not in ("", "file", "event")]
    if len(others) == 1:
        return table.columns[others[0]]
    raise GateError(
        table.path, "header", f"columns {', '.join(table.columns)}", f"a column {' or '.join(_LABEL_COLUMNS)}"
    )


def _rows_of_file(table: _Table, labels: Sequence[str], file: EventFile) -> list[str]:
    """The labels of one file out of a table with a column ``file`` (its path, its name, or its name without suffix)."""
    accepted = {str(file.path), file.path.name, file.path.stem}
    rows = [row for row, name in enumerate(table.columns["file"]) if name.strip() in accepted]
    if not rows:
        present = list(dict.fromkeys(table.columns["file"]))
        raise GateError(
            table.path, "file", f"no row for {file.path.name}", "its name in the column file",
            f"The table is about {', '.join(present[:5])}{', …' if len(present) > 5 else ''}.",
        )  # fmt: skip
    if "event" in table.columns:
        return _by_event(table, labels, rows, file)
    if len(rows) != file.n_events:
        raise GateError(
            table.path, "rows", f"{len(rows)} rows for {file.path.name}", f"{file.n_events}, one for each event"
        )
    return [labels[row] for row in rows]


def _by_event(table: _Table, labels: Sequence[str], rows: Iterable[int], file: EventFile) -> list[str]:
    """Labels put at their 0-based event; events that no row names are ungated."""
    placed: dict[int, str] = {}
    for row in rows:
        cell = table.columns["event"][row]
        try:
            event = int(cell)
        except ValueError:
            event = -1
        if not 0 <= event < file.n_events or event in placed:
            found = f"{cell!r} a second time" if event in placed else repr(cell)
            raise GateError(
                table.path, "event", found, f"each of 0 … {file.n_events - 1} of {file.path.name} at most once"
            )
        placed[event] = labels[row]
    return [placed.get(event, "") for event in range(file.n_events)]


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
            labels += _populations(folder, file)
        else:
            raise GateError(
                folder, "gates", f"neither {table.name} nor a folder {populations.name}", f"one of them for {file.path}"
            )
    return labels


def _populations(folder: Path, file: EventFile) -> list[str]:
    """Labels from FCS files that each hold the events of one population, found in ``file`` by their exact values.

    Events with equal values in every channel cannot be told apart; as many of them are labelled, from the first on, as
    the population holds. Raises :class:`GateError` for events that ``file`` does not hold, and for events that more
    than one population claims (a parent gate beside its children).
    """
    own = file.path.resolve()
    paths = sorted(path for path in folder.iterdir() if path.suffix.casefold() == ".fcs" and path.resolve() != own)
    if not paths:
        raise GateError(folder, "gates", "no FCS file", "one for each population")
    populations = [open_fcs(path) for path in paths]
    shared = _shared_channels(file, populations, folder)

    rows = _row_keys(file, shared)
    order = np.argsort(rows, kind="stable")
    in_order = rows[order]
    used: dict[int, int] = {}  # first position among equal rows -> how many of them are labelled
    labels = [""] * file.n_events
    for population in populations:
        keys = _row_keys(population, shared)
        first = np.searchsorted(in_order, keys, side="left")
        last = np.searchsorted(in_order, keys, side="right")
        if unknown := int((first == last).sum()):
            raise GateError(
                population.path, "events", f"{unknown} of {population.n_events} that {file.path.name} does not hold",
                "events of that file, with unchanged values",
                "Export raw (not compensated or scaled) values of every channel.",
            )  # fmt: skip
        claimed: Counter[str] = Counter()
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            taken = used.get(start, 0)
            if taken == stop - start:
                claimed[labels[order[stop - 1]]] += 1
                continue
            labels[order[start + taken]] = population.path.stem
            used[start] = taken + 1
        if claimed:
            other, count = claimed.most_common(1)[0]
            raise GateError(
                population.path, "events", f"{count} that {other} holds, too", "each event in one population",
                "Take parent gates (and files of all events) out of the folder.",
            )  # fmt: skip
    return labels


def _shared_channels(file: EventFile, populations: Sequence[EventFile], folder: Path) -> list[str]:
    """``$PnN`` of the channels that all files have once."""
    shared = [channel.name for channel in file.channels]
    for fcs in (file, *populations):
        counts = Counter(channel.name for channel in fcs.channels)
        shared = [name for name in shared if counts[name] == 1]
    if len(shared) < 2:
        raise GateError(
            folder,
            "channels",
            f"{len(shared)} shared with {file.path.name}",
            "the channels of that file, under the same $PnN",
        )
    return shared


def _row_keys(file: EventFile, names: Sequence[str]) -> NDArray[np.void]:
    """Each event's values in the channels ``names`` as one opaque, comparable item; shape (n_events,)."""
    column = {channel.name: channel.index for channel in file.channels}
    values = np.ascontiguousarray(file.read([column[name] for name in names]), dtype=np.float32)
    values[values == 0] = 0.0  # minus zero is zero
    values[np.isnan(values)] = np.nan
    return values.view(np.dtype((np.void, values.itemsize * values.shape[1]))).ravel()
