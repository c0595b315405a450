"""What marker values say about their scale, and the warnings that follow."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.events.transform import TransformKind
from cytovae.network.scaling import HIGH_QUANTILE, LOW_QUANTILE

# --- what the values say about their scale ----------------------------------------------------------------------------


class ValueScale(Enum):
    """What kind of numbers marker values look like."""

    UNKNOWN = "unknown"
    TRANSFORMED = "already arcsinh- or logicle-transformed"
    DISPLAY = "like display (channel) values of transformed data"
    COUNTS = "like raw ion counts"
    FLUORESCENCE = "like raw fluorescence"
    WIDE_FLUORESCENCE = "like raw fluorescence of more than 20 bits"


# Bounds that separate the published sets they were read from (mass cytometry: 99.9 % quantiles of the brightest marker
# 650 to 11,000, 0.1 % quantiles above -70; fluorescence: 26,000 and more; after arcsinh or logicle: below 7).
_TRANSFORMED_BELOW = 12.0


_DISPLAY_BELOW = 5000.0


_COUNTS_BELOW = 20_000.0


_COUNTS_ABOVE = -150.0


_WIDE_ABOVE = 1e6


_FEWEST_CELLS = 100


_FEWEST_MARKERS = 3


_COFACTORS = {
    ValueScale.COUNTS: 5.0,
    ValueScale.FLUORESCENCE: 150.0,
    ValueScale.WIDE_FLUORESCENCE: 3000.0,
}


def value_scale(values: NDArray[Any]) -> ValueScale:
    """What kind of numbers the markers of one file hold, from the quantiles of ``values`` (n_cells, n_markers).

    UNKNOWN with fewer than 100 cells or 3 markers, where nothing can be told. Logicle and other display transforms
    leave no certain trace: DISPLAY is said only where every marker's median is high and its 99.9 % quantile hardly
    higher, which no raw measurement of several markers shows.
    """
    if values.ndim != 2 or len(values) < _FEWEST_CELLS or values.shape[1] < _FEWEST_MARKERS:
        return ValueScale.UNKNOWN
    low, median, high = np.quantile(values, [LOW_QUANTILE, 0.5, HIGH_QUANTILE], axis=0)
    highest = high.max()
    if not np.isfinite(highest) or highest <= 0:
        return ValueScale.UNKNOWN
    if highest < _TRANSFORMED_BELOW:
        # Counts of dim markers are small, too, but they are whole numbers; and what a logarithmic amplifier measured
        # never is below 1, while every transform in use leaves negative cells around 0.
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
    """Whether the marker values of one file (n_cells, n_markers) surely are transformed already."""
    return value_scale(values) in (ValueScale.TRANSFORMED, ValueScale.DISPLAY)


def suggested_cofactor(values: NDArray[Any]) -> float | None:
    """A customary cofactor for values (n_cells, n_markers): 5 for ion counts, 150 for fluorescence, 3000 above 20 bits.

    None where no transform is needed or nothing can be told.
    """
    return _COFACTORS.get(value_scale(values))


def transform_warning(
    values: NDArray[Any], markers: Sequence[str], cofactor: ArrayLike | None, kind: TransformKind = "arcsinh"
) -> str | None:
    """One sentence where a transform surely does not suit the raw values (n_cells, n_markers), else None.

    ``cofactor`` is one number or one per marker, and means something with arcsinh only; None is as ``kind`` "none".
    """
    scale = value_scale(values)
    if scale is ValueScale.UNKNOWN:
        return None
    high = np.quantile(values, HIGH_QUANTILE, axis=0)
    brightest = int(np.argmax(high))
    evidence = f"the 99.9 % quantile of the brightest marker, {markers[brightest]}, is {high[brightest]:.4g}"
    suggestion = _COFACTORS.get(scale)
    if kind == "none" or cofactor is None:
        if suggestion is None:
            return None
        return f"values look {scale.value} ({evidence}) but will not be transformed; consider --cofactor {suggestion:g}"
    if suggestion is None:
        return f"values look {scale.value} ({evidence}); {kind} would be applied a second time"
    if kind == "logicle":
        if scale is ValueScale.COUNTS:
            return f"values look {scale.value} ({evidence}); logicle is for fluorescence, consider arcsinh"
        return None
    used = float(np.median(np.asarray(cofactor, dtype=np.float64)))
    # A factor of ten apart is no longer a matter of taste.
    if suggestion >= 10 * used or used >= 10 * suggestion:
        return f"values look {scale.value} ({evidence}); cofactor {used:g} is unusual there, consider {suggestion:g}"
    return None
