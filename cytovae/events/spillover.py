"""Spillover matrices: in the keywords of a file, in a text table, and in FlowJo's XML."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytovae.delimited import is_number, read_text, split_lines
from cytovae.errors import InputError, UsageError
from cytovae.events.channel_use import channel_uses
from cytovae.events.event_file import EventFile

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KEYWORD = "$SPILLOVER"
_KEYWORDS = (KEYWORD, "SPILLOVER", "$SPILL", "SPILL", "$COMP", "COMP")  # that of the standard (FCS 3.1) first
_FORMAT = "n, n names of channels, n × n numbers"
_MAX_CONDITION = 1e10  # a larger condition number leaves too few correct digits in float64
_IDENTITY_WITHIN = 1e-4  # a spillover of 0.01 % takes less off than the noise of any detector
_MAX_XML_CHARACTERS = 20_000_000


@dataclass(frozen=True, eq=False)
class Spillover:
    """A spillover matrix.

    Attributes
    ----------
    channels
        Names of the n detectors, for rows and columns.
    values
        float64 of shape (n, n); row i is the share of dye i that each detector sees.

    Raises
    ------
    UsageError
        If the matrix has the wrong shape, names a channel twice, is in per cent, or cannot be inverted.
    """

    channels: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        # Errors are noun phrases: readers use them for what they found.
        n = len(self.channels)
        if self.values.shape != (n, n) or not n:
            raise UsageError(f"a spillover matrix of shape {self.values.shape} for {n} channels")
        twice = [name for name, count in Counter(self.channels).items() if count > 1]
        if twice:
            raise UsageError(f"a spillover matrix with {twice[0]} named twice")
        if not np.isfinite(self.values).all():
            raise UsageError("a spillover matrix with values that are not finite")
        if np.allclose(np.diag(self.values), 100):
            raise UsageError("a spillover matrix in per cent, because its diagonal is 100; divide it by 100")
        if not np.linalg.cond(self.values) < _MAX_CONDITION:
            raise UsageError("a singular spillover matrix")

    @property
    def is_identity(self) -> bool:
        """Whether the matrix takes nothing off: SpectroFlo writes the identity but for one element of 1e-6."""
        return bool(np.abs(self.values - np.eye(len(self.channels))).max() <= _IDENTITY_WITHIN)


# --- the matrix of a file ---


@dataclass(frozen=True, eq=False)
class FileSpillover:
    """The spillover matrix that a file carries.

    Attributes
    ----------
    keyword
        The keyword that holds it.
    spillover
        The matrix.
    note
        Which matrix was chosen, and why, if the file holds different ones; otherwise ''.
    """

    keyword: str
    spillover: Spillover
    note: str


def file_spillover(file: EventFile) -> FileSpillover | None:
    """The spillover matrix of ``file``; None if it has none.

    Keywords that are blank or "0" hold none. Among several matrices, the first that is not the identity is chosen, in
    the order $SPILLOVER, SPILL, $COMP.

    Raises
    ------
    InputError
        If the only matrices are malformed.
    """
    found: dict[str, Spillover] = {}
    refused: list[InputError] = []
    for keyword in _KEYWORDS:
        value = file.keywords.get(keyword, "").strip()
        if not value or value.split(",")[0].strip() == "0":
            continue
        try:
            found[keyword] = _parse(value, keyword, file)
        except InputError as error:
            refused.append(error)
    if not found:
        if refused:
            raise refused[0]
        return None
    chosen = next((keyword for keyword, matrix in found.items() if not matrix.is_identity), next(iter(found)))
    return FileSpillover(chosen, found[chosen], _note(chosen, found, refused))


def spillover_of(file: EventFile) -> Spillover | None:
    """The spillover matrix of ``file``, see :func:`file_spillover`."""
    found = file_spillover(file)
    return found.spillover if found is not None else None


def has_spillover(file: EventFile) -> bool:
    """Whether ``file`` carries a spillover matrix, valid or not."""
    try:
        return file_spillover(file) is not None
    except InputError:
        return True


def identity_spillover(channels: Sequence[str]) -> dict[str, str]:
    """The keyword of a matrix without spillover, which marks the values of ``channels`` as compensated."""
    names = (name.replace(",", "_") for name in channels)  # a comma separates the parts
    numbers = (f"{value:g}" for value in np.eye(len(channels)).ravel())
    return {KEYWORD: ",".join([str(len(channels)), *names, *numbers])}


def _note(chosen: str, found: dict[str, Spillover], refused: Sequence[InputError]) -> str:
    """Which matrix is used, if the file holds others that differ or cannot be read."""
    used = found[chosen]
    others = [keyword for keyword, matrix in found.items() if not _same(matrix, used)]
    unreadable = [error.field for error in refused]
    if not others and not unreadable:
        return ""
    if unreadable and not others:
        return f"the spillover matrix of {', '.join(unreadable)} cannot be read; that of {chosen} is used."
    if all(found[keyword].is_identity for keyword in others):
        reason = "the other is the identity" if len(others) == 1 else "the others are identities"
    else:
        reason = "it is the first in the order $SPILLOVER, SPILL, $COMP"
    return f"{' and '.join([chosen, *others])} hold different spillover matrices; {chosen} is used, because {reason}."


def _same(first: Spillover, second: Spillover) -> bool:
    if set(first.channels) != set(second.channels):
        return False
    order = [second.channels.index(name) for name in first.channels]
    return bool(np.allclose(first.values, second.values[np.ix_(order, order)], atol=1e-6))


def _parse(value: str, keyword: str, file: EventFile) -> Spillover:
    parts = [part.strip() for part in value.split(",")]
    try:
        n = int(parts[0])
        if n < 1 or n > len(parts):
            raise ValueError(f"a matrix of {n} channels")
        named = len(parts) != 1 + n * n
        numbers = [float(part) for part in parts[1 + n * named :]]
    except ValueError as error:
        raise InputError(file.path, keyword, str(error), _FORMAT) from error
    if len(numbers) != n * n:
        raise InputError(file.path, keyword, f"{len(parts)} parts for {n} channels", _FORMAT)
    names = tuple(parts[1 : n + 1]) if named else _unnamed_channels(n, keyword, file)
    return _checked(names, np.array(numbers).reshape(n, n), file.path, keyword)


def _unnamed_channels(n: int, keyword: str, file: EventFile) -> tuple[str, ...]:
    """The channels of $COMP in FCS 3.0, which names none: all, all fluorescence channels, or all markers, in order."""
    uses = channel_uses(file.channels)
    fluorescence = [use.channel for use in uses if use.reason not in ("scatter", "time")]
    for group in (list(file.channels), fluorescence, [use.channel for use in uses if use.used]):
        if len(group) == n:
            return tuple(channel.name for channel in group)
    found = f"a matrix of {n} channels without names, and {len(fluorescence)} fluorescence channels in the file"
    raise InputError(file.path, keyword, found, _FORMAT)


def _checked(channels: tuple[str, ...], values: NDArray[np.float64], path: Path, field: str) -> Spillover:
    try:
        return Spillover(channels, values)
    except UsageError as error:
        raise InputError(path, field, str(error), "a matrix that can be inverted") from error


# --- a matrix in a file of its own ---


def read_matrix(path: Path) -> Spillover:
    """Read a spillover matrix from a text table, or from FlowJo's XML (.mtx).

    The first line of a table names the detectors; each further line holds the numbers of one dye. A first column with
    names may precede the numbers, as in exports of FlowJo; the lines may then have any order.

    Raises
    ------
    InputError
        If the file is malformed or the matrix cannot be inverted.
    """
    text = read_text(path, "matrix")
    if text.lstrip().startswith("<"):
        return _xml_matrix(text, path)
    table = [
        (number, [cell.strip() for cell in cells])
        for number, cells in split_lines(text, path)
        if any(cell.strip() for cell in cells)
    ]
    if len(table) < 2:
        raise InputError(path, "matrix", f"{len(table)} lines", "a line of channel names and a line for each channel")
    (_, header), (_, first_row) = table[:2]
    has_names = not is_number(first_row[0])
    if has_names and len(header) == len(first_row):
        header = header[1:]
    channels = tuple(channel_in(name) for name in header)
    rows, row_names = [], []
    for number, cells in table[1:]:
        numbers = cells[1:] if has_names else cells
        if len(numbers) != len(channels) or not all(is_number(cell) for cell in numbers):
            raise InputError(path, f"line {number}", ", ".join(cells)[:80], f"{len(channels)} numbers")
        rows.append([float(cell) for cell in numbers])
        row_names.append(channel_in(cells[0]))
    if len(rows) != len(channels):
        found = f"{len(rows)} lines for {len(channels)} channels"
        raise InputError(path, "matrix", found, "as many lines of numbers as channels")
    values = np.array(rows)
    if has_names:
        values = values[_row_order(row_names, channels, path)]
    return _checked(channels, values, path, "matrix")


def channel_in(text: str) -> str:
    """The channel in a name of FlowJo or flowCore, which write ``Comp-FITC-A :: CD3`` or ``FITC-A :: CD3``."""
    channel = text.partition("::")[0].strip()
    return channel.removeprefix("FJ").removeprefix("Comp-") if channel.startswith(("Comp-", "FJComp-")) else channel


def _row_order(row_names: list[str], channels: tuple[str, ...], path: Path) -> list[int]:
    """The row of each channel."""
    twice = [name for name in row_names if row_names.count(name) > 1]
    different = sorted(set(row_names) ^ set(channels)) or twice
    if different:
        found = f"{different[0]!r}, which differs between lines and columns"
        raise InputError(path, "matrix", found, "the same names in both")
    return [row_names.index(name) for name in channels]


def _xml_matrix(text: str, path: Path) -> Spillover:
    """The matrix in FlowJo's XML: Gating-ML's spilloverMatrix of spillover elements with coefficients."""
    from xml.etree import ElementTree

    advice = "Export the matrix from FlowJo as a CSV table."
    if "<!" in text.replace("<!--", "") or len(text) > _MAX_XML_CHARACTERS:  # entities could expand without limit
        raise InputError(path, "matrix", "XML with a document type", "XML without one", advice)
    try:
        root = ElementTree.fromstring(text)  # without a document type there are no entities
    except ElementTree.ParseError as error:
        raise InputError(
            path, "matrix", f"XML that cannot be parsed: {error}", "FlowJo's spillover matrix", advice
        ) from error
    matrices = [element for element in root.iter() if _local(element.tag) == "spilloverMatrix"]
    if len(matrices) != 1:
        raise InputError(path, "matrix", f"{len(matrices)} elements spilloverMatrix", "one", advice)
    rows: dict[str, dict[str, float]] = {}
    for row in (element for element in matrices[0] if _local(element.tag) == "spillover"):
        try:
            rows[channel_in(_attribute(row, "parameter"))] = {
                channel_in(_attribute(cell, "parameter")): float(_attribute(cell, "value")) for cell in row
            }
        except (KeyError, ValueError) as error:
            raise InputError(path, "matrix", f"a coefficient without {error}", "names and numbers", advice) from error
    channels = tuple(rows)
    strange = {name for row in rows.values() for name in row} - set(channels)
    if strange:
        found = f"{min(strange)!r}, which differs between rows and columns"
        raise InputError(path, "matrix", found, "the same names in both", advice)
    values = np.array([[row.get(name, 0.0) for name in channels] for row in rows.values()]).reshape(-1, len(channels))
    return _checked(channels, values, path, "matrix")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _attribute(element: "Element", name: str) -> str:
    """An attribute, whatever its namespace. Raises KeyError if there is none."""
    return {_local(key): value for key, value in element.attrib.items()}[name]
