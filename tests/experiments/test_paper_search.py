"""Readings of the paper's settings, and the search among them."""

import json
import random
from dataclasses import replace
from pathlib import Path

import flowio
import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cytovae.benchmark.datasets import DataSet
from cytovae.benchmark.job import execute
from cytovae.benchmark.runner import plan
from cytovae.cli.main import app
from cytovae.errors import InputError
from cytovae.experiments import paper_search
from cytovae.experiments.cytometry import BODENMILLER_MARKERS, HELD_OUT
from cytovae.experiments.experiment import prepare
from cytovae.experiments.paper_readings import (
    MOST_READINGS,
    STAGES,
    START,
    Reading,
    Stage,
    readings_of,
)
from cytovae.network.training_loop import build_network
from cytovae.populations.similarity import in_radius_unit
from cytovae.settings import preset

# A.1.3, Bodenmiller. Dropout is printed, too; readings with another say so.
PRINTED = {
    "experts": 15,
    "batch": 128,
    "code": 9,
    "steps": 20_000,
    "learning_rate": 5e-3,
    "activation": "relu",
    "clustering_depth": 5,
    "clustering_width": 9,
    "reconstruction_weight": 1.0,
    "similarity_weight": 1.0,
    "kl_weight": 0.0,
    "similarity": "radius",
    "radius": 2.0,
}


def write_well(path: Path, seed: int) -> None:
    """Three separate populations of 150 cells, with the ten markers and gates beside."""
    rng = np.random.default_rng(seed)
    number = np.repeat([0, 1, 2], 150)
    centres = np.random.default_rng(9).permutation(30).reshape(3, 10) * 20.0
    values = np.abs(centres[number] + rng.normal(0, 3, (450, 10))).astype(np.float32)
    with path.open("wb") as stream:
        flowio.create_fcs(stream, values.ravel().tolist(), list(BODENMILLER_MARKERS))
    path.with_suffix(".gates.csv").write_text("population\n" + "\n".join("abc"[i] for i in number) + "\n")


@pytest.mark.parametrize("seed", range(5))
def test_readings_keep_all_that_is_printed_whichever_wins(seed: int) -> None:
    choice = random.Random(seed)
    tried: list[Reading] = []
    best = START
    for stage in STAGES:
        tried += readings_of(stage, best, tried)
        best = choice.choice(tried)
    assert len(STAGES[0].changes) < len(tried) <= MOST_READINGS
    assert len({str(reading) for reading in tried}) == len(tried)
    for reading in tried:
        assert {name: getattr(reading.settings, name) for name in PRINTED} == PRINTED
        assert ("(printed: 0.5)" in str(reading)) == (reading.settings.dropout != 0.5)


def test_units_of_the_radius() -> None:
    line = np.linspace(-20, 30, 1001)
    layout = np.stack([line, line / 5], 1).astype(np.float32)
    assert in_radius_unit(layout, "layout") is layout
    tenths = in_radius_unit(layout, "tenths")
    # The width without the outermost cell in a thousand at each side is 49.9.
    np.testing.assert_allclose(tenths, layout * 10 / 49.9, rtol=1e-5)
    spread = in_radius_unit(layout, "spread")
    assert spread.var(axis=0).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(spread[:, 0], spread[:, 1] * 5, rtol=1e-5)


