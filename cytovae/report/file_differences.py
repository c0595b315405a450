"""Differences between files that may come from the measurement and not from the cells: batch effects.

A population should lie at the same place in every file. Its position in a marker is its mean, because the median of a
marker that half of the cells express jumps when their share changes a little. Nothing is corrected here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.report.warning import ReportWarning, some_of

FEWEST_CELLS = 50  # of a population in a file; their mean is then uncertain by 0.14 spreads
LARGE_SHIFT = 1.0
_LEAST_SPREAD = 0.02  # of the range of a marker
_FAR, _TIMES_FARTHER, _FAR_OF_TWO = 0.25, 2.5, 0.5
MOST_ROWS = 20
_SECTION = "files"
_BATCHES = (
    "If they were measured in several batches, this may be the measurement and not biology. cytovae corrects nothing: "
    "CytoNorm and cyCombine do, before training; compare --batch takes a batch into account."
)
_COMPOSITION = (
    "If the sample is not expected to differ, look at its quality (cytovae qc) and its gating before clustering; "
    "compare tells whether groups of samples differ."
)


@dataclass(frozen=True)
class LargeShift:
    """A population that lies elsewhere in one file: indices of population, file and marker, and the shift."""

    population: int
    file: int
    marker: int
    shift: float


@dataclass(frozen=True, eq=False)
class FileDifferences:
    """How files differ.

    Attributes
    ----------
    shifts : ndarray of shape (n_populations, n_files, n_markers)
        Difference of a population's mean in a file from that in the other files, in standard deviations of the
        population within files; NaN where a file has too few of its cells.
    of_markers : ndarray of shape (n_files, n_markers)
        The median of the shifts over populations; NaN without any.
    distances : ndarray of shape (n_files,)
        The share of a file's cells that would have to be in other populations for its abundances to be those of the
        other files; NaN for a file without cells.
    far : tuple of int
        The files whose abundances are far from the others'.
    """

    shifts: NDArray[np.float64]
    of_markers: NDArray[np.float64]
    distances: NDArray[np.float64]
    far: tuple[int, ...]

    @property
    def large(self) -> tuple[LargeShift, ...]:
        """The shifts of more than one standard deviation, the largest first."""
        with np.errstate(invalid="ignore"):
            where = np.argwhere(np.abs(self.shifts) > LARGE_SHIFT)
        found = [
            LargeShift(population, file, marker, float(self.shifts[population, file, marker]))
            for population, file, marker in where.tolist()
        ]
        return tuple(sorted(found, key=lambda shift: -abs(shift.shift)))


def differences_of_files(
    values: NDArray[np.floating],
    population: NDArray[np.integer],
    file: NDArray[np.integer],
    counts: NDArray[np.int64],
    ranges: NDArray[np.floating],
) -> FileDifferences:
    """Compare the files of a study.

    Parameters
    ----------
    values : ndarray of shape (n_cells, n_markers)
        Marker values of a sample of cells.
    population, file : ndarray of int, shape (n_cells,)
        The population and the file of each of them, from 0.
    counts : ndarray of int, shape (n_files, n_populations)
        Number of all cells.
    ranges : ndarray of shape (n_markers,)
        The range of each marker. A spread counts as 2 % of it at least.
    """
    n_files, n_populations = counts.shape
    shifts = np.full((n_populations, n_files, values.shape[1]), np.nan)
    for index in range(n_populations):
        cells = population == index
        shifts[index] = _shifts(values[cells].astype(np.float64), file[cells], n_files, _LEAST_SPREAD * ranges)
    distances = _distances(counts)
    return FileDifferences(shifts, _median(shifts), distances, _far(distances))


def warnings_of(
    differences: FileDifferences, files: tuple[str, ...], markers: tuple[str, ...]
) -> tuple[ReportWarning, ...]:
    """What a user should know about ``files``."""
    found = []
    if large := differences.large:
        names = list(dict.fromkeys(files[shift.file] for shift in large))
        worst = list(dict.fromkeys(markers[shift.marker] for shift in large))
        text = f"populations lie more than their own spread apart between files: {some_of(names)}, in {some_of(worst)}"
        found.append(ReportWarning(text, _BATCHES, _SECTION))
    if differences.far:
        names = [files[file] for file in differences.far]
        text = f"abundances far from those of the other files: {some_of(names)}"
        found.append(ReportWarning(text, _COMPOSITION, _SECTION))
    return tuple(found)


def _shifts(
    values: NDArray[np.float64], file: NDArray[np.integer], n_files: int, least_spread: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The shifts of one population, (n_files, n_markers)."""
    shifts = np.full((n_files, values.shape[1]), np.nan)
    sizes = np.bincount(file, minlength=n_files)
    known = np.flatnonzero(sizes >= FEWEST_CELLS)
    if len(known) < 2:
        return shifts
    means = np.stack([values[file == index].mean(axis=0) for index in known])
    variances = np.stack([values[file == index].var(axis=0) for index in known])
    spread = np.maximum(np.sqrt(np.median(variances, axis=0)), np.maximum(least_spread, 1e-12))
    for row, index in enumerate(known.tolist()):
        others = np.sort(np.delete(means, row, axis=0), axis=0)
        low, high = others[(len(others) - 1) // 2], others[len(others) // 2]
        nearest = np.clip(means[row], low, high)  # 0 between the two middle ones
        shifts[index] = (means[row] - nearest) / spread
    return shifts


def _median(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    medians = np.full(shifts.shape[1:], np.nan)
    known = ~np.isnan(shifts).all(axis=0)
    medians[known] = np.nanmedian(shifts[:, known], axis=0)
    return medians


def _distances(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Total variation between the abundances of each file and the median abundances of the others."""
    distances = np.full(len(counts), np.nan)
    filled = np.flatnonzero(counts.sum(axis=1) >= FEWEST_CELLS)
    if len(filled) < 2:
        return distances
    shares = counts[filled] / counts[filled].sum(axis=1, keepdims=True)
    for row, index in enumerate(filled.tolist()):
        usual = np.median(np.delete(shares, row, axis=0), axis=0)
        if usual.sum() > 0:
            distances[index] = np.abs(shares[row] - usual / usual.sum()).sum() / 2
    return distances


def _far(distances: NDArray[np.float64]) -> tuple[int, ...]:
    """The files that are far from the others; of two files, both or none."""
    known = distances[~np.isnan(distances)]
    if len(known) == 2:
        return tuple(np.flatnonzero(distances > _FAR_OF_TWO).tolist())
    limit = max(_FAR, _TIMES_FARTHER * float(np.median(known))) if len(known) else np.inf
    with np.errstate(invalid="ignore"):
        return tuple(np.flatnonzero(distances > limit).tolist())
