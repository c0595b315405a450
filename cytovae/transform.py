"""Raw marker values to the arcsinh or logicle scale and to [0, 1], and back; and what values say about their scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import InputError, UsageError

# One event in a thousand at either end is an artefact (a doublet, a spike) more often than biology.
LOW_QUANTILE = 0.001
HIGH_QUANTILE = 0.999


def arcsinh(values: NDArray[Any], cofactors: ArrayLike) -> NDArray[np.float32]:
    """``arcsinh(x / cofactor)`` of raw values (n_cells, n_markers), one cofactor for all or one per marker; float32."""
    return np.arcsinh(np.asarray(values) / np.asarray(cofactors, dtype=np.float32)).astype(np.float32, copy=False)


def sinh(values: NDArray[Any], cofactors: ArrayLike) -> NDArray[np.float32]:
    """Raw values (n_cells, n_markers) of which :func:`arcsinh` made ``values``; float32."""
    raw = np.sinh(np.asarray(values, dtype=np.float64)) * np.asarray(cofactors, dtype=np.float64)
    return raw.astype(np.float32)


@dataclass(frozen=True)
class Logicle:
    """The parameters of the logicle scale (Parks, Roederer & Moore 2006; Moore & Parks 2012): ``t`` is the top of scale
    of raw values, ``m`` the decades of the whole scale, ``w`` those of them that are about linear, and ``a`` more
    decades for negative values. The defaults are those of FlowJo and flowCore for 18-bit instruments.
    """

    t: float = 262_144.0
    w: float = 0.5
    m: float = 4.5
    a: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.t, self.w, self.m, self.a)) or not (
            self.t > 0 and self.m > 0 and 0 <= self.w <= self.m / 2 and -self.w <= self.a <= self.m - 2 * self.w
        ):
            raise UsageError(
                f"logicle needs T > 0, M > 0, 0 ≤ W ≤ M / 2 and −W ≤ A ≤ M − 2 W, not "
                f"T, W, M, A = {self.t:g}, {self.w:g}, {self.m:g}, {self.a:g}"
            )

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values (n_cells, n_markers) on the logicle scale in decades: ``t`` becomes ``m``; float32."""
        from flowutils.transforms import logicle  # a compiled library, loaded where it is needed

        values = np.array(raw, dtype=np.float64, order="C", ndmin=2)
        scaled = logicle(values, list(range(values.shape[1])), t=self.t, m=self.m, w=self.w, a=self.a)
        return np.asarray(scaled * self.m, dtype=np.float32)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values (n_cells, n_markers) of which :meth:`apply` made ``values``; float32."""
        from flowutils.transforms import logicle_inverse

        scaled = np.array(values, dtype=np.float64, order="C", ndmin=2) / self.m
        raw = logicle_inverse(scaled, list(range(scaled.shape[1])), t=self.t, m=self.m, w=self.w, a=self.a)
        return np.asarray(raw, dtype=np.float32)


TransformKind = Literal["arcsinh", "logicle", "none"]


@dataclass(frozen=True, eq=False)
class Transform:
    """How raw values become the values a model sees: ``arcsinh(x / cofactor)``, the logicle scale, or as they are.

    ``cofactors`` is float32 of shape (n_markers,), all positive; with another kind it is kept but not used, and so is
    ``logicle``.
    """

    kind: TransformKind
    cofactors: NDArray[np.float32]
    logicle: Logicle = field(default_factory=Logicle)

    def __post_init__(self) -> None:
        if self.kind not in get_args(TransformKind):
            raise UsageError(f"a transform is one of {', '.join(get_args(TransformKind))}, not {self.kind!r}")
        if self.cofactors.ndim != 1 or not (np.isfinite(self.cofactors) & (self.cofactors > 0)).all():
            raise UsageError("a transform needs one positive cofactor for each marker")

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values (n_cells, n_markers) on the model's scale, float32."""
        self._check(raw)
        if self.kind == "arcsinh":
            return arcsinh(raw, self.cofactors)
        return self.logicle.apply(raw) if self.kind == "logicle" else np.asarray(raw, dtype=np.float32)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values on the model's scale (n_cells, n_markers) as raw ones, float32."""
        self._check(values)
        if self.kind == "arcsinh":
            return sinh(values, self.cofactors)
        return self.logicle.invert(values) if self.kind == "logicle" else np.asarray(values, dtype=np.float32)

    def _check(self, values: NDArray[Any]) -> None:
        if values.ndim != 2 or values.shape[1] != len(self.cofactors):
            raise UsageError(f"values of shape {values.shape} do not fit {len(self.cofactors)} cofactors")


@dataclass(frozen=True, eq=False)
class Scaling:
    """The range of each marker that becomes [0, 1]: ``low`` and ``high`` float32 of shape (n_markers,), low < high."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1 or not (self.low < self.high).all():
            raise UsageError("a scaling needs low < high for each marker")

    def scale(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values (n_cells, n_markers) in [0, 1], what lies outside the range clipped to its ends; float32."""
        scaled = (np.asarray(values, dtype=np.float32) - self.low) / (self.high - self.low)
        return np.clip(scaled, 0.0, 1.0, out=scaled)

    def unscale(self, scaled: NDArray[Any]) -> NDArray[np.float32]:
        """Values on the transformed scale from values in [0, 1]; the inverse of :meth:`scale` within the range."""
        return np.asarray(scaled, dtype=np.float32) * (self.high - self.low) + self.low


def fit_scaling(values: NDArray[Any]) -> Scaling:
    """The scaling of transformed values (n_cells, n_markers): from the 0.1 % to the 99.9 % quantile of each marker.

    A marker that so few cells express that both quantiles are equal takes its whole range; a constant one a width of 1,
    so that it becomes 0 everywhere. Raises :class:`UsageError` without cells.
    """
    if values.ndim != 2 or not len(values):
        raise UsageError(f"a scaling is fitted to a table of cells, not to values of shape {values.shape}")
    low, high = np.quantile(values, [LOW_QUANTILE, HIGH_QUANTILE], axis=0).astype(np.float32)
    narrow = ~(low < high)
    if narrow.any():
        low[narrow] = values[:, narrow].min(axis=0)
        high[narrow] = values[:, narrow].max(axis=0)
        constant = ~(low < high)
        # At magnitudes where float32 cannot tell x from x + 1 the next number is width enough.
        high[constant] = np.maximum(low[constant] + 1, np.nextafter(low[constant], np.float32(np.inf)))
    return Scaling(low, high)


def check_finite(values: NDArray[Any], markers: Sequence[str], file: str | Path) -> None:
    """Raise :class:`InputError` naming the markers of ``file`` that hold values which are not finite, and how many."""
    bad = (~np.isfinite(values)).sum(axis=0)
    if not bad.any():
        return
    counts = ", ".join(f"{count} in {marker}" for marker, count in zip(markers, bad, strict=True) if count)
    raise InputError(
        file,
        "marker values",
        f"values that are NaN or infinite among {len(values)} events: {counts}",
        "finite numbers",
        "Leave the marker out with --exclude, or export the file again without these events.",
    )


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
