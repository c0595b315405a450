"""Keywords to the HEADER and TEXT of an FCS 3.1 file that flowCore, FlowIO, fcsparser and this package read alike."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from cytovae.fcs.keywords import PADDING, decimal_number

TEXT_BEGIN = 256
"""The byte where TEXT begins; spaces fill the gap after HEADER."""

# Tried in order. All are valid in FCS 3.1, and FlowIO needs no escape for them in its regular expressions.
_DELIMITERS = "\f|\x1e\x1f\x1d\x1c~!"
_LAST_HEADER_BYTE = 99_999_999  # of eight digits; larger offsets are in TEXT only
# Keywords that the writer sets itself, or that are not true of its little-endian floats in UTF-8.
_LAYOUT_KEYWORDS = re.compile(
    r"(?:BEGIN|END)(?:DATA|STEXT|ANALYSIS)|BYTEORD|DATATYPE|MODE|NEXTDATA|PAR|TOT|UNICODE|P[0-9]+(?:[BENRS]|DATATYPE)"
)


def clean_name(name: str) -> str:
    """Change a channel name so that every reader gives it back: no control characters, no blanks at the ends.

    FlowIO drops every "$", so "_" replaces them in a name that would be empty without them.
    """
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = "".join(" " if unicodedata.category(character) == "Cc" else character for character in name).strip()
    return name if name.strip("$") else name.replace("$", "_")


def kept_keywords(keywords: Mapping[str, str], n_channels: int) -> dict[str, str]:
    """The keywords that do not describe the layout, in a form that every reader can read.

    An empty value becomes a space: a doubled delimiter is an empty value for flowCore, but an escaped delimiter for
    FlowIO and fcsparser. NUL characters, which flowCore cannot hold, become spaces, too. Keywords of channels that do
    not exist are left out, and so are gains that are not numbers, with which FlowIO refuses a file.

    Parameters
    ----------
    keywords
        Values by name. A "$" belongs to the name.
    n_channels
        The number of channels that the keywords describe.
    """
    kept = {}
    for name, value in keywords.items():
        name = clean_name(name.strip(PADDING)).upper()
        value = value.encode("utf-8", "replace").decode("utf-8").replace("\0", " ") or " "
        channel = re.match(r"\$P(\d+)([A-Z]+)", name)
        if not name.strip("$") or (name.startswith("$") and _LAYOUT_KEYWORDS.fullmatch(name[1:])):
            continue
        if channel and (
            not 1 <= int(channel[1]) <= n_channels or (channel[2] == "G" and decimal_number(value) is None)
        ):
            continue
        kept[name] = value
    return kept


def header_and_text(layout: Mapping[str, str], keywords: Mapping[str, str], n_data_bytes: int) -> bytes:
    """HEADER and TEXT of a file whose DATA follows directly.

    The delimiter is the first of several characters that no name and no value contains. If values contain all of them,
    record separators (0x1E) in values become spaces.

    Parameters
    ----------
    layout
        Keywords that describe the layout, without offsets.
    keywords
        All other keywords, as :func:`kept_keywords` gives them.
    n_data_bytes
        The size of DATA.
    """
    # FlowIO drops every "$" and takes the last of two equal names, so PAR or P1N must come before $PAR and $P1N.
    first = {name: value for name, value in keywords.items() if _LAYOUT_KEYWORDS.fullmatch(name.replace("$", ""))}
    pairs = first | {"$BEGINDATA": "", "$ENDDATA": ""} | dict(layout) | dict(keywords)
    delimiter = _delimiter([*pairs, *pairs.values()])
    begin = TEXT_BEGIN
    while True:  # offsets only grow, so this ends: mostly in the third round
        pairs |= {"$BEGINDATA": str(begin), "$ENDDATA": str(begin + n_data_bytes - 1)}
        text = _joined(pairs, delimiter).encode()
        if TEXT_BEGIN + len(text) == begin:
            break
        begin = TEXT_BEGIN + len(text)
    end = begin + n_data_bytes - 1
    data = (begin, end) if end <= _LAST_HEADER_BYTE else (0, 0)
    header = "FCS3.1    " + "".join(f"{offset:>8}" for offset in (TEXT_BEGIN, begin - 1, *data, 0, 0))
    return header.ljust(TEXT_BEGIN).encode() + text


def _delimiter(texts: Iterable[str]) -> str:
    used = set().union(*texts)
    return next((character for character in _DELIMITERS if character not in used), "\x1e")


def _joined(pairs: Mapping[str, str], delimiter: str) -> str:
    parts = (part.replace(delimiter, " ") for pair in pairs.items() for part in pair)
    return delimiter + "".join(f"{part}{delimiter}" for part in parts)
