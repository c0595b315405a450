"""HEADER and TEXT of an FCS file: the keywords of a data set, checked against the size of the file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from cytovae.errors import FcsError, InputError
from cytovae.fcs.fcsparser_check import confirmed_keywords
from cytovae.fcs.keywords import BLANKS, PADDING, quoted, split_keywords, whole_number

VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
HEADER_BYTES = 58
_HEADER_FIELDS = ("TEXT begin", "TEXT end", "DATA begin", "DATA end", "ANALYSIS begin", "ANALYSIS end")
_BEYOND_HEADER = 99_999_999  # used by some writers instead of 0 if eight digits are not enough
_MAX_DATA_SETS = 1_000
_MOST_DESCRIBED = 4  # data sets in one note
_FLOAT_BITS = 128  # ranks above every integer


@dataclass(frozen=True)
class Segment:
    """Bytes ``first`` to ``last``, inclusive as in the standard, counted from the beginning of the data set."""

    first: int
    last: int

    @property
    def n_bytes(self) -> int:
        """The number of bytes, of any size: a keyword may claim more than ``len`` can return."""
        return max(0, self.last - self.first + 1)

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}"

    def overlaps(self, other: "Segment") -> bool:
        """Whether the two segments share a byte."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, eq=False)
class FcsText:
    """HEADER and TEXT of one data set.

    Attributes
    ----------
    origin
        The byte of the file where the data set begins. All other offsets count from here.
    size
        The number of bytes from ``origin`` to the end of the file.
    text, header_data
        The segments of primary TEXT and, as HEADER gives it, of DATA; None if HEADER gives none.
    header_analysis
        The first byte of ANALYSIS as HEADER gives it; 0 if it gives none.
    keywords
        Values of TEXT and supplemental TEXT by trimmed, upper-case name.
    unpaired
        The text after the last complete keyword, '' in a sound file.
    notes
        Oddities that were tolerated, a sentence each.
    """

    path: Path
    version: str
    origin: int
    size: int
    text: Segment
    header_data: Segment | None
    header_analysis: int
    encoding: str
    keywords: dict[str, str]
    n_channels: int
    unpaired: str
    notes: tuple[str, ...]


def read_text(path: Path, data_set: int | None) -> FcsText:
    """Read HEADER and TEXT of one data set.

    Parameters
    ----------
    path
        An FCS file.
    data_set
        The data set, counted from 0. None reads the first and adds a note that describes all of them if there are
        several.

    Raises
    ------
    InputError
        If ``path`` is missing, is not a regular file or may not be read.
    FcsError
        If HEADER or TEXT cannot be trusted, or the data set does not exist.
    """
    if "\x00" in str(path):
        raise InputError(quoted(str(path)), "file", "a NUL character in its name", "a readable FCS file")
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):  # reading a pipe would block
            raise InputError(path, "file", "a folder" if path.is_dir() else "not a regular file", "an FCS file")
        with path.open("rb") as file:
            return _read_chain(file, path, status.st_size, data_set)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "a readable FCS file") from error


def _read_chain(file: BinaryIO, path: Path, size: int, data_set: int | None) -> FcsText:
    """Follow $NEXTDATA to the selected data set. The chain only moves forward, so it ends."""
    selected = data_set or 0
    if selected < 0:
        raise FcsError(path, "data set", str(selected), "a number from 0")
    current = _read_data_set(file, path, 0, size)
    data_sets, broken = [current], ""
    while len(data_sets) < _MAX_DATA_SETS:
        following = whole_number(current.keywords.get("$NEXTDATA", "0"))
        if following == 0:
            break
        # The standard counts from the current data set; some writers count from the beginning of the file.
        origins = [] if following is None else [current.origin + following, following]
        origin = next((o for o in origins if current.origin < o <= size - HEADER_BYTES and _is_fcs(file, o)), None)
        if origin is None:
            broken = f"$NEXTDATA {quoted(current.keywords['$NEXTDATA'])} points to no data set and was ignored."
            break
        try:
            current = _read_data_set(file, path, origin, size)
        except FcsError as error:
            if selected == len(data_sets):
                raise
            broken = f"the data set at byte {origin} cannot be read ({error.field}: {error.found}) and was ignored."
            break
        data_sets.append(current)
    if selected >= len(data_sets):
        raise FcsError(path, "data set", f"only {len(data_sets)}", f"number {selected}, counted from 0", broken)
    chosen = data_sets[selected]
    several = _describe_data_sets(data_sets) if len(data_sets) > 1 and data_set is None else ""
    keywords, note = confirmed_keywords(*_raw_header_and_text(file, chosen), chosen.encoding, chosen.keywords)
    notes = (*chosen.notes, *(text for text in (note, several, broken) if text))
    return replace(chosen, keywords=keywords, notes=notes)


