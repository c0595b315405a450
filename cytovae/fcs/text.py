"""HEADER and TEXT of an FCS file → its keywords, checked against the size of the file before anything is believed.

TEXT is read twice. Ours splits it by a grammar in which a keyword's *name* never holds the delimiter: a doubled
delimiter after a name is an empty value, inside a value it is an escaped delimiter, so both habits of writers can be
told apart. It also trims and upper-cases names and never drops a byte. ``fcsparser`` then reads the same TEXT, and
where both agree its reading is handed out; where it fails or differs (padded or lower-case names, empty values, no
``$NEXTDATA``) ours is, and a note says so. It is asked only after the sizes are known to be sound, because it
allocates by ``$PAR``; it never sees DATA.
"""

import re
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from cytovae.errors import FcsError, InputError

VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")


HEADER_BYTES = 58


_HEADER_FIELDS = ("TEXT begin", "TEXT end", "DATA begin", "DATA end", "ANALYSIS begin", "ANALYSIS end")


_BEYOND_HEADER = 99_999_999  # what some writers put into HEADER where eight digits do not suffice; the standard says 0


_MOST_DELIMITERS = 2_000_000


_MOST_DATA_SETS = 1_000


BLANKS = " \t\r\n\f\v"  # ASCII only: str.strip() would also take control characters that damage left in a number


_BLANK = BLANKS + "\x00"


_DECIDES_VALUES = re.compile(r"\$(?:PAR|TOT|DATATYPE|BYTEORD|MODE|P\d+(?:[BENR]|DATATYPE))")


@dataclass(frozen=True)
class Segment:
    """Bytes ``first`` … ``last`` (inclusive, as in the standard), counted from the beginning of the data set."""

    first: int
    last: int

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}"

    def overlaps(self, other: "Segment") -> bool:
        """Whether the two have a byte in common."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, eq=False)
class FcsText:
    """What HEADER and TEXT of one data set say.

    ``origin`` is where the data set begins in the file and ``size`` how many bytes the file has from there on; all
    other offsets count from ``origin``. ``header_data`` is where HEADER says DATA is, None where it says nothing.
    ``unpaired`` is what stood after the last complete keyword, '' in a sound file.
    """

    path: Path
    version: str
    origin: int
    size: int
    text: Segment
    header_data: Segment | None
    encoding: str
    keywords: dict[str, str]
    n_channels: int
    unpaired: str
    notes: tuple[str, ...]


def whole_number(value: str) -> int | None:
    """A keyword's value as a non-negative integer of at most 20 digits, or None if it is anything else."""
    return int(value) if re.fullmatch(r"[0-9]{1,20}", value := value.strip(BLANKS)) else None


def quoted(value: str) -> str:
    """A value from a file, for use in a sentence: quoted, escaped, and not longer than a line."""
    return ascii(value if len(value) <= 40 else value[:40] + "…")


def read_text(path: Path, data_set: int | None) -> FcsText:
    """Keywords of one data set: number ``data_set``, counted from 0, or the first where it is None.

    Raises :class:`InputError` where there is nothing, a folder, or no right to read, and :class:`FcsError` where HEADER
    or TEXT cannot be trusted or there is no data set of that number.
    """
    if "\x00" in str(path):
        raise InputError(quoted(str(path)), "file", "a NUL in its name", "a readable FCS file")
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):  # a pipe would block, a folder cannot be read
            raise InputError(path, "file", "a folder" if path.is_dir() else "not a regular file", "an FCS file")
        with path.open("rb") as file:
            return _read_chain(file, path, status.st_size, data_set)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "a readable FCS file") from error


def _read_chain(file: BinaryIO, path: Path, size: int, data_set: int | None) -> FcsText:
    """The wanted data set, found by following ``$NEXTDATA``; the chain only ever moves forward, so it ends."""
    wanted = data_set or 0
    if wanted < 0:
        raise FcsError(path, "data set", str(wanted), "a number from 0")
    current = chosen = _read_data_set(file, path, 0, size)
    count, broken = 1, ""
    while count < _MOST_DATA_SETS:
        following = whole_number(current.keywords.get("$NEXTDATA", "0"))
        if following == 0:
            break
        # The standard counts from the current data set; some writers count from the beginning of the file.
        origins = [] if following is None else [current.origin + following, following]
        origin = next((o for o in origins if current.origin < o <= size - HEADER_BYTES and _is_fcs(file, o)), None)
        if origin is None:
            broken = f"$NEXTDATA {quoted(current.keywords['$NEXTDATA'])} points at no data set; it was ignored."
            break
        try:
            current = _read_data_set(file, path, origin, size)
        except FcsError as error:
            if wanted == count:
                raise
            broken = f"a data set at byte {origin} cannot be read ({error.field}: {error.found}); it was ignored."
            break
        if wanted == count:
            chosen = current
        count += 1
    if wanted >= count:
        raise FcsError(path, "data set", f"{count} of them", f"number {wanted}, counted from 0", broken)
    several = ""
    if count > 1 and data_set is None:
        several = f"the file holds {count} data sets; the first was read. Choose by data set number, counted from 0."
    return _add_notes(_checked_by_fcsparser(file, chosen), several, broken)


