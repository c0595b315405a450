"""Signs that TEXT was edited in place, so that stale offsets locate DATA some bytes too early or too late."""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import FcsError, InputError
from cytovae.fcs.decode import decode
from cytovae.fcs.keywords import PADDING, whole_number
from cytovae.fcs.layout import Layout
from cytovae.fcs.text import FcsText

_PADDING = PADDING.encode()
_CHECKSUM_BYTES = 8
_SHORT = 64  # bytes; an edit that moves DATA by more is not looked for at the edges of DATA
_MOST_READ = 1 << 20  # bytes of the end of TEXT, of a gap or of a tail
_MOST_SHIFT = 8  # bytes, for the test of values
_SAMPLE_ROWS = 256
_LEAST_VALUES = 16  # non-zero values that make a share meaningful
_FEW, _NEARLY_ALL = 0.6, 0.97  # shares of plausible values, in this place and in a shifted one
_SMALLEST, _LARGEST = 1e-6, 1e9  # plausible absolute values of floats other than 0


@dataclass(frozen=True)
class _Surroundings:
    """The bytes around DATA.

    Attributes
    ----------
    delimiter
        The first character of TEXT, encoded.
    ending
        The bytes of TEXT after its last delimiter.
    gap
        The bytes between TEXT and DATA; None if they hold something else, or too much.
    head
        The first bytes of DATA, and what follows if DATA is shorter.
    tail
        The bytes after DATA; None if a keyword announces something there.
    """

    delimiter: bytes
    ending: bytes
    gap: bytes | None
    head: bytes
    tail: bytes | None


def check_shift(
    text: FcsText, layout: Layout, n_events: int, first_byte: int, *, offsets_chosen: bool, notes: list[str]
) -> None:
    """Look for signs that DATA does not begin at ``first_byte``. One sign becomes a note; two are an error.

    The four signs are: TEXT does not end where HEADER says; the bytes at the edge between TEXT and DATA belong to the
    other side; the bytes after DATA are neither padding nor a checksum; values are implausible here and plausible a
    few bytes away. Many instruments write files with one of them, but no known one writes files with two.

    Parameters
    ----------
    text, layout, n_events, first_byte
        The data set, and where DATA is.
    offsets_chosen
        Whether the user has chosen the offsets. Two signs become notes, too.
    notes
        Receives a sentence for each sign that is tolerated.

    Raises
    ------
    FcsError
        If there are two signs.
    InputError
        If the file cannot be read again.
    """
    n_bytes = n_events * layout.row_bytes
    if not n_bytes:
        return
    first = first_byte - text.origin
    around = _surroundings(text, first, n_bytes)
    exclusive = first + n_bytes in (
        text.header_data.last if text.header_data else None,
        whole_number(text.keywords.get("$ENDDATA", "")),
    )
    found = (
        _sign_in_text(text, around, exclusive),
        _sign_at_the_edge(text, around),
        _sign_after_data(around),
        _sign_in_values(text, layout, n_events, first),
    )
    signs = [sign for sign in found if sign]
    if len(signs) < 2 or offsets_chosen:
        notes += [f"{sign}; check that values are right." for sign in signs]
        return
    raise FcsError(
        text.path,
        "DATA",
        "; ".join(signs),
        f"DATA at byte {first_byte}, where the offsets put it",
        "TEXT was probably edited without new offsets, so all values would be wrong. Export the file again. If the "
        "offsets are right, use --offsets header or --offsets text.",
    )


def _surroundings(text: FcsText, first: int, n_bytes: int) -> _Surroundings:
    segment, end = text.text, first + n_bytes
    try:
        with text.path.open("rb") as file:

            def read(begin: int, stop: int) -> bytes:
                file.seek(text.origin + begin)
                return file.read(max(0, stop - begin))

            character = read(segment.first, segment.first + 4).decode(text.encoding, "ignore")[0]
            delimiter = character.encode(text.encoding)
            last = read(max(segment.first, segment.last + 1 - _MOST_READ), segment.last + 1)
            has_gap = 0 <= first - segment.last - 1 <= _MOST_READ and not _announced(text, segment.last + 1, first)
            gap = read(segment.last + 1, first) if has_gap else None
            head = read(first, min(first + _SHORT, text.size))
            tail = None if _announced(text, end, text.size) else read(end, min(text.size, end + _MOST_READ))
    except OSError as error:
        raise InputError(text.path, "file", error.strerror or str(error), "a readable FCS file") from error
    return _Surroundings(delimiter, last[last.rfind(delimiter) + len(delimiter) :], gap, head, tail)


def _announced(text: FcsText, begin: int, stop: int) -> bool:
    """Whether keywords or HEADER put another segment or data set between two bytes."""
    names = ("$BEGINANALYSIS", "$BEGINSTEXT", "$NEXTDATA")
    begins = [whole_number(text.keywords.get(name, "0")) or 0 for name in names]
    follows = text.text.first >= begin  # TEXT behind DATA
    return follows or any(begin <= other < stop for other in (*begins, text.header_analysis) if other)


def _padding(around: _Surroundings) -> bytes:
    return bytes(byte for byte in _PADDING if byte not in around.delimiter)


