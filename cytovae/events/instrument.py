"""The kind of instrument that a file comes from: $CYT, $PnR, and the names of its channels."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from cytovae.events.channel_names import metal_of
from cytovae.events.channel_use import channel_uses
from cytovae.events.detector_names import is_fluorochrome, pulse_of, words_of
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel
from cytovae.fcs.keywords import decimal_number

SPECTRAL_RANGE = float(1 << 22)
"""The smallest $PnR of instruments whose scale is as wide as that of an Aurora."""

_MASS = re.compile(r"cytof|helios|dvs|fluidigm|hyperion|mass[ -]?cytomet|maxpar", re.IGNORECASE)
_SPECTRAL = re.compile(
    r"aurora|northern ?lights|\bnl-?\d{4}|spectroflo|id7000|sp6800|\bfacsdiscover|\bs8\b|\ba8\b|mosaic", re.IGNORECASE
)
_FLOW = re.compile(
    r"facs|fortessa|symphony|lsr|canto|calibur|\baria|celesta|lyric|melody|accuri|influx|discover|navios|gallios|cytomics"
    r"|fc ?500|\bxl\b|epics|cytoflex|dxflex|cyan|moflo|astrios|attune|macsquant|novocyte|guava|easycyte|quanteon"
    r"|penteon|yeti|ze5|bigfoot|s1400|stratedigm|partec|cyflow|sony|sh800|ma900|xp5|flowsight|imagestream|bd ",
    re.IGNORECASE,
)


class InstrumentKind(Enum):
    """The kinds of instruments, by the scale of their values."""

    MASS = "mass cytometer"
    FLOW = "flow cytometer"
    WIDE_FLOW = "flow cytometer of more than 20 bits"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Instrument:
    """The instrument of a file.

    Attributes
    ----------
    kind
        The kind.
    evidence
        What says so, for messages: ``$CYT Aurora``, ``FSC and SSC channels``. '' if the kind is unknown.
    top
        The largest value that the scale of the markers holds: $PnR, or that of a logarithmic amplifier ($PnE); NaN if
        unknown.
    """

    kind: InstrumentKind
    evidence: str
    top: float


def instrument_of(file: EventFile, columns: Sequence[int]) -> Instrument:
    """The instrument that a file comes from.

    Scatter channels exclude a mass cytometer, unless both $CYT and the names of the channels are those of one. Of flow
    cytometers, spectral ones have a wide scale, as have those with a $PnR of 2²² or more. $PnR counts only where
    something else says that the file comes from a flow cytometer: many programs write a $PnR of their own.

    Parameters
    ----------
    file
        The file.
    columns
        The indices of its markers.
    """
    model = " ".join(file.keywords.get("$CYT", "").split())
    uses = channel_uses(file.channels)
    markers = [file.channels[column] for column in columns]
    reasons = {use.reason for use in uses}
    ranges = [top for top in (top_of_channel(file, channel) for channel in markers) if math.isfinite(top)]
    top = max(ranges, default=math.nan)
    metals = _most(bool(metal_of(channel.name) or metal_of(channel.label)) for channel in markers)
    is_mass = _MASS.search(model) is not None
    scatter = "scatter" in reasons
    if (is_mass and (metals or not scatter)) or (
        not scatter and (metals or "event length" in reasons) and not _flow(model)
    ):
        evidence = f"$CYT {model}" if is_mass else "channels named by metals" if metals else "an event length"
        return Instrument(InstrumentKind.MASS, evidence, top)
    if _SPECTRAL.search(model):
        return Instrument(InstrumentKind.WIDE_FLOW, f"$CYT {model}", top)
    fluorescence = _most(_is_optical(channel.name) for channel in markers)
    if not (scatter or _flow(model) or fluorescence):
        return Instrument(InstrumentKind.UNKNOWN, "", top)
    evidence = f"$CYT {model}" if _flow(model) else "scatter channels" if scatter else "channels named by fluorochromes"
    if top >= SPECTRAL_RANGE:
        return Instrument(InstrumentKind.WIDE_FLOW, f"{evidence}, $PnR {top:.0f}", top)
    return Instrument(InstrumentKind.FLOW, evidence, top)


def top_of_channel(file: EventFile, channel: Channel) -> float:
    """The largest value that a channel can hold: $PnR, or that of a logarithmic amplifier ($PnE)."""
    amplification = file.keywords.get(f"$P{channel.index + 1}E", "").split(",")
    decades, at_zero = (decimal_number(part) or 0.0 for part in (amplification[0], amplification[-1]))
    is_logarithmic = file.keywords.get("$DATATYPE", "").strip() == "I" and 0 < decades < 20
    return float((at_zero or 1.0) * 10**decades) if is_logarithmic else channel.range


def _is_optical(name: str) -> bool:
    """Whether a channel is named by a part of a light pulse or by a fluorochrome."""
    return pulse_of(name).part in {"a", "h", "w"} or any(map(is_fluorochrome, words_of(name)))


def _flow(model: str) -> bool:
    return (_FLOW.search(model) or _SPECTRAL.search(model)) is not None


def _most(flags: Iterable[bool]) -> bool:
    """Whether more than half are true."""
    values = list(flags)
    return 2 * sum(values) > len(values)
