"""Odd marker values through the command line: they raise a documented error or give a valid model and assignment."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from cytovae.cli.main import app
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs

pytestmark = pytest.mark.slow  # each test trains a model

QUICK = ("--steps", "30", "--experts", "12", "--device", "cpu", "--quiet")
N = 240


def cells(n: int = N, seed: int = 0) -> NDArray[np.float32]:
    """Three populations in six markers, raw counts."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 200, (3, 6))
    return np.maximum(centre[rng.integers(0, 3, n)] + rng.normal(0, 5, (n, 6)), 0).astype(np.float32)


def fcs(path: Path, values: NDArray[np.float32], names: tuple[str, ...] = ()) -> Path:
    names = names or tuple(f"CD{index + 3}" for index in range(values.shape[1]))
    write_fcs(path, values, [Channel(index, name, "", 1024) for index, name in enumerate(names)])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def exit_code(result: Result) -> int:
    return getattr(result.exception, "exit_code", result.exit_code) if result.exception else result.exit_code


def train_and_assign(folder: Path, file: Path, *options: str) -> pd.DataFrame:
    """Train and assign; losses must be finite, and probabilities must be distributions."""
    trained = run("train", file, "-o", folder / "m", *QUICK, *options)
    assert trained.exit_code == 0, (trained.output, trained.exception)
    assert np.isfinite(pd.read_parquet(folder / "m" / "history.parquet").to_numpy()).all()
    assigned = run("assign", folder / "m", file, "-o", folder / "x.parquet", "--device", "cpu", "--threads", 1)
    assert assigned.exit_code == 0, (assigned.output, assigned.exception)
    table = pd.read_parquet(folder / "x.parquet")
    p = table[[name for name in table if name.startswith("p_")]].to_numpy(dtype=np.float64)
    assert np.abs(p.sum(axis=1) - 1).max() <= 1e-5
    assert (p >= 0).all()
    assert np.array_equal(table["cluster"], p.argmax(axis=1) + 1)
    return table


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected_with_marker_and_count(value: float, tmp_path: Path) -> None:
    values = cells()
    values[[3, 9], 2] = value
    result = run("train", fcs(tmp_path / "a.fcs", values), "-o", tmp_path / "m", *QUICK)
    assert exit_code(result) == 3
    assert "2 in CD5" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fcs"]


ODD = {
    "a constant marker": lambda v: np.column_stack([v[:, :5], np.full(len(v), 7)]),
    "an all-zero marker": lambda v: np.column_stack([v[:, :5], np.zeros(len(v))]),
    "negative values": lambda v: v - 150,
    "a marker of 1e38": lambda v: np.column_stack([v[:, :5], np.where(v[:, 5] > 100, 1e38, -1e38)]),
    "every cell four times": lambda v: np.repeat(v[::4], 4, axis=0),
    "only two values": lambda v: (v > 100).astype(np.float32),
    "one distant cell": lambda v: np.where(np.arange(len(v))[:, None] == 5, 1e6, v),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_give_a_valid_model(odd: str, tmp_path: Path) -> None:
    values = ODD[odd](cells()).astype(np.float32)
    assert len(train_and_assign(tmp_path, fcs(tmp_path / "a.fcs", values))) == N


def test_a_constant_marker_gives_a_warning(tmp_path: Path) -> None:
    values = ODD["a constant marker"](cells()).astype(np.float32)
    file = fcs(tmp_path / "a.fcs", values)
    result = run("train", file, "-o", tmp_path / "m", *QUICK)
    assert "CD8: the same value in all cells" in result.stderr


@pytest.mark.parametrize("value", [0, 7])
def test_constant_markers_alone_are_rejected(value: float, tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", np.full((N, 3), value, np.float32))
    result = run("train", file, "-o", tmp_path / "m", *QUICK)
    assert exit_code(result) == 3
    assert "one value for all cells" in str(result.exception)


def test_values_too_large_for_distances_raise_an_error_with_a_hint(tmp_path: Path) -> None:
    values = ODD["a marker of 1e38"](cells()).astype(np.float32)
    result = run("train", fcs(tmp_path / "a.fcs", values), "-o", tmp_path / "m", *QUICK, "--transform", "none")
    assert exit_code(result) == 7
    assert "--transform arcsinh" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fcs"]


@pytest.mark.parametrize("n", [0, 1, 2, 49])
def test_too_few_cells_are_rejected(n: int, tmp_path: Path) -> None:
    result = run("train", fcs(tmp_path / "a.fcs", cells()[:n]), "-o", tmp_path / "m", *QUICK)
    assert exit_code(result) in (2, 3)
    assert "no events" in str(result.exception) or f"{n}" in str(result.exception)


def test_fewer_cells_than_the_batch_size_and_the_experts(tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", cells(60))
    assert len(train_and_assign(tmp_path, file, "--batch-size", "256", "--experts", "100")) == 60


def test_more_clusters_than_cells_are_rejected(tmp_path: Path) -> None:
    result = run("train", fcs(tmp_path / "a.fcs", cells(60)), "-o", tmp_path / "m", *QUICK, "--experts", "100",
                 "--clusters", "90")  # fmt: skip
    assert exit_code(result) == 2
    assert "90 clusters" in str(result.exception)


def test_a_label_channel_is_a_marker_only_if_named(tmp_path: Path) -> None:
    """A label channel does not change the model, byte for byte, unless it is named as a marker."""
    values = cells()
    label = (values[:, :1] > 100).astype(np.float32) + 1
    label[5] = np.nan  # means ungated in published files
    names = tuple(f"CD{index + 3}" for index in range(6))
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    with_label = fcs(tmp_path / "with" / "a.fcs", np.column_stack([values, label]), (*names, "label"))
    without = fcs(tmp_path / "without" / "a.fcs", values, names)
    for file in (with_label, without):
        assert run("train", file, "-o", file.parent / "m", *QUICK).exit_code == 0
    for name in ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet"):
        assert (tmp_path / "with" / "m" / name).read_bytes() == (tmp_path / "without" / "m" / name).read_bytes()
    without_nan = fcs(tmp_path / "filled.fcs", np.column_stack([values, np.nan_to_num(label)]), (*names, "label"))
    named = run("train", without_nan, "-o", tmp_path / "named", *QUICK, "--markers", ",".join((*names, "label")))
    assert named.exit_code == 0
    description = json.loads((tmp_path / "named" / "model.json").read_text())
    assert [marker["name"] for marker in description["markers"]][-1] == "label"
    assert (tmp_path / "named" / "model.safetensors").read_bytes() != (
        tmp_path / "without" / "m" / "model.safetensors"
    ).read_bytes()
