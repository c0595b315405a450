"""The channel table of an FCS file: $PnN, $PnS, $PnR."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from cytovae.errors import FcsError
from cytovae.fcs.text import BLANKS, FcsText, quoted, whole_number


@dataclass(frozen=True)
class Channel:
    """One column of an FCS file: ``index`` from 0, ``name`` is $PnN, ``label`` $PnS ('' if absent), ``range`` $PnR."""

    index: int
    name: str
    label: str
    range: float


def read_channels(text: FcsText, notes: list[str]) -> tuple[Channel, ...]:
    """The table of channels; oddities go to ``notes``."""
    channels = []
    for number in range(1, text.n_channels + 1):
        name = text.keywords[f"$P{number}N"].strip()
        if not name:
            name = f"P{number}"
            notes.append(f"$P{number}N is blank; the channel is called {name}.")
        label = text.keywords.get(f"$P{number}S", "").strip()
        channels.append(Channel(number - 1, name, label, range_of(text, number)))
    duplicates = sorted(name for name, count in Counter(channel.name for channel in channels).items() if count > 1)
    if duplicates:
        notes.append(f"several channels have the same $PnN: {some_names(duplicates)}.")
    gains = [channel.name for channel in channels if _gain(text, channel.index + 1) not in (None, 0.0, 1.0)]
    if gains:
        notes.append(f"gain $PnG is other than 1 in {some_names(gains)}; values are as stored, not divided by it.")
    if f"$P{text.n_channels + 1}N" in text.keywords and f"$P{text.n_channels + 1}B" in text.keywords:
        raise FcsError(
            text.path,
            "$PAR",
            str(text.n_channels),
            f"at least {text.n_channels + 1}, because channel {text.n_channels + 1} is described",
        )
    return tuple(channels)


def some_names(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"


def range_of(text: FcsText, number: int) -> float:
    """$PnR; of an integer channel it must be a whole number, because it decides which bits count."""
    value = text.keywords[f"$P{number}R"]
    integer = datatype_of(text, number) == "I"
    parsed = whole_number(value) if integer else as_number(value)
    if parsed is None or parsed < 0:
        raise FcsError(text.path, f"$P{number}R", quoted(value), "a whole number" if integer else "a number")
    return float(parsed)


def datatype_of(text: FcsText, number: int) -> str:
    """F, D, I or whatever else the file says: the channel's own type (FCS 3.2) or the one of all."""
    return text.keywords.get(f"$P{number}DATATYPE", text.keywords["$DATATYPE"]).strip(BLANKS).upper()


def _gain(text: FcsText, number: int) -> float | None:
    return as_number(text.keywords.get(f"$P{number}G", "1"))


def as_number(value: str) -> float | None:
    """A plain decimal number, or None; 1_000, nan and the like are none."""
    if not re.fullmatch(r"[+-]?([0-9]{1,40}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value := value.strip(BLANKS)):
        return None
    return parsed if isfinite(parsed := float(value)) else None
