"""Which antigen a name means, so that CD197, CCR7 and CD197_CCR7 are one.

The names come from ``antigen_aliases.csv``: CD names as assigned by the HLDA workshops (Engel et al. 2015, J Immunol
195:4555; list of the Human Cell Differentiation Molecules council, hcdm.org), approved gene symbols (HUGO Gene
Nomenclature Committee; Seal et al. 2023, Nucleic Acids Res 51:D1003; genenames.org), and other names in common use.
"""

import csv
import re
from functools import cache, lru_cache
from importlib import resources

from cytovae.events.detector_names import is_fluorochrome, words_of

_CD_NAME = re.compile(r"cd\d{1,3}[a-z]?")
_SUFFIX = re.compile(r"(?P<name>.+?)(?:biotinylated|biotin|bio|bt|purified|pure|pur|unconjugated|unconj)")
_PURITY = frozenset(
    {"bio", "biotin", "biotinylated", "pur", "pure", "purified", "unconj", "unconjugated", "strep", "sav"}
)
_PREFIXES = frozenset({"anti", "hu", "human", "ms", "mouse", "mu", "hs", "mm"})
_PULSE_LETTERS = frozenset("ahwt")
_BRACKETS = re.compile(r"\((?P<inner>[^()]*\d[^()]*)\)")
_MOST_WORDS_OF_A_NAME = 4
_MOST_WORDS = 40

# Common clones, without separators; any name in brackets that has a digit, or follows the word "clone", is one as well.
_CLONE = re.compile(
    r"ucht1|okt3|okt4|okt8|sk1|sk3|sk7|hit3a|sp347|rpat4|rpat8|l200|hi30|hi100|hi149|uchl1|2h7|l27|hib19|sj25c1"
    r"|3g8|b159|hcd56|ncam162|ma251|bc96|2a3|a019d5|hil7rm21|g043h7|3d12|150503|l243|g466|tu36|ln3|7g3|6h6|m5e2"
    r"|hcd14|61d3|bly6|icrf44|m170|wm53|581|8g12|hp67|im7|hit2|hb7|o323|mt271|l293|dreg56|fn50|eh121|eh122h7|mih1"
    r"|mih4|29e2a3|g025h7|1c6|j252d4|rf8b2|mu5ubee|l291h4|1g1|g034e3|11a9|hp3g10|dx12|ia62|mhm88|11f2|1452c11|17a2"
    r"|rm45|gk15|6d5|1d3|ra36b2|30f11|pk136|n418|rb68c5|1a8|hk14|bm8|m5114152|pc61|fjk16s|206d|pch101|236a|e7|259d"
    r"|4b10|4sb3|b27|mab11|mp617c11"
)


@cache
def _aliases() -> dict[str, str]:
    """The antigen of every name in the table."""
    text = resources.files("cytovae.events").joinpath("antigen_aliases.csv").read_text(encoding="utf-8")
    aliases: dict[str, str] = {}
    for row in csv.DictReader(text.splitlines()):
        for name in (row["antigen"], row["gene"], *row["other names"].split("|")):
            if name:
                aliases.setdefault(_joined(words_of(name)), row["antigen"])
    return aliases


def _joined(words: tuple[str, ...]) -> str:
    """Words without separators, but with a hyphen between digits: CD1-6 is not CD16."""
    text = ""
    for word in words:
        text += f"-{word}" if text and text[-1].isdigit() and word[0].isdigit() else word
    return text


@lru_cache(maxsize=65_536)
def parts_of(text: str) -> tuple[tuple[str, bool], ...]:
    """The antigens and other words that a name is made of, and whether each is a known antigen.

    Fluorochromes, clones, suffixes such as ``bio`` or ``pur``, and the pulse parameter are left out.
    """
    text = _without_bracketed_clone(text)
    words = words_of(text)[:_MOST_WORDS]
    parts: list[tuple[str, bool]] = []
    position, after_dye = 0, False
    while position < len(words):
        known, length = _known_antigen(words, position)
        word = words[position]
        if length:
            parts.append((known, True))
            position, after_dye = position + length, False
            continue
        if word == "clone" and parts:
            break
        dye = is_fluorochrome(word) or (after_dye and word.isdecimal())
        clone = _length_of_clone(words, position) if parts else 0
        pulse = position == len(words) - 1 and position > 0 and word in _PULSE_LETTERS
        ignored = dye or clone or pulse or word in (_PURITY if parts else _PREFIXES)
        if not ignored:
            parts.append((word, False))
        position, after_dye = position + max(clone, 1), dye
    return tuple(parts)


def _known_antigen(words: tuple[str, ...], position: int) -> tuple[str, int]:
    """The antigen whose name begins at ``position``, and the number of its words; the longest name counts."""
    for length in range(min(_MOST_WORDS_OF_A_NAME, len(words) - position), 0, -1):
        if antigen := _aliases().get(_joined(words[position : position + length])):
            return antigen, length
    word = words[position]
    for name in (word, match["name"] if (match := _SUFFIX.fullmatch(word)) else ""):
        if antigen := _aliases().get(name) or (name.upper() if _CD_NAME.fullmatch(name) else ""):
            return antigen, 1
    return "", 0


def _length_of_clone(words: tuple[str, ...], position: int) -> int:
    for length in range(min(_MOST_WORDS_OF_A_NAME, len(words) - position), 0, -1):
        if _CLONE.fullmatch("".join(words[position : position + length])):
            return length
    return 0


def _without_bracketed_clone(text: str) -> str:
    """Remove what stands in brackets behind a name unless it is an antigen: ``CD3 (UCHT1)``, not ``CD279 (PD-1)``."""
    match = _BRACKETS.search(text)
    if match is None or match.start() == 0:
        return text
    before, inside = text[: match.start()], match["inner"]
    if "(" in before or not known_antigen(before) or any(known for _, known in parts_of(inside)):
        return text
    return f"{before} {text[match.end() :]}"


def known_antigen(text: str) -> str:
    """The antigen that a name means, as spelled in the table; '' if it is unknown or the name has several."""
    parts = parts_of(text)
    antigens = {part for part, _ in parts}
    return antigens.pop() if len(antigens) == 1 and all(known for _, known in parts) else ""


def antigen_key(text: str) -> str:
    """A key that two names share if they mean the same antigen; '' if the name consists of a fluorochrome."""
    if antigen := known_antigen(text):
        return f"={antigen}"
    return _joined(tuple(word for part, _ in parts_of(text) for word in words_of(part)))
