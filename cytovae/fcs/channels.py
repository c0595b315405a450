"""The channel table of an FCS file: $PnN, $PnS, $PnR."""

from collections import Counter
from dataclasses import dataclass
from math import isnan, nan

from cytovae.errors import FcsError
from cytovae.fcs.keywords import BLANKS, decimal_number, quoted, quoted_list, whole_number
from cytovae.fcs.text import FcsText

_DESCRIPTIONS = ("S", "ANALYTE", "TYPE", "FEATURE")


@dataclass(frozen=True)
class Channel:
    """One column of a file.

    Attributes
    ----------
    index
        The position, counted from 0.
    name
        The detector or metal, $PnN.
    label
        The stain, $PnS; '' if the file has none.
    range
        The upper end of the values, $PnR; NaN if it is unknown.
    analyte, kind, feature
        What is measured, the kind of the parameter and the part of the pulse, $PnANALYTE, $PnTYPE and $PnFEATURE of
        FCS 3.2; '' if the file does not say.
    """

    index: int
    name: str
    label: str
    range: float
    analyte: str = ""
    kind: str = ""
    feature: str = ""


def read_channels(text: FcsText, notes: list[str]) -> tuple[Channel, ...]:
    """Read the channel table; ``notes`` receives a sentence for each oddity."""
    channels = []
    for number in range(1, text.n_channels + 1):
        name = text.keywords[f"$P{number}N"].strip()
        if not name:
            name = f"P{number}"
            notes.append(f"$P{number}N is blank; the channel is named {name}.")
        label, *described = (text.keywords.get(f"$P{number}{key}", "").strip() for key in _DESCRIPTIONS)
        channels.append(Channel(number - 1, name, label, channel_range(text, number), *described))
    ignored = [channel.name for channel in channels if isnan(channel.range)]
    if ignored:
        values = dict.fromkeys(text.keywords[f"$P{c.index + 1}R"].strip(BLANKS) for c in channels if isnan(c.range))
        notes.append(
            f"$PnR of {quoted_list(ignored)} is {quoted_list(list(values))}, not a number; "
            "it does not affect floating-point values and was ignored."
        )
    duplicates = sorted(name for name, count in Counter(channel.name for channel in channels).items() if count > 1)
    if duplicates:
        notes.append(f"several channels have the same $PnN: {quoted_list(duplicates)}.")
    amplified = [
        channel.name
        for channel in channels
        if _gain(text, channel.index + 1) not in (None, 0.0, 1.0) and not channel.name.casefold().startswith("time")
    ]
    if amplified:
        notes.append(f"the gain $PnG of {quoted_list(amplified)} is not 1; values are as stored, not divided by it.")
    following = text.n_channels + 1
    if f"$P{following}N" in text.keywords and f"$P{following}B" in text.keywords:
        expected = f"at least {following}, because TEXT describes channel {following}"
        raise FcsError(text.path, "$PAR", str(text.n_channels), expected)
    return tuple(channels)


def channel_range(text: FcsText, number: int) -> float:
    """$PnR of channel ``number``.

    For integers it must be a whole number, because it decides which bits count. For floats it is NaN if the keyword
    holds no finite, non-negative number: some writers give NA, Inf, -1 or nothing.
    """
    value = text.keywords[f"$P{number}R"]
    is_integer = channel_datatype(text, number) == "I"
    parsed = whole_number(value) if is_integer else decimal_number(value)
    if is_integer and parsed is None:
        raise FcsError(text.path, f"$P{number}R", quoted(value), "a whole number")
    return nan if parsed is None or parsed < 0 else float(parsed)


def channel_datatype(text: FcsText, number: int) -> str:
    """The type of channel ``number``, unchecked: its own (FCS 3.2) or that of all channels."""
    return text.keywords.get(f"$P{number}DATATYPE", text.keywords["$DATATYPE"]).strip(BLANKS).upper()


def _gain(text: FcsText, number: int) -> float | None:
    return decimal_number(text.keywords.get(f"$P{number}G", "1"))