def test_batch_norm_without_statistics_is_one_that_never_updated_them() -> None:
    settings = preset("paper-bodenmiller")
    x = torch.rand(40, 10)
    released, ours = (build_network(10, settings, 3) for _ in range(2))
    paper_search.without_statistics(ours)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in ours.modules())
    ours.train()
    released.eval()  # running mean 0 and variance 1, as they began; differs by ε = 1e-5 of the variance
    torch.testing.assert_close(ours.encoder(x)[0], released.encoder(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_is_what_the_benchmark_runs(tmp_path: Path) -> None:
    write_well(tmp_path / "H05.fcs", 1)
    well = DataSet("H05", (str(tmp_path / "H05.fcs"),), markers=BODENMILLER_MARKERS)
    (job,) = plan((well,), ("cytovae:paper-bodenmiller",), 1, HELD_OUT, steps=40)
    (row,) = execute(job)
    reading = Reading(replace(preset("paper-bodenmiller"), steps=40))
    values = {each.measure: each.value for each in paper_search.measure(well, reading, 0, "part").measurements}
    assert values["F_weighted"] == row.f_weighted
    assert (values["ARI"], values["clusters"]) == (row.ari, row.n_clusters)


@pytest.mark.slow
def test_the_search_runs_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, name in enumerate(("H01", "H05", "H08")):
        write_well(tmp_path / f"{name}.fcs", seed)
    metrics = tuple({"metric": metric} for metric in ("canberra", "correlation"))
    monkeypatch.setattr(paper_search, "STAGES", (Stage("first", metrics), Stage("second", ({"umap_min_dist": 0.0},))))
    out = tmp_path / "out"
    arguments = ["benchmark", "paper", "bodenmiller", "--data", str(tmp_path), "-o", str(out), "--search"]
    done = CliRunner().invoke(app, [*arguments, "--steps", "20"])
    assert done.exit_code == 0, done.output
    runs = json.loads((out / "run.json").read_text())["pieces"]
    # Three readings on two wells; then all three on H01 with three seeds, and on the others with two more.
    assert len(runs) == 3 * 2 + 3 * 3 + 3 * 2 * 2
    table = (out / "table.md").read_text()
    assert "| first | as first read |" in table
    assert "| first | correlation |" in table
    assert table.count("| second |") == 1
    assert "| reading | H01 | H05 | H08 | mean of H01 | mean of all |" in table

    monkeypatch.delattr(paper_search, "learn")  # so that a run that is repeated fails
    again = CliRunner().invoke(app, [*arguments, "--steps", "20"])
    assert again.exit_code == 0, again.output
    assert again.stdout == done.stdout


def test_a_failed_run_never_wins() -> None:
    """A reading with one diverged run is behind one that works, and its row says so."""
    from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece

    def finished(reading: Reading, well: str, value: float | None) -> Finished:
        outcome = Outcome((Measurement("first", str(reading), well, 0, "F_weighted", value),))
        return Finished(Piece("", (), lambda: outcome), outcome, 0.0, "", "")

    other = START.changed({"metric": "correlation"})
    runs = [finished(START, "H05", 0.1), finished(START, "H08", 0.1)]
    runs += [finished(other, "H05", 0.9), finished(other, "H08", None)]
    assert paper_search._chosen_by(runs, START) > paper_search._chosen_by(runs, other)


def test_the_wells_that_choose_must_be_there(tmp_path: Path) -> None:
    wells = [DataSet(name, (f"{name}.fcs",)) for name in ("H01", "H05")]
    with pytest.raises(InputError, match="H05 and H08"):
        paper_search.design_of(wells, tmp_path)


def test_other_options_are_refused(tmp_path: Path) -> None:
    write_well(tmp_path / "H05.fcs", 1)
    arguments = ["benchmark", "paper", "bodenmiller", "--data", str(tmp_path), "-o", "out", "--search", "--seeds", "2"]
    failed = CliRunner().invoke(app, arguments)
    assert failed.exit_code != 0
    assert "--search takes no" in str(failed.exception)


@pytest.mark.slow
def test_processes_find_what_one_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wells = []
    for seed, name in enumerate(("H05", "H08")):
        write_well(tmp_path / f"{name}.fcs", seed)
        wells.append(DataSet(name, (str(tmp_path / f"{name}.fcs"),)))
    monkeypatch.setattr(paper_search, "STAGES", (Stage("first", ({"metric": "correlation"},)),))
    monkeypatch.setattr(paper_search, "SEEDS", 1)
    design = paper_search.design_of(wells, tmp_path, steps=20)
    found = []
    for at_once in (1, 2):
        folder = tmp_path / str(at_once)
        prepare(folder, paper_search.SEARCH)
        finished = paper_search.search(folder, design, at_once=at_once)
        found.append([each.outcome.measurements for each in finished])
    assert len(found[0]) == 2
    assert found[0] == found[1]
