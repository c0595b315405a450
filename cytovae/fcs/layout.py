"""Channels and DATA of an FCS file: how a row of events is laid out, where DATA is, and what its bytes mean.

Nothing is allocated by what a file claims: ``$TOT`` times the width of a row must equal the size of DATA in a place
that lies inside the file before anything is read. Events are then decoded from a read-only memory map, only the
wanted columns, about a megabyte at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from cytovae.errors import FcsError
from cytovae.fcs.channels import as_number, datatype_of, range_of, some_names
from cytovae.fcs.text import BLANKS, FcsText, quoted, whole_number

INTEGER_BITS = (8, 16, 24, 32, 64)


@dataclass(frozen=True)
class Column:
    """How one channel's values are stored.

    ``first`` is its offset in a row and ``width`` its size, both in bytes; ``kind`` is the $DATATYPE. ``mask`` keeps
    the bits $PnR needs, None where all are kept. ``decades``, ``at_zero`` and ``range`` describe log amplification of
    integers, x → 10^(decades · x / range) · at_zero; ``decades`` 0 is linear.
    """

    first: int
    width: int
    kind: str
    mask: int | None
    decades: float
    at_zero: float
    range: float


@dataclass(frozen=True)
class Layout:
    """Rows of ``row_bytes`` bytes, ``order`` '<' or '>', and their columns."""

    columns: tuple[Column, ...]
    order: str
    row_bytes: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """What decoded values are: float32 where every channel is $DATATYPE F, else float64."""
        return np.dtype(np.float32 if all(column.kind == "F" for column in self.columns) else np.float64)


def read_layout(text: FcsText, notes: list[str]) -> Layout:
    """How a row is laid out, or an error naming the keyword that cannot be honoured."""
    keywords, path = text.keywords, text.path
    reexport = "Re-export the file as list-mode floating point."
    mode = keywords.get("$MODE", "L").strip(BLANKS).upper()
    if mode != "L":
        raise FcsError(path, "$MODE", quoted(mode), "L (list mode)", reexport)
    kinds, widths = [], []
    for number in range(1, text.n_channels + 1):
        own = f"$P{number}DATATYPE"
        kind = datatype_of(text, number)
        if kind not in ("F", "D", "I"):
            raise FcsError(path, own if own in keywords else "$DATATYPE", quoted(kind), "F, D or I", reexport)
        kinds.append(kind)
        widths.append(_width(text, number, kind))
    if len(set(kinds)) > 1:
        notes.append("channels have different types ($PnDATATYPE); all are read as float64.")
    order = _byte_order(text, max(widths))
    if "I" in kinds and text.unpaired:
        found = f"{quoted(text.unpaired)} after the last complete keyword"
        raise FcsError(
            path, "TEXT", found, "names and values in pairs", "A keyword of an integer channel may be wrong."
        )
    if text.unpaired:
        notes.append(f"TEXT ends in {quoted(text.unpaired)}, which belongs to no keyword.")
    columns, first = [], 0
    for number, (kind, width) in enumerate(zip(kinds, widths, strict=True), start=1):
        mask = _mask(text, number, width, notes) if kind == "I" else None
        decades, at_zero = _amplification(text, number, kinds, notes)
        columns.append(Column(first, width, kind, mask, decades, at_zero, range_of(text, number)))
        first += width
    logs = [keywords[f"$P{number}N"] for number, column in enumerate(columns, start=1) if column.decades]
    if logs:
        notes.append(f"log $PnE was applied to the integers of {some_names(logs)}: values are on their linear scale.")
    ignored = [keywords[f"$P{n}N"] for n, kind in enumerate(kinds, start=1) if kind != "I" and _says_log(text, n)]
    if ignored:
        notes.append(f"log $PnE means nothing on float data and was ignored: {some_names(ignored)}.")
    return Layout(tuple(columns), order, first)


def _width(text: FcsText, number: int, kind: str) -> int:
    """Bytes of a value of channel ``number``."""
    name = f"$P{number}B"
    value = text.keywords[name]
    bits = whole_number(value)
    allowed = {"F": (32,), "D": (64,), "I": INTEGER_BITS}[kind]
    if bits in allowed:
        return bits // 8
    all_same = all(whole_number(text.keywords[f"$P{n}B"]) == bits for n in range(1, text.n_channels + 1))
    if kind == "I" and bits is not None and 8 < bits < 16 and all_same and range_of(text, number) <= 1 << bits:
        return 2  # Beckman Coulter: $PnB counts the bits in use, DATA has 16-bit words; the size of DATA must prove it
    expected = f"{' or '.join(map(str, allowed))} bits for $DATATYPE {kind}"
    raise FcsError(text.path, name, quoted(value), expected, "Re-export the file as list-mode floating point.")


def _byte_order(text: FcsText, widest: int) -> str:
    value = text.keywords["$BYTEORD"]
    numbers = value.replace(" ", "").strip("\x00\t\r\n").split(",")
    ascending = [str(number) for number in range(1, len(numbers) + 1)]
    if numbers == ascending and (len(numbers) > 1 or widest == 1):
        return "<"
    if numbers == ascending[::-1] and len(numbers) > 1:
        return ">"
    hint = "Mixed byte orders are not supported; re-export the file as list-mode floating point."
    raise FcsError(text.path, "$BYTEORD", quoted(value), "1,2,3,4 or 4,3,2,1", hint)


def _mask(text: FcsText, number: int, width: int, notes: list[str]) -> int | None:
    """The bits that values below $PnR need; higher ones may hold flags and are cleared, as every reader does."""
    limit = range_of(text, number)
    if limit < 2:
        notes.append(f"$P{number}R is {limit:g}, which leaves no room for values; all bits were kept.")
        return None
    bits = (ceil(limit) - 1).bit_length()
    return None if bits >= 8 * width else (1 << bits) - 1


def _amplification(text: FcsText, number: int, kinds: Sequence[str], notes: list[str]) -> tuple[float, float]:
    """Decades and value at zero of $PnE; (0, 1) is linear, as all float data is."""
    name = f"$P{number}E"
    value = text.keywords.get(name)
    if kinds[number - 1] != "I":
        return 0.0, 1.0
    if value is None:
        # All or none: a single one that is missing was lost, and with it perhaps a logarithm.
        if any(f"$P{n}E" in text.keywords for n, kind in enumerate(kinds, start=1) if kind == "I"):
            raise FcsError(text.path, name, "no such keyword", "one for each integer channel")
        if number == kinds.index("I") + 1:
            notes.append("there is no $PnE; integers are taken to be linear.")
        return 0.0, 1.0
    parts = [as_number(part) for part in value.split(",")]
    if len(parts) == 2 and parts[0] is not None and parts[1] is not None:
        decades, at_zero = parts[0], parts[1]
        if 0 <= decades <= 100 and 0 <= at_zero < 1e30 and (not decades or range_of(text, number) >= 1):
            return decades, at_zero or 1.0
    raise FcsError(text.path, name, quoted(value), "decades and the value at zero, as in 4.0,1.0")


def _says_log(text: FcsText, number: int) -> bool:
    return as_number(text.keywords.get(f"$P{number}E", "0").split(",")[0]) not in (None, 0.0)
