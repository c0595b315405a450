"""Where DATA begins, from HEADER, TEXT and the size of the file."""

from typing import Literal

from cytovae.errors import FcsError
from cytovae.fcs.text import HEADER_BYTES, FcsText, Segment, quoted, whole_number

# Bytes left after DATA if its end were exclusive while in truth it is inclusive: none, a checksum, one with CR LF.
_TAILS_OF_AN_INCLUSIVE_END = (1, 9, 11)


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
