"""Sets of cells that merge: their means, covariances, and the density between two of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.populations.covariances import mahalanobis_distances, separating_line
from cytovae.populations.line_density import (
    comparable_cells,
    compare_files,
    positions_along,
    valley_between,
    valley_within_files,
)

# Cells per half set for a density estimate; more hardly change it.
DENSITY_CELLS = 400

# A valley is looked for within files if two sets have at least this many cells in common files (`comparable_cells`).
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
        # Contiguous, as after a merge: numba compiles functions anew for arrays with strides.
        self.sample = [[rows[half::2][:DENSITY_CELLS].copy() for half in (0, 1)] for rows in rows_of_set]
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
        """Mahalanobis distances (len(others),) between the mean of set ``a`` and those of ``others``."""
        return mahalanobis_distances(self.count, self.mean, self.covariance, a, others)

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
        file_counts = (self.file_count[half, a], self.file_count[half, b])  # (g,) each
        difference, comparable = compare_files(file_counts, (self.file_mean[half, a], self.file_mean[half, b]))  # (m,)
        rows = (self.sample[a][1 - half], self.sample[b][1 - half])
        sample_counts = (self.sample_file_count[a][1 - half], self.sample_file_count[b][1 - half])  # (g,) each
        if self.n_files == 1 or min(comparable, comparable_cells(sample_counts).sum()) >= FEWEST_COMPARABLE:
            line = self._separating_line(half, a, b, difference)  # (m,)
            return valley_within_files(self.values, self.origin, rows, sample_counts, line, sizes)
        difference = self.mean[half, b] - self.mean[half, a]
        if (np.abs(difference) / self.range).max() < LEAST_DIFFERENCE_BETWEEN_FILES:
            return 1.0
        line = self._separating_line(half, a, b, difference)
        positions = (positions_along(self.values, rows[0], line), positions_along(self.values, rows[1], line))
        weights = (np.full(len(rows[0]), 1 / len(rows[0])), np.full(len(rows[1]), 1 / len(rows[1])))
        return valley_between(positions, weights, sizes)

    def _separating_line(self, half: int, a: int, b: int, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        covariances = (self.covariance[half, a], self.covariance[half, b])
        return separating_line(covariances, (self.count[half, a], self.count[half, b]), difference)

    def _count_by_file(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Number of cells in each file, (g,)."""
        return np.bincount(self.origin[rows], minlength=self.n_files).astype(np.float64)

    def _subsample(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return rows if len(rows) <= n else rows[self.rng.permutation(len(rows))[:n]]