def _describe_data_sets(data_sets: Sequence[FcsText]) -> str:
    """A sentence that lists the data sets, and names one that holds the events of the first in more detail."""
    events = [text.keywords.get("$TOT", "").strip(BLANKS) for text in data_sets]
    bits = [_bits(text) for text in data_sets]
    described = [
        f"{number} ({text.version}, {text.n_channels} channels, {events[number] or 'unknown'} events, "
        f"{f'{bits[number]} bits' if bits[number] < _FLOAT_BITS else 'floating point'})"
        for number, text in enumerate(data_sets)
    ]
    listed = ", ".join(described[:_MOST_DESCRIBED])
    more = f" and {len(described) - _MOST_DESCRIBED} more" if len(described) > _MOST_DESCRIBED else ""
    better = max((number for number in range(len(bits)) if events[number] == events[0]), key=bits.__getitem__)
    if better:
        advice = f"--data-set {better} has the same events with a finer resolution and is the better one."
    else:
        advice = "--data-set N chooses another."
    return f"the file holds {len(data_sets)} data sets: {listed}{more}. Number 0 was read; {advice}"


def _bits(text: FcsText) -> int:
    """The most bits that a value has according to $PnR; for floats, more than any integer."""
    if text.keywords["$DATATYPE"].strip(BLANKS).upper() in ("F", "D"):
        return _FLOAT_BITS
    ranges = [whole_number(text.keywords[f"$P{number}R"]) or 0 for number in range(1, text.n_channels + 1)]
    return (max(max(ranges) - 1, 0)).bit_length()


def _is_fcs(file: BinaryIO, origin: int) -> bool:
    file.seek(origin)
    return file.read(6).decode("latin-1") in VERSIONS


def _raw_header_and_text(file: BinaryIO, text: FcsText) -> tuple[bytes, bytes]:
    file.seek(text.origin)
    header = file.read(HEADER_BYTES)
    file.seek(text.origin + text.text.first)
    return header, file.read(text.text.n_bytes)


def _read_data_set(file: BinaryIO, path: Path, origin: int, file_size: int) -> FcsText:
    """Read HEADER, TEXT and supplemental TEXT of the data set that begins at byte ``origin``."""
    size = file_size - origin
    file.seek(origin)
    header = file.read(HEADER_BYTES)
    version = _version(path, header)
    notes: list[str] = []
    offsets = [_header_offset(path, header, number, size, notes) for number in range(6)]
    text = Segment(offsets[0], offsets[1])
    if not HEADER_BYTES <= text.first < text.last < size:
        raise FcsError(
            path,
            "HEADER TEXT begin" if text.first < HEADER_BYTES else "HEADER TEXT end",
            f"TEXT at {text}",
            f"a segment between byte {HEADER_BYTES} and the end of the file, byte {size - 1}",
            "The file is truncated or damaged.",
        )
    header_data = _header_segment(offsets[2], offsets[3])
    file.seek(origin + text.first)
    raw = file.read(text.n_bytes)
    if header_data is not None and text.last == header_data.first and raw[-1] != raw[0]:
        # TEXT ends one byte too late, on the first byte of DATA. fcsparser removes this byte, too.
        text, raw = Segment(text.first, text.last - 1), raw[:-1]
        notes.append("HEADER ends TEXT one byte late, on the first byte of DATA; TEXT was read without that byte.")
    keywords, unpaired, encoding = split_keywords(path, "TEXT", raw, notes)
    _merge_supplement(file, path, origin, size, text, keywords, notes)
    n_channels = _check_required(path, version, keywords)
    return FcsText(
        path=path,
        version=version,
        origin=origin,
        size=size,
        text=text,
        header_data=header_data,
        header_analysis=offsets[4],
        encoding=encoding,
        keywords=keywords,
        n_channels=n_channels,
        unpaired=unpaired,
        notes=tuple(notes),
    )


