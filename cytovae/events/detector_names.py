"""Names of detectors, fluorochromes and pulse parameters, as the makers of instruments and programs write them."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_GREEK = str.maketrans({"α": "a", "β": "b", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "κ": "k", "λ": "l"})
_GREEK_WORDS = re.compile(r"(?<!^)(alpha|beta|gamma|delta|epsilon)|^(?:alpha|beta|gamma|delta|epsilon)$")
_NOT_ALPHANUMERIC = re.compile(r"[^0-9a-z]+")
_TRADE_MARKS = re.compile(r"[™®©]")
_COMPENSATED = re.compile(r"(?:FJ)?Comp(?:ensated)?[-_. ]+(?=\S)", re.IGNORECASE)
_BRACKETS = re.compile(r"<(?P<inner>[^<>]+)>")

# The pulse parameters that instruments append: FL1-A, FL1-Log_Height, FL1 INT LOG, FSC LogH, GRN-HLog, FSCArea.
_SCALE, _LETTER, _WORD = r"(?P<{0}>lin|log)", r"(?P<{0}>[ahwt])", r"(?P<{0}>area|height|width|integral|int|peak|tof)"
_PULSES = tuple(
    re.compile(r"(?P<stem>.*\S)" + tail, re.IGNORECASE)
    for tail in (
        rf"[-_. ]+{_SCALE.format('scale')}[-_. ]*(?:{_LETTER.format('letter')}|{_WORD.format('word')})",
        rf"[-_. ]+(?:{_LETTER.format('letter')}[-_. ]*|{_WORD.format('word')}[-_. ]+){_SCALE.format('scale')}",
        rf"[-_. ]+(?:{_LETTER.format('letter')}|{_WORD.format('word')})",
        rf"[-_. ]+{_SCALE.format('scale')}",
    )
)
_PULSE_PARTS = {"integral": "a", "int": "a", "area": "a", "peak": "h", "height": "h", "width": "w", "tof": "t"}

# Fluorochromes, a pattern for each word of their names; a number may follow ("Alexa Fluor 488").
_FLUOROCHROME = re.compile(
    r"fitc|r?pe|apc|h7|percp|ecd|pc(?:5|55|7)|rd1|kro|krome|cy(?:anine)?\d*|cychrome|tritc|txred|tr"
    r"|(?:pe|apc|percp)(?:cy|vio|cf|efluor|ef|fire|dazzle|af|alexafluor|h|r|alexa)?\d+|(?:pe|apc)(?:cy|vio|fire"
    r"|dazzle)"
    r"|(?:bv|buv|bb|rb|rr|ry|byg|br|sb|sbb|sbv|sbuv|sby|sbr|af|ax|cf|qd|nfb?|nfy|nfr|ef|df|mb|vb|kb|r|a)[1-9]\d\d"
    r"|(?:alexa|alexafluor|efluor|qdot|atto|dylight|superbright|starbright|sparkyg|sparkuv|sparkblue|sparknir"
    r"|sparkviolet|sparkred|realblue|realyellow|novafluor\w*|kiravia\w*|horizon|vioblue|viogreen|viobright"
    r"|vio|pacblue?|pacorange|pacificblue|pacificorange|texasred|amcyan|dazzle|fire|spark|bdhorizon|bd)\d*"
    r"|v(?:450|500)|e(?:450|506|610|660|710|780)|pacific|pacblu|fluor|brilliant|texas|super|bright|nova|real|star"
    r"|violet|blue|green|orange|yellow|red|ultraviolet|cyan|nir"
)
# Other words in the names of detectors: lasers, filters, amplifiers, photomultipliers.
_DETECTOR = re.compile(
    r"(?:\d{3})?fl\d*|(?:img)?(?:d?uv|v|b|yg|y|g|r|ir|nir)l?\d{1,3}|\d{3}ch\d+|u\d{1,2}|ch\d+|pmt\d*|\d+(?:nm|lp|bp"
    r"|sp)?"
    r"|nm|lp|bp|sp|laser|detector|channel|filter|lin|log|(?:lin|log)[ahw]|[ahw](?:lin|log)|area|height|width|int"
    r"|peak|tof"
    r"|comp|fjcomp"
)
_RAW_DETECTOR = re.compile(
    r"(?P<laser>(?:img)?(?:d?uv|u|v|b|yg|y|g|r|ir|nir)|\d{3}ch)[ _-]?(?P<number>\d{1,3})(?: ?\((?P<filter>\d{3})\))?",
    re.IGNORECASE,
)
_NUMBERED_FROM_0 = re.compile(r"FL\d\d")  # FL00 to FL50 on a Xenith
_MOST_CONVENTIONAL = 20  # detectors; conventional instruments have fewer that are named by laser and number
_LONGEST_CONVENTIONAL_RUN = 8  # detectors of one laser, numbered from 1
_FEWEST_BESIDE_OTHERS = 3


@dataclass(frozen=True)
class Pulse:
    """A name of a channel, taken apart.

    Attributes
    ----------
    stem
        The detector, in lower case.
    compensated
        Whether the name says that values are compensated: ``Comp-X``, ``FJComp-X``, ``<X>``.
    part
        The part of the pulse: ``a`` (area), ``h`` (height), ``w`` (width), ``t`` (time) or ''.
    scale
        ``lin``, ``log`` or ''.
    """

    stem: str
    compensated: bool
    part: str
    scale: str


@lru_cache(maxsize=65_536)
def plain_text(text: str) -> str:
    """A name without compensation prefix, angle brackets and trade marks, in Unicode's composed form."""
    text = _TRADE_MARKS.sub("", unicodedata.normalize("NFC", text)).strip()
    if match := _BRACKETS.fullmatch(text):
        text = match["inner"].strip()
    return _COMPENSATED.sub("", text, count=1) if _COMPENSATED.match(text) else text


