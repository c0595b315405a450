"""The sample study: the committed files are what their script writes, and as hard as their README says."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from cytovae.annotations.gates import read_gates_of_files
from cytovae.cells import GateLabels
from cytovae.events.panel import columns_in_study, resolve_panel
from cytovae.events.transform import arcsinh
from cytovae.fcs.file import open_fcs

FOLDER = Path(__file__).parents[1] / "sample_data"
NAMES = ("donor1_baseline", "donor1_stim", "donor2_baseline")


@pytest.fixture(scope="module")
def study() -> tuple[np.ndarray, GateLabels]:
    """Raw marker values of the three files, one after another, and their gates."""
    files = [open_fcs(FOLDER / f"{name}.fcs") for name in NAMES]
    panel = resolve_panel(files[0])
    raw = np.concatenate([file.read(columns_in_study(panel, file).tolist()) for file in files])
    return raw, read_gates_of_files(files)


def test_the_script_writes_the_same_bytes_again(tmp_path: Path) -> None:
    runpy.run_path(str(FOLDER / "make_sample.py"))["write_study"](tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(f"{name}{suffix}" for name in NAMES for suffix in (".fcs", ".gates.csv"))
    for name in written:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name
    assert sum((FOLDER / name).stat().st_size for name in written) < 5_000_000


def test_the_study_holds_what_its_readme_says(study: tuple[np.ndarray, GateLabels]) -> None:
    raw, gates = study
    assert raw.shape == (12_000, 12)
    assert (raw >= 0).all()
    assert np.array_equal(raw, np.rint(raw))
    assert (raw == 0).mean() > 0.2
    assert len(gates.names) == 8
    share = np.bincount(gates.population + 1, minlength=9) / len(gates)
    assert share[0] == pytest.approx(0.05)
    assert share[1 + gates.names.index("pDC")] == pytest.approx(0.005, abs=0.001)
    assert share[1 + gates.names.index("mDC")] == pytest.approx(0.015, abs=0.002)


def test_the_gates_can_be_found_but_not_all_of_them(study: tuple[np.ndarray, GateLabels]) -> None:
    raw, gates = study
    gated = gates.population >= 0
    values, truth = arcsinh(raw, 5.0)[gated], gates.population[gated]
    right = cross_val_score(QuadraticDiscriminantAnalysis(reg_param=0.01), values, truth, cv=3).mean()
    assert 0.97 < right < 0.99
    cluster = KMeans(8, n_init=3, random_state=0).fit_predict(values)
    f = 0.0
    for population in np.unique(truth):
        inside = truth == population
        f += inside.mean() * max(
            2 * (inside & (cluster == number)).sum() / (inside.sum() + (cluster == number).sum()) for number in range(8)
        )
    assert 0.8 < f < 0.97
