"""Keywords of an FCS file: how a TEXT segment splits into names and values, and how a value is parsed.

The grammar relies on keyword *names* never containing the delimiter. A doubled delimiter after a name is therefore an
empty value, and a doubled delimiter inside a value is an escaped delimiter, so the conventions of all writers can be
distinguished.
"""

import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from cytovae.errors import FcsError

BLANKS = " \t\r\n\f\v"  # ASCII only: str.strip() also removes control characters that damage put into a number
PADDING = BLANKS + "\x00"  # characters that some writers put around names and at the end of TEXT
_MAX_DELIMITERS = 2_000_000
_AFFECTS_VALUES = re.compile(r"\$(?:PAR|TOT|DATATYPE|BYTEORD|MODE|P\d+(?:[BENR]|DATATYPE))")


def split_keywords(path: Path, field: str, raw: bytes, notes: list[str]) -> tuple[dict[str, str], str, str]:
    """Split a TEXT segment into keywords.

    Parameters
    ----------
    path, field
        The file and the name of the segment, for errors and notes.
    raw
        The segment. Its first byte is the delimiter.
    notes
        Receives a sentence for each oddity.

    Returns
    -------
    keywords, unpaired, encoding
        Values by upper-case name, the text after the last complete keyword ('' in a sound file), and the encoding.

    Raises
    ------
    FcsError
        If a keyword that decides values occurs with two different values, or the segment has too many delimiters.
    """
    if (n_delimiters := raw.count(raw[:1])) > _MAX_DELIMITERS:
        raise FcsError(path, field, f"{n_delimiters} delimiters", f"at most {_MAX_DELIMITERS}")
    encoding = "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = raw.decode(encoding)
        notes.append(f"{field} is not valid UTF-8 and was read as Latin-1.")
    delimiter = text[0]
    body = text[1:].rstrip(PADDING.replace(delimiter, ""))
    if body.endswith(delimiter):
        body = body[:-1]
    else:
        notes.append(f"{field} does not end with its delimiter {quoted(delimiter)}.")
    d = re.escape(delimiter)
    pair = re.compile(rf"([^{d}]+){d}((?>[^{d}]+|{d}{d})*)(?:{d}|\Z)")
    keywords: dict[str, str] = {}
    end = 0
    for match in pair.finditer(body):
        end = match.end()
        name = match[1].strip(PADDING).upper()
        value = match[2].replace(delimiter * 2, delimiter)
        if name in keywords and keywords[name] != value and _AFFECTS_VALUES.fullmatch(name):
            found = f"{quoted(keywords[name])} and {quoted(value)}"
            raise FcsError(path, name, found, "one value", "TEXT contains the keyword twice.")
        if name:
            keywords[name] = value
    return keywords, body[end:].strip(PADDING + delimiter), encoding


def whole_number(value: str) -> int | None:
    """Parse a non-negative integer of at most 20 digits; None if ``value`` is anything else."""
    return int(value) if re.fullmatch(r"[0-9]{1,20}", value := value.strip(BLANKS)) else None


def decimal_number(value: str) -> float | None:
    """Parse a finite decimal number; None if ``value`` is anything else, such as ``nan`` or ``1_000``."""
    if not re.fullmatch(r"[+-]?([0-9]{1,40}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value := value.strip(BLANKS)):
        return None
    return parsed if isfinite(parsed := float(value)) else None


def quoted(value: str) -> str:
    """Quote and escape a value from a file for use in a message, shortened to 40 characters."""
    return ascii(value if len(value) <= 40 else value[:40] + "…")


def quoted_list(names: Sequence[str]) -> str:
    """List the first six names, quoted, and the number of the others."""
    shown = ", ".join(quoted(name) for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
