"""Which channels of a file each check looks at."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytovae.events.channel_use import STATE_MARKER, ChannelUse, channel_uses, pulse_of_channel
from cytovae.events.event_file import EventFile
from cytovae.events.instrument import InstrumentKind, instrument_of
from cytovae.events.value_scale import DEFAULT_COFACTOR, file_scale
from cytovae.fcs.channels import Channel

_FORWARD = re.compile(r".*(?:\bfsc?\b|fsc|forward|axial)", re.IGNORECASE)
_GLUED = re.compile(r"(?P<stem>[fs]sc?\d*)(?P<part>area|height|width|int|peak)", re.IGNORECASE)  # FSCArea
_PARTS = {"area": "a", "int": "a", "height": "h", "peak": "h", "width": "w"}
_STAINS_LIVING = re.compile(r"calcein|(?<![a-z])alive|(?<![a-z])live(?![a-z /_-]*(?:dead|/?d))", re.IGNORECASE)


@dataclass(frozen=True)
class ChannelRoles:
    """The channels of a file by what quality control uses them for.

    Attributes
    ----------
    is_mass
        Whether the file comes from a mass cytometer.
    cofactor
        The cofactor of arcsinh that suits the markers; None if values are transformed already.
    time
        The channels of time.
    scatter
        The channels of scatter, without the width of pulses.
    area, height
        Area and height of one scatter detector, forward scatter if possible; None if a file lacks one of them.
    size
        The channel that measures the size of an event: forward scatter, its area if possible; None without one.
    dna
        The channels of DNA of a mass cytometer.
    viability
        The channels of dyes that dead cells take up.
    markers
        The channels of markers, also of state markers.
    """

    is_mass: bool
    cofactor: float | None
    time: tuple[Channel, ...]
    scatter: tuple[Channel, ...]
    area: Channel | None
    height: Channel | None
    size: Channel | None
    dna: tuple[Channel, ...]
    viability: tuple[Channel, ...]
    markers: tuple[Channel, ...]

    @property
    def one_count(self) -> float:
        """How far apart 0 and 1 ions are on the arcsinh scale of a mass cytometer; 0 for other files."""
        return float(np.arcsinh(1 / self.cofactor)) if self.is_mass and self.cofactor is not None else 0.0


def channel_roles(file: EventFile) -> ChannelRoles:
    """Find the channels by their names, as :func:`cytovae.events.channel_use.channel_uses` understands them."""
    uses = channel_uses(file.channels)
    markers = tuple(use.channel for use in uses if use.used or use.reason == STATE_MARKER)
    indices = [channel.index for channel in markers]
    is_mass = instrument_of(file, indices).kind is InstrumentKind.MASS
    scale = file_scale(file, indices)
    scatter = tuple(channel for channel in _of(uses, "scatter") if _parts(channel)[1] not in {"w", "t"})
    area, height = _pair(scatter)
    dna = _of(uses, "DNA")
    return ChannelRoles(
        is_mass=is_mass,
        cofactor=None if scale.is_transformed else scale.cofactor or DEFAULT_COFACTOR,
        time=_of(uses, "time"),
        scatter=scatter,
        area=area,
        height=height,
        size=_size(scatter),
        dna=dna if is_mass else (),
        viability=tuple(c for c in _of(uses, "viability") if not _STAINS_LIVING.search(f"{c.label} {c.name}")),
        markers=markers,
    )


def _of(uses: Sequence[ChannelUse], reason: str) -> tuple[Channel, ...]:
    return tuple(use.channel for use in uses if use.reason == reason)


def _parts(channel: Channel) -> tuple[str, str, str]:
    """Detector, part of the pulse and scale of a channel of scatter."""
    pulse = pulse_of_channel(channel)
    if not pulse.part and (match := _GLUED.fullmatch(channel.name.strip())):
        return match["stem"].casefold(), _PARTS[match["part"].casefold()], ""
    return pulse.stem, pulse.part, pulse.scale


def _pair(scatter: Sequence[Channel]) -> tuple[Channel, Channel] | tuple[None, None]:
    found: dict[str, dict[str, Channel]] = {}
    for channel in sorted(scatter, key=lambda channel: _FORWARD.match(channel.name) is None):
        stem, part, scale = _parts(channel)
        if scale != "log":
            found.setdefault(stem, {}).setdefault(part, channel)
    pairs = [(parts["a"], parts["h"]) for parts in found.values() if {"a", "h"} <= set(parts)]
    return pairs[0] if pairs else (None, None)


def _size(scatter: Sequence[Channel]) -> Channel | None:
    forward = [channel for channel in scatter if _FORWARD.match(channel.name)]
    linear = [channel for channel in forward if _parts(channel)[2] != "log"]
    return min(linear, key=lambda channel: "ah".find(_parts(channel)[1]) % 3, default=None)
