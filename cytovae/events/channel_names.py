"""What the names of a channel mean: its antibody, and which channel a name refers to.

A channel has two names: ``$PnN`` (the detector or metal, ``Pr141Di``) and ``$PnS`` (the stain, ``141Pr_CD45``). The
marker is ``$PnS`` without the isotope, or ``$PnN`` without the isotope if that is empty: two files must share the
antibody, not the metal that it is conjugated to. Some programs write both names into one, see
:func:`cytovae.events.table_header.split_name`.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from cytovae.events.antigen_names import antigen_key, known_antigen
from cytovae.events.detector_names import names_detector
from cytovae.events.table_header import split_name
from cytovae.fcs.channels import Channel

# Case matters: `Cd110` is cadmium, `CD110` is a marker.
_ELEMENT = (
    "(?:(?:Ar)?Ar|As|Se|Br|Sr|Zr|Y|Ru|Rh|Pd|Ag|Cd|In|Sn|Te|I|Xe|Cs|Ba|La|Ce|Pr|Nd|Pm|Sm|Eu|Gd|Tb|Dy|Ho|Er|Tm|Yb|Lu|Hf|Ta"
    "|W|Os|Ir|Pt|Au|Hg|Tl|Pb|Bi)"
)
_MASS = r"(?:[7-9]\d|1\d\d|20\d)"
_ISOTOPE = f"(?:{_MASS}{_ELEMENT}|{_ELEMENT}{_MASS})"
_METAL_ONLY = re.compile(rf"\(?(?P<isotope>{_ISOTOPE}|{_MASS})\)?(?:D[id])?")
_METAL_BEFORE = re.compile(rf"^{_ISOTOPE}(?:D[id])?[\s_:-]+(?=\S)")
_METAL_AFTER = re.compile(
    rf"(?<=\S)(?:[\s_-]*\((?:{_ISOTOPE}|{_MASS}(?:[:,-]{_MASS})*)\)|[\s_-]+{_ISOTOPE})(?:D[id])?$"
)
_SEPARATOR = re.compile(r"(?<!\d)[-_.]|[-_.](?!\d)")
_SPECTRE = re.compile(r"column (?P<name>.+) from dataset", re.IGNORECASE)  # Spectre::write.files of R
_NO_LABEL = frozenset({"-", "--", "---", ".", "_", "?", "x", "#"})


# --- names ---


def plain_key(text: str) -> str:
    """A name in Unicode's composed form without case and white space, for comparison."""
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def _loose_key(text: str) -> str:
    """Also without hyphens, underscores and full stops (HLA-DR = HLADR), except between digits (CD1-6 ≠ CD16)."""
    return _SEPARATOR.sub("", plain_key(text))


def stain_of(channel: Channel) -> str:
    """The name of the stain without the isotope; '' if the channel names none.

    It comes from ``$PnS``, else from a ``$PnN`` that holds both names, else from ``$PnANALYTE``. A ``$PnS`` that is
    blank or "-", repeats ``$PnN``, or names just another detector or a fluorochrome is no stain.
    """
    name, second = split_name(channel.name)
    for text in (_label(channel), second, channel.analyte.strip()):
        if not text or text.casefold() in _NO_LABEL:
            continue
        stain = antibody(text)
        if stain and _loose_key(text) not in {_loose_key(channel.name), _loose_key(name)} and not _is_no_stain(stain):
            return stain
    return ""


def _label(channel: Channel) -> str:
    """``$PnS``, without what programs write around it."""
    label = channel.label.strip()
    if match := _SPECTRE.fullmatch(label):
        return match["name"].strip()
    return split_name(label)[1] or label


def _is_no_stain(text: str) -> bool:
    return names_detector(text) and not known_antigen(text)


def antibody(text: str) -> str:
    """The name without the isotope: ``CD45`` for ``141Pr_CD45`` and ``CD45(In115)Dd``; '' if it is only a metal."""
    text = text.strip()
    if _METAL_ONLY.fullmatch(text):
        return ""
    return _METAL_AFTER.sub("", _METAL_BEFORE.sub("", text)).strip()


def metal_of(text: str) -> str:
    """The isotope of a name that consists of it: ``Pr141`` for ``(Pr141)Di``; '' for any other name."""
    match = _METAL_ONLY.fullmatch(text.strip())
    return match["isotope"] if match else ""


@lru_cache(maxsize=65_536)
def marker_of(channel: Channel) -> str:
    """The marker of a channel: its stain, otherwise the antibody of ``$PnS`` or ``$PnN``, otherwise ``$PnN``."""
    if stain := stain_of(channel):
        return stain
    name = split_name(channel.name)[0]
    label = "" if _label(channel).casefold() in _NO_LABEL else antibody(_label(channel))
    if label and known_antigen(name) and not known_antigen(label):
        label = ""
    return label or antibody(name) or channel.name.strip()


def full_name(channel: Channel) -> str:
    """Both names of a channel, for messages."""
    return f"{channel.name} ({channel.label.strip()})" if channel.label.strip() else channel.name


# --- search ---


def find_channels(channels: Iterable[Channel], name: str) -> tuple[Channel, ...]:
    """Find the channels that ``name`` refers to.

    The names are compared in five ways, from strict to loose, and the first way that matches any channel decides: both
    names exactly; both names and the marker without case and white space; the marker with ``name`` without its
    isotope; all of them without hyphens and underscores; and the antigen (CD197 is CCR7, CD4_CD20 is neither).

    Returns
    -------
    No channel if nothing matches, several if the name is ambiguous.
    """
    exact = name.strip()
    plain = plain_key(name)
    stain = plain_key(antibody(name))
    loose = _loose_key(antibody(name) or name)
    antigen = antigen_key(antibody(name) or name)
    matches: list[list[Channel]] = [[], [], [], [], []]  # by strictness
    for channel in channels:
        marker = marker_of(channel)
        split = split_name(channel.name)
        names = [text for text in (channel.label.strip(), channel.name.strip(), *split) if text]
        if exact in names:
            matches[0].append(channel)
        if plain in {plain_key(text) for text in (*names, marker)}:
            matches[1].append(channel)
        if stain and stain == plain_key(marker):
            matches[2].append(channel)
        if loose and loose in {_loose_key(text) for text in (*names, marker)}:
            matches[3].append(channel)
        if antigen and antigen == antigen_key(marker):
            matches[4].append(channel)
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
