"""Names of channels that are not markers: scatter, time, viability, DNA, indices, clusters, maps, images.

The patterns are in ``technical_names.csv``, one a row, and follow the names that instruments, programs and laboratories
write. Each matches the whole name in lower case, its words separated by single spaces (``opt-SNE_1`` is ``opt sne 1``).
A firm pattern suffices as the name of a detector, even where ``$PnS`` names something else.
"""

import csv
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources

from cytovae.events.detector_names import plain_text, without_pulse

_SEPARATORS = re.compile(r"[\s_\-.,;:/\\|()\[\]{}<>@+&'\"*=~?!]+")
_EDGES = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z])(?=ID\b)")  # of words in CamelCase
_NUMBERED = re.compile(
    r"(?P<stem>pc|ic|dc|dm|lv|ld|lda|mds|p|factor|dim|component|latent|z|harmony) ?(?P<number>\d{1,3})"
)

_SHARED = {
    "{scatter}": r"(?:\d{3}(?:nm)?)?(?:uv|yg|vio|violet|blue|red|yellow|green|[vbyrgi])?[fsb]sc\d*"
    r"(?:[ahw]|area|height|width|peak|pmt\w*|int\w*|h?lin\w*|h?log\w*|alin|alog)?",
    "{dye}": r"(?:zombie|ghost|viakrome|via ?dye|viobility|viability|fixable|fvd|fvs|efvs|sytox|draq ?7|7 ?aad"
    r"|propidium|helix ?np|live ?dead|dead ?live|near ?ir|vivid|amine|calcein|cisplatin|cis ?pt"
    r"|to ?pro ?\d?|yo ?pro ?\d?)",
    "{colour}": r"(?:near )?(?:ir|nir|uv|aqua|blue|green|red|violet|yellow|orange|scarlet|lime|crimson|olive|emerald)",
}

# The customary use of a metal whose channel names no antibody.
_METAL_USES = {
    "beads": re.compile(r"Ce140|140Ce"),
    "DNA": re.compile(r"Ir19[13]|19[13]Ir|19[13]"),
    "viability": re.compile(r"Pt19[4568]|19[4568]Pt"),
    "barcode": re.compile(r"Pd1(?:0[24568]|10)|1(?:0[24568]|10)Pd|Rh103|103Rh"),
    "background": re.compile(
        r"(?:Ar){1,2}80|80(?:Ar){1,2}|(?:Xe|Sn|Ba)1\d\d|1\d\d(?:Xe|Sn|Ba)|Pb20\d|20\d\d?Pb|Cs133|133Cs|Hg20\d|20\dHg"
        r"|I127|127I|Ru\d{2,3}|\d{2,3}Ru|Os1\d\d|1\d\dOs"
    ),
}

# $PnTYPE of FCS 3.2 (Spidlen et al. 2021, Cytometry A 99:100); other types of signal are markers.
_KINDS = {
    "scatter": re.compile(r".*scatter.*|lightloss.*|extinction|electronicvolume|volume"),
    "time": re.compile(r".*time.*|clock"),
    "index or identifier": re.compile(r"index.*|.*identifier|event.*|count.*"),
    "label": re.compile(r"classif.*|class|gate.*|label.*"),
    "cluster": re.compile(r"cluster.*"),
    "image feature": re.compile(r"shape.*|imag.*|size.*|texture.*|morpholog.*|position.*|location.*|mask.*|spatial.*"),
    "sorting": re.compile(r"sort.*"),
    "pulse parameter": re.compile(r".*width.*"),
    "autofluorescence": re.compile(r"autofluo.*"),
    "viability": re.compile(r"viab.*"),
    "computed": re.compile(
        r"computed.*|derived.*|ratio.*|parameter|other.*nonfluo.*|analysis.*|probabilit.*|embedding.*"
    ),
}
_SIGNAL_FEATURES = frozenset(
    {
        "",
        "-",
        "area",
        "height",
        "width",
        "peak",
        "integral",
        "integrated",
        "a",
        "h",
        "w",
        "mean",
        "median",
        "intensity",
        "signal",
    }
    | {"log", "linear", "na", "none", "time", "t"}
)


def _normal(text: str) -> str:
    spaced = _EDGES.sub(" ", text)
    return " ".join(_SEPARATORS.sub(" ", spaced.casefold()).split())


@lru_cache(maxsize=65_536)
def technical_use(text: str, *, firm_only: bool = False) -> str:
    """What a channel of this name holds if that is no marker; '' if it may be one.

    With ``firm_only``, names that could just as well be that of a detector are not judged.
    """
    forms = dict.fromkeys(
        form for name in (plain_text(text), without_pulse(text)) for form in (_normal(name), _normal(name.casefold()))
    )
    for firm in (True,) if firm_only else (True, False):
        for use, pattern in _patterns(firm=firm):
            if any(form and pattern.fullmatch(form) for form in forms):
                return use
    return ""


@cache
def _patterns(*, firm: bool) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The firm or the other patterns of the table, joined for each use, in its order."""
    text = resources.files("cytovae.events").joinpath("technical_names.csv").read_text(encoding="utf-8")
    of_uses: dict[str, list[str]] = {}
    for row in csv.DictReader(text.splitlines()):
        if (row["firm"] == "yes") == firm:
            of_uses.setdefault(row["use"], []).append(row["pattern"])
    joined = {use: "|".join(patterns) for use, patterns in of_uses.items()}
    for part, pattern in _SHARED.items():
        joined = {use: text.replace(part, pattern) for use, text in joined.items()}
    return tuple((use, re.compile(pattern)) for use, pattern in joined.items())


def metal_use(isotope: str) -> str:
    """The customary use of a metal without an antibody; '' if it has none."""
    return next((use for use, pattern in _METAL_USES.items() if pattern.fullmatch(isotope)), "")


def use_of_kind(kind: str, feature: str) -> str:
    """What ``$PnTYPE`` and ``$PnFEATURE`` say that a channel holds if it is no marker; '' if it may be one."""
    plain = re.sub(r"[\s_-]+", "", kind).casefold()
    for use, pattern in _KINDS.items():
        if pattern.fullmatch(plain):
            return use
    return "" if re.sub(r"[\s_-]+", "", feature).casefold() in _SIGNAL_FEATURES else "image feature"


def numbered_components(names: Iterable[str]) -> frozenset[str]:
    """Names that number the components of a map or of a mixture: PC1, PC2, …; a single PC5 is a fluorochrome."""
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(_normal(plain_text(name)))
        # `p_1` is a probability, `p1` could be anything.
        if match and (match["stem"] != "p" or " " in match[0]):
            numbers.setdefault(match["stem"], {})[int(match["number"])] = name
    return frozenset(name for found in numbers.values() if {1, 2} <= set(found) for name in found.values())
