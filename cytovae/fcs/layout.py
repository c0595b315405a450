"""How a row of DATA is laid out: widths, types, byte order, masks, log amplification."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from cytovae.errors import FcsError
from cytovae.fcs.channels import channel_datatype, channel_range
from cytovae.fcs.keywords import BLANKS, decimal_number, quoted, quoted_list, whole_number
from cytovae.fcs.text import FcsText

_BITS = {"F": (32,), "D": (64,), "I": (8, 16, 24, 32, 64)}  # supported $PnB by $DATATYPE
_EXPORT_AGAIN = "Export the file again in list mode with floating-point values."


@dataclass(frozen=True)
class Column:
    """How the values of one channel are stored.

    Attributes
    ----------
    offset, width
        The first byte in a row, and the number of bytes.
    kind
        The type: F, D or I.
    mask
        The bits of an integer that $PnR needs; None if all bits count.
    decades, at_zero, range
        Log amplification of integers: x becomes 10^(decades · x / range) · at_zero. Zero ``decades`` means linear.
    """

    offset: int
    width: int
    kind: str
    mask: int | None
    decades: float
    at_zero: float
    range: float


@dataclass(frozen=True)
class Layout:
    """The columns of a row, the byte order ('<' or '>') and the number of bytes per row."""

    columns: tuple[Column, ...]
    order: str
    row_bytes: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of decoded values: float32 if every channel is $DATATYPE F, else float64."""
        return np.dtype(np.float32 if all(column.kind == "F" for column in self.columns) else np.float64)


def read_layout(text: FcsText, notes: list[str]) -> Layout:
    """Read the layout of a row.

    Parameters
    ----------
    text
        The keywords.
    notes
        Receives a sentence for each oddity.

    Raises
    ------
    FcsError
        If a keyword is malformed or asks for something that is not supported; it names the keyword.
    """
    mode = text.keywords.get("$MODE", "L").strip(BLANKS).upper()
    if mode != "L":
        raise FcsError(text.path, "$MODE", quoted(mode), "L (list mode)", _EXPORT_AGAIN)
    numbers = range(1, text.n_channels + 1)
    kinds, widths = [], []
    for number in numbers:
        kinds.append(_kind(text, number))
        widths.append(_width(text, number, kinds[-1]))
    if len(set(kinds)) > 1:
        notes.append("channels have different types ($PnDATATYPE); all are read as float64.")
    order = _byte_order(text, max(widths))
    _check_unpaired(text, kinds, notes)
    columns, offset = [], 0
    for number, kind, width in zip(numbers, kinds, widths, strict=True):
        mask = _mask(text, number, width, notes) if kind == "I" else None
        decades, at_zero = _amplification(text, number, kinds, notes)
        columns.append(Column(offset, width, kind, mask, decades, at_zero, channel_range(text, number)))
        offset += width
    names = [text.keywords[f"$P{number}N"] for number in numbers]
    logarithmic = [name for name, column in zip(names, columns, strict=True) if column.decades]
    if logarithmic:
        notes.append(f"log $PnE was applied to the integers of {quoted_list(logarithmic)}; values are linear.")
    ignored = [names[n - 1] for n, kind in zip(numbers, kinds, strict=True) if kind != "I" and _has_log(text, n)]
    if ignored:
        notes.append(f"log $PnE has no meaning for float data and was ignored: {quoted_list(ignored)}.")
    return Layout(tuple(columns), order, offset)


def _kind(text: FcsText, number: int) -> str:
    own = f"$P{number}DATATYPE"
    kind = channel_datatype(text, number)
    if kind not in _BITS:
        field = own if own in text.keywords else "$DATATYPE"
        raise FcsError(text.path, field, quoted(kind), "F, D or I", _EXPORT_AGAIN)
    return kind


def _width(text: FcsText, number: int, kind: str) -> int:
    """The bytes per value of channel ``number``."""
    name = f"$P{number}B"
    value = text.keywords[name]
    bits = whole_number(value)
    if bits in _BITS[kind]:
        return bits // 8
    all_same = all(whole_number(text.keywords[f"$P{n}B"]) == bits for n in range(1, text.n_channels + 1))
    if kind == "I" and bits is not None and 8 < bits < 16 and all_same and channel_range(text, number) <= 1 << bits:
        return 2  # Beckman Coulter: $PnB counts used bits, but DATA has 16-bit words. The size of DATA confirms this.
    expected = f"{' or '.join(map(str, _BITS[kind]))} bits for $DATATYPE {kind}"
    raise FcsError(text.path, name, quoted(value), expected, _EXPORT_AGAIN)


def _byte_order(text: FcsText, widest: int) -> str:
    value = text.keywords["$BYTEORD"]
    numbers = value.replace(" ", "").strip("\x00\t\r\n").split(",")
    ascending = [str(number) for number in range(1, len(numbers) + 1)]
    if numbers == ascending and (len(numbers) > 1 or widest == 1):
        return "<"
    if numbers == ascending[::-1] and len(numbers) > 1:
        return ">"
    hint = f"Mixed byte orders are not supported. {_EXPORT_AGAIN}"
    raise FcsError(text.path, "$BYTEORD", quoted(value), "1,2,3,4 or 4,3,2,1", hint)


def _check_unpaired(text: FcsText, kinds: Sequence[str], notes: list[str]) -> None:
    """Reject text after the last keyword if integers are decoded by keywords, else add a note."""
    if not text.unpaired:
        return
    if "I" in kinds:
        found = f"{quoted(text.unpaired)} after the last complete keyword"
        hint = "A keyword that decodes an integer channel may be wrong."
        raise FcsError(text.path, "TEXT", found, "pairs of names and values", hint)
    notes.append(f"TEXT ends with {quoted(text.unpaired)}, which belongs to no keyword.")


def _mask(text: FcsText, number: int, width: int, notes: list[str]) -> int | None:
    """The bits that values below $PnR need. Higher bits may hold flags and are cleared, as other readers do."""
    limit = channel_range(text, number)
    if limit < 2:
        notes.append(f"$P{number}R is {limit:g}, which is too small for a mask; all bits were kept.")
        return None
    bits = (ceil(limit) - 1).bit_length()
    return None if bits >= 8 * width else (1 << bits) - 1


def _amplification(text: FcsText, number: int, kinds: Sequence[str], notes: list[str]) -> tuple[float, float]:
    """Decades and value at zero of $PnE. Linear channels, and all float channels, give (0, 1)."""
    name = f"$P{number}E"
    value = text.keywords.get(name)
    if kinds[number - 1] != "I":
        return 0.0, 1.0
    if value is None:
        # If other channels have one, this one was lost, possibly with a logarithm.
        if any(f"$P{n}E" in text.keywords for n, kind in enumerate(kinds, start=1) if kind == "I"):
            raise FcsError(text.path, name, "no such keyword", "one for each integer channel")
        if number == kinds.index("I") + 1:
            notes.append("there is no $PnE; integers are assumed to be linear.")
        return 0.0, 1.0
    parts = [decimal_number(part) for part in value.split(",")]
    if len(parts) == 2 and parts[0] is not None and parts[1] is not None:
        decades, at_zero = parts[0], parts[1]
        if 0 <= decades <= 100 and 0 <= at_zero < 1e30 and (not decades or channel_range(text, number) >= 1):
            return decades, at_zero or 1.0
    raise FcsError(text.path, name, quoted(value), "decades and the value at zero, such as 4.0,1.0")


def _has_log(text: FcsText, number: int) -> bool:
    return decimal_number(text.keywords.get(f"$P{number}E", "0").split(",")[0]) not in (None, 0.0)
