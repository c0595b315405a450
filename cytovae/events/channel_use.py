"""How the channels of a file are used: which hold markers, of which class, and why the others hold none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cytovae.events.antigen_names import antigen_key, known_antigen, parts_of
from cytovae.events.channel_names import antibody, full_name, marker_of, metal_of, plain_key, stain_of
from cytovae.events.detector_names import (
    Pulse,
    is_fluorochrome,
    is_laser_and_number,
    pulse_of,
    raw_spectral_detectors,
    without_pulse,
    words_of,
)
from cytovae.events.marker_class import MarkerClass, marker_class
from cytovae.events.table_header import split_name
from cytovae.events.technical_names import metal_use, numbered_components, technical_use, use_of_kind
from cytovae.fcs.channels import Channel

NOT_UNMIXED = "raw spectral detector, not unmixed"
STATE_MARKER = "state marker"
_RAW_BESIDE_UNMIXED = "raw spectral detector; unmixed channels are used"
_NO_ANTIBODY = "no antibody named"
_ALWAYS_BY_NAME = frozenset({"scatter", "time", "event length", "written by cytovae"})
_RAW_KIND, _UNMIXED_KIND = "rawfluorescence", "unmixedfluorescence"
_FEWEST_RAW_KINDS = 12  # channels of the type Raw_Fluorescence in a file that is not unmixed
_FEATURES = {"area": "a", "height": "h", "width": "w", "integral": "a", "peak": "h"}


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
    marker_class
        ``type`` or ``state``; '' if the channel is no marker.
    """

    channel: Channel
    marker: str
    used: bool
    reason: str
    marker_class: MarkerClass | Literal[""] = ""


def channel_uses(channels: Sequence[Channel], *, state_markers: bool = False) -> tuple[ChannelUse, ...]:
    """Interpret the channels of a file from their names and from ``$PnTYPE``, ``$PnFEATURE`` and ``$PnANALYTE``.

    A default panel includes all channels except

    - what is no marker by its name: scatter, time, viability, DNA, beads, barcodes, indices, labels, clusters and maps
      of an earlier analysis, image features (see :mod:`cytovae.events.technical_names`);
    - channels without an antibody, if any other channel names one;
    - raw detectors of a spectral instrument;
    - the second copy of a detector: height beside area, ``X`` beside ``Comp-X``, linear beside logarithmic;
    - state markers, unless ``state_markers`` is set.

    Returns
    -------
    One entry per channel, in the order of ``channels``.
    """
    components = numbered_components(channel.name for channel in channels)
    reasons = ["map of cells" if c.name in components and not stain_of(c) else _not_a_marker(c) for c in channels]
    stains = _with_inherited(channels, [stain_of(channel) for channel in channels])
    _mark_raw_detectors(channels, stains, reasons)
    if any(stain and not reason for stain, reason in zip(stains, reasons, strict=True)):
        for index, channel in enumerate(channels):
            if not reasons[index] and not stains[index] and not any(known for _, known in parts_of(channel.name)):
                reasons[index] = _NO_ANTIBODY
    _mark_copies(channels, stains, reasons)
    uses = []
    for channel, stain, reason in zip(channels, stains, reasons, strict=True):
        marker = marker_of(channel) if not stain or stain_of(channel) else stain
        use = ChannelUse(channel, marker, not reason, reason)
        if use.used:
            use = replace(use, marker_class=marker_class(marker))
            if use.marker_class == "state" and not state_markers:
                use = replace(use, used=False, reason=STATE_MARKER)
        uses.append(use)
    return tuple(uses)


def state_markers_left_out(channels: Sequence[Channel]) -> tuple[str, ...]:
    """The state markers that a default panel leaves out."""
    return tuple(use.marker for use in channel_uses(channels) if use.reason == STATE_MARKER)


def is_not_unmixed(uses: Sequence[ChannelUse]) -> bool:
    """Whether a file holds the raw detectors of a spectral instrument and no marker."""
    return not any(use.marker_class for use in uses) and any(use.reason == NOT_UNMIXED for use in uses)


def without_copies(channels: Sequence[Channel], matches: Sequence[Channel]) -> tuple[Channel, ...]:
    """Of several channels with one name, those that are not copies of another one of them."""
    stain_by_index = dict(
        zip((c.index for c in channels), _with_inherited(channels, [stain_of(c) for c in channels]), strict=True)
    )
    reasons = [""] * len(matches)
    _mark_copies(matches, [stain_by_index[channel.index] for channel in matches], reasons)
    return tuple(channel for channel, reason in zip(matches, reasons, strict=True) if not reason)


# --- what is no marker ---


def _not_a_marker(channel: Channel) -> str:
    """What a channel holds that is no marker by itself, otherwise ''."""
    stain, name = stain_of(channel), antibody(split_name(channel.name)[0])
    by_name = technical_use(name, firm_only=bool(stain)) if name else ""
    if by_name in _ALWAYS_BY_NAME:
        return by_name
    if known_antigen(stain):
        return _by_description(channel)
    if use := _by_description(channel):
        return use
    if use := (technical_use(stain) if stain else ""):
        return use
    if by_name and not (stain and by_name in {"pulse parameter"}):
        return "" if known_antigen(name) and not stain else by_name
    if not stain and (label := antibody(channel.label)) and (use := technical_use(label)):
        return use
    metal = metal_of(channel.name) or metal_of(channel.label)
    if not stain and metal and (use := metal_use(metal)):
        return use
    pulse = pulse_of_channel(channel)
    is_pulse_time = pulse.part in {"w", "t"} and not known_antigen(name)
    return "pulse parameter" if not stain and is_pulse_time else ""


