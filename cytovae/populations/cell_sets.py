"""Sets of cells while they merge: means, covariances, density between two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Least pull of a covariance towards a sphere; sets with few cells for the number of markers are pulled further.
SHRINKAGE = 0.05


# Kernel width of a density, in standard deviations of its set along the line.
BANDWIDTH = 0.35


# Places along a line, in kernel widths from the one median, are not told apart beyond this.
MOST_WIDTHS = 1e4


# Cells of a half set its density is estimated from: more no longer changes it visibly.
DENSITY_CELLS = 400


GRID = 33


STEPS = np.linspace(0, 1, GRID)


# Cells that two sets must have in common files (harmonic, summed over files) for a valley to be looked for within them.
FEWEST_SHARED = 2.0


# The place of a file between two sets is drawn this many cells' worth towards that of all files.
FILE_SHRINKAGE = 2.0


# Sets without common files are two populations only if some marker differs by this share of its range: shifts between
# files are smaller, differences between populations mostly larger.
BETWEEN_FILES = 0.4


class CellSets:
    """Sets of cells while they are merged, each in two halves: one half says along which line to look, the other half
    what is seen there, so that a line fitted to few cells in many dimensions cannot see a valley that is not there.
    """

    def __init__(
        self, values: NDArray[np.float32], part: NDArray[np.int64], origin: NDArray[np.int64], seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.values = values.astype(np.float64)
        self.origin = origin
        self.files = int(origin.max()) + 1  # g
        low, high = np.quantile(self.values, (0.001, 0.999), axis=0)
        self.range = high - low + 1e-12  # (m,)
        self.k = int(part.max()) + 1
        self.markers = values.shape[1]
        shuffled = rng.permutation(len(values))
        order = shuffled[np.argsort(part[shuffled], kind="stable")]
        rows = np.split(order, np.searchsorted(part[order], np.arange(1, self.k)))
        self.count = np.zeros((2, self.k))
        self.mean = np.zeros((2, self.k, self.markers))
        self.covariance = np.zeros((2, self.k, self.markers, self.markers))
        self.file_count = np.zeros((2, self.k, self.files))
        self.file_mean = np.zeros((2, self.k, self.files, self.markers))
        self.sample = [[own[half::2][:DENSITY_CELLS] for half in (0, 1)] for own in rows]
        self.sample_files = [[self._in_files(sample) for sample in samples] for samples in self.sample]  # (g,) each
        for index, own in enumerate(rows):
            for half in (0, 1):
                cells, of = self.values[own[half::2]], origin[own[half::2]]
                self.count[half, index] = len(cells)
                self.file_count[half, index] = self._in_files(own[half::2])
                for marker in range(self.markers):
                    self.file_mean[half, index, :, marker] = _means(of, cells[:, marker], self.file_count[half, index])
                if len(cells):
                    self.mean[half, index] = cells.mean(0)
                    centred = cells - self.mean[half, index]
                    self.covariance[half, index] = centred.T @ centred / len(cells)

    def merge(self, a: int, b: int) -> None:
        """Pool set ``b`` into ``a``: counts, means and covariances add exactly, samples in proportion."""
        for half in (0, 1):
            total = self.count[half, a] + self.count[half, b]
            if not total:
                continue
            in_a, in_b = self.count[half, a] / total, self.count[half, b] / total
            apart = self.mean[half, b] - self.mean[half, a]
            self.covariance[half, a] = (
                in_a * self.covariance[half, a] + in_b * self.covariance[half, b] + in_a * in_b * np.outer(apart, apart)
            )
            self.mean[half, a] = in_a * self.mean[half, a] + in_b * self.mean[half, b]
            self.count[half, a] = total
            in_file_a, in_file_b = self.file_count[half, a], self.file_count[half, b]  # (g,)
            share = (in_file_b / np.maximum(in_file_a + in_file_b, 1))[:, None]
            self.file_mean[half, a] += share * (self.file_mean[half, b] - self.file_mean[half, a])
            self.file_count[half, a] = in_file_a + in_file_b
            from_a = min(round(in_a * min(total, DENSITY_CELLS)), DENSITY_CELLS)
            from_b = int(min(total, DENSITY_CELLS)) - from_a
            self.sample[a][half] = np.concatenate(
                [self._some(self.sample[a][half], from_a), self._some(self.sample[b][half], from_b)]
            )
            self.sample_files[a][half] = self._in_files(self.sample[a][half])

    def _some(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return rows if len(rows) <= n else rows[self.rng.permutation(len(rows))[:n]]

    def _pooled(self, half: int, a: int, others: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean of two covariances pulled towards a sphere, (m, m) or (len(others), m, m). Both sets weigh the same,
        whatever their size, so that a rare population is not measured by its large neighbour's spread.
        """
        pooled: NDArray[np.float64] = (self.covariance[half, others] + self.covariance[half, a]) / 2
        diagonal = np.einsum("...ii->...i", pooled)  # (m,) or (len(others), m), a view
        width = diagonal.sum(-1) / self.markers
        fewest = np.minimum(self.count[half, others], self.count[half, a])
        pull = np.minimum(np.maximum(SHRINKAGE, self.markers / np.maximum(fewest, 1) / 2), 1)
        pooled *= (1 - pull)[..., None, None]
        diagonal += (pull * width + 1e-9)[..., None]
        return pooled

    def distance(self, a: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mahalanobis distances (len(others),) of the means of set ``a`` and of ``others``."""
        weight = self.count / np.maximum(self.count.sum(0), 1)  # (2, k)
        mean_of = (weight[:, others, None] * self.mean[:, others]).sum(0)  # (others, m)
        apart = mean_of - (weight[:, a, None] * self.mean[:, a]).sum(0)
        pooled = (self._pooled(0, a, others) + self._pooled(1, a, others)) / 2
        solved = np.linalg.solve(pooled, apart[:, :, None])[:, :, 0]
        result: NDArray[np.float64] = np.sqrt(np.maximum((apart * solved).sum(1), 0))
        return result

    def valley(self, a: int, b: int) -> float:
        """The lowest density between two sets over the lower of their peaks, along a line that separates them.

        1 where the two together have a single peak, or too few cells to tell; near 0 where hardly a cell lies between.
        A set weighs by the square root of its cells: by cells themselves a rare population would drown in the flank of
        a common one, by one each every tail would look like a population.
        """
        if min(self.count[:, a].min(), self.count[:, b].min()) < 2:
            return 1.0
        weights = np.sqrt([self.count[:, a].sum(), self.count[:, b].sum()])
        return (self._valley(0, a, b, weights) + self._valley(1, a, b, weights)) / 2

    def _valley(self, half: int, a: int, b: int, weights: NDArray[np.float64]) -> float:
        see = [self.sample[index][1 - half] for index in (a, b)]
        of_files = [self.sample_files[index][1 - half] for index in (a, b)]  # (g,) each
        within = _shared(self.file_count[half, a], self.file_count[half, b]), _shared(*of_files)
        comparable = self.files == 1 or min(within[0].sum(), within[1].sum()) >= FEWEST_SHARED
        if comparable:
            apart = within[0] @ (self.file_mean[half, b] - self.file_mean[half, a]) / within[0].sum()  # (m,)
        else:
            apart = self.mean[half, b] - self.mean[half, a]
            if (np.abs(apart) / self.range).max() < BETWEEN_FILES:
                return 1.0
        # Half way between Fisher's discriminant and each marker by itself. Fisher's line adds up shifts too small to
        # gate on over all markers, and sees valleys that no gate would follow.
        pooled = self._pooled(half, a, b)
        spread = pooled.diagonal().copy()
        pooled /= 2
        np.fill_diagonal(pooled, spread)
        line = np.linalg.solve(pooled, apart)  # (m,)
        seen = [self.values[rows] @ line for rows in see]
        share = [np.full(len(x), 1 / len(x)) for x in seen]
        if comparable:
            seen, share = self._aligned(see, seen, of_files, within[1])
        low, high = (_median(x) for x in seen)
        if high <= low:
            return 1.0
        grid = low + STEPS * (high - low)
        density = np.zeros(GRID)
        for weight, x, each in zip(weights, seen, share, strict=True):
            width = BANDWIDTH * _deviation(x) + 1e-12
            kernel = _place(grid, low, width)[:, None] - _place(x, low, width)
            np.exp(np.multiply(np.square(kernel, out=kernel), -0.5, out=kernel), out=kernel)  # (grid, cells)
            density += weight / width * (kernel @ each)
        peak = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
        return float((density / peak).min())

    def _in_files(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many of the cells are of each file, (g,)."""
        return np.bincount(self.origin[rows], minlength=self.files).astype(np.float64)

    def _aligned(
        self,
        rows: list[NDArray[np.int64]],
        seen: list[NDArray[np.float64]],
        counts: list[NDArray[np.float64]],
        shared: NDArray[np.float64],
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Cells of common files along the line, the middle between the two sets in each file laid upon that of all
        files; and the share of each cell, such that both sets have the same mixture of files. ``counts`` (g,) are the
        cells of each set in each file.
        """
        origins = [self.origin[part] for part in rows]
        middle = sum(_means(*each) for each in zip(origins, seen, counts, strict=True)) / 2  # (g,)
        common = shared @ middle / shared.sum()
        middle = (shared * middle + FILE_SHRINKAGE * common) / (shared + FILE_SHRINKAGE)
        aligned, share = [], []
        for of, x, count in zip(origins, seen, counts, strict=True):
            each = (shared / np.maximum(count, 1))[of]  # 0 in files that only one set has cells of
            kept = each > 0
            aligned.append((x - middle[of])[kept])
            share.append(each[kept] / each.sum())
        return aligned, share


def _means(origin: NDArray[np.int64], x: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean in each file, (g,), of values ``x`` of cells (n,) from files ``origin`` (n,), ``count`` (g,) in each;
    0 where a file has no cell.
    """
    sums: NDArray[Any] = np.bincount(origin, x, len(count))
    result: NDArray[np.float64] = sums / np.maximum(count, 1)
    return result


def _median(x: NDArray[np.float64]) -> float:
    """The median of ``x`` (n,): NumPy's, which takes several times as long for so few."""
    ordered = np.sort(x)
    return float(ordered[(len(x) - 1) // 2] + ordered[len(x) // 2]) / 2


def _deviation(x: NDArray[np.float64]) -> float:
    """The standard deviation of ``x`` (n,): NumPy's, faster for few in the same way."""
    apart = x - np.add.reduce(x) / len(x)
    return float(np.sqrt(np.add.reduce(apart * apart) / len(x)))


def _place(x: NDArray[np.float64], low: float, width: float) -> NDArray[np.float32]:
    """How many kernel widths ``x`` (n,) lies from ``low``; what is far is only far."""
    return np.minimum(np.maximum((x - low) / width, -MOST_WIDTHS), MOST_WIDTHS).astype(np.float32)


def _shared(in_a: NDArray[np.float64], in_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many cells two sets have to compare in each file, (g,), from those each has there: na · nb / (na + nb)."""
    result: NDArray[np.float64] = in_a * in_b / np.maximum(in_a + in_b, 1)
    return result
