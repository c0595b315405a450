"""The sample study: the committed files are what their script writes, and hold what their README says."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from cytovae.annotations.gates import read_gates_of_files
from cytovae.cells import GateLabels
from cytovae.events.panel import columns_in_study, resolve_panel
from cytovae.events.transform import arcsinh
from cytovae.fcs.file import open_fcs

FOLDER = Path(__file__).parents[1] / "sample_data"
NAMES = tuple(f"donor{donor}_{condition}" for donor in (1, 2, 3) for condition in ("baseline", "stim"))
FILES = [FOLDER / f"{name}.fcs" for name in NAMES]
STATE = ("pSTAT1", "pSTAT5", "p-p38", "pS6")


@pytest.fixture(scope="module")
def study() -> tuple[np.ndarray, GateLabels, np.ndarray]:
    """Raw values of the 12 type and 4 state markers in all files, their gates, and the number of each event's file."""
    files = [open_fcs(path) for path in FILES]
    panel = resolve_panel(files[0], state_markers=True)
    assert panel.names[12:] == STATE
    raw = np.concatenate([file.read(columns_in_study(panel, file).tolist()) for file in files])
    return raw, read_gates_of_files(files), np.repeat(np.arange(6), [file.n_events for file in files])


def test_the_script_writes_the_same_bytes_again(tmp_path: Path) -> None:
    runpy.run_path(str(FOLDER / "make_sample.py"))["write_study"](tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(
        [*(f"{name}{suffix}" for name in NAMES for suffix in (".fcs", ".gates.csv")), "samples.csv"]
    )
    for name in written:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name
    assert sum((FOLDER / name).stat().st_size for name in written) < 5_000_000


def test_the_study_holds_what_its_readme_says(study: tuple[np.ndarray, GateLabels, np.ndarray]) -> None:
    raw, gates, file = study
    assert raw.shape == (12_000, 16)
    assert np.bincount(file).tolist() == [2200, 2000, 1900, 2100, 2000, 1800]
    assert (raw >= 0).all()
    assert np.array_equal(raw, np.rint(raw))
    assert (raw[:, :12] == 0).mean() > 0.15
    assert len(gates.names) == 8
    share = np.bincount(gates.population + 1, minlength=9) / len(gates)
    assert share[0] == pytest.approx(0.05, abs=0.001)
    baseline = gates.population[file % 2 == 0]
    assert (baseline == gates.names.index("pDC")).mean() == pytest.approx(0.007, abs=0.002)
    assert 0.015 < (baseline == gates.names.index("mDC")).mean() <= 0.02
    sheet = pd.read_csv(FOLDER / "samples.csv")
    assert sheet["file"].tolist() == [path.name for path in FILES]
    assert sheet["condition"].tolist() == ["baseline", "stimulated"] * 3
    assert sheet["donor"].tolist() == ["donor1", "donor1", "donor2", "donor2", "donor3", "donor3"]


def test_no_cell_lacks_a_bright_marker(study: tuple[np.ndarray, GateLabels, np.ndarray]) -> None:
    """A count is 0 in 2 of 10⁹ cells that are a fifth as bright as a median of 100: Poisson with mean 20."""
    raw, gates, _ = study
    for population in range(8):
        cells = raw[gates.population == population, :12]
        bright = np.median(cells, axis=0) >= 100
        assert bright.any()
        assert (cells[:, bright] > 0).all()


def test_the_two_differences_and_no_other(study: tuple[np.ndarray, GateLabels, np.ndarray]) -> None:
    """In the gated cells, pooled over donors. Four standard errors: 1.25 s / √n for a median of n log counts."""
    raw, gates, file = study
    stimulated = file % 2 == 1
    rows = [gates.population == population for population in range(8)]
    shares = np.array([[of[stimulated == side].mean() for side in (False, True)] for of in rows])
    ratio = dict(zip(gates.names, shares[:, 1] / shares[:, 0], strict=True))
    assert ratio.pop("mDC") == pytest.approx(0.25, abs=0.1)
    assert max(map(abs, np.log(list(ratio.values())))) < 0.3  # 92 pDC alone vary by 0.2
    values = np.log(raw + 1)
    effects = {}
    for name, of in zip(gates.names, rows, strict=True):
        groups = [values[of & (stimulated == side)] for side in (False, True)]
        error = 1.25 * np.sqrt(sum(group.var(axis=0) / len(group) for group in groups))
        change = np.median(groups[1], axis=0) - np.median(groups[0], axis=0)
        # Medians of whole numbers move in steps of one, and samples differ by 3 % beside the donors, who are paired.
        step = 1 / np.exp(np.median(groups[0], axis=0))
        effects[name] = np.abs(change) > 4 * error + step + 0.1
        if name == "CD14 monocyte":
            assert change[14] == pytest.approx(np.log(2.5), abs=0.15)
    found = {(name, column) for name, columns in effects.items() for column in np.flatnonzero(columns)}
    assert found == {("CD14 monocyte", 14)}


def test_the_gates_can_be_found_but_not_all_of_them(study: tuple[np.ndarray, GateLabels, np.ndarray]) -> None:
    raw, gates, _ = study
    gated = gates.population >= 0
    values, truth = arcsinh(raw[:, :12], 5.0)[gated], gates.population[gated]
    right = cross_val_score(QuadraticDiscriminantAnalysis(reg_param=0.01), values, truth, cv=3).mean()
    assert 0.97 < right < 0.99
    cluster = KMeans(8, n_init=3, random_state=0).fit_predict(values)
    f = 0.0
    for population in np.unique(truth):
        inside = truth == population
        f += inside.mean() * max(
            2 * (inside & (cluster == number)).sum() / (inside.sum() + (cluster == number).sum()) for number in range(8)
        )
    assert 0.8 < f < 0.98


@pytest.mark.slow
def test_the_demo_finds_both_differences_and_no_other(tmp_path: Path) -> None:
    """What `make demo` does. A cluster is named by the gate that most of its cells are in."""
    model, cells, out = tmp_path / "model", tmp_path / "cells.parquet", tmp_path / "comparison"
    trained = Command(("train",)).done(*FILES, "-o", model, "--gates", "beside", "--device", "cpu", "--threads", 1)
    (line,) = [line for line in trained.stdout.splitlines() if line.startswith("F_weighted ")]
    assert float(line.split()[1]) >= 0.9
    assert np.isfinite(pd.read_parquet(model / "history.parquet").to_numpy()).all()
    Command(("assign",)).done(model, *FILES, "-o", cells, "--device", "cpu", "--quiet")
    sheet = ("--samples", FOLDER / "samples.csv", "--condition", "condition", "--files", FOLDER, "--model", model)
    Command(("compare",)).done(cells, *sheet, "-o", out, "--quiet")
    gates = read_gates_of_files([open_fcs(path) for path in FILES])
    gate = np.array([*gates.names, "none"])[gates.population]
    name = pd.Series(gate).groupby(pd.read_parquet(cells, columns=["cluster"])["cluster"]).agg(lambda g: g.mode()[0])
    assert len(name) <= 16
    found = {}
    for table, columns in (("abundance", ()), ("levels", ("marker",))):
        rows = pd.read_csv(out / f"differential_{table}.csv")
        rows["population"] = name[rows["population"].str.removeprefix("cluster ").astype(int)].to_numpy()
        hits = rows[rows["fdr"] <= 0.05].assign(sign=lambda hit: np.sign(hit["effect"]))
        found[table] = hits[["population", *columns, "sign"]].drop_duplicates().to_numpy().tolist()
    assert found == {"abundance": [["mDC", -1]], "levels": [["CD14 monocyte", "p-p38", 1]]}
