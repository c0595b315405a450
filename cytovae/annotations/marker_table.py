"""Marker tables: what a population is, as levels of its markers.

A marker table has one row for each population and one column for each marker. ``+`` asks for a high level, ``-`` for a
low one (also the minus sign U+2212 and the dash –), ``~`` for one between them, and an empty cell asks for nothing.
Numbers from −1 to 1 mean the same as in scyan (Blampey et al. 2023, Brief Bioinform 24:bbad260): −1 is ``-``, 0 is
``~``, 1 is ``+``. A population with a ``parent`` has the levels of its parent where its own cells are empty.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN, refusal
from cytovae.delimited import TextTable, parse_table, plain_name, read_text
from cytovae.errors import InputError
from cytovae.events.antigen_names import antigen_key

POPULATION, PARENT, SOURCE = "population", "parent", "source"
JOINED = " / "
"""What stands between the names of populations that the markers of a panel do not tell apart."""

_SYMBOLS = {"+": 1.0, "-": -1.0, "\u2212": -1.0, "\u2013": -1.0, "~": 0.0, "": math.nan}
_ALLOWED = "+, -, ~, an empty cell, or a number from -1 to 1"


@dataclass(frozen=True, eq=False)
class MarkerTable:
    """Populations by the levels of their markers.

    Attributes
    ----------
    populations : tuple of str
        Names of the populations, in the order of the rows.
    markers : tuple of str
        Names of the markers, as the table spells them.
    levels : ndarray of float32, shape (n_populations, n_markers)
        −1 low, 0 between, 1 high; NaN where the table asks for nothing. Levels of a parent are filled in.
    """

    populations: tuple[str, ...]
    markers: tuple[str, ...]
    levels: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PanelTypes:
    """A marker table as far as the markers of a panel go.

    Attributes
    ----------
    populations : tuple of str
        Names of the populations; those that the panel does not tell apart are one, "A / B".
    markers : tuple of str
        Names of the m markers of the panel.
    levels : ndarray of float32, shape (n_populations, m)
        As in :class:`MarkerTable`.
    missing : tuple of str
        Markers of the table that the panel lacks.
    unusable : tuple of str
        Populations of which the panel has no marker.
    """

    populations: tuple[str, ...]
    markers: tuple[str, ...]
    levels: NDArray[np.float32]
    missing: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


def read_marker_table(path: Path) -> MarkerTable:
    """Read the marker table at ``path``, see :func:`parse_marker_table`."""
    return parse_marker_table(read_text(path, "marker table"), path)


def parse_marker_table(text: str, path: Path) -> MarkerTable:
    r"""Parse a marker table.

    Parameters
    ----------
    text
        A text table. The column ``population``, else the first one, names the populations; the columns
        ``parent`` and ``source`` are optional, and the latter is not read; all others are markers.
    path
        Where the table is, for messages.

    Raises
    ------
    InputError
        With line and column: for other symbols, for a population or marker that occurs twice, for a row without
        levels or with those of another row, and for a parent that does not exist or descends from its own child.

    Examples
    --------
    >>> from pathlib import Path
    >>> table = parse_marker_table("population,CD3,CD19\nT cells,+,-\nB cells,-,+\n", Path("types.csv"))
    >>> table.populations, table.levels.tolist()
    (('T cells', 'B cells'), [[1.0, -1.0], [-1.0, 1.0]])
    """
    table = parse_table(text, path)
    plain = [plain_name(name) for name in table.header]
    name_column = plain.index(POPULATION) if POPULATION in plain else 0
    parent_column = plain.index(PARENT) if PARENT in plain else None
    marker_columns = [i for i in range(len(plain)) if i not in (name_column, parent_column) and plain[i] != SOURCE]
    _check_header(table, marker_columns, path)
    if not table.rows:
        raise InputError(path, "marker table", "no row", "one row for each population")
    names = _names(table, name_column, path)
    levels = np.array([[_level(table, row, i, path) for i in marker_columns] for row in table.rows], dtype=np.float32)
    for (line, _), row in zip(table.rows, levels, strict=True):
        if np.isnan(row).all():
            raise InputError(path, f"line {line}", "a row without levels", "at least one marker with +, - or ~")
    if parent_column is not None:
        levels = _inherited(
            levels, names, [" ".join(cells[parent_column].split()) for _, cells in table.rows], table, path
        )
    lines = [line for line, _ in table.rows]
    for index in range(len(names)):
        for other in range(index):
            if np.array_equal(levels[index], levels[other], equal_nan=True):
                found = f"{names[index]!r} with the levels of {names[other]!r} (line {lines[other]})"
                raise InputError(path, f"line {lines[index]}", found, "levels that tell populations apart")
    return MarkerTable(tuple(names), tuple(table.header[i] for i in marker_columns), levels)


def types_of_panel(table: MarkerTable, panel: Sequence[str], path: Path) -> PanelTypes:
    """The part of ``table`` that the markers of ``panel`` can decide. Names that mean one antigen are one marker.

    Raises
    ------
    InputError
        If the panel has fewer than half of the markers; the message has the nearest names. ``path`` is for messages.
    """
    column = [column_of(marker, panel) for marker in table.markers]
    missing = tuple(marker for marker, found in zip(table.markers, column, strict=True) if found is None)
    found = [marker for marker in table.markers if marker not in missing]
    if 2 * len(found) < len(table.markers):
        near = {m: difflib.get_close_matches(m.casefold(), [name.casefold() for name in panel], 1) for m in missing}
        spelled = {name.casefold(): name for name in panel}
        hints = [f"{marker}: {spelled[names[0]]}" for marker, names in near.items() if names]
        hint = f"Nearest: {', '.join(hints[:6])}." if hints else f"Markers of the panel: {', '.join(panel[:20])}."
        have = f"{len(found)} of its {len(table.markers)} markers in the panel (without {', '.join(missing[:8])})"
        raise InputError(path, "header", have, "at least half of them", hint)
    levels = np.full((len(table.populations), len(panel)), np.nan, dtype=np.float32)
    for source, target in enumerate(column):
        if target is not None:
            levels[:, target] = table.levels[:, source]
    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    unusable = []
    for name, row in zip(table.populations, levels, strict=True):
        same = [i for i, other in enumerate(rows) if np.array_equal(row, other, equal_nan=True)]
        if np.isnan(row).all():
            unusable.append(name)
        elif same:
            names[same[0]] += JOINED + name
        else:
            names.append(name)
            rows.append(row)
    return PanelTypes(tuple(names), tuple(panel), np.array(rows, dtype=np.float32), missing, tuple(unusable))


def column_of(marker: str, panel: Sequence[str]) -> int | None:
    """The position of ``marker`` in ``panel``: by its spelling, or as the only one of the same antigen."""
    plain = [plain_name(name) for name in panel]
    if plain_name(marker) in plain:
        return plain.index(plain_name(marker))
    key = antigen_key(marker)
    same = [i for i, name in enumerate(panel) if key and antigen_key(name) == key]
    return same[0] if len(same) == 1 else None


def _check_header(table: TextTable, columns: Sequence[int], path: Path) -> None:
    """Raise :class:`InputError` unless every marker has a name and occurs once."""
    if not columns:
        raise InputError(path, "header", repr(table.first_line), "a column for each marker beside the populations")
    first: dict[str, str] = {}
    for i in columns:
        marker = table.header[i]
        if not marker:
            raise InputError(path, f"header, column {i + 1}", "an empty name", "a marker")
        key = antigen_key(marker) or plain_name(marker)
        if key in first:
            raise InputError(path, f"header, column {i + 1}", f"{first[key]!r} and {marker!r}", "each marker once")
        first[key] = marker


def _names(table: TextTable, column: int, path: Path) -> list[str]:
    """Names of the populations, each once."""
    names: list[str] = []
    lines: dict[str, int] = {}
    for line, cells in table.rows:
        field, name = f"line {line}, column {table.header[column] or POPULATION}", " ".join(cells[column].split())
        reason = "it is reserved" if name.casefold() == UNKNOWN else refusal(0, name)
        if not name or reason:
            raise InputError(path, field, repr(name), f"another name for a population: {reason}" if name else "a name")
        if (plain := plain_name(name)) in lines:
            raise InputError(path, field, f"{name!r} again (line {lines[plain]})", "each population once")
        lines[plain] = line
        names.append(name)
    return names


def _level(table: TextTable, row: tuple[int, tuple[str, ...]], column: int, path: Path) -> float:
    """The level in one cell, −1 … 1; NaN if it is empty."""
    line, cells = row
    text = cells[column]
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    try:
        value = float(text.replace("\u2212", "-"))
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise InputError(path, f"line {line}, column {table.header[column]}", repr(text), _ALLOWED)
    return value


def _inherited(
    levels: NDArray[np.float32], names: Sequence[str], parents: Sequence[str], table: TextTable, path: Path
) -> NDArray[np.float32]:
    """``levels`` with those of each population's ancestors where its own cells are empty."""
    row_of = {plain_name(name): index for index, name in enumerate(names)}
    filled = levels.copy()
    for index, (line, _) in enumerate(table.rows):
        seen, parent = [index], parents[index]
        while parent:
            field = f"line {line}, column {PARENT}"
            above = row_of.get(plain_name(parent))
            if above is None:
                near = difflib.get_close_matches(parent, names, 1)
                hint = f"Nearest: {near[0]}." if near else ""
                raise InputError(path, field, repr(parent), "the name of another row", hint)
            if above in seen:
                raise InputError(path, field, f"{parents[index]!r}, a circle of parents", "a parent above it")
            filled[index] = np.where(np.isnan(filled[index]), levels[above], filled[index])
            seen.append(above)
            parent = parents[above]
    return filled
