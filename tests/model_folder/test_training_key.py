"""The training key: it changes with everything that decides the result, and is found again in a saved model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_model import RUN, SETTINGS, write_tiny_model

from cytovae.cells import CellTable, GateLabels
from cytovae.model_folder.training_key import TrainingKey, key_of, training_key

CELLS = CellTable(
    np.arange(6, dtype=np.float32).reshape(3, 2), ("a", "b"), ("x.fcs",), np.zeros(3, np.int32), np.arange(3)
)
LABELS = GateLabels(np.zeros(3, np.int32), ("T",))
KEY = training_key(CELLS, SETTINGS, seed=1, device="cpu")


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (training_key(CELLS, SETTINGS, seed=2, device="cpu"), "seed 2 (now 1)"),
        (training_key(CELLS, SETTINGS, seed=1, device="cuda"), "device cuda (now cpu)"),
        (training_key(CELLS, replace(SETTINGS, batch=64), seed=1, device="cpu"), f"batch 64 (now {SETTINGS.batch})"),
        (training_key(replace(CELLS, markers=("a", "c")), SETTINGS, seed=1, device="cpu"), "other cells"),
        (training_key(replace(CELLS, values=CELLS.values + 1), SETTINGS, seed=1, device="cpu"), "other cells"),
        (training_key(replace(CELLS, event=CELLS.event + 1), SETTINGS, seed=1, device="cpu"), "other cells"),
        (training_key(CELLS, SETTINGS, seed=1, device="cpu", labels=LABELS), "labels"),
    ],
)
def test_a_key_names_what_differs(other: TrainingKey, difference: str) -> None:
    assert other.digest != KEY.digest
    (found,) = KEY.differences(dict(other.parts))
    assert found.startswith(difference)


def test_the_same_training_has_the_same_key() -> None:
    again = training_key(CELLS, SETTINGS, seed=1, device="cpu")
    assert again.digest == KEY.digest
    assert KEY.differences(dict(again.parts)) == ()


def test_a_saved_model_keeps_its_key(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "model")
    assert key_of(folder) == RUN.key
    (folder / "model.json").write_text("{}")
    assert key_of(folder) is None
    assert key_of(tmp_path / "none") is None


def test_the_key_names_the_code_paths_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "OTHER")
    other = training_key(CELLS, SETTINGS, seed=1, device="cpu")
    (found,) = KEY.differences(dict(other.parts))
    assert found.startswith("kernels torch OTHER")
    assert other.digest != KEY.digest
