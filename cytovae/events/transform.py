"""Raw marker values to the arcsinh or logicle scale and to [0, 1], and back; and what values say about their scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import InputError, UsageError


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
