"""Figure A1 at a small size: how mixtures are drawn, and the command."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cytovae.cli.main import app
from cytovae.experiments import synthetic
from cytovae.experiments.experiment import Outcome
from cytovae.metrics import score


def test_mixtures_have_the_documented_parameters() -> None:
    cells, truth = synthetic.draw(4, 8_000, 20, seed=3)
    assert np.bincount(truth.population).tolist() == [2_000] * 4
    own = cells.values[truth.population == 2].astype(float)
    # Eigenvalues of the covariance of 2,000 points in 20 dimensions are within about 20 % of the true ones, 0.5 to 1.5.
    eigenvalues = np.linalg.eigvalsh(np.cov(own.T))
    assert 0.4 < eigenvalues.min() < 0.75
    assert 1.2 < eigenvalues.max() < 1.8
    assert np.abs(np.corrcoef(own.T) - np.eye(20)).max() > 0.1  # directions are random
    means = np.stack([cells.values[truth.population == index].mean(0) for index in range(4)])
    assert 0.7 < means.std() < 1.3
    again, _ = synthetic.draw(4, 8_000, 20, seed=3)
    assert np.array_equal(cells.values, again.values)
    assert not np.array_equal(cells.values, synthetic.draw(4, 8_000, 20, seed=4)[0].values)


def test_gaussian_mixtures_find_well_separated_components() -> None:
    cells, truth = synthetic.draw(3, 900, 100, seed=0)
    for kind in ("full", "diag"):
        assert score(synthetic._gaussian_mixture(cells.values, 3, kind, 0), truth).f_weighted == 1.0


def test_the_keys_of_pieces_differ_by_mixture_method_and_design() -> None:
    planned = synthetic.pieces(synthetic.QUICK, 2, "cpu")
    assert len({piece.key for piece in planned}) == len(planned) == 2 * (3 * 4 + 2)
    larger = synthetic.pieces(synthetic.Design((2, 10, 40), points=4_000, steps=500), 2, "cpu")
    assert not {piece.key for piece in planned} & {piece.key for piece in larger}


SMALL = synthetic.Design((4,), points=400, dimensions=50, steps=250)


def run_small(output: Path, patch: pytest.MonkeyPatch) -> Result:
    """Run the command at a small size, with eight experts instead of forty for Figure A1b."""
    patch.setattr(synthetic, "QUICK", SMALL)
    patch.setattr(synthetic, "EXPERTS_FOR_FOUND", 8)
    arguments = ["benchmark", "paper", "synthetic", "--quick", "-o", str(output), "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("synthetic") / "out"
    with pytest.MonkeyPatch.context() as patch:
        done = run_small(output, patch)
    assert done.exit_code == 0, done.output
    assert "## A1a" in done.stdout
    return output


@pytest.mark.slow
def test_the_command_writes_its_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "results.parquet", "table.md", "a1a.png", "a1b.png", "run.json", "synthetic.pieces",
    }  # fmt: skip
    assert json.loads((folder / "run.json").read_text())["quick"] is True
    lines = pq.read_table(folder / "results.parquet").to_pylist()
    known = [line for line in lines if line["part"] == "A1a" and line["measure"] == "F_weighted"]
    assert {(line["method"], line["setting"]) for line in known} == {
        (method, "4") for method in (synthetic.PAPER, synthetic.DEFAULT, synthetic.FULL, synthetic.DIAGONAL)
    }


@pytest.mark.slow
def test_both_settings_find_well_separated_components(folder: Path) -> None:
    """Means are 10 apart and points 7 from their mean, so clusters are exact, with the number known or not."""
    lines = pq.read_table(folder / "results.parquet").to_pylist()
    for method in (synthetic.PAPER, synthetic.DEFAULT):
        found = {
            (line["part"], line["measure"], line["setting"]): line["value"]
            for line in lines
            if line["method"] == method
        }
        assert found["A1a", "F_weighted", "4"] > 0.99
        if method == synthetic.DEFAULT:  # the paper's radius of 2 on the UMAP splits large components
            assert found["A1b", "clusters", "4"] == 4


@pytest.mark.slow
def test_the_same_command_resumes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Outcome:
        raise AssertionError("this piece is finished already")

    monkeypatch.setattr(synthetic, "_measure", never)
    again = run_small(folder, monkeypatch)
    assert again.exit_code == 0, again.output


def test_numbers_of_components_are_checked(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["benchmark", "paper", "synthetic", "--components", "1,x", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code != 0
    assert "at least 2" in str(done.exception)
