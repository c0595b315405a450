"""What a channel's names say: which antibody, whether it is a marker at all, and which channel a name asks for.

A channel has two names: ``$PnN`` (the detector or metal, ``Pr141Di``) and ``$PnS`` (what was stained, ``141Pr_CD45``).
The marker is what is left of ``$PnS``, else of ``$PnN``, when the isotope is taken off: it is the antibody that must
be the same in two files, not the metal it happened to be conjugated to.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cytovae.fcs.channels import Channel


@dataclass(frozen=True)
class ChannelUse:
    """How one channel is understood: the marker's name, whether a default panel takes it and, if not, why."""

    channel: Channel
    marker: str
    used: bool
    reason: str


# --- what a name says -------------------------------------------------------------------------------------------------

# Case matters: `Cd110` is cadmium, `CD110` is a marker.
_ELEMENT = (
    "(?:As|Se|Br|Sr|Zr|Y|Rh|Pd|Ag|Cd|In|Sn|Te|I|Xe|Cs|Ba|La|Ce|Pr|Nd|Pm|Sm|Eu|Gd|Tb|Dy|Ho|Er|Tm|Yb|Lu|Hf|Ta|W|Os|Ir|Pt"
    "|Au|Hg|Tl|Pb|Bi)"
)


_MASS = r"(?:[7-9]\d|1\d\d|20\d)"


_ISOTOPE = f"(?:{_MASS}{_ELEMENT}|{_ELEMENT}{_MASS})"


_METAL_ONLY = re.compile(rf"\(?(?P<isotope>{_ISOTOPE}|{_MASS})\)?(?:D[id])?")


_METAL_BEFORE = re.compile(rf"^{_ISOTOPE}(?:D[id])?[\s_:-]+(?=\S)")


_METAL_AFTER = re.compile(
    rf"(?<=\S)(?:[\s_-]*\((?:{_ISOTOPE}|{_MASS}(?:[:,-]{_MASS})*)\)|[\s_-]+{_ISOTOPE})(?:D[id])?$"
)


# Metals whose channel, when no antibody is named on it, has a customary use.
_METAL_USES = {
    "beads": re.compile(r"Ce140|140Ce"),
    "DNA": re.compile(r"Ir19[13]|19[13]Ir|19[13]"),
    "viability": re.compile(r"Pt19[4568]|19[4568]Pt"),
    "barcode": re.compile(r"Pd1(?:0[24568]|10)|1(?:0[24568]|10)Pd|Rh103|103Rh"),
}


# What is measured or written beside the markers; matched on the whole of a name, without case and white space.
_TECHNICAL = {
    "scatter": r"(?:.*[^a-z])?[fs]sc\d*(?:(?:$|[^a-z0-9]).*|area|height|width|lin.*|log.*|int.*|pmt.*)"
    r"|(?:fs|ss)(?:$|[-_].*|int.*)|(?:forward|side)[-_]?scatter.*",
    "time": r"time(?:\d+|[lm]sw|\(.*\)|[-_].*)?|hdr-tm?",
    "event header": r"hdr-(?:ce|se|v)",
    "event length": r"(?:event|cell)[-_]?length",
    "ion cloud shape": r"center|offset|width|residual|amplitude",
    "DNA": r"(?:dna|iridium|intercalator|hoechst|draq5|cell-?id)[-_]?(?:\d+|ir)?",
    "beads": r"beads?\d*(?:[-_].*)?|beaddist|.*[-_]beaddist|eq\d?(?:[-_]?beads?.*|[-_]\d+)?|normbeads?",
    "viability": r"via(?:b(?:ility)?)?[-_]?\d*|live[-_/]?dead.*|l[-_/]?d|live|dead|cis(?:platin)?(?:[-_].*)?"
    r"|pi(?:[-_/].*)?|7-?aad(?:[-_].*)?|dapi(?:[-_].*)?|zombie.*|sytox.*|draq7|e?fvs?\d{3}.*|fixable.*",
    "barcode": r"bc[-_]?\d+|(?:de)?barcode.*|mahalanobis.*",
    "label": r"labels?|populations?|clusters?|gates?|individual|donor|patient|subject|condition|batch"
    r"|(?:sample|file|cell|event|donor|patient|batch|cluster|population)?[-_]?(?:id|number|no\.?|nr|index|#)"
    r"|sample|file|event|cell",
    "empty": r"(?:empty|blank|unused|none|null|n/?a|bckg?|bkgd?|background)(?:[-_].*)?|\d+bckg.*",
}


_TECHNICAL_PATTERNS = {use: re.compile(f"(?:{pattern})") for use, pattern in _TECHNICAL.items()}


_SEPARATOR = re.compile(r"(?<!\d)[-_.]|[-_.](?!\d)")


_AREA_HEIGHT_WIDTH = re.compile(r"(?P<stem>.+?)[-_ ]?(?P<part>A|H|W|Area|Height|Width)", re.IGNORECASE)


