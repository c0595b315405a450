"""The tree of micro-clusters: agreement of views, the cut, and the support of branches."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.gaussian_cells import gaussians

from cytovae.populations.population_tree import Pool, branch_support, population_tree
from cytovae.settings import Settings

pytestmark = pytest.mark.slow


def test_two_populations_with_a_shallow_valley_are_found_if_so_many_are_looked_for() -> None:
    """Unit Gaussians 3.4 apart have a valley of 2 e^(−1.7²/2s) = 0.55 between them (s = 1 + 0.35²)."""
    values, _ = gaussians([[0.0, 0.0], [3.4, 0.0]], [4000, 4000], seed=5)
    source = np.zeros(len(values), np.int32)
    found = []
    for populations in (1, 4):
        settings = replace(Settings(), experts=60, populations=populations, views=0, support=0)
        tree = population_tree(values, values, source, settings, seed=0)
        found.append((np.bincount(tree.landmark_population) > 2000).sum())
    assert found == [1, 2]


def test_each_landmark_has_the_population_of_its_micro_cluster() -> None:
    """Two populations far apart: each landmark gets the population of the cells around it."""
    values, label = gaussians([[0.0, 0.0], [12.0, 0.0]], [1500, 1500], seed=6)
    source = np.zeros(len(values), np.int32)
    settings = replace(Settings(), experts=30, populations=2, views=0, support=0)
    tree = population_tree(values, values, source, settings, seed=0)
    population = tree.landmark_population
    assert population.shape == (3000,)
    assert len({*zip(population.tolist(), label.tolist(), strict=True)}) == len(set(population.tolist())) == 2
    assert tree.support is None


def test_small_views_find_the_same_populations_and_support_them() -> None:
    """Three populations far apart: every sample shows them again, so their support is 1 (to a stray cell)."""
    centers = [[0.0, 0.0, 0.0], [12.0, 0.0, 0.0], [0.0, 12.0, 0.0]]
    values, label = gaussians(centers, [500, 300, 200], seed=7)
    source = np.zeros(len(values), np.int32)
    settings = replace(Settings(), experts=20, populations=3, views=2, support=3, view_cells=700, umap_epochs=60)
    tree = population_tree(values, np.ascontiguousarray(values[:, :2]), source, settings, seed=1)
    population = tree.landmark_population
    assert len({*zip(population.tolist(), label.tolist(), strict=True)}) == 3
    assert tree.support is not None
    assert tree.support.shape == (2 * len(tree.population) - 1,)
    heights = tree.linkage[:, 2]
    populations_joined = int((heights > 1 - tree.level).sum())
    assert populations_joined == 2
    assert tree.support[-1] == pytest.approx(0.5, abs=0.01)  # all cells, best matched by the half in one population
    assert np.sort(tree.support[len(tree.population) :])[-3:].min() > 0.99
    assert tree.agreement.max() > 0.99


def test_a_sample_of_the_pool_has_distinct_cells_and_depends_on_seed_and_number() -> None:
    pool = Pool(np.arange(100, dtype=np.float32)[:, None], np.zeros(100, np.int32))
    drawn = pool.sample(60, 1, 0).values[:, 0]
    assert len(set(drawn.tolist())) == 60
    assert set(drawn.tolist()) == set(pool.sample(60, 1, 0).values[:, 0].tolist())
    assert set(drawn.tolist()) != set(pool.sample(60, 1, 1).values[:, 0].tolist())
    assert set(drawn.tolist()) != set(pool.sample(60, 2, 0).values[:, 0].tolist())
    assert len(pool.sample(1000, 1, 0).values) == 80  # never all of them


def test_support_is_the_mean_jaccard_index_with_the_best_match() -> None:
    """Worked by hand: three micro-clusters of 2, 2 and 4 cells; the first two join, then all.

    The first clustering has {0, 1} together except one cell that is with {2}; the second keeps 0 apart from 1 and 2.
    """
    micro_cluster = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    linkage = np.array([[0, 1, 0.2, 2], [2, 3, 0.6, 3]])
    first = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    second = np.array([0, 0, 1, 1, 1, 1, 1, 1])
    expected = [
        (2 / 3 + 1) / 2,  # {0}: 2 of 3, then itself
        (1 / 4 + 2 / 6) / 2,  # {1}: 1 of 4 (1 of 6 in the other), then 2 of 6
        (4 / 5 + 4 / 6) / 2,  # {2}
        (3 / 4 + 2 / 4) / 2,  # {0, 1}
        (5 / 8 + 6 / 8) / 2,  # all
    ]
    resamples = [first[None], second[None]]
    np.testing.assert_allclose(branch_support(micro_cluster, linkage, resamples), expected, atol=1e-6)


def test_the_best_match_may_be_at_any_resolution() -> None:
    """A cluster of two cells is whole at the coarse resolution (2 of 4 cells) and exact at the fine one."""
    micro_cluster, linkage = np.array([0, 0, 1, 1]), np.array([[0, 1, 0.5, 2]])
    coarse, fine = np.zeros(4, np.int64), np.array([0, 0, 1, 1])
    np.testing.assert_allclose(branch_support(micro_cluster, linkage, [np.stack([coarse, fine])]), [1, 1, 1])
    np.testing.assert_allclose(branch_support(micro_cluster, linkage, [coarse[None]]), [0.5, 0.5, 1])
