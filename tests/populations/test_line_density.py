"""The density along a line, against scipy and cases worked by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from cytovae.populations.line_density import (
    BANDWIDTH,
    compare_files,
    file_midpoints,
    files_aligned,
    valley_between,
    valley_within_files,
)


def same_weights(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(len(x), 1 / len(x))


def valley_by_scipy(first: NDArray[np.float64], second: NDArray[np.float64], sizes: tuple[float, float]) -> float:
    grid = np.linspace(np.median(first), np.median(second), 33)
    density = sum(
        size * gaussian_kde(x, BANDWIDTH * np.std(x) / np.std(x, ddof=1))(grid)
        for x, size in zip((first, second), sizes, strict=True)
    )
    peak = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
    return float((density / peak).min())


@pytest.mark.parametrize("distance", [0.3, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("sizes", [(1.0, 1.0), (20.0, 3.0)])
def test_valley_is_that_of_scipys_density(distance: float, sizes: tuple[float, float]) -> None:
    rng = np.random.default_rng(int(10 * distance))
    first, second = rng.normal(0, 1, 150), rng.normal(distance, 0.5, 40)
    found = valley_between((first, second), (same_weights(first), same_weights(second)), sizes)
    assert found == pytest.approx(valley_by_scipy(first, second, sizes), rel=1e-9)


def test_no_valley_in_the_wrong_order() -> None:
    x = np.array([0.0, 1.0, 2.0])
    assert valley_between((x + 3, x), (same_weights(x), same_weights(x)), (1.0, 1.0)) == 1.0


@pytest.mark.parametrize("spread", [0.0, 1e-300, 1e100])
def test_valley_of_extreme_positions_is_between_0_and_1(spread: float) -> None:
    first, second = np.array([0.0, 0.0, spread]), np.array([5.0, 5.0, 5.0 + spread])
    assert 0 <= valley_between((first, second), (same_weights(first), same_weights(second)), (1.0, 1.0)) <= 1


def test_midpoints_and_weights_by_hand() -> None:
    # File 0: means 1 and 3. File 1: means 10 and 14. File 2: the second set only.
    first, first_file = np.array([0.0, 2.0, 10.0]), np.array([0, 0, 1])
    second, second_file = np.array([3.0, 14.0, 50.0]), np.array([0, 1, 2])
    counts = (np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0]))
    comparable = np.array([2 / 3, 1 / 2, 0.0])
    midpoint = file_midpoints((first, second), (first_file, second_file), counts, comparable)
    common = (2 / 3 * 2 + 1 / 2 * 12) / (2 / 3 + 1 / 2)
    expected = [(2 / 3 * 2 + 2 * common) / (2 / 3 + 2), (1 / 2 * 12 + 2 * common) / (1 / 2 + 2)]
    np.testing.assert_allclose(midpoint[:2], expected, rtol=1e-12)

    aligned, weights = files_aligned(second, second_file, counts[1], comparable, midpoint)
    np.testing.assert_allclose(aligned, [3 - expected[0], 14 - expected[1]], rtol=1e-12)
    np.testing.assert_allclose(weights, [4 / 7, 3 / 7], rtol=1e-12)


def test_files_are_compared_by_hand() -> None:
    # File 0: 2 and 2 cells, so 1 to compare. File 1: 3 and 1, so 3/4. File 2: none of the second set.
    counts = (np.array([2.0, 3.0, 5.0]), np.array([2.0, 1.0, 0.0]))
    means = (np.array([[0.0, 1.0], [4.0, 1.0], [9.0, 9.0]]), np.array([[2.0, 1.0], [8.0, 0.0], [0.0, 0.0]]))
    difference, comparable = compare_files(counts, means)
    assert comparable == pytest.approx(1.75)
    np.testing.assert_allclose(difference, [(2 + 0.75 * 4) / 1.75, -0.75 / 1.75], rtol=1e-12)


def test_a_valley_within_files_ignores_shifts_of_whole_files() -> None:
    """Cells of a file that shifts, with both sets, keep their valley; up to the shrinkage of the midpoints."""
    rng = np.random.default_rng(0)
    origin = np.tile([0, 1], 400)
    values = rng.normal(size=(800, 3))
    values[400:, 0] += 4
    rows = (np.arange(400), np.arange(400, 800))
    counts = (np.array([200.0, 200.0]), np.array([200.0, 200.0]))
    line = np.array([1.0, 0.0, 0.0])
    apart = valley_within_files(values, origin, rows, counts, line, (20.0, 20.0))
    assert apart == pytest.approx(valley_by_scipy(values[:400, 0], values[400:, 0], (1.0, 1.0)), abs=0.03)
    shifted = values + 10.0 * origin[:, None] * line
    assert valley_within_files(shifted, origin, rows, counts, line, (20.0, 20.0)) == pytest.approx(apart, abs=0.05)