def _is_fcs(file: BinaryIO, origin: int) -> bool:
    file.seek(origin)
    return file.read(6).decode("latin-1") in VERSIONS


def _read_data_set(file: BinaryIO, path: Path, origin: int, file_size: int) -> FcsText:
    """HEADER, TEXT and supplemental TEXT of the data set that begins at byte ``origin``."""
    size = file_size - origin
    file.seek(origin)
    header = file.read(HEADER_BYTES)
    version = header[:6].decode("latin-1")
    if version not in VERSIONS:
        hint = ""
        if header[:2] in (b"\x1f\x8b", b"PK"):
            hint = "This is a compressed file; unpack it first."
        raise FcsError(
            path, "HEADER version", quoted(version) if header else "an empty file", " or ".join(VERSIONS), hint
        )
    if len(header) < HEADER_BYTES:
        raise FcsError(path, "HEADER", f"{len(header)} bytes", f"{HEADER_BYTES} bytes", "The file was cut short.")
    notes: list[str] = []
    offsets = [_header_offset(path, header, number, size, notes) for number in range(6)]
    text = Segment(offsets[0], offsets[1])
    if not HEADER_BYTES <= text.first < text.last < size:
        raise FcsError(
            path,
            "HEADER TEXT begin" if text.first < HEADER_BYTES else "HEADER TEXT end",
            f"TEXT at {text}",
            f"a segment between byte {HEADER_BYTES} and the end of the file, byte {size - 1}",
            "The file was cut short or is damaged.",
        )
    header_data = _place(offsets[2], offsets[3])
    file.seek(origin + text.first)
    raw = file.read(len(text))
    if header_data is not None and text.last == header_data.first and raw[-1] != raw[0]:
        # An end that is one too far: the last byte is DATA's first (fcsparser cuts it too).
        text, raw = Segment(text.first, text.last - 1), raw[:-1]
        notes.append("HEADER ends TEXT one byte late, on DATA's first byte; that byte was left to DATA.")
    keywords, unpaired, encoding = _split(path, "TEXT", raw, notes)
    _merge_supplement(file, path, origin, size, text, keywords, notes)
    n_channels = _require(path, keywords)
    return FcsText(
        path=path,
        version=version,
        origin=origin,
        size=size,
        text=text,
        header_data=header_data,
        encoding=encoding,
        keywords=keywords,
        n_channels=n_channels,
        unpaired=unpaired,
        notes=tuple(notes),
    )


def _header_offset(path: Path, header: bytes, number: int, size: int, notes: list[str]) -> int:
    raw = header[10 + 8 * number : 18 + 8 * number].decode("latin-1").strip(_BLANK)
    value = whole_number(raw or "0")
    if value is not None:
        return value
    if number >= 4:
        notes.append(f"HEADER {_HEADER_FIELDS[number]} is {quoted(raw)}, not a number; ANALYSIS is not read anyway.")
        return 0
    raise FcsError(path, f"HEADER {_HEADER_FIELDS[number]}", quoted(raw), f"a byte offset in a file of {size} bytes")


def _place(first: int, last: int) -> Segment | None:
    """A segment as two offsets give it; 0 and 99999999 stand for 'see the other place'."""
    return None if first in (0, _BEYOND_HEADER) or last in (0, _BEYOND_HEADER) else Segment(first, last)


def _split(path: Path, field: str, raw: bytes, notes: list[str]) -> tuple[dict[str, str], str, str]:
    """Keywords of a TEXT segment, what is left over at its end, and its encoding."""
    if raw.count(raw[:1]) > _MOST_DELIMITERS:
        raise FcsError(path, field, f"{raw.count(raw[:1])} delimiters", f"at most {_MOST_DELIMITERS}")
    encoding = "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = raw.decode(encoding)
        notes.append(f"{field} is not UTF-8; it was read as Latin-1.")
    delimiter = text[0]
    body = text[1:].rstrip(_BLANK.replace(delimiter, ""))
    if body.endswith(delimiter):
        body = body[:-1]
    else:
        notes.append(f"{field} does not end in its delimiter {quoted(delimiter)}.")
    d = re.escape(delimiter)
    pair = re.compile(rf"([^{d}]+){d}((?>[^{d}]+|{d}{d})*)(?:{d}|\Z)")
    keywords: dict[str, str] = {}
    end = 0
    for match in pair.finditer(body):
        end = match.end()
        name = match[1].strip(_BLANK).upper()
        value = match[2].replace(delimiter * 2, delimiter)
        if name in keywords and keywords[name] != value and _DECIDES_VALUES.fullmatch(name):
            found = f"{quoted(keywords[name])} and {quoted(value)}"
            raise FcsError(path, name, found, "one value", "The keyword stands twice in TEXT.")
        if name:
            keywords[name] = value
    return keywords, body[end:].strip(_BLANK + delimiter), encoding


