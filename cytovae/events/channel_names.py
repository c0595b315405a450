"""What the names of a channel mean: its antibody, whether it is a marker, and which channel a name refers to.

A channel has two names: ``$PnN`` (the detector or metal, ``Pr141Di``) and ``$PnS`` (the stain, ``141Pr_CD45``). The
marker is ``$PnS`` without the isotope, or ``$PnN`` without the isotope if that is empty: two files must share the
antibody, not the metal that it is conjugated to.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cytovae.fcs.channels import Channel


@dataclass(frozen=True)
class ChannelUse:
    """How a channel is interpreted.

    Attributes
    ----------
    channel
        The channel.
    marker
        The name of the marker it measures.
    used
        Whether a default panel includes it.
    reason
        Why not; '' if it does.
    """

    channel: Channel
    marker: str
    used: bool
    reason: str


# --- patterns ---

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

# The customary use of a metal whose channel names no antibody.
_METAL_USES = {
    "beads": re.compile(r"Ce140|140Ce"),
    "DNA": re.compile(r"Ir19[13]|19[13]Ir|19[13]"),
    "viability": re.compile(r"Pt19[4568]|19[4568]Pt"),
    "barcode": re.compile(r"Pd1(?:0[24568]|10)|1(?:0[24568]|10)Pd|Rh103|103Rh"),
}

# Channels that are not markers. A pattern must match the whole name, ignoring case and white space.
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


# --- names ---


def plain_key(text: str) -> str:
    """A name without case and white space, for comparison."""
    return "".join(text.casefold().split())


def _loose_key(text: str) -> str:
    """Also without hyphens, underscores and full stops (HLA-DR = HLADR), except between digits (CD1-6 ≠ CD16)."""
    return _SEPARATOR.sub("", plain_key(text))


def antibody(text: str) -> str:
    """The name without the isotope: ``CD45`` for ``141Pr_CD45`` and ``CD45(In115)Dd``; '' if it is only a metal."""
    text = text.strip()
    if _METAL_ONLY.fullmatch(text):
        return ""
    return _METAL_AFTER.sub("", _METAL_BEFORE.sub("", text)).strip()


def marker_of(channel: Channel) -> str:
    """The marker of a channel: the antibody of ``$PnS``, otherwise that of ``$PnN``, otherwise ``$PnN``."""
    return antibody(channel.label) or antibody(channel.name) or channel.name.strip()


def full_name(channel: Channel) -> str:
    """Both names of a channel, for messages."""
    return f"{channel.name} ({channel.label.strip()})" if channel.label.strip() else channel.name


# --- interpretation ---


def channel_uses(channels: Sequence[Channel]) -> tuple[ChannelUse, ...]:
    """Interpret the channels of a file from their names alone.

    A default panel includes all channels except: scatter, time, event length, DNA, beads, viability, barcodes, labels
    and identifiers, shape parameters of ion clouds, and channels named empty; channels without an antibody if most
    others have one; and the height and width of a detector whose area is included.

    Returns
    -------
    One entry per channel, in the order of ``channels``.
    """
    technical = [_technical_use(channel) for channel in channels]
    stained = [bool(antibody(channel.label)) for channel in channels]
    candidates = [has_stain for has_stain, use in zip(stained, technical, strict=True) if not use]
    most_are_stained = 2 * sum(candidates) > len(candidates)
    reasons = [
        use or ("no antibody named" if most_are_stained and not has_stain else "")
        for use, has_stain in zip(technical, stained, strict=True)
    ]
    signals = [_AREA_HEIGHT_WIDTH.fullmatch(channel.name.strip()) for channel in channels]
    areas = {
        plain_key(signal["stem"])
        for signal, reason in zip(signals, reasons, strict=True)
        if signal and not reason and signal["part"][0] in "Aa"
    }
    uses = []
    for channel, reason, signal in zip(channels, reasons, signals, strict=True):
        if not reason and signal and signal["part"][0] not in "Aa" and plain_key(signal["stem"]) in areas:
            reason = "height or width of a detector whose area is used"
        uses.append(ChannelUse(channel, marker_of(channel), not reason, reason))
    return tuple(uses)


def _technical_use(channel: Channel) -> str:
    """The use of a channel that is not a marker, otherwise ''."""
    stain = antibody(channel.label)
    for text in (stain, antibody(channel.name)):
        for use, pattern in _TECHNICAL_PATTERNS.items():
            if text and pattern.fullmatch(plain_key(text)):
                return use
    if not stain:
        metal = _METAL_ONLY.fullmatch(channel.name.strip()) or _METAL_ONLY.fullmatch(channel.label.strip())
        for use, pattern in _METAL_USES.items():
            if metal and pattern.fullmatch(metal["isotope"]):
                return use
    return ""


# --- search ---


def find_channels(channels: Iterable[Channel], name: str) -> tuple[Channel, ...]:
    """Find the channels that ``name`` refers to.

    The names are compared in four ways, from strict to loose, and the first way that matches any channel decides: both
    names exactly; both names and the marker without case and white space; the marker with ``name`` without its
    isotope; and all of them without hyphens and underscores.

    Returns
    -------
    No channel if nothing matches, several if the name is ambiguous.
    """
    exact = name.strip()
    plain = plain_key(name)
    stain = plain_key(antibody(name))
    loose = _loose_key(antibody(name) or name)
    matches: list[list[Channel]] = [[], [], [], []]  # by strictness
    for channel in channels:
        marker = marker_of(channel)
        names = [text for text in (channel.label.strip(), channel.name.strip()) if text]
        if exact in names:
            matches[0].append(channel)
        if plain in {plain_key(text) for text in (*names, marker)}:
            matches[1].append(channel)
        if stain and stain == plain_key(marker):
            matches[2].append(channel)
        if loose and loose in {_loose_key(text) for text in (*names, marker)}:
            matches[3].append(channel)
    return next((tuple(level) for level in matches if level), ())


def nearest_names(channels: Iterable[Channel], name: str, n_names: int = 4) -> tuple[str, ...]:
    """The markers and ``$PnN`` that resemble ``name``, the most similar first."""
    names: dict[str, str] = {}
    for channel in channels:
        for text in (marker_of(channel), channel.name.strip()):
            names.setdefault(_loose_key(text), text)
    key = _loose_key(antibody(name) or name)
    similar = difflib.get_close_matches(key, list(names), n=n_names, cutoff=0.6)
    containing = [other for other in names if len(key) > 1 and key in other and other not in similar]
    return tuple(names[other] for other in (similar + containing)[:n_names])
