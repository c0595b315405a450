"""The density of two sets of cells along a line, and the valley in it.

A view needs it for about a thousand pairs of small sets. The functions are compiled by numba, since calls to numpy
would take most of the time. They are written as loops, which compile several times faster than expressions of arrays.
"""

import sys

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytovae.populations.numba_cache import keep_compiled

# Kernel width of a density estimate, in standard deviations of the set along the line.
BANDWIDTH = 0.35

# Points at which the density between two medians is evaluated, from one median to the other.
GRID_POINTS = 33

# A kernel is 0 beyond this many widths: exp(−x² / 2) is below 1e-21.
KERNEL_REACH = 10.0

# The midpoint between two sets in a file is shrunk towards that of all files with the weight of this many cells.
FILE_SHRINKAGE = 2.0

# Added to variances and kernel widths, so that they are positive.
TINY = 1e-12

_F = NDArray[np.float64]


@njit()
def compare_files(counts: tuple[_F, _F], means: tuple[_F, _F]) -> tuple[_F, float]:
    """The difference between the means of two sets within files, and how many cells there are to compare.

    Parameters
    ----------
    counts, means
        Cells (g,) of each set in each file, and their means (g, m).

    Returns
    -------
    difference, total
        The difference (m,), where files weigh as much as they have cells to compare, and the sum of these.
    """
    comparable = comparable_cells(counts)
    difference, total = np.zeros(means[0].shape[1]), 0.0
    for file in range(len(comparable)):
        total += comparable[file]
        for marker in range(len(difference)):
            difference[marker] += comparable[file] * (means[1][file, marker] - means[0][file, marker])
    for marker in range(len(difference)):
        difference[marker] /= max(total, TINY)
    return difference, total


@njit()
def valley_within_files(
    values: _F,
    origin: NDArray[np.int64],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: tuple[_F, _F],
    line: _F,
    sizes: tuple[float, float],
) -> float:
    """The valley between two sets along a line, if each file is aligned at the midpoint between them.

    Parameters
    ----------
    values, origin
        Markers (n, m) and files (n,) of all cells.
    rows
        The cells (n_a,) and (n_b,) of each set.
    counts
        Their number (g,) in each file.
    line
        Direction (m,) from the first set to the second.
    sizes
        Weight of each set.
    """
    comparable = comparable_cells(counts)
    positions = (positions_along(values, rows[0], line), positions_along(values, rows[1], line))
    files = (_files_of(origin, rows[0]), _files_of(origin, rows[1]))
    midpoint = file_midpoints(positions, files, counts, comparable)
    first, first_weights = files_aligned(positions[0], files[0], counts[0], comparable, midpoint)
    second, second_weights = files_aligned(positions[1], files[1], counts[1], comparable, midpoint)
    return valley_between((first, second), (first_weights, second_weights), sizes)


@njit()
def positions_along(values: _F, rows: NDArray[np.int64], line: _F) -> _F:
    """Position (r,) along ``line`` (m,) of the cells ``rows`` (r,) of ``values`` (n, m)."""
    positions = np.zeros(len(rows))
    for index in range(len(rows)):
        for marker in range(len(line)):
            positions[index] += values[rows[index], marker] * line[marker]
    return positions


