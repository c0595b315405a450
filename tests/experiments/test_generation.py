"""Similarity of generated and real cells: measures, clusters of a population, and the command at a small size."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from cytovae.benchmark.datasets import DataSet
from cytovae.cells import GateLabels
from cytovae.cli.main import app
from cytovae.experiments import generation
from cytovae.experiments.generation import (
    ASSIGNED,
    AUC,
    GAUSSIAN,
    METHODS,
    OURS,
    QUICK,
    clusters_of_population,
    likeness,
)
from cytovae.experiments.vade import VadeSettings

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"
SMALL = replace(
    QUICK,
    cells=4_000,
    compared=250,
    trees=30,
    settings=replace(QUICK.settings, landmarks=2_000, steps=300, experts=60, views=1, support=0),
    single=VadeSettings(code=9, width=32, warm_steps=50, steps=50),
)


@pytest.mark.slow
def test_the_auc_is_that_of_theory_for_equal_and_for_shifted_distributions() -> None:
    rng = np.random.default_rng(0)
    real, same = (rng.normal(size=(1_500, 4)).astype(np.float32) for _ in range(2))
    shift = 1.5
    alike = likeness(real, same, trees=50, seed=0)
    moved = likeness(real, same + np.float32([shift, 0, 0, 0]), trees=50, seed=0)
    # The standard error of an AUC of 1,500 against 1,500 cells is 0.01.
    assert alike.auc == pytest.approx(0.5, abs=0.04)
    best = NormalDist().cdf(shift / 2**0.5)  # the AUC of the likelihood ratio, 0.856
    assert best - 0.04 < moved.auc < best + 0.02
    assert abs(alike.mmd2) < 0.003 < 0.02 < moved.mmd2


def test_the_quantile_distance_of_a_shifted_marker_is_the_shift() -> None:
    real = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    found = likeness(real, real + np.float32([0, 0.5, 0]), trees=5, seed=0)
    np.testing.assert_allclose(found.quantiles, [0, 0.5, 0], atol=1e-6)


def test_the_clusters_of_a_population_are_those_where_it_is_most_frequent() -> None:
    cluster = np.array([1, 1, 1, 2, 2, 3, 3, 3, 3, 4], dtype=np.int32)
    gates = GateLabels(np.array([0, 0, 1, 0, -1, 1, 1, 2, -1, -1], dtype=np.int32), ("A", "B", "C"))
    assert clusters_of_population(cluster, gates, 0).tolist() == [1, 2]
    assert clusters_of_population(cluster, gates, 1).tolist() == [3]
    assert clusters_of_population(cluster, gates, 2).tolist() == [3]  # leads none, so the cluster with most of it


def test_drawn_gaussians_have_the_moments_of_the_cells() -> None:
    mean, covariance = np.array([1.0, -2.0]), np.array([[1.0, 0.6], [0.6, 0.5]])
    values = np.random.default_rng(2).multivariate_normal(mean, covariance, 5_000).astype(np.float32)
    drawn = generation._draw_gaussians(values, np.zeros(5_000, np.int64), 20_000, seed=0)
    # Standard errors: 0.014 of each mean, at most 0.02 of a covariance.
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.08)


@pytest.mark.slow
def test_the_command_compares_every_population_by_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "QUICK", SMALL)
    monkeypatch.setattr(generation, "data_set", lambda _folder: DataSet("sample", (str(SAMPLE),)))
    output = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [
            *("benchmark", "paper", "generation", "--data", str(tmp_path), "--quick", "--seeds", "1"),
            *("-o", str(output), "--threads", "1"),
        ],
    )
    assert done.exit_code == 0, done.output
    lines = parquet.read_table(output / "results.parquet").to_pandas()
    found = lines[lines.part == generation.LIKENESS].pivot_table(
        index="setting", columns=["measure", "method"], values="value"
    )
    assert len(found) == 5
    assert set(found[AUC].columns) == set(METHODS)
    assert found.notna().all(axis=None)
    # The result that the experiment shows, with a margin for 250 cells of each (a standard error of 0.025).
    assert found[AUC][OURS].mean() < found[AUC][GAUSSIAN].mean() - 0.05
    assert found[AUC][OURS].mean() < 0.68
    assert found[ASSIGNED][OURS].min() > 0.85
    assert {path.name for path in output.iterdir()} == {
        *("results.parquet", "table.md", "auc.png", "run.json", "generation.pieces"),
    }
