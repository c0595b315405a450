"""The maximum mean discrepancy and its permutation test, against cases computed by hand and statistical bounds."""

from itertools import combinations

import numpy as np
import pytest

from cytovae.errors import UsageError
from cytovae.experiments.two_sample import mmd2, mmd_test

EXACT = 1e-12  # double precision, a handful of operations


def test_mmd_computed_by_hand() -> None:
    # Bandwidth 1 on a line: k(a, b) = exp(−(a − b)²/2).
    x, y = [[0.0], [1.0]], [[2.0], [4.0], [5.0]]
    k = lambda distance: np.exp(-(distance**2) / 2)  # noqa: E731
    within_x = k(1)
    within_y = (k(2) + k(3) + k(1)) / 3
    across = (k(2) + k(4) + k(5) + k(1) + k(3) + k(4)) / 6
    assert mmd2(x, y, bandwidth=1.0) == pytest.approx(within_x + within_y - 2 * across, abs=EXACT)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_mmd_is_the_double_sum_whatever_the_chunk(chunk: int) -> None:
    generator = np.random.default_rng(2)
    x, y = generator.normal(100.0, 1.0, (12, 3)), generator.normal(100.5, 1.0, (7, 3))
    k = lambda a, b: np.exp(-np.sum((a - b) ** 2) / (2 * 1.7**2))  # noqa: E731
    within_x = np.mean([k(x[i], x[j]) for i in range(12) for j in range(12) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert mmd2(x, y, 1.7, chunk=chunk) == pytest.approx(within_x + within_y - 2 * across, abs=EXACT)


def test_mmd_is_unbiased_for_samples_of_one_distribution() -> None:
    # The mean over 400 pairs of samples may differ from 0 by four standard errors.
    generator = np.random.default_rng(3)
    values = [mmd2(generator.normal(size=(20, 2)), generator.normal(size=(20, 2)), 1.0) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0  # an unbiased estimate is sometimes negative


def test_mmd_approaches_its_closed_form_for_two_gaussians() -> None:
    # For N(0,1) and N(2,1) and bandwidth 1: E k(X,X') = 1/√3 and E k(X,Y) = exp(−4/6)/√3.
    generator = np.random.default_rng(4)
    x, y = generator.normal(0, 1, (3000, 1)), generator.normal(2, 1, (3000, 1))
    expected = 2 * (1 - np.exp(-4 / 6)) / np.sqrt(3)
    assert mmd2(x, y, 1.0) == pytest.approx(expected, abs=0.03)


def test_the_p_value_is_that_of_all_permutations() -> None:
    # All ways to divide seven numbers into three and four give the exact p; 4,000 random ones are within 0.03.
    values = np.array([0.0, 0.4, 1.1, 0.9, 2.0, 2.6, 3.1])
    x, y = values[[0, 1, 3]], values[[2, 4, 5, 6]]
    observed = mmd2(x[:, None], y[:, None], 1.0)
    larger = []
    for chosen in combinations(range(7), 3):
        rest = [index for index in range(7) if index not in chosen]
        larger.append(mmd2(values[list(chosen)][:, None], values[rest][:, None], 1.0) >= observed - 1e-12)
    test = mmd_test(x[:, None], y[:, None], 1.0, permutations=4000)
    assert test.mmd2 == pytest.approx(observed, abs=EXACT)
    assert 0.02 < np.mean(larger) < 0.5  # otherwise the case is not informative
    assert test.p == pytest.approx(np.mean(larger), abs=0.03)


def test_the_two_sample_test_keeps_its_level_and_detects_a_shift() -> None:
    # Under H0 p is uniform: of 200 tests at 10 % between 8 and 33 reject (four standard errors).
    generator = np.random.default_rng(8)
    same = [
        mmd_test(generator.normal(size=(20, 2)), generator.normal(size=(25, 2)), 1.5, permutations=99, seed=index).p
        for index in range(200)
    ]
    assert 8 <= sum(p <= 0.1 for p in same) <= 33
    shifted = mmd_test(generator.normal(size=(40, 2)), generator.normal(1.5, 1, (40, 2)), 1.5, permutations=99)
    assert shifted.p == 0.01  # the smallest possible p with 99 permutations


@pytest.mark.parametrize(
    ("x", "y", "bandwidth"),
    [
        ([[0.0]], [[1.0], [2.0]], 1.0),
        ([[0.0], [1.0]], [[1.0, 2.0], [1.0, 2.0]], 1.0),
        ([[0.0], [1.0]], [[1.0], [2.0]], 0.0),
    ],
)
def test_mmd_refuses_samples_that_do_not_fit(x: list[list[float]], y: list[list[float]], bandwidth: float) -> None:
    with pytest.raises(UsageError):
        mmd2(x, y, bandwidth)
