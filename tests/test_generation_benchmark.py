"""`benchmark paper generation`: its measures on samples that are known, and which clusters it takes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cytovae.benchmark import generation
from cytovae.benchmark.datasets import GatedCells
from cytovae.cells import CellTable, GateLabels

CENTRES = np.array([[1, 1, 5, 5], [5, 1, 1, 5], [1, 5, 1, 1]], np.float32)


def gated(n: int) -> GatedCells:
    """Three populations of n, 2 n and 3 n cells; each has few cells of the others' gates."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1, 2], [n, 2 * n, 3 * n]))
    values = (CENTRES[kind] + rng.gamma(2, 0.3, (6 * n, 4))).astype(np.float32)
    cells = CellTable(values, ("a", "b", "c", "d"), ("f",), np.zeros(6 * n, np.int32), np.arange(6 * n))
    return GatedCells(cells, GateLabels(kind.astype(np.int32), ("small", "middle", "large")))


def test_samples_of_one_distribution_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(600, 4)).astype(np.float32) for _ in range(3))
    assert generation.two_sample_auc(a, b, 0) == pytest.approx(0.5, abs=0.06)
    # Gaussians two standard deviations apart in one direction: the best test has Φ(2 / √2) = 0.921.
    assert generation.two_sample_auc(a, c + np.array([2, 0, 0, 0], np.float32), 0) == pytest.approx(0.921, abs=0.03)


def test_quantile_distance_of_a_shift_is_the_shift() -> None:
    a = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    assert generation.quantile_distance(a, a + np.array([0.5, 0], np.float32)) == pytest.approx(0.25, abs=1e-5)


def test_clusters_stand_for_the_gate_that_most_of_their_cells_have() -> None:
    cells = gated(10)
    population = cells.gates.population
    cluster = (population + 1).astype(np.int32)
    cluster[np.flatnonzero(population == 2)[:10]] = 4  # a second cluster of the largest
    cluster[np.flatnonzero(population == 0)[:3]] = 4
    found = generation.clusters_of_populations(cells, cluster, 5)  # a fifth that is empty
    assert {population: clusters.tolist() for population, clusters in found.items()} == {2: [3, 4], 1: [2], 0: [1]}
    assert list(found) == [2, 1, 0]  # by size


def test_an_experiment_measures_all_methods() -> None:
    """Skewed markers: a Gaussian is told from them more easily than cells of the model."""
    small = replace(generation.GENERATIVE, experts=15, steps=200, umap_epochs=80)
    design = generation.Design(held_out=0.3, compared=200, settings=small, warm_steps=50, steps=50)
    outcome = generation.measure(gated(200), design, 0, "cpu")
    rows = pd.DataFrame([vars(line) for line in outcome.measurements])
    compared = rows[rows.part == "populations"]
    wide = compared.pivot(index=["setting", "method"], columns="measure", values="value")
    assert wide.index.get_level_values("setting").nunique() == 3
    assert set(wide.index.get_level_values("method")) == set(generation.METHODS)
    auc = wide[generation.AUC].unstack()
    assert auc[generation.OURS].mean() < auc[generation.GAUSSIAN].mean() - 0.05
    assert auc[generation.TRAINING].mean() == pytest.approx(0.5, abs=0.06)
