import json
from pathlib import Path

import flowio
import numpy as np
import pytest
from typer.testing import CliRunner

from cytovae.benchmark.datasets import load
from cytovae.cli.main import app
from cytovae.errors import InputError, PanelError, UsageError
from cytovae.experiments.cytometry import BODENMILLER_MARKERS, bodenmiller_wells, weber_sets

pytestmark = pytest.mark.slow


def write_fcs(path: Path, names: list[str], values: np.ndarray) -> None:
    with path.open("wb") as stream:
        flowio.create_fcs(stream, values.astype(np.float32).ravel().tolist(), names)


def populations(n_markers: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw counts of 300 cells in three separate populations, and their numbers from 1; every fifth cell is ungated."""
    rng = np.random.default_rng(seed)
    number = np.repeat([1.0, 2.0, 3.0], 100)
    centres = rng.permutation(3 * n_markers).reshape(3, n_markers) * 20.0
    raw = np.abs(centres[number.astype(int) - 1] + rng.normal(0, 3, (300, n_markers)))
    number[::5] = np.nan
    return raw, number


def levine32(folder: Path, *, raw_file: bool) -> tuple[np.ndarray, np.ndarray]:
    """A small Levine_32dim with the published channels: 32 markers between technical channels, label, individual."""
    raw, label = populations(32)
    before, after = ["Time", "Cell_length", "DNA1", "DNA2"], ["Viability", "file_number", "event_number"]
    names = [*before, *(f"CD{i}" for i in range(100, 132)), *after, "label", "individual"]
    values = raw if raw_file else np.arcsinh(raw / 5)
    ones = np.ones((300, 1))
    columns = [np.tile([1e5, 30, 200, 300], (300, 1)), values, np.tile([1, 2, 3], (300, 1)), label[:, None], ones]
    write_fcs(folder / f"Levine_32dim{'_notransform' if raw_file else ''}.fcs", names, np.hstack(columns))
    (folder / "population_names_Levine_32dim.txt").write_text(
        "label\tpopulation\n1\tBasophils\n2\tCD4_T_cells\n3\tMonocytes\n"
    )
    return raw, label


def samusik01(folder: Path) -> None:
    raw, label = populations(39)
    before = ["Time", "Cell_length", "BC1", "BC2", "BC3", "BC4", "BC5", "BC6"]
    markers = ["Ter119", "CD45.2", "Ly6G", "IgD", "Sca1", "CD4", "MHCII", *(f"CD{i}" for i in range(100, 132))]
    after = ["DNA1", "DNA2", "Cisplatin", "beadDist"]
    names = [*before, *markers, *after, "label", "sample", "event"]
    values = np.hstack([np.ones((300, 8)), raw, np.ones((300, 4)), label[:, None], np.ones((300, 2))])
    write_fcs(folder / "Samusik_01_notransform.fcs", names, values)


@pytest.mark.parametrize("raw_file", [True, False])
def test_published_files_are_read(tmp_path: Path, raw_file: bool) -> None:
    raw, label = levine32(tmp_path, raw_file=raw_file)
    (dataset,) = weber_sets(tmp_path)
    gated = load(dataset)
    assert gated.cells.markers == tuple(f"CD{i}" for i in range(100, 132))
    np.testing.assert_allclose(gated.cells.values, np.arcsinh(raw / 5), rtol=1e-5)
    assert gated.gates.names == ("Basophils", "CD4_T_cells", "Monocytes")
    np.testing.assert_array_equal(gated.gates.population, np.where(np.isnan(label), 0, label) - 1)


def test_channels_that_are_not_markers_are_left_out(tmp_path: Path) -> None:
    samusik01(tmp_path)
    (dataset,) = weber_sets(tmp_path)
    gated = load(dataset)
    assert len(gated.cells.markers) == 39
    assert {"Ter119", "CD45.2", "MHCII"} <= set(gated.cells.markers)
    assert gated.gates.names == ("1", "2", "3")  # there is no file of names


def test_a_file_with_a_wrong_number_of_markers_is_refused(tmp_path: Path) -> None:
    raw, label = populations(3)
    write_fcs(
        tmp_path / "Levine_13dim_notransform.fcs", ["CD3", "CD4", "CD8", "label"], np.hstack([raw, label[:, None]])
    )
    (dataset,) = weber_sets(tmp_path)
    with pytest.raises(PanelError, match="found 3: CD3, CD4, CD8, expected 13"):
        load(dataset)


def test_a_folder_without_the_published_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Levine_32dim_notransform\.fcs"):
        weber_sets(tmp_path)
    with pytest.raises(InputError, match=r"NAME\.gates\.csv"):
        bodenmiller_wells(tmp_path)


def test_paper_weber_runs_and_prints_every_score_in_its_own_table(tmp_path: Path) -> None:
    levine32(tmp_path, raw_file=True)
    out = tmp_path / "out"
    arguments = ["benchmark", "paper", "weber", "--data", str(tmp_path), "-o", str(out), "--seeds", "1"]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "3"])
    assert done.exit_code == 0, done.output
    assert "| Levine_32dim | 300 | 240 | 3 | 265,627 | 104,184 | 14 |" in done.stdout
    # Three clusters for three separated populations: every score is 1.
    assert done.stdout.count("| k-means K=3 (measured here) | 1.000 | – | – | – |") == 3
    assert (out / "weber.md").read_text() + "\n" == done.stdout
    assert (out / "results.parquet").is_file()


@pytest.mark.slow
def test_cytovae_is_trained_with_the_preset_and_the_given_steps(tmp_path: Path) -> None:
    levine32(tmp_path, raw_file=True)
    out = tmp_path / "out"
    arguments = ["benchmark", "paper", "weber", "--data", str(tmp_path), "-o", str(out), "--seeds", "1"]
    done = CliRunner().invoke(app, [*arguments, "--methods", "cytovae:paper-weber", "--steps", "2"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads((out / "results.json").read_text())
    assert (row["method"], row["status"], row["reason"]) == ("cytovae:paper-weber", "ok", "")
    assert 1 <= row["n_clusters"] <= 25  # the preset's experts
    assert (row["n_learned"], row["n_gated"], row["n_unassigned"]) == (300, 240, 0)
    assert "torch 2" in row["versions"]


@pytest.mark.slow
def test_paper_bodenmiller_scores_wells_both_ways_and_drops_small_populations(tmp_path: Path) -> None:
    raw, _ = populations(10)
    write_fcs(tmp_path / "A02.fcs", [*BODENMILLER_MARKERS, "pStat3"], np.hstack([raw, np.ones((300, 1))]))
    names = ["a"] * 100 + ["b"] * 100 + ["c"] * 71 + ["d"] * 29
    (tmp_path / "A02.gates.csv").write_text("population\n" + "\n".join(names) + "\n")
    out = tmp_path / "out"
    arguments = ["benchmark", "paper", "bodenmiller", "--data", str(tmp_path), "-o", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "3"])
    assert done.exit_code == 0, done.output
    rows = json.loads((out / "results.json").read_text())
    assert [(row["dataset"], row["n_learned"], row["n_populations"]) for row in rows] == [
        ("A02", 300, 3),
        ("A02", 240, 3),
    ]
    assert [row["n_gated"] for row in rows if row["n_learned"] == 300] == [271]
    assert all(row["n_gated"] <= 60 for row in rows if row["n_learned"] == 240)
    assert "| MoE-Sim-VAE (not run) |" in done.stdout
    assert "0.772 ± 0.050" in done.stdout


@pytest.mark.slow
def test_jobs_are_listed_and_run_one_by_one(tmp_path: Path) -> None:
    raw, _ = populations(4)
    write_fcs(tmp_path / "a.fcs", ["CD3", "CD4", "CD8", "CD19"], raw)
    (tmp_path / "a.gates.csv").write_text("population\n" + "A\n" * 300)
    out = tmp_path / "out"
    arguments = ["benchmark", "run", str(tmp_path / "a.fcs"), "-o", str(out), "--methods", "kmeans", "--seeds", "1"]
    arguments += ["--clusters", "2,3"]
    listed = CliRunner().invoke(app, [*arguments, "--list-jobs"])
    assert listed.exit_code == 0, listed.output
    lines = listed.stdout.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "0\ta kmeans K=2 seed=0",
        "1\ta kmeans K=3 seed=0",
    ]
    keys = [line.split("\t")[2] for line in lines]
    assert not out.exists()

    one = CliRunner().invoke(app, [*arguments, "--job", "0"])
    assert one.exit_code == 0, one.output
    (done,) = (out / "rows").iterdir()
    assert done.name == f"{keys[0]}.json"
    assert not (out / "table.md").exists()
    before = (done.read_bytes(), done.stat().st_mtime_ns)
    everything = CliRunner().invoke(app, [*arguments, "--jobs", "2"])
    assert everything.exit_code == 0, everything.output
    assert (done.read_bytes(), done.stat().st_mtime_ns) == before
    assert len(list((out / "rows").iterdir())) == 2
    shown = CliRunner().invoke(app, ["benchmark", "table", str(out)])
    assert "k-means *oracle* (best K by labels)" in shown.stdout


def separate_populations(folder: Path) -> Path:
    """An FCS file of three separate populations of 100 cells, with gates beside it."""
    raw, _ = populations(4)
    write_fcs(folder / "a.fcs", ["CD3", "CD4", "CD8", "CD19"], raw)
    (folder / "a.gates.csv").write_text("population\n" + "A\n" * 100 + "B\n" * 100 + "C\n" * 100)
    return folder / "a.fcs"


def test_gates_beside_the_files_may_be_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["benchmark", "run", str(separate_populations(tmp_path)), "-o", str(out), "--gates", "beside"]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "3"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads((out / "results.json").read_text())
    assert (row["status"], row["f1_mean"]) == ("ok", 1.0)


@pytest.mark.slow
def test_labels_of_another_tool_are_a_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = separate_populations(tmp_path)
    (tmp_path / "tool.csv").write_text("cluster\n" + "x\n" * 100 + "y\n" * 200)
    arguments = ["benchmark", "run", str(file), "-o", str(out), "--labels", f"Tool 1={tmp_path / 'tool.csv'}"]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "3"])
    assert done.exit_code == 0, done.output
    rows = {row["method"]: row for row in json.loads((out / "results.json").read_text())}
    assert (rows["kmeans"]["f1_mean"], rows["labels:Tool 1"]["n_clusters"]) == (1.0, 2)
    assert "| Tool 1 (labels from a file) |" in (out / "table.md").read_text()
    alone = CliRunner().invoke(app, [*arguments, "--methods", "none", "--list-jobs"])
    assert [line.split("\t")[1] for line in alone.stdout.splitlines()] == ["a labels:Tool 1 seed=0 (all cells)"]


def test_a_run_without_any_result_fails(tmp_path: Path) -> None:
    """The tables are written all the same; the missing figure is not blamed on matplotlib."""
    out = tmp_path / "out"
    arguments = ["benchmark", "run", str(separate_populations(tmp_path)), "-o", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "301"])
    assert isinstance(done.exception, InputError)
    assert "the only job failed" in str(done.exception)
    assert "n_clusters=301" in (out / "table.md").read_text()
    assert "no job has a score" in done.stderr
    assert "matplotlib (" not in done.stderr
    again = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "301"])
    assert isinstance(again.exception, InputError)  # also if all jobs are finished already


@pytest.mark.slow
def test_a_run_with_some_results_warns_of_failed_jobs(tmp_path: Path) -> None:
    arguments = ["benchmark", "run", str(separate_populations(tmp_path)), "-o", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--methods", "kmeans", "--clusters", "3,301"])
    assert done.exit_code == 0, done.output
    assert "1 of 2 jobs failed" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--datasets", "public", "--gates", "x"],
        ["FILE", "--datasets", "public"],
        ["FILE", "--holdout", "1"],
        ["FILE", "--transform", "log"],
        ["FILE", "--clusters", "0"],
        ["FILE", "--labels", "tool.csv"],
        ["FILE", "--labels", "a=FILE", "--labels", "a=FILE"],
        ["--datasets", "public", "--labels", "a=FILE"],
        ["FILE", "--methods", "none"],
        ["FILE", "--methods", "kmeans", "--job", "6"],
    ],
)
def test_contradicting_options_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    file = tmp_path / "a.fcs"
    file.touch()
    arguments = [str(file) if word == "FILE" else word for word in wrong]
    done = CliRunner().invoke(app, ["benchmark", "run", "-o", str(tmp_path / "out"), *arguments])
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "out").exists()