def _merge_supplement(
    file: BinaryIO, path: Path, origin: int, size: int, text: Segment, keywords: dict[str, str], notes: list[str]
) -> None:
    """Add the keywords of supplemental TEXT; what primary TEXT says stays."""
    offsets = [whole_number(keywords.get(name, "0").strip(_BLANK) or "0") for name in ("$BEGINSTEXT", "$ENDSTEXT")]
    first, last = offsets
    if first == 0 or last == 0:
        return
    if first is None or last is None or not HEADER_BYTES <= first < last < size or text.overlaps(Segment(first, last)):
        notes.append("$BEGINSTEXT and $ENDSTEXT name no place for supplemental TEXT; they were ignored.")
        return
    file.seek(origin + text.first)
    delimiter = file.read(1)
    file.seek(origin + first)
    raw = file.read(last - first + 1)
    if raw[:1] != delimiter:
        notes.append("supplemental TEXT does not begin with TEXT's delimiter; it was ignored.")
        return
    supplement, _, _ = _split(path, "supplemental TEXT", raw, notes)
    added = {name: value for name, value in supplement.items() if name not in keywords}
    keywords.update(added)
    notes.append(f"supplemental TEXT was read: {len(added)} keywords more.")


def _require(path: Path, keywords: dict[str, str]) -> int:
    """The number of channels, once every required keyword is known to be there."""
    hint = "The file is damaged or was written by a program that departs from the standard."
    for name in ("$PAR", "$TOT", "$DATATYPE", "$BYTEORD"):
        if name not in keywords:
            raise FcsError(path, name, "no such keyword", "a value (the standard requires it)", hint)
    n_channels = whole_number(keywords["$PAR"])
    if not n_channels:
        raise FcsError(path, "$PAR", quoted(keywords["$PAR"]), "the number of channels")
    for number in range(1, n_channels + 1):
        for letter in "BRN":
            if (name := f"$P{number}{letter}") not in keywords:
                raise FcsError(path, name, "no such keyword", f"one for each of {n_channels} channels", hint)
    return n_channels


def _checked_by_fcsparser(file: BinaryIO, ours: FcsText) -> FcsText:
    """The reading of fcsparser of the same TEXT where the two agree, else ours with a note."""
    from fcsparser.api import FCSParser  # imports pandas: half a second that `--help` need not pay

    file.seek(ours.origin)
    header = file.read(HEADER_BYTES)
    file.seek(ours.origin + ours.text.first)
    raw = file.read(len(ours.text))
    # TEXT directly after HEADER, so that a TEXT behind gigabytes of DATA, or one of a later data set, needs no copy of
    # what lies before it.
    moved = header[:10] + f"{HEADER_BYTES:>8}{HEADER_BYTES + len(raw) - 1:>8}".encode() + header[26:42] + b" " * 16
    parser = FCSParser(encoding=ours.encoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing last delimiter is in our notes already
            parser.load_file(BytesIO(moved + raw), read_data=False)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        return _add_notes(
            ours, f"TEXT was read by our own rules: fcsparser fails on it ({type(error).__name__}: {error})."
        )
    theirs: dict[str, str] = {}
    for name, value in parser.annotation.items():
        if name == "__header__":
            continue
        name = name.strip(_BLANK).upper()
        our_value = ours.keywords.get(name)
        # It turns a few values into integers; those keep the digits TEXT has.
        same = our_value is not None and (
            whole_number(our_value) == value
            if isinstance(value, int)
            else our_value.strip(_BLANK) == value.strip(_BLANK)
        )
        if name and not same:
            return _add_notes(ours, f"TEXT was read by our own rules: fcsparser reads {quoted(name)} in another way.")
        if our_value is not None:
            theirs[name] = our_value if isinstance(value, int) else value
    return replace(ours, keywords=ours.keywords | theirs)


def _add_notes(text: FcsText, *notes: str) -> FcsText:
    return replace(text, notes=text.notes + tuple(note for note in notes if note))
