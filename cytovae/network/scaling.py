"""Scaling of marker values to [0, 1], the input of the network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float32], "Tensor")

# One event in a thousand at either end is more often an artefact (a doublet, a spike) than biology.
LOW_QUANTILE = 0.001
HIGH_QUANTILE = 0.999


def scale_unclipped(values: Array, low: Array, high: Array) -> Array:
    """Map ``low`` (m,) to 0 and ``high`` (m,) to 1 in ``values`` (n, m); other values may lie outside [0, 1].

    All three are float32, NumPy arrays or tensors on one device.
    """
    return (values - low) / (high - low)


@dataclass(frozen=True, eq=False)
class Scaling:
    """The range of each marker that is scaled to [0, 1].

    ``low`` and ``high`` are float32 (m,), on the transformed scale. Raises :class:`UsageError` unless low < high.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1 or not (self.low < self.high).all():
            raise UsageError("a scaling needs low < high for each marker")

    def scale(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Scale transformed values (n, m) to [0, 1]; values outside the range are clipped."""
        scaled = scale_unclipped(np.asarray(values, dtype=np.float32), self.low, self.high)
        return np.clip(scaled, 0.0, 1.0, out=scaled)

    def unscale(self, scaled: NDArray[Any]) -> NDArray[np.float32]:
        """Transformed values (n, m) from scaled ones; the inverse of :meth:`scale` within the range."""
        return np.asarray(scaled, dtype=np.float32) * (self.high - self.low) + self.low


def fit_scaling(values: NDArray[Any]) -> Scaling:
    """The scaling of transformed values (n, m), from the 0.1 % to the 99.9 % quantile of each marker.

    If so few cells express a marker that both quantiles are equal, its whole range is used. A constant marker gets a
    range of width 1 and is scaled to 0. Raises :class:`UsageError` without cells.
    """
    if values.ndim != 2 or not len(values):
        raise UsageError(f"a scaling needs a table of cells, not values of shape {values.shape}")
    low, high = np.quantile(values, [LOW_QUANTILE, HIGH_QUANTILE], axis=0).astype(np.float32)
    narrow = ~(low < high)
    if narrow.any():
        low[narrow] = values[:, narrow].min(axis=0)
        high[narrow] = values[:, narrow].max(axis=0)
        constant = ~(low < high)
        # For large values float32 cannot represent low + 1; then the next larger number is used.
        high[constant] = np.maximum(low[constant] + 1, np.nextafter(low[constant], np.float32(np.inf)))
    return Scaling(low, high)
