"""The state of unfinished training: resuming ends in the same bytes, and other or damaged states are refused."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_model
from numpy.typing import NDArray

from cytovae.cells import CellTable, GateLabels
from cytovae.errors import ModelError, NumericalError, OutputError, UsageError
from cytovae.inference.trained_model import Learning
from cytovae.model_folder.checkpoint import Checkpoint
from cytovae.model_folder.training_key import TrainingKey, training_key
from cytovae.settings import Settings
from cytovae.study.train_model import train_model

pytestmark = pytest.mark.slow

SMALL = Settings(
    experts=8, code=3, encoder_depth=1, encoder_width=12, clustering_width=12, expert_width=4, batch=32, steps=120,
    umap_epochs=20, landmarks=150, views=2, support=2,
)  # fmt: skip
ROOT = Path(__file__).parents[2]


def table(seed: int = 0) -> CellTable:
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(size=(200, 5)) + 3 * rng.integers(0, 3, (200, 1))).astype(np.float32)
    return CellTable(values, tuple("abcde"), ("x.fcs",), np.zeros(200, np.int32), np.arange(200))


class Stop(Exception):
    """An interruption at a moment that the test chooses."""


def learn(checkpoint: Checkpoint | None, settings: Settings, stop_at: tuple[str, int] | None = None) -> Learning:
    def progress(stage: str, done: int, _total: int) -> None:
        if stop_at is not None and (stage, done) == stop_at:
            raise Stop

    return train_model(table(), settings, seed=5, progress=progress, kept=checkpoint)


def key(settings: Settings = SMALL, **changed: Any) -> TrainingKey:
    return training_key(table(), settings, **({"seed": 5, "device": "cpu"} | changed))


def interrupted(model: Path, settings: Settings = SMALL, stop_at: tuple[str, int] = ("training", 75)) -> Path:
    """The state that remains when training is stopped at this stage and step."""

    def train() -> None:
        with Checkpoint(model) as checkpoint:
            checkpoint.begin(key(settings))
            learn(checkpoint, settings, stop_at)

    with pytest.raises(Stop):
        train()
    return model.parent / f".{model.name}.state"


def everything(learning: Learning) -> dict[str, NDArray[Any]]:
    state = {name: tensor.numpy() for name, tensor in learning.model.network.state_dict().items()}
    tree = {name: np.asarray(value) for name, value in vars(learning.model.tree).items()}
    history = np.array([list(vars(record).values()) for record in learning.history])
    return (
        state
        | tree
        | {"rows": learning.landmarks, "umap": learning.coordinates, "codes": learning.codes, "history": history}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        replace(SMALL, schedule="constant", resolution="experts"),
        replace(SMALL, posterior_noise=True, kl_weight=0.01, similarity="radius"),
        replace(SMALL, depict_from=0.0, dropout=0.5, landmarks=0),
    ],
)
@pytest.mark.parametrize("stop_at", [("umap", 0), ("training", 25), ("training", 75), ("training", 120)])
def test_resuming_ends_in_the_same_bytes(settings: Settings, stop_at: tuple[str, int], tmp_path: Path) -> None:
    interrupted(tmp_path / "m", settings, stop_at)
    with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
        checkpoint.begin(key(settings))
        again = everything(learn(checkpoint, settings))
    straight = everything(learn(None, settings))
    assert again.keys() == straight.keys()
    for name, value in straight.items():
        assert again[name].dtype == value.dtype
        assert again[name].tobytes() == value.tobytes(), name
    assert list(tmp_path.iterdir()) == []


def test_finished_stages_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path / "m", stop_at=("training", 75))

    def not_again(*_arguments: object) -> None:
        raise AssertionError("computed a second time")

    for name in ("choose_landmarks", "nearest_neighbors", "umap_projection"):
        monkeypatch.setattr(f"cytovae.study.train_model.{name}", not_again)
    with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
        checkpoint.begin(key())
        learning = learn(checkpoint, SMALL)
    assert [record.step for record in learning.history] == [25, 50, 75, 100, 120]
    # The seconds of the interrupted process count, too.
    assert learning.seconds["umap"] > 0.001


def test_an_interruption_writes_the_state(tmp_path: Path) -> None:
    """No minute has passed, so only the interruption writes the state of the loop."""
    state = interrupted(tmp_path / "m")
    assert sorted(path.stem for path in state.glob("*.safetensors")) == ["landmarks", "neighbours", "training", "umap"]


@pytest.mark.parametrize("left", [True, False])
def test_an_interruption_after_the_model_was_written_leaves_the_model_alone(
    left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state stays if the model in the folder is that of another training."""
    monkeypatch.setattr(tiny_model, "RUN", replace(tiny_model.RUN, key="another" if left else key().digest))

    def train() -> None:
        with Checkpoint(tmp_path / "m") as checkpoint:
            checkpoint.begin(key())
            checkpoint.stage("umap", lambda: (np.zeros((3, 2)),))
            tiny_model.write_tiny_model(tmp_path / "m")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.state"] * left + ["m"]


def test_the_state_is_written_at_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace_file = Checkpoint._replace

    def record(self: Checkpoint, name: str, content: bytes) -> None:
        written.append(name)
        replace_file(self, name, content)

    monkeypatch.setattr(Checkpoint, "_replace", record)
    for every, expected in ((0.0, 5), (60.0, 1)):  # records at 25, 50, 75, 100, 120; the last is always written
        written.clear()
        with Checkpoint(tmp_path / "m", every=every) as checkpoint:
            checkpoint.begin(key())
            learn(checkpoint, SMALL)
        assert written.count("training.safetensors") == expected