def _sign_in_text(text: FcsText, around: _Surroundings, exclusive_end: bool) -> str:
    """TEXT does not end with its delimiter, is cut off, or goes on. An exclusive end, as that of DATA, is allowed."""
    if text.unpaired or around.ending.strip(_padding(around)):
        return "the last keyword of TEXT is cut off, or has no delimiter behind it"
    if len(around.ending) > exclusive_end:
        return f"HEADER ends TEXT {len(around.ending)} bytes after its last delimiter"
    if around.gap and around.gap[0] not in _padding(around):
        return "HEADER ends TEXT too early: text or other bytes that are not padding follow"
    return ""


def _sign_at_the_edge(text: FcsText, around: _Surroundings) -> str:
    """The bytes before DATA look like DATA, or DATA begins with padding or with the end of TEXT."""
    if around.gap is None:
        return ""
    padding = _padding(around)
    before = around.ending + around.gap
    rest = before.lstrip(padding)
    if 0 < len(rest) <= _SHORT and (len(rest) < len(before) or not _is_text(rest.rstrip(padding))):
        return f"the {len(rest)} bytes before DATA are not padding"
    cut_off = around.gap.rstrip(padding)
    filler = around.gap[len(cut_off) :]
    if 0 < len(cut_off) <= _SHORT and filler and around.head.startswith(filler[-1:] * len(cut_off)):
        return "DATA begins with the padding that stands before it"
    d = re.escape(around.delimiter)
    if not around.gap and re.match(rb"[$A-Za-z][ -~]{2,}?" + d + rb"[ -~]+?" + d, around.head):
        return "DATA begins with a keyword"  # TEXT seems complete: exactly one pair was pushed out of it
    is_cut = text.unpaired or around.ending or around.gap
    if is_cut and len(around.gap) <= _SHORT and not filler:
        onward = around.gap + around.head
        n_printable = next((n for n, byte in enumerate(onward) if not _is_printable(byte, around)), len(onward))
        if onward.rfind(around.delimiter, 0, n_printable) >= len(around.gap):
            return "DATA begins with the end of TEXT"
    return ""


def _is_text(raw: bytes) -> bool:
    try:
        return not any(ord(letter) < ord(" ") for letter in raw.decode())
    except UnicodeDecodeError:
        return False


def _is_printable(byte: int, around: _Surroundings) -> bool:
    return ord(" ") <= byte <= ord("~") or byte in around.delimiter


def _sign_after_data(around: _Surroundings) -> str:
    """The bytes after DATA are neither padding nor a checksum of eight ASCII characters."""
    rest = (around.tail or b"").strip(_PADDING)
    if not rest or (len(rest) == _CHECKSUM_BYTES and rest.isalnum()):
        return ""
    return f"{len(around.tail or b'')} bytes after DATA are neither padding nor a checksum"


def _sign_in_values(text: FcsText, layout: Layout, n_events: int, first: int) -> str:
    """Values are implausible in this place and plausible a few bytes away."""
    plain = replace(layout, columns=tuple(replace(column, mask=None, decades=0.0) for column in layout.columns))
    start = (n_events - min(n_events, _SAMPLE_ROWS)) // 2
    n_rows = min(n_events, _SAMPLE_ROWS)
    begin = first + start * layout.row_bytes
    margin = min(_MOST_SHIFT, begin)
    with text.path.open("rb") as file:
        file.seek(text.origin + begin - margin)
        raw = np.frombuffer(file.read(margin + n_rows * layout.row_bytes + _MOST_SHIFT), np.uint8)
    here = _plausible_share(raw[margin:], plain)
    if here is None or here >= _FEW:
        return ""
    shifts = [shift for shift in range(-margin, _MOST_SHIFT + 1) if shift]
    shares = {shift: _plausible_share(raw[margin + shift :], plain) or 0.0 for shift in shifts}
    best = max(shifts, key=lambda shift: (shares[shift], -abs(shift)))
    if shares[best] < _NEARLY_ALL:
        return ""
    where = f"{abs(best)} bytes {'later' if best > 0 else 'earlier'}"
    return f"{here:.0%} of the values are plausible here, and {shares[best]:.0%} {where}"


def _plausible_share(raw: NDArray[np.uint8], plain: Layout) -> float | None:
    """The share of plausible values among those that are not 0; None if they are too few.

    Integers must be below $PnR. Floats must have a size that instruments produce.
    """
    n_rows = len(raw) // plain.row_bytes
    rows = raw[: n_rows * plain.row_bytes].reshape(n_rows, plain.row_bytes)
    with np.errstate(all="ignore"):
        values = decode(rows, plain, range(len(plain.columns)), False).astype(float)
    size = np.abs(values)
    limits = [column.range if column.kind == "I" and column.range >= 2 else np.inf for column in plain.columns]
    is_float = np.array([column.kind != "I" for column in plain.columns])
    good = np.where(is_float, (size >= _SMALLEST) & (size <= _LARGEST), values < np.array(limits))
    counted = values != 0
    return float(good[counted].mean()) if counted.sum() >= _LEAST_VALUES else None