def _by_description(channel: Channel) -> str:
    return use_of_kind(channel.kind, channel.feature)


# --- spectral instruments ---


def _mark_raw_detectors(channels: Sequence[Channel], stains: Sequence[str], reasons: list[str]) -> None:
    """Give a reason to the raw detectors of a spectral instrument that name no stain."""
    kinds = [plain_key(channel.kind).replace("_", "") for channel in channels]
    unlabelled = [index for index in range(len(channels)) if not reasons[index] and not stains[index]]
    raw = {index for index in unlabelled if kinds[index] == _RAW_KIND}
    if (
        _UNMIXED_KIND not in kinds
        and len({pulse_of_channel(channels[index]).stem for index in raw}) < _FEWEST_RAW_KINDS
    ):
        raw = set()
    others = [
        index
        for index, channel in enumerate(channels)
        if index not in raw and not reasons[index] and (stains[index] or _names_dye_or_antigen(channel.name))
    ]
    names = {index: channels[index].name for index in unlabelled if kinds[index] != _UNMIXED_KIND}
    by_name = raw_spectral_detectors(names.values(), beside_others=bool(others))
    raw |= {index for index, name in names.items() if name in by_name}
    for index in raw:
        reasons[index] = _RAW_BESIDE_UNMIXED if others else NOT_UNMIXED


def _names_dye_or_antigen(name: str) -> bool:
    """Whether an unlabelled channel is named by a fluorochrome or an antigen, not by a laser and a number."""
    words = words_of(without_pulse(name))
    return not is_laser_and_number(name) and (bool(known_antigen(name)) or any(map(is_fluorochrome, words)))


# --- copies of a detector ---


def pulse_of_channel(channel: Channel) -> Pulse:
    """The detector of a channel; ``$PnFEATURE`` says which part of the pulse it is if the name does not."""
    name, label = split_name(channel.name)
    pulse = pulse_of(name if label else channel.name)
    feature = _FEATURES.get(channel.feature.strip().casefold(), "")
    return pulse if pulse.part or not feature else replace(pulse, part=feature)


def _with_inherited(channels: Sequence[Channel], stains: Sequence[str]) -> list[str]:
    """The stains, where a compensated channel without a stain has that of its raw channel."""
    pulses = [pulse_of_channel(channel) for channel in channels]
    raw = {
        (pulse.stem, pulse.part): stain
        for pulse, stain in zip(pulses, stains, strict=True)
        if stain and not pulse.compensated
    }
    return [
        stain or (raw.get((pulse.stem, pulse.part), "") if pulse.compensated else "")
        for pulse, stain in zip(pulses, stains, strict=True)
    ]


def _mark_copies(channels: Sequence[Channel], stains: Sequence[str], reasons: list[str]) -> None:
    """Give a reason to every channel whose detector another one measures better."""
    by_detector: dict[str, list[int]] = {}
    for index, channel in enumerate(channels):
        if not reasons[index]:
            by_detector.setdefault(pulse_of_channel(channel).stem, []).append(index)
    n_detectors = {
        part: sum(
            any(pulse_of_channel(channels[index]).part == part for index in indices) for indices in by_detector.values()
        )
        for part in "ah"
    }
    # A FACSCalibur records the height of all detectors, and the area of one.
    prefers_height = 2 * n_detectors["a"] < n_detectors["h"]
    for indices in by_detector.values():
        ranks = {index: _rank(pulse_of_channel(channels[index]), prefers_height=prefers_height) for index in indices}
        best = min(indices, key=lambda index: ranks[index])
        for index in indices:
            if ranks[index] > ranks[best] and _may_be_one_stain(stains[index], stains[best]):
                reasons[index] = _copy_reason(
                    pulse_of_channel(channels[index]), pulse_of_channel(channels[best]), channels[best]
                )


def _rank(pulse: Pulse, *, prefers_height: bool) -> tuple[bool, int, bool]:
    """The lower, the better: compensated, then the area, then the logarithmic amplifier, which has the wider range."""
    parts = {"h": 0, "": 0, "a": 1} if prefers_height else {"a": 0, "": 0, "h": 1}
    return not pulse.compensated, parts.get(pulse.part, 2), pulse.scale != "log"


def _may_be_one_stain(one: str, other: str) -> bool:
    """Whether two channels of a detector can be copies: not if they name two known antigens."""
    known = {key for key in (antigen_key(one), antigen_key(other)) if key.startswith("=")}
    return len(known) < 2


def _copy_reason(pulse: Pulse, best_pulse: Pulse, best: Channel) -> str:
    if best_pulse.compensated and not pulse.compensated:
        kind = "not compensated"
    elif pulse.part != best_pulse.part:
        kind = {"h": "height", "w": "width", "t": "time"}.get(pulse.part, "another part") + " of the pulse"
    else:
        kind = "second copy of the detector"
    return f"{kind}; {full_name(best)} is used"
