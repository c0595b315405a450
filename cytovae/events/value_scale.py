"""The scale of marker values, recognised from the values, and the warnings that follow."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.events.transform import TransformKind


class ValueScale(Enum):
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
# and 0.1 % quantiles above −70; fluorescence has 99.9 % quantiles from 26,000; arcsinh or logicle bring them below 7.
_TRANSFORMED_BELOW = 12.0
_DISPLAY_BELOW = 5000.0
_COUNTS_BELOW = 20_000.0
_COUNTS_ABOVE = -150.0
_WIDE_ABOVE = 1e6
_COFACTORS = {
    ValueScale.COUNTS: 5.0,
    ValueScale.FLUORESCENCE: 150.0,
    ValueScale.WIDE_FLUORESCENCE: 3000.0,
}
_UNUSUAL_FACTOR = 10  # a cofactor that differs from the customary one by less is a matter of choice


def value_scale(values: NDArray[Any]) -> ValueScale:
    """Recognise the scale of marker values from their quantiles.

    Parameters
    ----------
    values
        Marker values of one file, shape (n_cells, n_markers).

    Returns
    -------
    UNKNOWN with fewer than 100 cells or 3 markers. DISPLAY only if every marker has a high median and a 99.9 % quantile
    hardly above it, because display transforms leave no certain trace and no raw measurement looks like that.
    """
    if values.ndim != 2 or len(values) < _MIN_CELLS or values.shape[1] < _MIN_MARKERS:
        return ValueScale.UNKNOWN
    low, median, high = np.quantile(values, [_LOW, 0.5, _HIGH], axis=0)
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
    if highest > _WIDE_ABOVE:
        return ValueScale.WIDE_FLUORESCENCE
    if highest > _COUNTS_BELOW or low.min() < _COUNTS_ABOVE:
        return ValueScale.FLUORESCENCE
    return ValueScale.COUNTS


def looks_transformed(values: NDArray[Any]) -> bool:
    """Whether the marker values of one file (n_cells, n_markers) are certainly transformed."""
    return value_scale(values) in (ValueScale.TRANSFORMED, ValueScale.DISPLAY)


def suggested_cofactor(values: NDArray[Any]) -> float | None:
    """The customary cofactor: 5 for ion counts, 150 for fluorescence, 3000 for more than 20 bits.

    None if the values (n_cells, n_markers) are already transformed or their scale is unknown.
    """
    return _COFACTORS.get(value_scale(values))


def transform_warning(
    values: NDArray[Any], markers: Sequence[str], cofactor: ArrayLike | None, kind: TransformKind = "arcsinh"
) -> str | None:
    """A warning if a transform certainly does not suit the values.

    Parameters
    ----------
    values
        Raw values of one file, shape (n_cells, n_markers).
    markers
        The names of the markers.
    cofactor
        One cofactor, or one per marker. None means no transform.
    kind
        The transform. Only "arcsinh" uses ``cofactor``.

    Returns
    -------
    One sentence without a full stop, or None.
    """
    scale = value_scale(values)
    if scale is ValueScale.UNKNOWN:
        return None
    high = np.quantile(values, _HIGH, axis=0)
    brightest = int(np.argmax(high))
    evidence = f"the 99.9 % quantile of the brightest marker, {markers[brightest]}, is {high[brightest]:.4g}"
    suggestion = _COFACTORS.get(scale)
    if kind == "none" or cofactor is None:
        if suggestion is None:
            return None
        return f"values look {scale.value} ({evidence}) but are not transformed; consider --cofactor {suggestion:g}"
    if suggestion is None:
        return f"values look {scale.value} ({evidence}); {kind} would transform them a second time"
    if kind == "logicle":
        if scale is ValueScale.COUNTS:
            return f"values look {scale.value} ({evidence}); logicle is for fluorescence, consider arcsinh"
        return None
    used = float(np.median(np.asarray(cofactor, dtype=np.float64)))
    if suggestion >= _UNUSUAL_FACTOR * used or used >= _UNUSUAL_FACTOR * suggestion:
        return f"values look {scale.value} ({evidence}); cofactor {used:g} is unusual, consider {suggestion:g}"
    return None
