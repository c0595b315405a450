"""The ablation at a small size, and the separation of populations in the code."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cytovae.benchmark.datasets import DataSet, GatedCells, load, subsample
from cytovae.cli.main import app
from cytovae.experiments import ablation
from cytovae.experiments.ablation import NO_NETWORK, NO_SIMILARITY, SEPARATION, VARIANTS, WHOLE, Design
from cytovae.settings import Settings
from cytovae.study.train_model import learn

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"
SET = DataSet("sample", (str(SAMPLE),))
SMALL = Design(2_000, 150)


def small(*names: str) -> Design:
    return replace(SMALL, variants=tuple(variant for variant in VARIANTS if variant.name in names))


@pytest.fixture(scope="module")
def cells() -> GatedCells:
    return subsample(load(SET), 600)


def test_every_variant_but_the_first_changes_something() -> None:
    settings = [variant.settings(Design()) for variant in VARIANTS if variant.network]
    assert settings[0] == Settings()
    assert len(set(settings)) == len(settings)
    wide = next(each for each in settings if each.decoder == "single" and each.expert_width > 16)
    assert wide.expert_width == Settings().experts * Settings().expert_width


@pytest.mark.slow
def test_shared_projections_give_the_same_model_as_learning(cells: GatedCells) -> None:
    settings = VARIANTS[0].settings(SMALL)
    projections = ablation._Projections(cells, 1, "cpu")
    ours = ablation._trained(cells, settings, projections, 1, "cpu")
    theirs = learn(cells.cells, settings, seed=1)
    state = theirs.network.state_dict()
    for name, tensor in ours.network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())
    np.testing.assert_array_equal(ours.expert_clusters, theirs.expert_clusters)


@pytest.mark.slow
def test_the_command_writes_a_row_for_every_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (WHOLE, NO_SIMILARITY, "one decoder, as wide as an expert", NO_NETWORK)
    monkeypatch.setattr(ablation, "QUICK", small(*names))
    monkeypatch.setattr(ablation, "data_sets", lambda _folder: (SET,))
    output = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [
            *("benchmark", "paper", "ablation", "--data", str(tmp_path), "--quick", "--seeds", "1"),
            *("-o", str(output), "--threads", "1"),
        ],
    )
    assert done.exit_code == 0, done.output
    for name in names:
        assert f"| {name} |" in done.stdout
    assert {path.name for path in output.iterdir()} == {
        "results.parquet", "table.md", "a4_sample.png", "run.json", "ablation.pieces",
    }  # fmt: skip
    record = json.loads((output / "run.json").read_text())
    assert (record["experiment"], record["seeds"]) == ("ablation", [0])
    # Only the similarity matrix tells the clustering network which cells belong together.
    lines = pq.read_table(output / "results.parquet").to_pylist()
    scores = {line["method"]: line["value"] for line in lines if line["measure"] == "F_weighted"}
    assert scores[WHOLE] > scores[NO_SIMILARITY] + 0.2
    # The network reproduces the populations that it is trained on, but for few of the 2,000 cells.
    assert abs(scores[WHOLE] - scores[NO_NETWORK]) < 0.05
    separation = {(line["method"], line["measure"]): line["value"] for line in lines if line["part"] == SEPARATION}
    assert separation[WHOLE, "pairs told apart by the test"] == 1.0
    lowest, mean = (separation[WHOLE, f"MMD² between populations, {which}"] for which in ("lowest", "mean"))
    assert 0 < lowest <= mean < 2
