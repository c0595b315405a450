"""The scale of marker values, from the instrument and the values, and the transform and warnings that follow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import UsageError
from cytovae.events.channel_use import STATE_MARKER, channel_uses
from cytovae.events.event_file import EventFile
from cytovae.events.instrument import Instrument, InstrumentKind, instrument_of
from cytovae.events.transform import TransformKind

EVENTS_FOR_SCALE = 20_000  # enough to recognise the scale of the values
DEFAULT_COFACTOR = 5.0  # if nothing says what the values are


class ValueScale(StrEnum):
    """The kind of numbers that marker values appear to be."""

    UNKNOWN = "unknown"
    TRANSFORMED = "already arcsinh- or logicle-transformed"
    DISPLAY = "like display (channel) values of transformed data"
    COUNTS = "like raw ion counts"
    FLUORESCENCE = "like raw fluorescence"
    WIDE_FLUORESCENCE = "like raw fluorescence of more than 20 bits"


_LOW, _HIGH = 0.001, 0.999  # quantiles that ignore single outliers
_MIN_CELLS = 100
_MIN_MARKERS = 3
# Bounds that separate published data sets. Mass cytometry has 99.9 % quantiles of the brightest marker of 650 to 11,000
# and 0.1 % quantiles above −70; fluorescence has 99.9 % quantiles from 26,000; arcsinh or logicle bring them below 7,
# arcsinh with cofactor 5 of the brightest spectral values below 15.
_TRANSFORMED_BELOW = 15.0
_DISPLAY_BELOW = 5000.0
_COUNTS_BELOW = 20_000.0
_COUNTS_ABOVE = -150.0
_WIDE_ABOVE = 1.1e6  # just above 2²⁰, the top of many flow cytometers
_WIDE_BELOW = -20_000.0
# 3000 for spectral and other wide scales: users of Cytek instruments take 3000 to 6000, and the smaller one keeps more
# of the dim populations apart.
_COFACTORS = {
    ValueScale.COUNTS: 5.0,
    ValueScale.FLUORESCENCE: 150.0,
    ValueScale.WIDE_FLUORESCENCE: 3000.0,
}
_CUSTOMARY_TOP = float(1 << 18)  # of the instruments for which 150 is customary
_SMALL_TOP = 2048.0
_UNUSUAL_FACTOR = 10  # a cofactor that differs from the customary one by less is a matter of choice
_OF_INSTRUMENT = {
    InstrumentKind.MASS: ValueScale.COUNTS,
    InstrumentKind.FLOW: ValueScale.FLUORESCENCE,
    InstrumentKind.WIDE_FLOW: ValueScale.WIDE_FLUORESCENCE,
}
_UNKNOWN_INSTRUMENT = Instrument(InstrumentKind.UNKNOWN, "", math.nan)


@dataclass(frozen=True)
class FileScale:
    """The scale of the values of one file.

    Attributes
    ----------
    scale
        The kind of numbers.
    evidence
        What says so, for messages.
    by_instrument
        Whether the scale follows from the instrument, not only from the values.
    cofactor
        The customary cofactor; None if values are transformed or their scale is unknown.
    low, high
        The lowest 0.1 % and the highest 99.9 % quantile of the markers; None if there are too few cells.
    """

    scale: ValueScale
    evidence: str
    by_instrument: bool
    cofactor: float | None
    low: float | None = None
    high: float | None = None

    @property
    def is_transformed(self) -> bool:
        """Whether the values are certainly transformed."""
        return self.scale in (ValueScale.TRANSFORMED, ValueScale.DISPLAY)

    @property
    def is_certain(self) -> bool:
        """Whether there were enough cells to check the values."""
        return self.scale is not ValueScale.UNKNOWN and self.high is not None


# --- one file ---


def file_scale(file: EventFile, columns: Sequence[int]) -> FileScale:
    """The scale of the values of a file.

    All channels that look like markers are considered beside the chosen ones, because few markers say little. Reads the
    first 20,000 events.

    Parameters
    ----------
    file
        The file, compensated if it will be.
    columns
        The indices of the chosen markers.
    """
    uses = channel_uses(file.channels)
    likely = {use.channel.index for use in uses if use.used or use.reason == STATE_MARKER}
    indices = [*columns, *sorted(likely - set(columns))]
    values = file.read(indices, 0, EVENTS_FOR_SCALE)
    finite = np.isfinite(values).all(axis=0)
    names = [uses[index].marker for index, usable in zip(indices, finite, strict=True) if usable]
    return scale_of(values[:, finite], names, instrument_of(file, indices))


def scale_of(values: NDArray[Any], markers: Sequence[str], instrument: Instrument = _UNKNOWN_INSTRUMENT) -> FileScale:
    """The scale of marker values (n_cells, n_markers) of one file, all finite.

    Values decide whether they are transformed; then the instrument decides between ion counts and fluorescence; if it
    is unknown, the values decide.
    """
    kind = instrument.kind
    too_few = values.ndim != 2 or len(values) < _MIN_CELLS or values.shape[1] < _MIN_MARKERS
    if too_few and (kind not in (InstrumentKind.FLOW, InstrumentKind.WIDE_FLOW) or values.shape[0] < _MIN_CELLS):
        return _by_instrument(instrument, None, None, math.inf) or FileScale(ValueScale.UNKNOWN, "", False, None)
    if not values.shape[1]:
        return FileScale(ValueScale.UNKNOWN, "", False, None)
    low, high = np.quantile(values, [_LOW, _HIGH], axis=0)
    brightest = int(np.argmax(high))
    evidence = f"the 99.9 % quantile of the brightest marker, {markers[brightest]}, is {high[brightest]:.4g}"
    scale = _scale_of_values(values, low, high)
    lowest, highest = float(low.min()), float(high.max())
    if scale in (ValueScale.TRANSFORMED, ValueScale.DISPLAY, ValueScale.UNKNOWN):
        is_display_of_mass = scale is ValueScale.DISPLAY and kind is InstrumentKind.MASS
        if not is_display_of_mass:
            return FileScale(scale, evidence, False, None, lowest, highest)
    found = _by_instrument(instrument, lowest, highest, float(values.max()))
    return found or FileScale(scale, evidence, False, _COFACTORS.get(scale), lowest, highest)


def scale_note(scale: FileScale) -> str | None:
    """What a user should know about transformed values, one sentence without a full stop."""
    if not scale.is_transformed:
        return None
    return f"values look {scale.scale.value} ({scale.evidence}); train does not transform them again"


def value_scale(values: NDArray[Any]) -> ValueScale:
    """The scale of marker values (n_cells, n_markers) of an unknown instrument.

    UNKNOWN with fewer than 100 cells or 3 markers. DISPLAY only if every marker has a high median and a 99.9 % quantile
    hardly above it, because display transforms leave no certain trace and no raw measurement looks like that.
    """
    return scale_of(values, [""] * (values.shape[1] if values.ndim == 2 else 0)).scale


def _scale_of_values(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> ValueScale:
    median = np.median(values, axis=0)
    highest = high.max()
    if not np.isfinite(highest) or highest <= 0:
        return ValueScale.UNKNOWN
    if highest < _TRANSFORMED_BELOW:
        # Counts of dim markers are also small, but are whole numbers. Values of a logarithmic amplifier are at least
        # 1, while all common transforms put negative cells around 0.
        if np.array_equal(values, np.rint(values)):
            return ValueScale.COUNTS
        return ValueScale.TRANSFORMED if low.min() < 1 else ValueScale.UNKNOWN
    if highest < _DISPLAY_BELOW and median.min() > 50 and np.median(high / median) < 2.5:
        return ValueScale.DISPLAY
    if highest > _WIDE_ABOVE or low.min() < _WIDE_BELOW:
        return ValueScale.WIDE_FLUORESCENCE
    if highest > _COUNTS_BELOW or low.min() < _COUNTS_ABOVE:
        return ValueScale.FLUORESCENCE
    return ValueScale.COUNTS


def _by_instrument(instrument: Instrument, low: float | None, high: float | None, maximum: float) -> FileScale | None:
    """The scale of raw values of a known instrument; None if it is unknown."""
    if instrument.kind is InstrumentKind.UNKNOWN:
        return None
    scale, evidence, cofactor = _OF_INSTRUMENT[instrument.kind], instrument.evidence, None
    if instrument.kind is InstrumentKind.FLOW and low is not None and high is not None:
        if not instrument.top >= high and (high > _WIDE_ABOVE or low < _WIDE_BELOW):
            scale, evidence = ValueScale.WIDE_FLUORESCENCE, f"{evidence}, values from {low:.4g} to {high:.4g}"
        elif instrument.top <= _SMALL_TOP and maximum <= instrument.top:
            # A scale of 10 bits instead of 18, such as that of a MACSQuant.
            cofactor = float(f"{_COFACTORS[scale] * instrument.top / _CUSTOMARY_TOP:.1g}")
            evidence = f"{evidence}, $PnR {instrument.top:.0f}"
    return FileScale(scale, evidence, True, cofactor or _COFACTORS[scale], low, high)


# --- a study ---


@dataclass(frozen=True)
class TransformChoice:
    """The transform that suits the files of a study.

    Attributes
    ----------
    kind
        "arcsinh", or "none" if values are transformed already.
    cofactor
        The cofactor of "arcsinh".
    reason
        Why, without a full stop.
    """

    kind: TransformKind
    cofactor: float
    reason: str

    def __str__(self) -> str:
        what = f"arcsinh(x / {self.cofactor:g})" if self.kind == "arcsinh" else "none"
        return f"transform {what}, because {self.reason}"


def choose_transform(scales: Sequence[tuple[str, FileScale]]) -> TransformChoice:
    """The transform for all files of a study: arcsinh, or none if values are transformed already.

    Files with too few cells follow the others. If no file names its instrument, the values of all files together
    decide, so that a dim file follows the bright ones.

    Parameters
    ----------
    scales
        The name and the scale of each file.

    Raises
    ------
    UsageError
        If the files disagree. It names the options that settle it.
    """
    known = [(name, scale) for name, scale in scales if scale.scale is not ValueScale.UNKNOWN]
    if not known:
        reason = "the scale of the values cannot be recognised (too few cells, or values that are all equal)"
        return TransformChoice("arcsinh", DEFAULT_COFACTOR, reason)
    checked = [pair for pair in known if pair[1].is_certain] or known
    transformed = [pair for pair in checked if pair[1].is_transformed]
    raw = [pair for pair in checked if not pair[1].is_transformed]
    if transformed and raw:
        raise _disagreement(transformed[0], raw[0], f"--transform none or --cofactor {raw[0][1].cofactor:g}")
    if transformed:
        return TransformChoice("none", DEFAULT_COFACTOR, _sentence(transformed))
    by_instrument = {pair[1].cofactor: pair for pair in known if pair[1].by_instrument}
    by_values = [pair for pair in checked if not pair[1].by_instrument]
    if len(by_instrument) > 1:
        first, second = list(by_instrument.values())[:2]
        raise _disagreement(first, second, f"--cofactor {first[1].cofactor:g} or --cofactor {second[1].cofactor:g}")
    if by_instrument:
        (chosen,) = by_instrument.values()
        bright = [pair for pair in by_values if pair[1].scale is not ValueScale.COUNTS]
        if chosen[1].scale is ValueScale.COUNTS and bright:
            raise _disagreement(chosen, bright[0], f"--cofactor 5 or --cofactor {bright[0][1].cofactor:g}")
        return TransformChoice("arcsinh", chosen[1].cofactor or DEFAULT_COFACTOR, _sentence([chosen]))
    brightest = max(by_values, key=lambda pair: pair[1].cofactor or 0.0)
    return TransformChoice("arcsinh", brightest[1].cofactor or DEFAULT_COFACTOR, _sentence([brightest]))


def _sentence(pairs: Sequence[tuple[str, FileScale]]) -> str:
    _, scale = pairs[0]
    return f"values look {scale.scale.value} ({scale.evidence})"


def _disagreement(first: tuple[str, FileScale], second: tuple[str, FileScale], choices: str) -> UsageError:
    described = "; ".join(
        f"values of {pair[0]} look {pair[1].scale.value} ({pair[1].evidence})" for pair in (first, second)
    )
    return UsageError(
        f"the files do not agree on a transform: {described}. Choose one for all files with {choices}, "
        "or use files on one scale"
    )


# --- warnings ---


def scale_warning(scale: FileScale, cofactor: ArrayLike | None, kind: TransformKind = "arcsinh") -> str | None:
    """A warning if a transform certainly does not suit the values of a file.

    Parameters
    ----------
    scale
        The scale of the values.
    cofactor
        One cofactor, or one per marker. None means no transform.
    kind
        The transform. Only "arcsinh" uses ``cofactor``.

    Returns
    -------
    One sentence without a full stop, or None.
    """
    if not scale.is_certain:
        return None
    looks = f"values look {scale.scale.value} ({scale.evidence})"
    if kind == "none" or cofactor is None:
        if scale.cofactor is None:
            return None
        return f"{looks} but are not transformed; consider --cofactor {scale.cofactor:g}"
    if scale.cofactor is None:
        return f"{looks}; {kind} would transform them a second time"
    if kind == "logicle":
        if scale.scale is ValueScale.COUNTS:
            return f"{looks}; logicle is for fluorescence, consider arcsinh"
        return None
    used = float(np.median(np.asarray(cofactor, dtype=np.float64)))
    if scale.cofactor >= _UNUSUAL_FACTOR * used or used >= _UNUSUAL_FACTOR * scale.cofactor:
        return f"{looks}; cofactor {used:g} is unusual, consider {scale.cofactor:g}"
    return None