def plain_key(text: str) -> str:
    """A name without case and white space."""
    return "".join(text.casefold().split())


def _loose_key(text: str) -> str:
    """Without hyphens, underscores and full stops, too (HLA-DR = HLADR), except between digits (CD1-6 ≠ CD16)."""
    return _SEPARATOR.sub("", plain_key(text))


def antibody(text: str) -> str:
    """What was stained: ``CD45`` of ``141Pr_CD45`` or ``CD45(In115)Dd``; empty where only a metal is named."""
    text = text.strip()
    if _METAL_ONLY.fullmatch(text):
        return ""
    return _METAL_AFTER.sub("", _METAL_BEFORE.sub("", text)).strip()


def marker_of(channel: Channel) -> str:
    """The marker a channel measures: from ``$PnS``, else from ``$PnN``, else ``$PnN`` itself."""
    return antibody(channel.label) or antibody(channel.name) or channel.name.strip()


def _technical_use(channel: Channel) -> str:
    """The use of a channel that is no marker, or an empty string."""
    stained = antibody(channel.label)
    for text in (stained, antibody(channel.name)):
        for use, pattern in _TECHNICAL_PATTERNS.items():
            if text and pattern.fullmatch(plain_key(text)):
                return use
    if not stained:
        metal = _METAL_ONLY.fullmatch(channel.name.strip()) or _METAL_ONLY.fullmatch(channel.label.strip())
        for use, pattern in _METAL_USES.items():
            if metal and pattern.fullmatch(metal["isotope"]):
                return use
    return ""


def channel_uses(channels: Sequence[Channel]) -> tuple[ChannelUse, ...]:
    """How each channel is understood when nothing is said about markers, in channel order.

    Taken is every channel but scatter, time, event length, DNA, beads, viability, barcodes, labels and identifiers,
    the shape parameters of ion clouds and channels called empty; channels without an antibody where most others name
    one; and the height and width of a detector whose area is there too.
    """
    technical = [_technical_use(channel) for channel in channels]
    stained = [bool(antibody(channel.label)) for channel in channels]
    candidates = [named for named, use in zip(stained, technical, strict=True) if not use]
    most_are_stained = 2 * sum(candidates) > len(candidates)
    reasons = [
        use or ("no antibody named" if most_are_stained and not named else "")
        for use, named in zip(technical, stained, strict=True)
    ]
    parts = [_AREA_HEIGHT_WIDTH.fullmatch(channel.name.strip()) for channel in channels]
    areas = {
        plain_key(part["stem"])
        for part, reason in zip(parts, reasons, strict=True)
        if part and not reason and part["part"][0] in "Aa"
    }
    uses = []
    for channel, reason, part in zip(channels, reasons, parts, strict=True):
        if not reason and part and part["part"][0] not in "Aa" and plain_key(part["stem"]) in areas:
            reason = "height or width of a detector whose area is used"
        uses.append(ChannelUse(channel, marker_of(channel), not reason, reason))
    return tuple(uses)


# --- finding ----------------------------------------------------------------------------------------------------------


def find_channels(channels: Iterable[Channel], asked: str) -> tuple[Channel, ...]:
    """The channels that ``asked`` names; more than one where it is ambiguous, none where nothing fits.

    The closest reading that fits any channel counts: either name exactly; either name or the marker, without case and
    white space; the marker when the isotope is taken off ``asked``; the marker without hyphens and underscores.
    """
    exact, plain, stained, loose = (
        asked.strip(),
        plain_key(asked),
        plain_key(antibody(asked)),
        _loose_key(antibody(asked) or asked),
    )
    readings: list[list[Channel]] = [[], [], [], []]
    for channel in channels:
        marker = marker_of(channel)
        names = [text for text in (channel.label.strip(), channel.name.strip()) if text]
        if exact in names:
            readings[0].append(channel)
        if plain in {plain_key(text) for text in (*names, marker)}:
            readings[1].append(channel)
        if stained and stained == plain_key(marker):
            readings[2].append(channel)
        if loose and loose in {_loose_key(text) for text in (*names, marker)}:
            readings[3].append(channel)
    return next((tuple(found) for found in readings if found), ())


def nearest_names(channels: Iterable[Channel], asked: str, n_names: int = 4) -> tuple[str, ...]:
    """Markers (and ``$PnN``) of ``channels`` that look like ``asked``, the most similar first."""
    named: dict[str, str] = {}
    for channel in channels:
        for text in (marker_of(channel), channel.name.strip()):
            named.setdefault(_loose_key(text), text)
    wanted = _loose_key(antibody(asked) or asked)
    close = difflib.get_close_matches(wanted, list(named), n=n_names, cutoff=0.6)
    within = [key for key in named if len(wanted) > 1 and wanted in key and key not in close]
    return tuple(named[key] for key in (close + within)[:n_names])


def spell_channel(channel: Channel) -> str:
    """Both names of a channel, for a message."""
    return f"{channel.name} ({channel.label.strip()})" if channel.label.strip() else channel.name
