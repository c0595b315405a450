"""Where DATA begins, from HEADER, TEXT and the size of the file."""

from collections.abc import Mapping
from typing import Literal

from cytovae.errors import FcsError
from cytovae.fcs.keywords import BLANKS, quoted, whole_number
from cytovae.fcs.text import HEADER_BYTES, FcsText, Segment

Offsets = Literal["auto", "header", "text"]
"""Which offsets of DATA to use."""

# The bytes after an inclusive end of DATA that is read as an exclusive one: none, a checksum, a checksum and CR LF.
_TAILS_OF_AN_INCLUSIVE_END = (1, 9, 11)


def locate_data(text: FcsText, row_bytes: int, offsets: Offsets, notes: list[str]) -> tuple[int, int]:
    """Find DATA.

    HEADER and TEXT may each name a segment. A segment fits if it lies inside the file, does not overlap HEADER or TEXT,
    and holds exactly $TOT rows or one byte more (many writers give an exclusive end). An exact fit is preferred. If
    two different segments fit exactly, the one that begins directly after TEXT is used: TEXT was rewritten, and only
    one of the two was updated.

    FCS 2.0 does not require $TOT; without it, the size of DATA gives the number of events. Nothing is allocated by the
    size that a file claims.

    Parameters
    ----------
    text
        The keywords and the segment that HEADER names.
    row_bytes
        The bytes per event.
    offsets
        Which segments to consider: both, or only that of HEADER or of TEXT.
    notes
        Receives a sentence for each oddity.

    Returns
    -------
    n_events, first_byte
        The number of events, and the byte of the file where DATA begins.

    Raises
    ------
    FcsError
        If no segment fits, or two do and neither follows TEXT.
    """
    candidates = {"HEADER": text.header_data, "TEXT": _text_segment(text, notes)}
    segments = {
        name: segment
        for name, segment in candidates.items()
        if segment is not None and offsets in ("auto", name.lower())
    }
    n_events = _number_of_events(text, segments, row_bytes)
    needed = n_events * row_bytes
    if not needed and all(segment.n_bytes <= 1 for segment in segments.values()):
        return 0, 0
    agree = len(segments) == 2 and len(set(segments.values())) == 1
    surpluses = {name: _surplus(text, segment, needed, agree) for name, segment in segments.items()}
    least = min((surplus for surplus in surpluses.values() if surplus is not None), default=None)
    if least is None:
        raise _no_segment_fits(text, segments, n_events, row_bytes)
    best = [name for name, surplus in surpluses.items() if surplus == least]
    if len({segments[name].first for name in best}) > 1:
        best = [name for name in best if segments[name].first == text.text.last + 1]
        if len(best) != 1:
            raise _no_segment_fits(text, segments, n_events, row_bytes)
    source = best[0]
    chosen = segments[source]
    if least:
        notes.append(f"{source} ends DATA one byte late, at byte {chosen.last}; the end was computed from $TOT.")
    for name, other in segments.items():
        if other.first != chosen.first or (other.last != chosen.last and not least):
            notes.append(
                f"{name} puts DATA at {other}, {source} at {chosen}; {source} was used, because it fits $TOT and TEXT."
            )
    return n_events, text.origin + chosen.first


def _number_of_events(text: FcsText, segments: Mapping[str, Segment], row_bytes: int) -> int:
    """$TOT. If an FCS 2.0 file has none, the number of whole rows in DATA, which may end one byte late."""
    value = text.keywords.get("$TOT", "")
    n_events = whole_number(value)
    if n_events is not None:
        return n_events
    if text.version != "FCS2.0" or value.strip(BLANKS):
        raise FcsError(text.path, "$TOT", quoted(value), "the number of events")
    counts = {segment.n_bytes // row_bytes for segment in segments.values() if segment.n_bytes % row_bytes in (0, 1)}
    if len(counts) != 1:
        found = f"no such keyword, and {_spell_segments(segments)} with {row_bytes} bytes per event"
        raise FcsError(text.path, "$TOT", found, "a whole number of events in DATA", _which_offsets(segments))
    return counts.pop()


def _text_segment(text: FcsText, notes: list[str]) -> Segment | None:
    values = [text.keywords.get(name, "0") for name in ("$BEGINDATA", "$ENDDATA")]
    first, last = (whole_number(value) for value in values)
    if first is None or last is None:
        notes.append(f"$BEGINDATA {quoted(values[0])} and $ENDDATA {quoted(values[1])} are not byte offsets.")
        return None
    return Segment(first, last) if first and last else None


def _surplus(text: FcsText, segment: Segment, needed: int, agree: bool) -> int | None:
    """0 if DATA fits the segment exactly, 1 if the segment ends one byte late, None if DATA does not fit."""
    data = Segment(segment.first, segment.first + needed - 1)
    surplus = segment.n_bytes - needed
    if surplus not in (0, 1) or segment.first < HEADER_BYTES or data.last >= text.size or data.overlaps(text.text):
        return None
    # A begin that is one byte early looks the same as an end that is one byte late. It is the end if HEADER and TEXT
    # agree, or if the bytes after DATA do not fit an inclusive end.
    if surplus and not agree and text.size - segment.last in _TAILS_OF_AN_INCLUSIVE_END:
        return None
    return surplus


def _no_segment_fits(text: FcsText, segments: Mapping[str, Segment], n_events: int, row_bytes: int) -> FcsError:
    """The error for a file whose sizes contradict each other. It blames $TOT if DATA itself is sound."""
    sound = {
        segment.n_bytes // row_bytes
        for segment in segments.values()
        if segment.n_bytes % row_bytes == 0 and _surplus(text, segment, segment.n_bytes, True) == 0
    }
    if len(sound) == 1 and len(set(segments.values())) == 1:
        (count,) = sound
        return FcsError(
            text.path,
            "$TOT",
            f"{n_events} events",
            f"{count}, because DATA ({next(iter(segments.values()))}) holds exactly {count} rows of {row_bytes} bytes",
            "The number in $TOT is wrong. Export the file again, after the program has finished all calculations.",
        )
    return FcsError(
        text.path,
        "DATA",
        f"{_spell_segments(segments)}, in {text.size} bytes",
        f"{n_events * row_bytes} bytes inside the file ($TOT {n_events} × {row_bytes} per event)",
        f"The file is truncated or damaged. {_which_offsets(segments)}".strip(),
    )


def _spell_segments(segments: Mapping[str, Segment]) -> str:
    spelled = "; ".join(f"{name} {segment} ({segment.n_bytes} bytes)" for name, segment in segments.items())
    return spelled or "no offsets of DATA"


def _which_offsets(segments: Mapping[str, Segment]) -> str:
    """Advice if HEADER and TEXT put DATA at different bytes."""
    if len(set(segments.values())) < 2:
        return ""
    return "If one of the two is known to be right, choose it with --offsets header or --offsets text."
