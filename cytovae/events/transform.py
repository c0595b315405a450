"""Raw marker values to the arcsinh or logicle scale, and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import InputError, UsageError


def arcsinh(values: NDArray[Any], cofactors: ArrayLike) -> NDArray[np.float32]:
    """``arcsinh(x / cofactor)`` as float32.

    Parameters
    ----------
    values
        Raw values of shape (n_cells, n_markers).
    cofactors
        One cofactor, or one per marker.
    """
    return np.arcsinh(np.asarray(values) / np.asarray(cofactors, dtype=np.float32)).astype(np.float32, copy=False)


def sinh(values: NDArray[Any], cofactors: ArrayLike) -> NDArray[np.float32]:
    """The inverse of :func:`arcsinh`: raw values (n_cells, n_markers) as float32."""
    raw = np.sinh(np.asarray(values, dtype=np.float64)) * np.asarray(cofactors, dtype=np.float64)
    return raw.astype(np.float32)


@dataclass(frozen=True)
class Logicle:
    """The logicle scale (Parks, Roederer & Moore 2006; Moore & Parks 2012).

    The defaults are those of FlowJo and flowCore for 18-bit instruments.

    Attributes
    ----------
    t
        The raw value at the top of the scale.
    w
        The number of decades that are approximately linear.
    m
        The number of decades of the whole scale.
    a
        The number of additional decades for negative values.

    Raises
    ------
    UsageError
        If the parameters do not define a scale.
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
        """Transform raw values (n_cells, n_markers) to decades of the logicle scale; ``t`` becomes ``m``."""
        from flowutils.transforms import logicle  # a compiled library; only needed here

        values = np.array(raw, dtype=np.float64, order="C", ndmin=2)
        scaled = logicle(values, list(range(values.shape[1])), t=self.t, m=self.m, w=self.w, a=self.a)
        return np.asarray(scaled * self.m, dtype=np.float32)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The inverse of :meth:`apply`: raw values (n_cells, n_markers)."""
        from flowutils.transforms import logicle_inverse

        scaled = np.array(values, dtype=np.float64, order="C", ndmin=2) / self.m
        raw = logicle_inverse(scaled, list(range(scaled.shape[1])), t=self.t, m=self.m, w=self.w, a=self.a)
        return np.asarray(raw, dtype=np.float32)


TransformKind = Literal["arcsinh", "logicle", "none"]


@dataclass(frozen=True, eq=False)
class Transform:
    """The transform of raw values to the scale of a model.

    Attributes
    ----------
    kind
        "arcsinh" of x / cofactor, "logicle", or "none".
    cofactors
        Positive float32 of shape (n_markers,). Only "arcsinh" uses them.
    logicle
        The parameters of "logicle".

    Raises
    ------
    UsageError
        If the kind is unknown or a cofactor is not positive.
    """

    kind: TransformKind
    cofactors: NDArray[np.float32]
    logicle: Logicle = field(default_factory=Logicle)

    def __post_init__(self) -> None:
        if self.kind not in get_args(TransformKind):
            raise UsageError(f"a transform must be one of {', '.join(get_args(TransformKind))}, not {self.kind!r}")
        if self.cofactors.ndim != 1 or not (np.isfinite(self.cofactors) & (self.cofactors > 0)).all():
            raise UsageError("a transform needs one positive cofactor for each marker")

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Transform raw values (n_cells, n_markers)."""
        self._check_shape(raw)
        if self.kind == "arcsinh":
            return arcsinh(raw, self.cofactors)
        return self.logicle.apply(raw) if self.kind == "logicle" else np.asarray(raw, dtype=np.float32)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The inverse of :meth:`apply`: raw values (n_cells, n_markers)."""
        self._check_shape(values)
        if self.kind == "arcsinh":
            return sinh(values, self.cofactors)
        return self.logicle.invert(values) if self.kind == "logicle" else np.asarray(values, dtype=np.float32)

    def _check_shape(self, values: NDArray[Any]) -> None:
        if values.ndim != 2 or values.shape[1] != len(self.cofactors):
            raise UsageError(f"values of shape {values.shape} do not fit {len(self.cofactors)} cofactors")


def check_finite(values: NDArray[Any], markers: Sequence[str], file: str | Path) -> None:
    """Check that the values (n_cells, n_markers) of a file are finite.

    Raises :class:`InputError`, which names the markers with other values and their numbers.
    """
    bad = (~np.isfinite(values)).sum(axis=0)
    if not bad.any():
        return
    counts = ", ".join(f"{count} in {marker}" for marker, count in zip(markers, bad, strict=True) if count)
    raise InputError(
        file,
        "marker values",
        f"values that are NaN or infinite among {len(values)} events: {counts}",
        "finite numbers",
        "Exclude the marker with --exclude, or export the file again without these events.",
    )
