"""The models of a comparison: a case worked by hand, agreement with scipy, and laws."""

import math

import numpy as np
import pytest
from scipy import stats

from cytovae.comparison.design import Design, Factor
from cytovae.comparison.statistics import count_effects, false_discovery_rates, level_effects

THREE = Design(Factor("condition", tuple("aaabbb")), "a")
NO_OFFSET = np.zeros(6)


def test_counts_as_worked_by_hand() -> None:
    # Shares 0.2 and 0.5: odds 1/4 and 1, so log2 of the ratio is 2.
    # X² = (100 + 0 + 100) / 16 + (100 + 0 + 100) / 25 = 20.5 on 4 degrees of freedom.
    # Variance of the log odds ratio: 20.5 / 4 · (1 / (300 · 0.16) + 1 / (300 · 0.25)).
    cells, totals = np.array([10, 20, 30, 40, 50, 60]), np.full(6, 100)
    (effect,) = count_effects(cells, totals, NO_OFFSET, THREE)
    error = math.sqrt(5.125 * (1 / 48 + 1 / 75)) / math.log(2)
    assert effect.effect == pytest.approx(2)
    assert effect.standard_error == pytest.approx(error)
    assert effect.df == 4
    assert effect.t == pytest.approx(2 / error)
    assert effect.p == pytest.approx(2 * stats.t.sf(2 / error, 4))
    width = stats.t.ppf(0.975, 4) * error
    assert (effect.low, effect.high) == pytest.approx((2 - width, 2 + width))


def test_samples_of_many_cells_count_more() -> None:
    cells, totals = np.array([1, 100, 1000, 2, 200, 2000]), np.array([10, 1000, 10000] * 2)
    (effect,) = count_effects(cells, totals, NO_OFFSET, THREE)
    assert effect.effect == pytest.approx(math.log2((2202 / 8808) / (1101 / 9909)))


def test_an_offset_that_explains_the_change_leaves_no_effect() -> None:
    cells, totals = np.array([10, 20, 30, 40, 50, 60]), np.full(6, 100)
    (effect,) = count_effects(cells, totals, math.log(4) * THREE.condition.rows("b"), THREE)
    assert effect.effect == pytest.approx(0, abs=1e-9)
    assert effect.p == pytest.approx(1)


def test_swapping_the_reference_flips_the_sign_only() -> None:
    cells, totals = np.array([14, 25, 31, 40, 52, 66]), np.array([90, 110, 100, 95, 120, 105])
    (one,) = count_effects(cells, totals, NO_OFFSET, THREE)
    (other,) = count_effects(cells, totals, NO_OFFSET, Design(THREE.condition, "b"))
    assert (other.effect, other.t, other.p) == pytest.approx((-one.effect, -one.t, one.p))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_the_order_of_samples_does_not_matter() -> None:
    cells, totals = np.array([14, 25, 31, 40, 52, 66]), np.array([90, 110, 100, 95, 120, 105])
    order = np.array([5, 0, 3, 2, 4, 1])
    mixed = Design(Factor("condition", tuple(np.array(THREE.condition.values)[order])), "a")
    (one,) = count_effects(cells, totals, NO_OFFSET, THREE)
    (other,) = count_effects(cells[order], totals[order], NO_OFFSET, mixed)
    assert (other.effect, other.p) == pytest.approx((one.effect, one.p))


def test_a_population_without_cells_in_one_group_has_a_finite_effect() -> None:
    cells = np.array([0, 0, 0, 40, 52, 66])
    (effect,) = count_effects(cells, np.full(6, 1000), NO_OFFSET, THREE)
    assert 4 < effect.effect < 12
    assert effect.p < 0.05


def test_a_described_effect_has_no_test() -> None:
    pair = Design(Factor("condition", ("a", "b")), "a")
    (effect,) = count_effects(np.array([20, 50]), np.full(2, 100), np.zeros(2), pair, describe=True)
    assert effect.effect == pytest.approx(2)
    assert np.isnan([effect.standard_error, effect.low, effect.high, effect.p]).all()
    assert "--describe" in effect.note


def test_levels_of_two_groups_agree_with_the_t_test() -> None:
    values = np.random.default_rng(0).normal(size=6)
    (effect,) = level_effects(values, THREE)
    expected = stats.ttest_ind(values[3:], values[:3])
    assert (effect.t, effect.p, effect.df) == pytest.approx((expected.statistic, expected.pvalue, 4))
    assert effect.effect == pytest.approx(values[3:].mean() - values[:3].mean())
    interval = expected.confidence_interval()
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))


def test_levels_of_pairs_agree_with_the_paired_t_test() -> None:
    values = np.random.default_rng(1).normal(size=6)
    (effect,) = level_effects(values, Design(THREE.condition, "a", (Factor("donor", tuple("xyzxyz")),)))
    expected = stats.ttest_rel(values[3:], values[:3])
    assert (effect.t, effect.p, effect.df) == pytest.approx((expected.statistic, expected.pvalue, 2))


def test_several_levels_share_one_estimate_of_spread() -> None:
    values = np.array([1.0, 2, 3, 5, 6, 7, 0, 2, 4])
    first, second = level_effects(values, Design(Factor("condition", tuple("aaabbbccc")), "a"))
    error = math.sqrt((2 + 2 + 8) / 6 * 2 / 3)  # the pooled variance within groups
    assert (first.effect, second.effect) == pytest.approx((4, 0))
    assert (first.standard_error, second.standard_error, first.df) == pytest.approx((error, error, 6))


def test_levels_without_spread_are_not_tested() -> None:
    (effect,) = level_effects(np.array([1.0, 1, 1, 2, 2, 2]), THREE)
    assert effect.effect == pytest.approx(1)
    assert np.isnan(effect.p)
    assert effect.note == "not tested: no differences between samples of a group"


def test_false_discovery_rates_leave_out_what_was_not_tested() -> None:
    p = [0.01, math.nan, 0.04, 0.03, 0.5]
    rates = false_discovery_rates(p)
    assert np.isnan(rates[1])
    assert rates[[0, 2, 3, 4]] == pytest.approx(stats.false_discovery_control([0.01, 0.04, 0.03, 0.5]))
    assert np.isnan(false_discovery_rates([math.nan])).all()
