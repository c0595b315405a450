"""Marker values to [0, 1], the input of the network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError

# One event in a thousand at either end is an artefact (a doublet, a spike) more often than biology.
LOW_QUANTILE = 0.001


HIGH_QUANTILE = 0.999


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
