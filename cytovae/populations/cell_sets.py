"""Sets of cells that merge: their means, covariances, and the density between two of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Shrinkage of a covariance towards a sphere; larger for sets with few cells relative to the number of markers.
LEAST_SHRINKAGE = 0.05

# Added to the variances of a pooled covariance, so that it can be inverted.
RIDGE = 1e-9

# Kernel width of a density estimate, in standard deviations of the set along the line.
BANDWIDTH = 0.35

# Distances along a line are clipped to this many kernel widths: where a kernel is 0, further away makes no difference.
MOST_WIDTHS = 1e4

# Cells per half set for a density estimate; more hardly change it.
DENSITY_CELLS = 400

# Points at which the density between two medians is evaluated, from 0 (one median) to 1 (the other).
GRID_POINTS = 33
GRID = np.linspace(0, 1, GRID_POINTS)

# A valley is looked for within files if two sets have at least this many cells in common files (see `_comparable`).
FEWEST_COMPARABLE = 2.0

# The midpoint between two sets in a file is shrunk towards that of all files with the weight of this many cells.
FILE_SHRINKAGE = 2.0

# Two sets without common files are separate only if some marker differs by this share of its range: shifts between
# files are smaller, differences between populations mostly larger.
LEAST_DIFFERENCE_BETWEEN_FILES = 0.4


class CellSets:
    """k sets of cells, each split at random into two halves.

    One half determines the line along which two sets are compared, the other half the density along it. Otherwise a
    line fitted to few cells in many dimensions would show a valley that does not exist.

    Parameters
    ----------
    values
        Markers (n, m).
    label
        Set (n,) of each cell, 0 … k − 1; no set is empty.
    origin
        File (n,) of each cell, 0 … g − 1, or its group of similar files.
    seed
        Seed of the random halves and samples.
    """

    def __init__(
        self, values: NDArray[np.float32], label: NDArray[np.int64], origin: NDArray[np.int64], seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.values = values.astype(np.float64)
        self.origin = origin
        self.n_files = int(origin.max()) + 1  # g
        low, high = np.quantile(self.values, (0.001, 0.999), axis=0)
        self.range = high - low + 1e-12  # (m,)
        self.n_sets = int(label.max()) + 1  # k
        self.n_markers = values.shape[1]
        shuffled = rng.permutation(len(values))
        order = shuffled[np.argsort(label[shuffled], kind="stable")]
        rows_of_set = np.split(order, np.searchsorted(label[order], np.arange(1, self.n_sets)))
        self.count = np.zeros((2, self.n_sets))
        self.mean = np.zeros((2, self.n_sets, self.n_markers))
        self.covariance = np.zeros((2, self.n_sets, self.n_markers, self.n_markers))
        self.file_count = np.zeros((2, self.n_sets, self.n_files))
        self.file_mean = np.zeros((2, self.n_sets, self.n_files, self.n_markers))
        self.sample = [[rows[half::2][:DENSITY_CELLS] for half in (0, 1)] for rows in rows_of_set]
        self.sample_file_count = [[self._count_by_file(half) for half in halves] for halves in self.sample]  # (g,) each
        for index, rows in enumerate(rows_of_set):
            for half in (0, 1):
                cells, cell_origin = self.values[rows[half::2]], origin[rows[half::2]]
                self.count[half, index] = len(cells)
                file_count = self._count_by_file(rows[half::2])
                self.file_count[half, index] = file_count
                column = np.arange(self.n_markers)
                sums: NDArray[Any] = np.bincount(
                    (cell_origin[:, None] * self.n_markers + column).ravel(),
                    cells.ravel(),
                    self.n_files * self.n_markers,
                )
                self.file_mean[half, index] = sums.reshape(self.n_files, -1) / np.maximum(file_count, 1)[:, None]
                if len(cells):
                    self.mean[half, index] = cells.mean(0)
                    centred = cells - self.mean[half, index]
                    self.covariance[half, index] = centred.T @ centred / len(cells)

    def merge(self, a: int, b: int) -> None:
        """Merge set ``b`` into ``a``: counts, means and covariances exactly, samples in proportion to the cells."""
        for half in (0, 1):
            total = self.count[half, a] + self.count[half, b]
            if not total:
                continue
            share_a, share_b = self.count[half, a] / total, self.count[half, b] / total
            difference = self.mean[half, b] - self.mean[half, a]
            self.covariance[half, a] = (
                share_a * self.covariance[half, a]
                + share_b * self.covariance[half, b]
                + share_a * share_b * np.outer(difference, difference)
            )
            self.mean[half, a] = share_a * self.mean[half, a] + share_b * self.mean[half, b]
            self.count[half, a] = total
            file_a, file_b = self.file_count[half, a], self.file_count[half, b]  # (g,)
            file_share_b = (file_b / np.maximum(file_a + file_b, 1))[:, None]
            self.file_mean[half, a] += file_share_b * (self.file_mean[half, b] - self.file_mean[half, a])
            self.file_count[half, a] = file_a + file_b
            from_a = min(round(share_a * min(total, DENSITY_CELLS)), DENSITY_CELLS)
            from_b = int(min(total, DENSITY_CELLS)) - from_a
            self.sample[a][half] = np.concatenate(
                [self._subsample(self.sample[a][half], from_a), self._subsample(self.sample[b][half], from_b)]
            )
            self.sample_file_count[a][half] = self._count_by_file(self.sample[a][half])

    def distance(self, a: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mahalanobis distances (len(others),) between the mean of set ``a`` and those of ``others``.

        Only pairs of large sets need a matrix of their own, and there are at most n / m large sets. So the time grows
        with the square of the number of markers, not with its cube.
        """
        weight = self.count / np.maximum(self.count.sum(0), 1)  # (2, k)
        mean_of = (weight[:, others, None] * self.mean[:, others]).sum(0)  # (others, m)
        difference = mean_of - (weight[:, a, None] * self.mean[:, a]).sum(0)  # (others, m)
        shrinkage = self._shrinkage(slice(None), a, others)  # (2, others)
        variance = (self._sphere(0, a, others) + self._sphere(1, a, others)) / 2  # (others,)
        solved = difference * (1 / variance)[:, None]  # (others, m)
        large = np.flatnonzero((shrinkage < 1).any(0))
        if len(large):
            pooled = self._pooled_covariance(0, a, others[large])
            pooled += self._pooled_covariance(1, a, others[large])
            pooled /= 2  # (large, m, m)
            solved[large] = np.linalg.solve(pooled, difference[large][:, :, None])[:, :, 0]
        result: NDArray[np.float64] = np.sqrt(np.maximum((difference * solved).sum(1), 0))
        return result

    def valley(self, a: int, b: int) -> float:
        """The lowest density between two sets, relative to the lower of their peaks, along a line that separates them.

        It is 1 if the two sets share one peak, or have too few cells to tell, and near 0 if hardly any cells lie
        between them. Each set is weighted by the square root of its number of cells. Weighted by the number itself, a
        rare population would vanish in the flank of a common one; with equal weights, every tail would look like a
        population.
        """
        if min(self.count[:, a].min(), self.count[:, b].min()) < 2:
            return 1.0
        weights = np.sqrt([self.count[:, a].sum(), self.count[:, b].sum()])
        return (self._half_valley(0, a, b, weights) + self._half_valley(1, a, b, weights)) / 2

    def _half_valley(self, half: int, a: int, b: int, weights: NDArray[np.float64]) -> float:
        """The valley along a line fitted to one ``half``, in the density of the other."""
        rows = [self.sample[index][1 - half] for index in (a, b)]
        counts = [self.sample_file_count[index][1 - half] for index in (a, b)]  # (g,) each
        comparable = _comparable(self.file_count[half, a], self.file_count[half, b])  # (g,)
        sample_comparable = _comparable(*counts)  # (g,)
        within_files = self.n_files == 1 or min(comparable.sum(), sample_comparable.sum()) >= FEWEST_COMPARABLE
        if within_files:
            difference = comparable @ (self.file_mean[half, b] - self.file_mean[half, a]) / comparable.sum()  # (m,)
        else:
            difference = self.mean[half, b] - self.mean[half, a]
            if (np.abs(difference) / self.range).max() < LEAST_DIFFERENCE_BETWEEN_FILES:
                return 1.0
        line = self._separating_line(half, a, b, difference)  # (m,)
        positions = [self.values[of_set] @ line for of_set in rows]
        shares = [np.full(len(x), 1 / len(x)) for x in positions]
        if within_files:
            positions, shares = self._align_files(rows, positions, counts, sample_comparable)
        return _valley_between(positions, shares, weights)

    def _separating_line(self, half: int, a: int, b: int, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """The direction (m,) halfway between Fisher's linear discriminant and weighting each marker by itself.

        Fisher's discriminant adds up shifts of all markers that are too small to gate on, and finds valleys that no
        gate would follow.
        """
        if self._shrinkage(half, a, b) == 1:
            return difference * (1 / self._sphere(half, a, b))
        pooled = self._pooled_covariance(half, a, b)
        variance = pooled.diagonal().copy()
        pooled /= 2
        np.fill_diagonal(pooled, variance)
        return np.asarray(np.linalg.solve(pooled, difference), dtype=np.float64)

    def _pooled_covariance(self, half: int, a: int, others: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean of the covariances of two sets, shrunk towards a sphere: (m, m) or (len(others), m, m).

        Both sets have the same weight, so that the spread of a common population does not decide about a rare one.
        """
        pooled: NDArray[np.float64] = (self.covariance[half, others] + self.covariance[half, a]) / 2
        diagonal = np.einsum("...ii->...i", pooled)  # (m,) or (len(others), m), a view
        mean_variance = diagonal.sum(-1) / self.n_markers
        shrinkage = self._shrinkage(half, a, others)
        pooled *= (1 - shrinkage)[..., None, None]
        diagonal += (shrinkage * mean_variance + RIDGE)[..., None]
        return pooled

    def _shrinkage(self, half: int | slice, a: int, others: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """How much the pooled covariance is shrunk towards a sphere, from 0.05 to 1 (a sphere): () or (others,)."""
        fewest = np.minimum(self.count[half, others].T, self.count[half, a]).T
        result: NDArray[np.float64] = np.minimum(
            np.maximum(LEAST_SHRINKAGE, self.n_markers / np.maximum(fewest, 1) / 2), 1
        )
        return result

    def _sphere(self, half: int, a: int, others: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """Variance of the pooled covariance of two sets if it is shrunk to a sphere: () or (others,)."""
        diagonal = (self._variances(half, others) + self._variances(half, a)) / 2  # (m,) or (others, m)
        result: NDArray[np.float64] = diagonal.sum(-1) / self.n_markers + RIDGE
        return result

    def _variances(self, half: int, index: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """Variance of each marker in sets: (m,) or (sets, m)."""
        variances: NDArray[np.float64] = np.einsum("...ii->...i", self.covariance[half])[index]
        return variances

    def _align_files(
        self,
        rows: list[NDArray[np.int64]],
        positions: list[NDArray[np.float64]],
        counts: list[NDArray[np.float64]],
        comparable: NDArray[np.float64],
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Positions along the line relative to the midpoint between the two sets in each file, and shares of the cells.

        The shares give both sets the same mixture of files. Cells of files that only one set has are left out.
        ``counts`` (g,) are the cells of each set in each file, ``comparable`` (g,) those to compare.
        """
        origins = [self.origin[of_set] for of_set in rows]
        midpoint = sum(_file_means(*of_set) for of_set in zip(origins, positions, counts, strict=True)) / 2  # (g,)
        common = comparable @ midpoint / comparable.sum()
        midpoint = (comparable * midpoint + FILE_SHRINKAGE * common) / (comparable + FILE_SHRINKAGE)
        aligned, shares = [], []
        for origin, x, count in zip(origins, positions, counts, strict=True):
            share = (comparable / np.maximum(count, 1))[origin]  # 0 in files that only one set has
            shared = share > 0
            aligned.append((x - midpoint[origin])[shared])
            shares.append(share[shared] / share.sum())
        return aligned, shares

    def _count_by_file(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Number of cells in each file, (g,)."""
        return np.bincount(self.origin[rows], minlength=self.n_files).astype(np.float64)

    def _subsample(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return rows if len(rows) <= n else rows[self.rng.permutation(len(rows))[:n]]


def _valley_between(
    positions: list[NDArray[np.float64]], shares: list[NDArray[np.float64]], weights: NDArray[np.float64]
) -> float:
    """The lowest density between the medians of two sets of ``positions``, relative to the lower peak on either side.

    Kernel density estimate; ``shares`` are the weights of the cells of a set and add up to 1, ``weights`` those of the
    two sets.
    """
    low, high = (_median(x) for x in positions)
    if high <= low:
        return 1.0
    grid = low + GRID * (high - low)
    density = np.zeros(GRID_POINTS)
    for weight, x, share in zip(weights, positions, shares, strict=True):
        width = BANDWIDTH * _standard_deviation(x) + 1e-12
        kernel = _in_kernel_widths(grid, low, width)[:, None] - _in_kernel_widths(x, low, width)
        np.exp(np.multiply(np.square(kernel, out=kernel), -0.5, out=kernel), out=kernel)  # (grid, cells)
        density += weight / width * (kernel @ share)
    peak = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
    return float((density / peak).min())


def _comparable(count_a: NDArray[np.float64], count_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many cells two sets have to compare in each file, (g,): n_a · n_b / (n_a + n_b)."""
    result: NDArray[np.float64] = count_a * count_b / np.maximum(count_a + count_b, 1)
    return result


def _file_means(origin: NDArray[np.int64], x: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of ``x`` (n,) in each file, (g,); 0 in files without a cell. ``count`` (g,) are the cells of each file."""
    sums: NDArray[Any] = np.bincount(origin, x, len(count))
    result: NDArray[np.float64] = sums / np.maximum(count, 1)
    return result


def _median(x: NDArray[np.float64]) -> float:
    """As ``np.median``, which is several times slower for so few values."""
    ordered = np.sort(x)
    return float(ordered[(len(x) - 1) // 2] + ordered[len(x) // 2]) / 2


def _standard_deviation(x: NDArray[np.float64]) -> float:
    """As ``np.std``, which is slower for so few values."""
    centred = x - np.add.reduce(x) / len(x)
    return float(np.sqrt(np.add.reduce(centred * centred) / len(x)))


def _in_kernel_widths(x: NDArray[np.float64], low: float, width: float) -> NDArray[np.float32]:
    """Distances of ``x`` (n,) from ``low`` in kernel widths, clipped so that they fit float32."""
    return np.minimum(np.maximum((x - low) / width, -MOST_WIDTHS), MOST_WIDTHS).astype(np.float32)
