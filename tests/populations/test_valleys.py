"""Valley hierarchies: they are nested, and valleys between Gaussians have the depth that theory predicts."""

from itertools import pairwise

import numpy as np
import pytest
from helpers.gaussian_cells import gaussians
from sklearn.cluster import KMeans

from cytovae.populations.valleys import LEVELS, ValleyHierarchy, valley_hierarchy


def random_hierarchy(seed: int) -> ValleyHierarchy:
    values = np.random.default_rng(seed).normal(0, 2, (600, 3)).astype(np.float32)
    label = KMeans(12, n_init=1, random_state=seed).fit_predict(values).astype(np.int64)
    return valley_hierarchy(values, label, np.zeros(600, np.int64), seed)


@pytest.mark.parametrize("seed", range(3))
def test_each_level_is_coarser_than_the_one_before(seed: int) -> None:
    groups = random_hierarchy(seed).groups
    assert len(groups) == len(LEVELS)
    assert (np.diff(LEVELS) < 0).all()
    for finer, coarser in pairwise(groups):
        assert len(set(zip(finer, coarser, strict=True))) == len(set(finer))
    assert len(set(groups[-1])) == 1  # at level 0 all sets merge


@pytest.mark.parametrize("seed", range(3))
def test_two_sets_join_at_the_first_level_that_groups_them(seed: int) -> None:
    hierarchy = random_hierarchy(seed)
    together = hierarchy.groups[:, :, None] == hierarchy.groups[:, None]  # (levels, k, k)
    expected = LEVELS[together.argmax(0)]
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(hierarchy.joined, expected)
    np.testing.assert_allclose(hierarchy.joined, hierarchy.joined.T)


@pytest.mark.parametrize(("apart", "lowest", "highest"), [(0.0, 0.9, 1.0), (3.0, 0.5, 0.85), (6.0, 0.0, 0.15)])
def test_two_gaussians_join_at_the_predicted_level(apart: float, lowest: float, highest: float) -> None:
    """Halfway between two unit Gaussians a apart lies 2 e^(−a²/8s) / (1 + e^(−a²/2s)) of a peak, with s = 1 + 0.35².

    For a = 3 that is 2 · 0.367 / 1.018 = 0.72, and for a = 6, 2 · 0.018 = 0.036. Levels are 0.05 apart, and 0.1 is left
    to chance. Without a valley the two sets join at once.
    """
    values, label = gaussians([[0.0, 0.0], [apart, 0.0]], [4000, 4000], seed=1)
    joined = valley_hierarchy(values, label, np.zeros(8000, np.int64), 0).joined[0, 1]
    assert lowest <= joined <= highest


# --- within files -----------------------------------------------------------------------------------------------------


def joined_in_files(left: list[float], right: list[float], shift: float, n_files: int = 2) -> float:
    """The level at which two unit Gaussians join if their cells lie ``shift`` further in each file."""
    values, label = gaussians([left, right], [2000, 2000], seed=2)
    origin = np.arange(len(values)) % n_files
    values = values + (shift * origin)[:, None].astype(np.float32)
    return float(valley_hierarchy(values, label, origin, 0).joined[0, 1])


def test_a_shift_between_files_neither_creates_nor_hides_a_valley() -> None:
    """Within each file two Gaussians 6 apart have a valley of 0.036; two in the same place have none."""
    for shift in (0.0, 3.0):
        assert joined_in_files([0.0, 0.0], [6.0, 0.0], shift) <= 0.15
        assert joined_in_files([0.0, 0.0], [0.0, 0.0], shift) >= 0.9


def test_sets_without_a_common_file_are_separate_only_if_a_marker_differs_much() -> None:
    """Half a range apart they are two populations; as far apart as files shift, they are one."""
    values, label = gaussians([[0.0, 0.0], [4.0, 0.0], [14.0, 0.0]], [1000, 1000, 1000], seed=3)
    hierarchy = valley_hierarchy(values, label, (label == 1).astype(np.int64), 0)
    # Sets 0 and 1 are 4 of about 20 apart, in two files; 1 and 2 are 10 apart, and 0 and 2 are 14 apart.
    assert hierarchy.joined[0, 1] >= 0.9
    assert hierarchy.joined[0, 2] <= 0.15
    assert hierarchy.joined[1, 2] <= 0.15