@njit()
def _files_of(origin: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """File (r,) of each of the cells ``rows`` (r,)."""
    files = np.empty(len(rows), np.int64)
    for index in range(len(rows)):
        files[index] = origin[rows[index]]
    return files


@njit()
def comparable_cells(counts: tuple[_F, _F]) -> _F:
    """How many cells two sets have to compare in each file, (g,): n_a · n_b / (n_a + n_b)."""
    comparable = np.zeros(len(counts[0]))
    for file in range(len(comparable)):
        n_a, n_b = counts[0][file], counts[1][file]
        comparable[file] = n_a * n_b / max(n_a + n_b, 1.0)
    return comparable


@njit()
def file_midpoints(
    positions: tuple[_F, _F],
    files: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: tuple[_F, _F],
    comparable: _F,
) -> _F:
    """The position halfway between two sets in each file, (g,).

    Parameters
    ----------
    positions, files
        Position and file of the cells of each set, (n_a,) and (n_b,).
    counts
        Cells of each set in each file, (g,).
    comparable
        How many cells two sets have to compare in each file, (g,). In files with few, the midpoint is close to the mean
        over all files.
    """
    midpoint = np.zeros(len(comparable))
    for index in range(2):
        x, file, count = positions[index], files[index], counts[index]
        for cell in range(len(x)):
            midpoint[file[cell]] += x[cell] / count[file[cell]] / 2
    common, total = 0.0, 0.0
    for index in range(len(comparable)):
        common += comparable[index] * midpoint[index]
        total += comparable[index]
    common /= total
    for index in range(len(comparable)):
        own = comparable[index]
        midpoint[index] = (own * midpoint[index] + FILE_SHRINKAGE * common) / (own + FILE_SHRINKAGE)
    return midpoint


@njit()
def files_aligned(x: _F, file: NDArray[np.int64], count: _F, comparable: _F, midpoint: _F) -> tuple[_F, _F]:
    """Positions of a set relative to the midpoint of each file, and weights of its cells.

    The weights give two sets the same mixture of files. Cells of files that only one set has are left out.

    Parameters
    ----------
    x, file
        Position and file of the cells of the set, (n,).
    count, comparable, midpoint
        Its cells in each file, and what :func:`file_midpoints` takes and returns, (g,).

    Returns
    -------
    positions, weights
        Of the cells that are left. The weights add up to 1.
    """
    aligned, weights = np.empty(len(x)), np.empty(len(x))
    n, total = 0, 0.0
    for cell in range(len(x)):
        own = file[cell]
        if comparable[own] > 0:
            aligned[n] = x[cell] - midpoint[own]
            weights[n] = comparable[own] / count[own]
            total += weights[n]
            n += 1
    for cell in range(n):
        weights[cell] /= total
    return aligned[:n], weights[:n]


@njit()
def valley_between(positions: tuple[_F, _F], weights: tuple[_F, _F], sizes: tuple[float, float]) -> float:
    """The lowest density between the medians of two sets, relative to the lower peak on either side.

    A kernel density estimate.

    Parameters
    ----------
    positions, weights
        Position and weight of the cells of each set, (n_a,) and (n_b,). The weights of a set add up to 1.
    sizes
        Weight of each set.

    Returns
    -------
    float
        1 if the sets share one peak or come in the other order, near 0 if hardly any cells lie between them.
    """
    low, high = np.median(positions[0]), np.median(positions[1])
    if high <= low:
        return 1.0
    density = np.zeros(GRID_POINTS)
    for index in range(2):
        _add_density(density, low, high, positions[index], weights[index], sizes[index])
    peak_after = density.copy()
    for point in range(GRID_POINTS - 2, -1, -1):
        peak_after[point] = max(peak_after[point], peak_after[point + 1])
    valley, peak_before = 1.0, 0.0
    for point in range(GRID_POINTS):
        peak_before = max(peak_before, density[point])
        valley = min(valley, density[point] / min(peak_before, peak_after[point]))
    return valley


@njit()
def _add_density(density: _F, low: float, high: float, x: _F, weight: _F, size: float) -> None:
    """Add the density of a set at grid points from ``low`` to ``high``.

    Neighboring points are a step apart, so the kernel of one follows from that of the last by two multiplications.
    """
    width = BANDWIDTH * np.std(x) + TINY
    step = (high - low) / (len(density) - 1) / width  # in kernel widths, like the distances below
    ratio_of_ratios = np.exp(-step * step)
    for index in range(len(x)):
        relative = (x[index] - low) / (high - low) * (len(density) - 1)
        nearest = round(min(max(relative, 0.0), len(density) - 1.0))
        distance = nearest * step - (x[index] - low) / width
        if abs(distance) > KERNEL_REACH:
            continue
        kernel = np.exp(-distance * distance / 2) * weight[index] * size / width
        upwards = np.exp(-step * distance - step * step / 2)
        downwards = np.exp(step * distance - step * step / 2)
        density[nearest] += kernel
        value = kernel
        for point in range(nearest + 1, len(density)):
            value *= upwards
            upwards *= ratio_of_ratios
            density[point] += value
        value = kernel
        for point in range(nearest - 1, -1, -1):
            value *= downwards
            downwards *= ratio_of_ratios
            density[point] += value


keep_compiled(sys.modules[__name__])