@lru_cache(maxsize=65_536)
def words_of(text: str) -> tuple[str, ...]:
    """The alphanumeric words of a name in lower case; Greek letters become Latin ones, as do their names."""
    lowered = plain_text(text).casefold().translate(_GREEK)
    words = [_GREEK_WORDS.sub(lambda match: match[0][0], word) for word in _NOT_ALPHANUMERIC.split(lowered)]
    return tuple(word for word in words if word)


@lru_cache(maxsize=65_536)
def pulse_of(name: str) -> Pulse:
    """Take the name of a channel apart."""
    name = " ".join(name.split())
    compensated = plain_text(name) != _TRADE_MARKS.sub("", unicodedata.normalize("NFC", name)).strip()
    plain = plain_text(name)
    for pattern in _PULSES:
        if match := pattern.fullmatch(plain):
            groups = match.groupdict()
            part = (groups.get("letter") or groups.get("word") or "").casefold()
            scale = (groups.get("scale") or "").casefold()
            return Pulse(match["stem"].casefold(), compensated, _PULSE_PARTS.get(part, part), scale)
    return Pulse(plain.casefold(), compensated, "", "")


@lru_cache(maxsize=65_536)
def without_pulse(name: str) -> str:
    """A name without the pulse parameter at its end: ``Zombie NIR`` for ``Comp-Zombie NIR-A``."""
    plain = plain_text(name)
    for pattern in _PULSES:
        if match := pattern.fullmatch(plain):
            return match["stem"].rstrip(" -_.")
    return plain


def is_fluorochrome(word: str) -> bool:
    """Whether a word of :func:`words_of` belongs to the name of a fluorochrome."""
    return _FLUOROCHROME.fullmatch(word) is not None


@lru_cache(maxsize=65_536)
def names_detector(text: str) -> bool:
    """Whether a name consists of a detector, its filter or a fluorochrome, and names nothing that is measured."""
    words = words_of(text)
    if not words:
        return False
    last = len(words) - 1
    return all(
        is_fluorochrome(word)
        or _DETECTOR.fullmatch(word) is not None
        or (position == last > 0 and word in {"a", "h", "w", "t"})
        for position, word in enumerate(words)
    )


def is_laser_and_number(name: str) -> bool:
    """Whether a name consists of a laser and a number, as that of a raw detector: V1-A, 320CH5-A, UV1 (375)-A."""
    return _RAW_DETECTOR.fullmatch(without_pulse(name)) is not None


def raw_spectral_detectors(names: Iterable[str], *, beside_others: bool) -> frozenset[str]:
    """The names of the raw detectors of a spectral instrument among ``names``; none if there are too few.

    Raw detectors are named by laser and number (V1-A, 320CH5-A, UV1 (375)-A, V508-A). Conventional instruments have
    such names, too, but fewer of them. ``beside_others``: there are other fluorescence channels, so a few suffice.
    """
    raw: dict[str, re.Match[str]] = {}
    numbered = set()
    for name in names:
        stem = without_pulse(name)
        if match := _RAW_DETECTOR.fullmatch(stem):
            raw[name] = match
        elif _NUMBERED_FROM_0.fullmatch(stem):
            numbered.add(name)
    stems = {without_pulse(name).casefold() for name in raw}
    of_lasers: dict[str, set[int]] = {}
    for match in raw.values():
        of_lasers.setdefault(match["laser"].casefold(), set()).add(int(match["number"]))
    runs = [numbers for numbers in of_lasers.values() if set(range(1, _LONGEST_CONVENTIONAL_RUN + 2)) <= numbers]
    # R718 and V450 are fluorochromes as well.
    sure = {name for name, match in raw.items() if match["filter"] or len(match["number"]) < 3}
    found = set(raw) if len(stems) >= _MOST_CONVENTIONAL or runs else set()
    if beside_others and len(sure) >= _FEWEST_BESIDE_OTHERS:
        found |= sure
    if len(numbered) > _MOST_CONVENTIONAL and any(name.upper().startswith("FL0") for name in numbered):
        found |= numbered
    return frozenset(found)
