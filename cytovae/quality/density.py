"""Smooth densities of values: their peaks, the valleys between them, and the width of a peak."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Values = NDArray[np.float64]

GRID = 512
_TAIL = 0.0005  # values beyond these quantiles do not stretch the grid
_BLOCK = 131_072  # values at once
_ENOUGH = 200_000
_MARGIN = 4.0  # bandwidths between the outermost quantiles and the ends of the grid


@dataclass(frozen=True, eq=False)
class Density:
    """A density on a regular grid.

    Attributes
    ----------
    grid, height : ndarray of shape (n,)
        The positions, and the density there; the highest peak is 1.
    """

    grid: Values
    height: Values

    def peaks(self, least: float) -> list[int]:
        """The indices of the local maxima that are at least ``least`` times as high as the highest one."""
        return np.flatnonzero(is_peak(self.height[None], least)[0]).tolist()

    def valley(self, left: int, right: int) -> int:
        """The index of the lowest point between two indices."""
        return left + int(np.argmin(self.height[left : right + 1]))

    def spread_below(self, peak: int) -> float:
        """The standard deviation of a normal peak as wide as the lower half of this one, at half of its height."""
        return self._spread(peak, np.flatnonzero(self.height[:peak] < self.height[peak] / 2)[-1:], 0)

    def spread_above(self, peak: int) -> float:
        """The same of the upper half."""
        above = peak + np.flatnonzero(self.height[peak:] < self.height[peak] / 2)[:1]
        return self._spread(peak, above, len(self.grid) - 1)

    def _spread(self, peak: int, crossing: NDArray[np.int64], end: int) -> float:
        half = int(crossing[0]) if len(crossing) else end
        return abs(float(self.grid[peak] - self.grid[half])) / float(np.sqrt(2 * np.log(2)))


def density_of(values: NDArray[np.floating], least_bandwidth: float = 0.0) -> Density | None:
    """The density of finite values; None if they hardly vary.

    The bandwidth is Silverman's rule of thumb, at least ``least_bandwidth``, so that single counts are no peaks.
    """
    placed = grid_for(values, len(values))
    if placed is None:
        return None
    grid, bandwidth = placed
    bandwidth = max(bandwidth, least_bandwidth)
    height = gaussian_filter1d(counts_on(grid, values)[0], bandwidth / (grid[1] - grid[0]), mode="constant")
    return Density(grid, height / height.max())


def grid_for(values: NDArray[np.floating], n: int) -> tuple[Values, float] | None:
    """A grid that covers ``values``, and Silverman's bandwidth for ``n`` of them; None if they hardly vary."""
    if len(values) < 2:
        return None
    values = thinned(values)
    low, first, third, high = np.quantile(values, [_TAIL, 0.25, 0.75, 1 - _TAIL]).tolist()
    spread = float(np.std(np.clip(values, low, high), dtype=np.float64))
    if third > first:
        spread = min(spread, (third - first) / 1.34)
    if not np.isfinite(spread) or spread <= 1e-9 * max(abs(low), abs(high), 1e-9):
        return None
    bandwidth = 0.9 * spread * n**-0.2
    edge = _MARGIN * bandwidth
    bandwidth = max(bandwidth, (high - low + 2 * edge) / GRID)  # at least one step of the grid
    return np.linspace(low - edge, high + edge, GRID), bandwidth


def thinned(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """At most 200,000 of the values, evenly spaced: enough for quantiles and a spread."""
    return values[:: max(1, -(-len(values) // _ENOUGH))]


def counts_on(
    grid: Values, values: NDArray[np.floating], group: NDArray[np.integer] | None = None, n_groups: int = 1
) -> Values:
    """How many ``values`` lie nearest to each point of a regular grid, in each group, (n_groups, n_points).

    The ends of the grid take what lies beyond them. Works block by block, which is faster.
    """
    counts = np.zeros(n_groups * len(grid), dtype=np.int64)
    scale = 1 / (grid[1] - grid[0])
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        points = np.rint((np.clip(block, grid[0], grid[-1]) - grid[0]) * scale).astype(np.int64)
        if group is not None:
            points += group[start : start + _BLOCK] * np.int64(len(grid))
        counts += np.bincount(points, minlength=len(counts))
    return counts.reshape(n_groups, len(grid)).astype(np.float64)


def is_peak(heights: Values, least: float) -> NDArray[np.bool_]:
    """Whether each point of the densities (n_densities, n_points) is a local maximum, see :meth:`Density.peaks`."""
    found = np.zeros(heights.shape, dtype=np.bool_)
    inner = heights[:, 1:-1]
    found[:, 1:-1] = (inner > heights[:, :-2]) & (inner >= heights[:, 2:])
    return np.asarray(found & (heights >= least * heights.max(axis=1, keepdims=True)) & (heights > 0))


def separated(density: Density, least: float, depth: float) -> list[tuple[int, int, int]]:
    """Neighbouring peaks with a deep valley between them.

    Parameters
    ----------
    density
        The density.
    least
        The height of the lowest peak that counts, as a share of the highest.
    depth
        The height of the highest valley that counts, as a share of the lower of its two peaks.

    Returns
    -------
    list of (int, int, int)
        Indices of the left peak, the valley and the right peak. A shallow valley joins its peaks to the higher one.
    """
    kept: list[int] = []
    for peak in density.peaks(least):
        while kept:
            valley = density.height[density.valley(kept[-1], peak)]
            if valley <= depth * min(density.height[kept[-1]], density.height[peak]):
                break
            if density.height[peak] <= density.height[kept[-1]]:
                peak = kept[-1]
            kept.pop()
        kept.append(peak)
    return [(left, density.valley(left, right), right) for left, right in pairwise(kept)]
