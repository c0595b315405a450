"""Channels and DATA of an FCS file: how a row of events is laid out, where DATA is, and what its bytes mean.

Nothing is allocated by what a file claims: ``$TOT`` times the width of a row must equal the size of DATA in a place
that lies inside the file before anything is read. Events are then decoded from a read-only memory map, only the
wanted columns, about a megabyte at a time.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import FcsError
from cytovae.fcs_text import BLANKS, HEADER_BYTES, FcsText, Segment, quoted, whole_number

INTEGER_BITS = (8, 16, 24, 32, 64)
_BLOCK_BYTES = 1 << 20
# Bytes left after DATA if its end were exclusive while in truth it is inclusive: none, a checksum, one with CR LF.
_TAILS_OF_AN_INCLUSIVE_END = (1, 9, 11)


@dataclass(frozen=True)
class Channel:
    """One column of an FCS file: ``index`` from 0, ``name`` is $PnN, ``label`` $PnS ('' if absent), ``range`` $PnR."""

    index: int
    name: str
    label: str
    range: float


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


def read_channels(text: FcsText, notes: list[str]) -> tuple[Channel, ...]:
    """The table of channels; oddities go to ``notes``."""
    channels = []
    for number in range(1, text.n_channels + 1):
        name = text.keywords[f"$P{number}N"].strip()
        if not name:
            name = f"P{number}"
            notes.append(f"$P{number}N is blank; the channel is called {name}.")
        label = text.keywords.get(f"$P{number}S", "").strip()
        channels.append(Channel(number - 1, name, label, _range(text, number)))
    duplicates = sorted(name for name, count in Counter(channel.name for channel in channels).items() if count > 1)
    if duplicates:
        notes.append(f"several channels have the same $PnN: {_listed(duplicates)}.")
    gains = [channel.name for channel in channels if _gain(text, channel.index + 1) not in (None, 0.0, 1.0)]
    if gains:
        notes.append(f"gain $PnG is other than 1 in {_listed(gains)}; values are as stored, not divided by it.")
    if f"$P{text.n_channels + 1}N" in text.keywords and f"$P{text.n_channels + 1}B" in text.keywords:
        raise FcsError(
            text.path,
            "$PAR",
            str(text.n_channels),
            f"at least {text.n_channels + 1}, because channel {text.n_channels + 1} is described",
        )
    return tuple(channels)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"


def _range(text: FcsText, number: int) -> float:
    """$PnR; of an integer channel it must be a whole number, because it decides which bits count."""
    value = text.keywords[f"$P{number}R"]
    integer = _kind(text, number) == "I"
    parsed = whole_number(value) if integer else _number(value)
    if parsed is None or parsed < 0:
        raise FcsError(text.path, f"$P{number}R", quoted(value), "a whole number" if integer else "a number")
    return float(parsed)


def _kind(text: FcsText, number: int) -> str:
    """F, D, I or whatever else the file says: the channel's own type (FCS 3.2) or the one of all."""
    return text.keywords.get(f"$P{number}DATATYPE", text.keywords["$DATATYPE"]).strip(BLANKS).upper()


def _gain(text: FcsText, number: int) -> float | None:
    return _number(text.keywords.get(f"$P{number}G", "1"))