def _version(path: Path, header: bytes) -> str:
    version = header[:6].decode("latin-1")
    if version not in VERSIONS:
        compressed = header[:2] in (b"\x1f\x8b", b"PK")
        hint = "The file is compressed; unpack it first." if compressed else ""
        found = quoted(version) if header else "an empty file"
        raise FcsError(path, "HEADER version", found, " or ".join(VERSIONS), hint)
    if len(header) < HEADER_BYTES:
        raise FcsError(path, "HEADER", f"{len(header)} bytes", f"{HEADER_BYTES} bytes", "The file is truncated.")
    return version


def _header_offset(path: Path, header: bytes, number: int, size: int, notes: list[str]) -> int:
    raw = header[10 + 8 * number : 18 + 8 * number].decode("latin-1").strip(PADDING)
    value = whole_number(raw or "0")
    if value is not None:
        return value
    if number >= 4:
        notes.append(f"HEADER {_HEADER_FIELDS[number]} is {quoted(raw)}, not a number; ANALYSIS is never read.")
        return 0
    raise FcsError(path, f"HEADER {_HEADER_FIELDS[number]}", quoted(raw), f"a byte offset in a file of {size} bytes")


def _header_segment(first: int, last: int) -> Segment | None:
    """A segment from two offsets of HEADER; None if one of them refers to TEXT."""
    return None if first in (0, _BEYOND_HEADER) or last in (0, _BEYOND_HEADER) else Segment(first, last)


def _merge_supplement(
    file: BinaryIO, path: Path, origin: int, size: int, text: Segment, keywords: dict[str, str], notes: list[str]
) -> None:
    """Add the keywords of supplemental TEXT. Primary TEXT takes precedence."""
    first, last = (whole_number(keywords.get(name, "0").strip(PADDING) or "0") for name in ("$BEGINSTEXT", "$ENDSTEXT"))
    if first == 0 or last == 0:
        return
    if first is None or last is None or not HEADER_BYTES <= first < last < size or text.overlaps(Segment(first, last)):
        notes.append("$BEGINSTEXT and $ENDSTEXT do not locate supplemental TEXT and were ignored.")
        return
    file.seek(origin + text.first)
    delimiter = file.read(1)
    file.seek(origin + first)
    raw = file.read(last - first + 1)
    if raw[:1] != delimiter:
        notes.append("supplemental TEXT does not begin with the delimiter of TEXT and was ignored.")
        return
    supplement, _, _ = split_keywords(path, "supplemental TEXT", raw, notes)
    added = {name: value for name, value in supplement.items() if name not in keywords}
    keywords.update(added)
    notes.append(f"supplemental TEXT was read and added {len(added)} keywords.")


def _check_required(path: Path, version: str, keywords: dict[str, str]) -> int:
    """Check that all required keywords are present; return the number of channels. FCS 2.0 does not require $TOT."""
    hint = "The file is damaged, or the program that wrote it does not follow the FCS standard."
    for name in ("$PAR", "$TOT", "$DATATYPE", "$BYTEORD"):
        if name not in keywords and not (name == "$TOT" and version == "FCS2.0"):
            raise FcsError(path, name, "no such keyword", "a value, which the FCS standard requires", hint)
    n_channels = whole_number(keywords["$PAR"])
    if not n_channels:
        raise FcsError(path, "$PAR", quoted(keywords["$PAR"]), "the number of channels")
    for number in range(1, n_channels + 1):
        for letter in "BRN":
            if (name := f"$P{number}{letter}") not in keywords:
                raise FcsError(path, name, "no such keyword", f"one for each of {n_channels} channels", hint)
    return n_channels