# --- refusals ---


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (key(seed=6), r"seed 5 \(now 6\)"),
        (key(replace(SMALL, batch=64)), r"batch 32 \(now 64\)"),
        (key(device="cuda"), r"device cpu \(now cuda\)"),
        (key(labels=GateLabels(np.zeros(200, np.int32), ("T",))), "other labels"),
        (training_key(table(1), SMALL, seed=5, device="cpu"), "other cells"),
    ],
)
def test_the_state_of_other_training_is_refused(other: TrainingKey, difference: str, tmp_path: Path) -> None:
    state = interrupted(tmp_path / "m")
    before = {path.name: path.read_bytes() for path in state.iterdir()}

    def begin() -> None:
        with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
            checkpoint.begin(other)

    with pytest.raises(UsageError, match=difference):
        begin()
    assert before == {path.name: path.read_bytes() for path in state.iterdir()}


def test_a_state_is_not_discarded_without_force(tmp_path: Path) -> None:
    state = interrupted(tmp_path / "m")

    def begin() -> None:
        with Checkpoint(tmp_path / "m") as checkpoint:
            checkpoint.begin(key())

    with pytest.raises(OutputError, match="--resume") as caught:
        begin()
    assert str(state) in str(caught.value)
    with Checkpoint(tmp_path / "m", force=True) as checkpoint:
        checkpoint.begin(key(seed=6))  # any training may start
        assert not checkpoint.resumed
    assert list(tmp_path.iterdir()) == []


def test_resuming_without_a_state_starts_again(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
        checkpoint.begin(key())
        assert not checkpoint.resumed


@pytest.mark.parametrize("ended", [UsageError("no"), KeyboardInterrupt()])
def test_an_error_before_the_first_stage_leaves_nothing(ended: BaseException, tmp_path: Path) -> None:
    def begin() -> None:
        with Checkpoint(tmp_path / "m") as checkpoint:
            checkpoint.begin(key())
            raise ended

    with pytest.raises(type(ended)):
        begin()
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_diverged_training_is_removed(tmp_path: Path) -> None:
    def diverge() -> None:
        with Checkpoint(tmp_path / "m", every=0.0) as checkpoint:
            checkpoint.begin(key())
            learn(checkpoint, SMALL)
            raise NumericalError("the loss is nan")

    with pytest.raises(NumericalError):
        diverge()
    assert list(tmp_path.iterdir()) == []


# --- damage ---


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pickle-was-run",)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def torch_saved(path: Path) -> None:
    torch.save({"network": torch.zeros(2)}, path)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, pickled, torch_saved, emptied])
@pytest.mark.parametrize("name", ["umap.safetensors", "training.safetensors", "state.json"])
def test_damaged_state_is_refused(damage: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = interrupted(tmp_path / "m")
    damage(state / name)

    def resume() -> None:
        with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
            checkpoint.begin(key())
            learn(checkpoint, SMALL)

    # A changed bit in the key may also turn it into the key of another training.
    with pytest.raises((ModelError, UsageError), match="--force"):
        resume()
    assert not (tmp_path / "pickle-was-run").exists()


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    state = interrupted(tmp_path / "m")
    content = json.loads((state / "state.json").read_text())
    (state / "state.json").write_text(json.dumps(content | {"state_version": 2}))

    def resume() -> None:
        with Checkpoint(tmp_path / "m", resume=True) as checkpoint:
            checkpoint.begin(key())

    with pytest.raises(ModelError, match="version is 2, expected 1"):
        resume()


def test_a_full_disk_does_not_end_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    with Checkpoint(tmp_path / "m", every=0.0, warn=warnings.append) as checkpoint:
        checkpoint.begin(key())

        def full(_self: Checkpoint, _name: str, _content: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Checkpoint, "_replace", full)
        learning = learn(checkpoint, SMALL)
    assert len(learning.history) == 5
    assert all("No space left on device" in text and ".m.state" in text for text in warnings)
    assert len(warnings) == 3 + 5


# --- one process at a time ---


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the state folder of ``m`` until it is killed."""
    program = (
        "import sys, pathlib; from cytovae.model_folder.checkpoint import Checkpoint\n"
        f"with Checkpoint(pathlib.Path({str(tmp_path / 'm')!r})): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_model_is_written_by_one_process_at_a_time(other_process: subprocess.Popen[str], tmp_path: Path) -> None:
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(OutputError, match="another process") as caught, Checkpoint(tmp_path / "m", **options):
            pass
        assert str(tmp_path / "m") in str(caught.value)
    other_process.kill()
    other_process.wait()
    with Checkpoint(tmp_path / "m") as checkpoint:  # a lock ends with its process
        checkpoint.begin(key())


def test_the_remains_of_a_killed_process_are_cleaned_up(tmp_path: Path) -> None:
    # It was replacing a model: the earlier one was set aside, the new one not yet renamed.
    (tmp_path / ".m.0123abcd.replaced").mkdir()
    (tmp_path / ".m.0123abcd.replaced" / "run.json").write_text("earlier")
    (tmp_path / ".m.89abcdef.partial").mkdir()
    (tmp_path / ".m.notours1.partial").mkdir()
    (tmp_path / ".mm.89abcdef.partial").mkdir()
    with Checkpoint(tmp_path / "m", force=True):
        assert (tmp_path / "m" / "run.json").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.notours1.partial", ".mm.89abcdef.partial", "m"]


def test_a_state_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / ".m.state").write_text("mine")
    with pytest.raises(OutputError, match=r"\.m\.state is not a folder"), Checkpoint(tmp_path / "m", force=True):
        pass
    with pytest.raises(OutputError, match=r"\.m\.state cannot be written"), Checkpoint(tmp_path / "no" / "m"):
        pass
    assert (tmp_path / ".m.state").read_text() == "mine"