def _number(value: str) -> float | None:
    """A plain decimal number, or None; 1_000, nan and the like are none."""
    if not re.fullmatch(r"[+-]?([0-9]{1,40}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value := value.strip(BLANKS)):
        return None
    return parsed if isfinite(parsed := float(value)) else None


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
        kind = _kind(text, number)
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
        columns.append(Column(first, width, kind, mask, decades, at_zero, _range(text, number)))
        first += width
    logs = [keywords[f"$P{number}N"] for number, column in enumerate(columns, start=1) if column.decades]
    if logs:
        notes.append(f"log $PnE was applied to the integers of {_listed(logs)}: values are on their linear scale.")
    ignored = [keywords[f"$P{n}N"] for n, kind in enumerate(kinds, start=1) if kind != "I" and _says_log(text, n)]
    if ignored:
        notes.append(f"log $PnE means nothing on float data and was ignored: {_listed(ignored)}.")
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
    if kind == "I" and bits is not None and 8 < bits < 16 and all_same and _range(text, number) <= 1 << bits:
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
    limit = _range(text, number)
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
    parts = [_number(part) for part in value.split(",")]
    if len(parts) == 2 and parts[0] is not None and parts[1] is not None:
        decades, at_zero = parts[0], parts[1]
        if 0 <= decades <= 100 and 0 <= at_zero < 1e30 and (not decades or _range(text, number) >= 1):
            return decades, at_zero or 1.0
    raise FcsError(text.path, name, quoted(value), "decades and the value at zero, as in 4.0,1.0")


def _says_log(text: FcsText, number: int) -> bool:
    return _number(text.keywords.get(f"$P{number}E", "0").split(",")[0]) not in (None, 0.0)


def place_data(
    text: FcsText, row_bytes: int, offsets: Literal["auto", "header", "text"], notes: list[str]
) -> tuple[int, int]:
    """Number of events, and the byte of the file where DATA begins.

    HEADER and TEXT may each name a place. A place fits if it lies inside the file, outside HEADER and TEXT, and holds
    exactly $TOT rows, or one byte more (an end given exclusively, which is common). An exact fit goes before one that
    is a byte late. Where both fit exactly but differ, the one that begins right after TEXT is taken: TEXT was rewritten
    and only one of the two with it. Anything else is an error that names both.
    """
    n_events = whole_number(text.keywords["$TOT"])
    if n_events is None:
        raise FcsError(text.path, "$TOT", quoted(text.keywords["$TOT"]), "the number of events")
    needed = n_events * row_bytes
    places = {"HEADER": text.header_data, "TEXT": _text_place(text, notes)}
    if offsets != "auto":
        places = {name: place for name, place in places.items() if name.lower() == offsets}
    given = {name: place for name, place in places.items() if place is not None}
    if not needed and all(len(place) <= 1 for place in given.values()):
        return 0, 0
    agreed = len(given) == 2 and len(set(given.values())) == 1
    fits = {name: _surplus(text, place, needed, agreed) for name, place in given.items()}
    best = min((surplus for surplus in fits.values() if surplus is not None), default=None)
    if best is None:
        raise _no_place(text, given, n_events, row_bytes)
    chosen = [name for name, surplus in fits.items() if surplus == best]
    if len({given[name].first for name in chosen}) > 1:
        behind_text = [name for name in chosen if given[name].first == text.text.last + 1]
        if len(behind_text) != 1:
            raise _no_place(text, given, n_events, row_bytes)
        chosen = behind_text
    place = given[chosen[0]]
    if best:
        notes.append(f"DATA's end ({chosen[0]}, byte {place.last}) is one byte late; $TOT says where it really ends.")
    for name, other in given.items():
        if other.first != place.first or (other.last != place.last and not best):
            notes.append(
                f"{name} puts DATA at {other}, {chosen[0]} at {place}; the latter was used: it fits $TOT and TEXT."
            )
    return n_events, text.origin + place.first


def _text_place(text: FcsText, notes: list[str]) -> Segment | None:
    values = [text.keywords.get(name, "0") for name in ("$BEGINDATA", "$ENDDATA")]
    first, last = (whole_number(value) for value in values)
    if first is None or last is None:
        notes.append(f"$BEGINDATA {quoted(values[0])} and $ENDDATA {quoted(values[1])} are no byte offsets.")
        return None
    return Segment(first, last) if first and last else None


def _surplus(text: FcsText, place: Segment, needed: int, agreed: bool) -> int | None:
    """0 if DATA fits the place exactly, 1 if the place is a byte too long at its end, None if it does not fit."""
    data = Segment(place.first, place.first + needed - 1)
    surplus = len(place) - needed
    if surplus not in (0, 1) or place.first < HEADER_BYTES or data.last >= text.size or data.overlaps(text.text):
        return None
    # A begin that is a byte early looks the same as an end that is a byte late. Two places that agree settle it;
    # otherwise what follows DATA must not fit an inclusive end.
    if surplus and not agreed and text.size - place.last in _TAILS_OF_AN_INCLUSIVE_END:
        return None
    return surplus


def _no_place(text: FcsText, given: dict[str, Segment], n_events: int, row_bytes: int) -> FcsError:
    places = "; ".join(f"{name} {place} ({len(place)} bytes)" for name, place in given.items()) or "no place for DATA"
    return FcsError(
        text.path,
        "DATA",
        f"{places}, in {text.size} bytes",
        f"{n_events * row_bytes} bytes inside the file ($TOT {n_events} × {row_bytes} per event)",
        "The file was cut short or is damaged. Where HEADER and TEXT differ and one is known to be right, choose it.",
    )


def decode(
    rows: NDArray[np.uint8], layout: Layout, columns: Sequence[int], apply_log: bool
) -> NDArray[np.float32 | np.float64]:
    """Values of ``columns``, shape (n_rows, n_columns), of raw rows uint8 (n_rows, row_bytes)."""
    out: NDArray[Any] = np.empty((len(rows), len(columns)), layout.dtype)
    wanted = [layout.columns[index] for index in columns]
    stored = {(column.kind, column.width) for column in layout.columns}
    uniform = len(stored) == 1 and ("I", 3) not in stored
    whole = list(columns) == list(range(len(layout.columns)))
    step = max(1, _BLOCK_BYTES // layout.row_bytes)
    for start in range(0, len(rows), step):
        block, target = rows[start : start + step], out[start : start + step]
        if uniform:
            values = block.view(_dtype(wanted[0], layout.order)) if wanted else block[:, :0]
            values = values if whole else values[:, list(columns)]
            masks = _masks(wanted)
            target[...] = values if masks is None else values.astype(masks.dtype) & masks
        else:
            for position, column in enumerate(wanted):
                target[:, position] = _column(block, column, layout.order)
        if apply_log:
            for position, column in enumerate(wanted):
                if column.decades:
                    target[:, position] *= column.decades / column.range
                    np.power(10.0, target[:, position], out=target[:, position])
                    target[:, position] *= column.at_zero
    return out


def _dtype(column: Column, order: str) -> np.dtype[Any]:
    return np.dtype(f"{order}{'u' if column.kind == 'I' else 'f'}{column.width}")


def _masks(wanted: Sequence[Column]) -> NDArray[np.unsignedinteger[Any]] | None:
    if all(column.mask is None for column in wanted):
        return None
    full = (1 << 8 * wanted[0].width) - 1
    return np.array([full if c.mask is None else c.mask for c in wanted], _dtype(wanted[0], "="))


def _column(block: NDArray[np.uint8], column: Column, order: str) -> NDArray[Any]:
    raw = block[:, column.first : column.first + column.width]
    if column.width == 3:
        low, middle, high = (raw[:, byte].astype(np.uint32) for byte in ((0, 1, 2) if order == "<" else (2, 1, 0)))
        values = low | middle << 8 | high << 16
    else:
        values = raw.view(_dtype(column, order))[:, 0]
    return values if column.mask is None else values & values.dtype.type(column.mask)
