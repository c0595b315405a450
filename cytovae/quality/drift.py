"""Drift: stretches of a file in which the signal of a channel differs from the rest, such as by a clog or air.

The method is that of PeacoQC (Emmaneel et al. 2022, Cytometry A 101:325). Events in the order of Time are divided into
bins of at least 500 that overlap by half. In each bin and channel, the peaks of the density are found. Two tests judge
the courses of the peaks: an isolation tree, which keeps the largest set of bins that no split makes much more
homogeneous, and the distance of the smoothed courses from their median, which must be at most six median absolute
deviations. Fewer than five good bins between bad ones are bad as well.

Differences: densities are histograms smoothed by Silverman's bandwidth; courses are smoothed by a running
median of five bins and a Gaussian of two, not by a spline, also before the tree; peaks in less than half of the bins do
not count; a peak that moved by less than :data:`LEAST_MOVE` is not bad, because in bins of many events six
deviations can be less than anything that matters.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from cytovae.events.event_file import EventFile
from cytovae.quality.channel_roles import ChannelRoles
from cytovae.quality.check import Check, Courses, not_done
from cytovae.quality.columns import each_column, read_columns
from cytovae.quality.density import Values, counts_on, grid_for, is_peak, thinned

REASON = "drift"
FEWEST_EVENTS = 10_000
LEAST_MOVE = 0.25  # standard deviations of the channel
_MOST_BINS, _STEP = 500, 500
_LEAST_PEAK = 1 / 3  # of the highest peak of the bin
_LEAST_SHARE = 0.1  # of the bins that have as many peaks
_LEAST_PRESENT = 0.5  # of the bins, for a peak to have a course
_FEWEST_VALUES = 150  # in a bin
_FEWEST_FOR_TREE = 150  # bins
_GAIN = 0.6
_DEVIATIONS = 6.0
_MAD_TO_SD = 1.4826
_GLITCH = 5  # bins of a running median
_SMOOTH = 2.0  # bins
_FEWEST_GOOD = 5  # bins in a row
_OUT_OF_ORDER = 0.01  # share of steps back in Time in a file whose events are in order; the clock may begin again
_SLOW_MOVE = 0.5  # standard deviations of the channel from the first to the last tenth
_MOST_COURSES = 8  # in a picture


def check_drift(file: EventFile, roles: ChannelRoles) -> Check:
    """Find the stretches of a file in which a marker or scatter channel drifts."""
    if not roles.time:
        return not_done(REASON, "no channel of time")
    if file.n_events < FEWEST_EVENTS:
        return not_done(REASON, f"fewer than {FEWEST_EVENTS:,} events")
    order = order_of_events(read_columns(file, [channel.index for channel in roles.time]))
    if order is None:
        return not_done(REASON, "time does not advance")
    channels = {channel.index: channel for channel in (*roles.scatter, *roles.dna, *roles.markers)}
    if not channels:
        return not_done(REASON, "no channel of a marker or of scatter")
    of_event = half_bins(order)
    names: list[str] = []
    courses: list[Values] = []
    least: list[float] = []
    for index, raw in each_column(file, list(channels)):
        is_linear = roles.cofactor is None or index in {channel.index for channel in roles.scatter}
        values = raw if is_linear else np.arcsinh(raw / roles.cofactor)
        for course, spread in peak_courses(values, of_event, roles.one_count, without_zeros=roles.is_mass):
            names.append(channels[index].label or channels[index].name)
            courses.append(course)
            least.append(LEAST_MOVE * spread)
    if not courses:
        return not_done(REASON, "no channel with enough values in every stretch of the file")
    values = np.column_stack(courses)
    failed = bad_bins(values, np.array(least))
    bad_half = np.zeros(len(failed) + 1, dtype=np.bool_)  # an event is in up to two bins
    bad_half[:-1] |= failed
    bad_half[1:] |= failed
    moved = _moved_slowly(values[~failed], np.array(least) / LEAST_MOVE)
    slow = tuple(dict.fromkeys(name for name, course in zip(names, moved, strict=True) if course))
    warning = f"{', '.join(slow)} moved from the beginning to the end of the file" if slow else ""
    return Check(REASON, bad_half[of_event], "", tuple(dict.fromkeys(names)), warning, _picture(names, values, failed))


# --- bins -------------------------------------------------------------------------------------------------------------


def order_of_events(times: NDArray[np.floating]) -> NDArray[np.int64] | None:
    """The rank of each event in time, (n_events,); None if no channel of ``times`` (n_channels, n_events) advances.

    Events of a file are in the order of acquisition unless more than 1 % of the steps of every clock go back.
    """
    moving = [time for time in times if np.isfinite(time).all() and time.min() < time.max()]
    if not moving:
        return None
    steps_back = [float((np.diff(time) < 0).mean()) for time in moving]
    best = int(np.argmin(steps_back))
    n_events = times.shape[1]
    if steps_back[best] <= _OUT_OF_ORDER:
        return np.arange(n_events)
    rank = np.empty(n_events, dtype=np.int64)
    rank[np.argsort(moving[best], kind="stable")] = np.arange(n_events)
    return rank


def half_bins(rank: NDArray[np.int64]) -> NDArray[np.int32]:
    """The half of a bin of each event, (n_events,), from its rank; a bin is two halves that follow each other."""
    n_events = len(rank)
    in_bin = _STEP * (2 * n_events // _MOST_BINS // _STEP + 1)
    n_halves = max(2, 2 * n_events // in_bin)
    return np.minimum(rank * n_halves // n_events, n_halves - 1).astype(np.int32)


# --- peaks ------------------------------------------------------------------------------------------------------------


def peak_courses(
    values: NDArray[np.floating],
    of_event: NDArray[np.int32],
    least_bandwidth: float = 0.0,
    *,
    without_zeros: bool = False,
) -> Iterator[tuple[Values, float]]:
    """The courses of the peaks of one channel.

    Parameters
    ----------
    values : ndarray of shape (n_events,)
        The values of the channel.
    of_event : ndarray of shape (n_events,)
        The half of a bin of each event.
    least_bandwidth
        The smallest bandwidth of the densities.
    without_zeros
        Zeros are no values, as in mass cytometry.

    Yields
    ------
    course : ndarray of shape (n_bins,)
        The position of the peak; its median in bins without the peak.
    spread : float
        The standard deviation of the channel.
    """
    usable = np.isfinite(values)
    if without_zeros:
        usable &= values != 0
    n_halves = int(of_event.max()) + 1
    counts = np.bincount(of_event[usable], minlength=n_halves)
    in_bin = counts[:-1] + counts[1:]
    placed = grid_for(values[usable], int(np.median(in_bin))) if in_bin.min() >= _FEWEST_VALUES else None
    if placed is None:
        return
    grid, bandwidth = placed[0], max(placed[1], least_bandwidth)
    halves = counts_on(grid, values[usable], of_event[usable], n_halves)
    heights = gaussian_filter1d(halves[:-1] + halves[1:], bandwidth / (grid[1] - grid[0]), axis=1, mode="constant")
    bins, points = np.nonzero(is_peak(heights, _LEAST_PEAK))
    n_peaks = np.bincount(bins, minlength=len(heights))
    usual = max(n for n in range(int(n_peaks.max()) + 1) if (n_peaks >= n).mean() >= _LEAST_SHARE)
    if not usual:
        return
    exact = n_peaks == usual
    positions = _between_points(grid, heights, bins, points)
    if exact.any():
        centres = np.median(positions[exact[bins]].reshape(-1, usual), axis=0)
    else:
        centres = np.quantile(positions, (np.arange(usual) + 0.5) / usual)
    nearest = np.abs(positions[:, None] - centres).argmin(axis=1)
    distance = np.abs(positions - centres[nearest])
    spread = float(np.std(thinned(values[usable]), dtype=np.float64))
    for peak in range(usual):
        course = np.full(len(heights), np.nan)
        own = np.flatnonzero(nearest == peak)
        if len(np.unique(bins[own])) < _LEAST_PRESENT * len(heights):
            continue
        own = own[np.argsort(-distance[own], kind="stable")]  # of several in a bin, the nearest is written last
        course[bins[own]] = positions[own]
        course[np.isnan(course)] = np.nanmedian(course)
        yield course, spread


def _between_points(grid: Values, heights: Values, bins: NDArray[np.int64], points: NDArray[np.int64]) -> Values:
    """The tops of the parabolas through the peaks and their neighbours."""
    left, top, right = (heights[bins, points + step] for step in (-1, 0, 1))
    curvature = left - 2 * top + right
    shift = np.divide((left - right) / 2, curvature, out=np.zeros(len(top)), where=curvature != 0)
    return np.asarray(grid[points] + np.clip(shift, -0.5, 0.5) * (grid[1] - grid[0]))


# --- tests ------------------------------------------------------------------------------------------------------------


def bad_bins(courses: Values, least_move: Values) -> NDArray[np.bool_]:
    """Which bins are bad, (n_bins,).

    Parameters
    ----------
    courses : ndarray of shape (n_bins, n_courses)
        The positions of the peaks.
    least_move : ndarray of shape (n_courses,)
        A peak that moved by less is not bad.
    """
    smooth = _smooth(courses)
    kept = largest_leaf(smooth, least_move) if len(courses) >= _FEWEST_FOR_TREE else np.arange(len(courses))
    bad = np.ones(len(courses), dtype=np.bool_)
    smooth = _smooth(courses[kept])
    middle = np.median(smooth, axis=0)
    limit = np.maximum(_DEVIATIONS * _MAD_TO_SD * np.median(np.abs(smooth - middle), axis=0), least_move)
    bad[kept] = (np.abs(smooth - middle) > limit).any(axis=1)
    return without_short_runs(bad)


def _smooth(courses: Values) -> Values:
    """The courses, smoothed; a peak that jumps in a single bin is a matter of chance."""
    calm = median_filter(courses, size=(_GLITCH, 1), mode="nearest")
    return np.asarray(gaussian_filter1d(calm, _SMOOTH, axis=0, mode="nearest"))


def largest_leaf(courses: Values, least_move: Values) -> NDArray[np.int64]:
    """The bins in the largest leaf of an isolation tree.

    A node is split at the value of a course that lowers the mean standard deviation of its two parts most, if that is
    by 60 % or more, and if the two parts are apart by ``least_move`` at least.
    """
    leaves, nodes = [], [np.arange(len(courses))]
    while nodes:
        node = nodes.pop()
        parts = _split(courses[node], least_move)
        if parts is None:
            leaves.append(node)
        else:
            nodes += [node[part] for part in parts]
    return np.sort(max(leaves, key=len))


def _split(courses: Values, least_move: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    n = len(courses)
    if n < 2 * _FEWEST_GOOD:
        return None
    order = np.argsort(courses, axis=0, kind="stable")
    values = np.take_along_axis(courses, order, axis=0)
    values = values - values.mean(axis=0)
    sums, squares = np.cumsum(values, axis=0), np.cumsum(values**2, axis=0)
    sizes = np.arange(1, n)[:, None]
    left_mean, right_mean = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (n - sizes)
    left = np.sqrt(np.maximum(squares[:-1] / sizes - left_mean**2, 0))
    right = np.sqrt(np.maximum((squares[-1] - squares[:-1]) / (n - sizes) - right_mean**2, 0))
    total = np.sqrt(np.maximum(squares[-1] / n, 0))
    gain = np.divide(total - (left + right) / 2, total, out=np.zeros_like(left), where=total > 0)
    gain[right_mean - left_mean < least_move] = 0
    best, course = np.unravel_index(int(np.argmax(gain)), gain.shape)
    if gain[best, course] < _GAIN:
        return None
    return order[: best + 1, course], order[best + 1 :, course]


def without_short_runs(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``bad``, where fewer than five good bins between bad ones are bad, too."""
    joined = bad.copy()
    where = np.flatnonzero(bad)
    for before, after in zip(where[:-1].tolist(), where[1:].tolist(), strict=True):
        if after - before <= _FEWEST_GOOD:
            joined[before:after] = True
    return joined


def _moved_slowly(courses: Values, spread: Values) -> NDArray[np.bool_]:
    """Which courses end elsewhere than they began; such a drift makes no bin worse than the others."""
    tenth = max(1, len(courses) // 10)
    if len(courses) < 2 * tenth:
        return np.zeros(courses.shape[1], dtype=np.bool_)
    moved = np.abs(np.median(courses[-tenth:], axis=0) - np.median(courses[:tenth], axis=0))
    return np.asarray(moved > _SLOW_MOVE * spread)


def _picture(names: list[str], courses: Values, failed: NDArray[np.bool_]) -> Courses:
    """The courses that leave their median farthest, in their own deviations."""
    smooth = _smooth(courses)
    distance = np.abs(smooth - np.median(smooth, axis=0))
    scale = np.median(distance, axis=0) + 1e-3 * np.abs(courses).max(axis=0, initial=0) + 1e-12
    shown = np.argsort(-(distance.max(axis=0) / scale), kind="stable")[:_MOST_COURSES]
    return Courses(tuple(names[course] for course in shown), courses[:, shown], failed)
