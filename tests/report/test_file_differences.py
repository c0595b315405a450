"""Differences between files: none in equal files, and a shift or another composition where there is one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.report.file_differences import FileDifferences, differences_of_files, warnings_of

MARKERS = ("CD3", "CD19", "CD14")
MEANS = np.array([[4.0, 0.5, 0.5], [0.5, 4.0, 0.5], [0.5, 0.5, 5.0], [2.0, 0.5, 0.5]])
SHARES = np.array([0.5, 0.2, 0.2, 0.1])
SPREAD = 0.5
RANGES = np.full(3, 5.0)


def study(
    n_files: int,
    *,
    n_cells: int = 3_000,
    shift: dict[int, NDArray[np.float64]] | None = None,
    shares: dict[int, NDArray[np.float64]] | None = None,
    seed: int = 0,
) -> FileDifferences:
    """Files of four populations; some are shifted (all populations alike), some have other shares."""
    rng = np.random.default_rng(seed)
    file = np.repeat(np.arange(n_files), n_cells)
    population = np.concatenate([rng.choice(4, n_cells, p=(shares or {}).get(f, SHARES)) for f in range(n_files)])
    values = rng.normal(MEANS[population], SPREAD)
    for index, moved in (shift or {}).items():
        values[file == index] += moved
    counts = np.stack([np.bincount(population[file == index], minlength=4) for index in range(n_files)])
    return differences_of_files(values, population, file, counts, RANGES)


def warned(differences: FileDifferences) -> tuple[str, ...]:
    names = tuple(f"file{index}" for index in range(len(differences.distances)))
    warnings = warnings_of(differences, names, MARKERS)
    assert all(warning.advice and warning.section == "files" for warning in warnings)
    return tuple(warning.text for warning in warnings)


@pytest.mark.parametrize("n_files", [2, 3, 10, 60])
def test_equal_files_cause_no_warning(n_files: int) -> None:
    for seed in range(5):
        assert warned(study(n_files, n_cells=1_500, seed=seed)) == ()


@pytest.mark.parametrize("n_files", [3, 4, 10])
def test_one_shifted_file_is_named_with_its_marker_and_no_other(n_files: int) -> None:
    differences = study(n_files, shift={1: np.array([0.0, 0.8, 0.0])})
    assert warned(differences) == ("populations lie more than their own spread apart between files: file1, in CD19",)
    assert differences.of_markers[1] == pytest.approx([0, 0.8 / SPREAD, 0], abs=0.15)
    assert {shift.population for shift in differences.large} == {0, 1, 2, 3}


def test_of_two_shifted_files_both_differ() -> None:
    differences = study(2, shift={1: np.array([0.8, 0.0, 0.0])})
    assert "file0, file1, in CD3" in warned(differences)[0]


def test_two_batches_differ() -> None:
    moved = np.array([0.0, 0.0, 0.8])
    differences = study(6, shift=dict.fromkeys(range(3), moved))
    assert "and 3 more, in CD14" in warned(differences)[0]
    assert np.sign(differences.of_markers[:, 2]).tolist() == [1] * 3 + [-1] * 3


def test_a_shift_of_half_a_spread_is_none() -> None:
    assert warned(study(5, shift={1: np.full(3, 0.25)})) == ()


def test_a_file_of_another_composition_is_far_from_the_others() -> None:
    differences = study(5, shares={3: np.array([0.1, 0.2, 0.2, 0.5])})
    assert warned(differences) == ("abundances far from those of the other files: file3",)
    assert differences.distances[3] == pytest.approx(0.4, abs=0.03)  # 40 % of its cells are elsewhere


def test_donors_that_all_vary_are_not_far() -> None:
    rng = np.random.default_rng(1)
    shares = {index: rng.dirichlet(SHARES * 20) for index in range(12)}
    assert study(12, shares=shares).far == ()


def test_too_few_cells_say_nothing() -> None:
    differences = study(3, n_cells=40)
    assert np.isnan(differences.shifts).all()
    assert np.isnan(differences.of_markers).all()
    assert np.isnan(differences.distances).all()
    assert warned(differences) == ()


def test_a_marker_that_half_of_a_population_expresses_does_not_jump() -> None:
    """45 and 55 % positive cells: medians would differ by the whole distance, means by a tenth of it."""
    rng = np.random.default_rng(0)
    file = np.repeat([0, 1, 2], 4_000)
    positive = rng.random(12_000) < np.array([0.45, 0.55, 0.5])[file]
    values = rng.normal(np.where(positive, 4.0, 0.0), 0.3)[:, None]
    counts = np.full((3, 1), 4_000)
    differences = differences_of_files(values, np.zeros(12_000, int), file, counts, np.array([5.0]))
    assert differences.large == ()
