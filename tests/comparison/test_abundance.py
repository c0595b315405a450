"""Differences in abundance: which populations are tested, and the shift that a large change causes."""

import math

import numpy as np
import pytest

from cytovae.comparison.abundance import compare_abundance, composition_shifts, is_tested, offsets
from cytovae.comparison.design import Design, Factor

DESIGN = Design(Factor("condition", tuple("aaaabbbb")), "a")
MEAN = np.array([3000, 2000, 1500, 1200, 900, 700, 400, 200, 80, 20])


def study(seed: int = 0) -> np.ndarray:
    """Counts (8, 10) in which nothing differs between conditions."""
    rng = np.random.default_rng(seed)
    return rng.poisson(MEAN * np.exp(rng.normal(0, 0.2, (8, len(MEAN)))))


def test_a_population_needs_ten_cells_in_half_of_the_samples() -> None:
    cells = np.array([[10, 10, 9], [10, 9, 9], [0, 10, 9], [0, 9, 90]])
    assert is_tested(cells).tolist() == [True, True, False]


def test_the_shift_is_what_most_populations_have_in_common() -> None:
    # The first population doubles; all others keep their numbers, so their shares fall by the same factor.
    cells = np.tile(MEAN * 100, (8, 1))
    cells[4:, 0] *= 2
    shifts = composition_shifts(cells)
    expected = math.log(MEAN.sum() / (MEAN.sum() + MEAN[0]))
    assert shifts[4:] - shifts[:4] == pytest.approx(expected, abs=1e-3)
    change = offsets(cells, shifts)
    odds = np.log(cells[:, 1:] / (cells.sum(axis=1, keepdims=True) - cells[:, 1:]))
    assert change[4:, 1:] - change[:4, 1:] == pytest.approx(odds[4:] - odds[:4], abs=0.01)


def test_few_populations_have_no_shift() -> None:
    assert not composition_shifts(study()[:, :4]).any()
    assert composition_shifts(study()[:, :5]).any()


def test_a_large_change_is_found_and_moves_no_other_population() -> None:
    cells = study()
    cells[4:, 0] *= 3
    differences = compare_abundance(cells, DESIGN)
    found = [difference.population for difference in differences if difference.fdr <= 0.05]
    assert found == [0]
    assert differences[0].effect.effect > 1


def test_the_order_of_populations_does_not_matter() -> None:
    cells = study(3)
    order = np.random.default_rng(0).permutation(len(MEAN))
    one, other = compare_abundance(cells, DESIGN), compare_abundance(cells[:, order], DESIGN)
    assert [other[position].effect.p for position in range(len(order))] == pytest.approx(
        [one[population].effect.p for population in order]
    )


def test_the_false_discovery_rate_runs_over_all_comparisons() -> None:
    design = Design(Factor("condition", tuple("aaabbccc")), "a")
    differences = compare_abundance(study(), design, describe=False)
    assert [(d.population, d.level) for d in differences[:3]] == [(0, "b"), (0, "c"), (1, "b")]
    smallest = min(differences, key=lambda d: d.effect.p)
    assert smallest.fdr <= smallest.effect.p * len(differences) + 1e-12


def test_a_rare_population_is_listed_with_the_reason() -> None:
    cells = study()
    cells[:, 9] = 3
    last = compare_abundance(cells, DESIGN)[9]
    assert math.isnan(last.effect.effect)
    assert math.isnan(last.fdr)
    assert "fewer than 10 cells in more than half of the samples" in last.effect.note


def test_a_rare_population_is_described() -> None:
    cells = study()
    cells[:, 9] = [1, 1, 1, 1, 3, 3, 3, 3]
    last = compare_abundance(cells, DESIGN, describe=True)[9]
    assert last.effect.effect > 0.5
    assert math.isnan(last.effect.p)
