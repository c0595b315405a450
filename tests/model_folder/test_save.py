"""Saving a model: what the folder holds, and that nothing is replaced by accident or by a broken model."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny_model import CODES, tiny_model, write_tiny_model
from safetensors.numpy import load_file

from cytovae.errors import NumericalError, OutputError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.model_folder.input_files import input_records
from cytovae.model_folder.layout import FILES
from cytovae.model_folder.save import check_model_target
from cytovae.network.training_loop import ProgressRecord


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


def test_a_folder_holds_every_file_with_its_content(folder: Path) -> None:
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]
    landmarks = pd.read_parquet(folder / "landmarks.parquet")
    assert landmarks["file"].tolist() == ["a.fcs", "b.fcs", "b.fcs"]
    assert landmarks["event"].tolist() == [2, 1, 5]
    assert landmarks["umap_2"].tolist() == [1, 3, 5]
    # The codes come from training; a network that was never trained would give others.
    assert landmarks.columns.tolist() == ["file", "event", "umap_1", "umap_2", "z_1", "z_2"]
    assert np.array_equal(landmarks[["z_1", "z_2"]].to_numpy(), CODES)
    history = pd.read_parquet(folder / "history.parquet")
    assert history.iloc[0].to_dict() == {
        **{"step": 25, "reconstruction": 0.5, "kl": 0, "similarity": 0.25, "depict": 0.125, "total": 0.75}
    }
    run = json.loads((folder / "run.json").read_text())
    assert (run["seed"], run["device"], run["seconds"]) == (7, "cpu", {"training": 1.5})
    assert run["inputs"] == [{"file": "a.fcs", "sha256": "00", "bytes": 10, "events": 6, "cells": 6, "part": ""}]
    assert run["versions"]["torch"] == torch.__version__
    # Any safetensors reader sees the same weights.
    weights = load_file(folder / "model.safetensors")
    state = tiny_model().model.network.state_dict()
    assert all(np.array_equal(weights[f"network.{name}"], tensor.numpy()) for name, tensor in state.items())


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write_tiny_model(tmp_path / "again")
    for name in ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_an_input_is_recorded_with_its_checksum(tmp_path: Path) -> None:
    write_fcs(tmp_path / "a.fcs", np.ones((4, 1)), [Channel(0, "CD3", "", 10.0)])
    (record,) = input_records([open_fcs(tmp_path / "a.fcs")], [3])
    content = (tmp_path / "a.fcs").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert (record.bytes, record.events, record.cells) == (len(content), 4, 3)


# --- what already exists ---


def test_nothing_is_replaced_without_force(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="--force"):
        write_tiny_model(folder, tiny_model(1))
    assert (folder / "model.safetensors").read_bytes() == before
    write_tiny_model(folder, tiny_model(1), force=True)
    assert (folder / "model.safetensors").read_bytes() != before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]


def test_a_folder_with_other_files_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    (folder / "thesis.docx").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.docx"):
        check_model_target(folder, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        check_model_target(tmp_path / "file", force=True)
    with pytest.raises(OutputError, match="no folder"):
        check_model_target(tmp_path / "a" / "b")
    (tmp_path / "empty").mkdir()
    check_model_target(tmp_path / "empty")


def test_weights_that_are_not_finite_are_not_saved(folder: Path) -> None:
    saved = tiny_model()
    with torch.no_grad():
        next(saved.model.network.parameters())[0] = float("nan")
    before = (folder / "model.json").read_bytes()
    with pytest.raises(NumericalError, match="network"):
        write_tiny_model(folder, saved, force=True)
    assert (folder / "model.json").read_bytes() == before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"landmarks": np.array([1, 3, 3])}, "not distinct"),
        ({"landmarks": np.array([1, 3, 6])}, "not distinct"),
        ({"coordinates": np.full((3, 2), np.nan, np.float32)}, "UMAP"),
        ({"codes": np.full((3, 2), np.inf, np.float32)}, "latent codes"),
        ({"codes": np.zeros((2, 2), np.float32)}, "latent codes"),
        ({"history": (ProgressRecord(25, 0.5, 0.0, 0.25, 0.125, float("nan")),)}, "loss is not finite"),
    ],
)
def test_impossible_results_of_training_are_not_saved(
    tmp_path: Path, changed: dict[str, object], complaint: str
) -> None:
    with pytest.raises(NumericalError, match=complaint):
        write_tiny_model(tmp_path / "model", **changed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, OSError])
def test_an_interruption_leaves_the_earlier_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise failure

    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("cytovae.model_folder.save._write_landmarks", fail)
    with pytest.raises(OutputError if failure is OSError else failure):
        write_tiny_model(folder, tiny_model(1), force=True)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]
