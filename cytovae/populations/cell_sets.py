"""Sets of cells that merge: their means, covariances, and the density between two of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.line_density import file_midpoints, files_aligned, valley_between

# Shrinkage of a covariance towards a sphere; larger for sets with few cells relative to the number of markers.
LEAST_SHRINKAGE = 0.05

# Added to the variances of a pooled covariance, so that it can be inverted.
RIDGE = 1e-9

# Cells per half set for a density estimate; more hardly change it.
DENSITY_CELLS = 400

# A valley is looked for within files if two sets have at least this many cells in common files (see `_comparable`).
FEWEST_COMPARABLE = 2.0

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
        sizes = (math.sqrt(self.count[:, a].sum()), math.sqrt(self.count[:, b].sum()))
        return (self._half_valley(0, a, b, sizes) + self._half_valley(1, a, b, sizes)) / 2

    def _half_valley(self, half: int, a: int, b: int, sizes: tuple[float, float]) -> float:
        """The valley along a line fitted to one ``half``, in the density of the other."""
        rows = (self.sample[a][1 - half], self.sample[b][1 - half])
        counts = (self.sample_file_count[a][1 - half], self.sample_file_count[b][1 - half])  # (g,) each
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
        positions = (self.values[rows[0]] @ line, self.values[rows[1]] @ line)
        if not within_files:
            weights = (np.full(len(rows[0]), 1 / len(rows[0])), np.full(len(rows[1]), 1 / len(rows[1])))
            return valley_between(positions, weights, sizes)
        files = (self.origin[rows[0]], self.origin[rows[1]])
        midpoint = file_midpoints(positions, files, counts, sample_comparable)  # (g,)
        first, first_weights = files_aligned(positions[0], files[0], counts[0], sample_comparable, midpoint)
        second, second_weights = files_aligned(positions[1], files[1], counts[1], sample_comparable, midpoint)
        return valley_between((first, second), (first_weights, second_weights), sizes)

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

    def _count_by_file(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Number of cells in each file, (g,)."""
        return np.bincount(self.origin[rows], minlength=self.n_files).astype(np.float64)

    def _subsample(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return rows if len(rows) <= n else rows[self.rng.permutation(len(rows))[:n]]


def _comparable(count_a: NDArray[np.float64], count_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many cells two sets have to compare in each file, (g,): n_a · n_b / (n_a + n_b)."""
    result: NDArray[np.float64] = count_a * count_b / np.maximum(count_a + count_b, 1)
    return result
