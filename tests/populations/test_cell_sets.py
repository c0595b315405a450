"""Sets of cells: distances and lines follow from the shrunken covariances, with few and with many markers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.populations.cell_sets import CellSets
from cytovae.populations.covariances import LEAST_SHRINKAGE, RIDGE


def sets_of(n_markers: int, sizes: list[int]) -> tuple[CellSets, NDArray[np.float64]]:
    """Sets of correlated cells around random centers, and the means of the sets."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(len(sizes)), sizes)
    mixing = np.eye(n_markers) + 0.3 * rng.normal(size=(n_markers, n_markers)) / np.sqrt(n_markers)
    values = rng.normal(0, 3, (len(sizes), n_markers))[label] + rng.normal(size=(len(label), n_markers)) @ mixing
    sets = CellSets(values.astype(np.float32), label, np.zeros(len(label), np.int64), 0)
    means = np.stack([values.astype(np.float32)[label == index].mean(0) for index in range(len(sizes))])
    return sets, means.astype(np.float64)


def pooled(sets: CellSets, half: int, a: int, b: int) -> NDArray[np.float64]:
    """The shrunken covariance of two sets, by its definition."""
    n_markers = sets.n_markers
    mean = (sets.covariance[half, a] + sets.covariance[half, b]) / 2
    fewest = min(sets.count[half, a], sets.count[half, b])
    shrinkage = min(max(LEAST_SHRINKAGE, n_markers / fewest / 2), 1)
    sphere = np.eye(n_markers) * (shrinkage * np.trace(mean) / n_markers + RIDGE)
    return np.asarray((1 - shrinkage) * mean + sphere)


@pytest.mark.parametrize(("n_markers", "sizes"), [(5, [60, 300, 40]), (60, [300, 400, 50, 60]), (200, [50, 60, 40])])
def test_distances_are_those_of_mahalanobis(n_markers: int, sizes: list[int]) -> None:
    """With 60 markers some pairs have a covariance and some only a variance; with 200 all have a variance."""
    sets, means = sets_of(n_markers, sizes)
    for a in range(len(sizes)):
        others = np.array([b for b in range(len(sizes)) if b != a])
        expected = []
        for b in others:
            covariance = (pooled(sets, 0, a, b) + pooled(sets, 1, a, b)) / 2
            difference = means[b] - means[a]
            expected.append(np.sqrt(difference @ np.linalg.solve(covariance, difference)))
        np.testing.assert_allclose(sets.distance(a, others), expected, rtol=1e-5)


def test_means_within_files_are_those_of_the_cells() -> None:
    rng = np.random.default_rng(1)
    values, origin = rng.normal(size=(90, 4)).astype(np.float32), np.arange(90) % 3
    label = np.repeat([0, 1], 45)
    sets = CellSets(values, label, origin, 0)
    for index in (0, 1):
        for file in range(3):
            of_both = sets.file_count[:, index, file, None] * sets.file_mean[:, index, file]
            expected = values[(label == index) & (origin == file)].sum(0)
            np.testing.assert_allclose(of_both.sum(0), expected, rtol=1e-5, atol=1e-6)
