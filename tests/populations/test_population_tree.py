"""The tree of micro-clusters: the level at which it is cut."""

import numpy as np
import pytest
from helpers.gaussian_cells import gaussians

from cytovae.populations.population_tree import population_tree

pytestmark = pytest.mark.slow


def n_populations(populations: int, size: int) -> int:
    """How many populations are found of three of ``size`` cells: the first two 8 apart, the last two 3.2."""
    values, _ = gaussians([[0.0, 0.0], [8.0, 0.0], [11.2, 0.0]], [size] * 3, seed=5)
    source = np.zeros(len(values), np.int32)
    tree = population_tree(values, values, source, n_micro_clusters=60, valley=0.45, populations=populations, seed=0)
    return int(tree.population.max()) + 1


def test_shallow_valleys_count_only_until_enough_populations_are_found() -> None:
    """Unit Gaussians 8 apart have a valley of 0.001; those 3.2 apart one of 2 e^(−1.6²/2s) = 0.64 (s = 1 + 0.35²)."""
    assert n_populations(2, 2500) == 2
    assert n_populations(3, 2500) == 3
    assert n_populations(3, 300) == 2  # with few cells, a shallow valley may be chance


def test_each_landmark_has_the_population_of_its_micro_cluster() -> None:
    """Two populations far apart: each landmark gets the population of the cells around it."""
    values, label = gaussians([[0.0, 0.0], [12.0, 0.0]], [1500, 1500], seed=6)
    source = np.zeros(len(values), np.int32)
    tree = population_tree(values, values, source, n_micro_clusters=30, valley=0.45, populations=2, seed=0)
    population = tree.landmark_population
    assert population.shape == (3000,)
    assert len({*zip(population.tolist(), label.tolist(), strict=True)}) == len(set(population.tolist())) == 2
