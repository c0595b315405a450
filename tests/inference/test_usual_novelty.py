"""How novel the cells of most populations of a file are: cases worked by hand."""

import numpy as np
import pytest

from cytovae.inference.novelty import LARGEST_SHIFT, OF_POPULATIONS, log_odds_between, usual_novelty


def test_a_new_population_changes_nothing_if_most_populations_are_as_usual() -> None:
    """Nine tenths of the cells of populations 1 to 9 are below 0.1 or at it; all of population 10 are at 0.9."""
    population = np.repeat(np.arange(1, 11, dtype=np.int32), 100)
    novelty = np.where(population < 10, np.float32(0.1), np.float32(0.9))
    assert usual_novelty(novelty, population) == pytest.approx(0.1)
    assert usual_novelty(novelty[:900], population[:900]) == pytest.approx(0.1)


def test_the_usual_novelty_is_a_quantile_over_populations() -> None:
    """Cells of one population are alike. Numpy says which quantile; cells without a label and few cells count not."""
    values = np.array([0.1, 0.2, 0.4, 0.8], dtype=np.float32)
    population = np.repeat(np.arange(1, 5, dtype=np.int32), 50)
    others = np.repeat(np.array([0, 5], dtype=np.int32), (500, 10))
    novelty = np.concatenate([values[population - 1], np.ones(510, np.float32)])
    found = usual_novelty(novelty, np.concatenate([population, others]))
    assert found == pytest.approx(np.quantile(values, OF_POPULATIONS))


def test_nothing_is_usual_among_few_cells() -> None:
    assert usual_novelty(np.zeros(5, np.float32), np.ones(5, np.int32)) is None
    assert usual_novelty(np.zeros(0, np.float32), np.zeros(0, np.int32)) is None


def test_shifts_are_differences_of_log_odds_within_bounds() -> None:
    """Odds of 1 beside odds of 1 / 4; less novel files are not shifted; others at most by the bound."""
    assert log_odds_between(0.5, 0.2) == pytest.approx(np.log(4))
    assert log_odds_between(0.2, 0.5) == 0
    assert log_odds_between(1.0, 0.1) == LARGEST_SHIFT
