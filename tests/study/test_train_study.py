"""Training of a study: the record describes the files that were read, and a complete model is only cut again."""

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.command import Command

from cytovae.errors import InputError, OutputError, UsageError
from cytovae.model_folder.layout import FILES as MEMBERS
from cytovae.model_folder.load import load_model

SAMPLE = Path(__file__).parents[2] / "sample_data"
FCS = sorted(SAMPLE.glob("*.fcs"))
QUICK = ("--steps", 40, "--landmarks", 400, "--experts", 20, "--device", "cpu", "--threads", 1, "--quiet")
TRAIN = Command(("train",), tuple(map(str, QUICK)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    TRAIN.done(FCS[0], "-o", folder)
    return folder


def copy_of(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder / "model"))


def at(name: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, before: bool) -> None:
    """Let ``act`` happen when the function ``name`` of :mod:`cytovae.study.train_study` or sampling is called."""
    module, _, function = name.rpartition(".")
    original = getattr(importlib.import_module(module), function)

    def changed(*arguments: Any, **options: Any) -> Any:
        if before:
            act()
        result = original(*arguments, **options)
        if not before:
            act()
        return result

    monkeypatch.setattr(name, changed)


def replace_by_other(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy(FCS[1], other)
    other.replace(path)


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x")


@pytest.mark.parametrize("change", [replace_by_other, append, Path.unlink], ids=["replaced", "written", "removed"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    file = Path(shutil.copy(FCS[0], tmp_path / "a.fcs"))
    at("cytovae.study.sampling.draw_cells", monkeypatch, lambda: change(file), before=False)
    assert "a.fcs" in TRAIN.refused(InputError, file, "-o", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / ".model.state").exists()


@pytest.mark.parametrize("change", [replace_by_other, Path.unlink], ids=["replaced", "removed"])
def test_the_record_describes_the_file_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """The file changes during training, after it was read: the model is written with the checksum of the old one."""
    file = Path(shutil.copy(FCS[0], tmp_path / "a.fcs"))
    at("cytovae.study.train_model.train_model", monkeypatch, lambda: change(file), before=True)
    TRAIN.done(file, "-o", tmp_path / "model")
    (record,) = json.loads((tmp_path / "model" / "run.json").read_text())["inputs"]
    content = FCS[0].read_bytes()
    assert (record["sha256"], record["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


# --- --resume of a complete model -------------------------------------------------------------------------------------


def test_a_complete_model_with_the_same_cut_stays(trained: Path, tmp_path: Path) -> None:
    model = copy_of(trained, tmp_path)
    before = {name: (model / name).read_bytes() for name in MEMBERS}
    assert "nothing to resume" in TRAIN.done(FCS[0], "-o", model, "--resume").output
    assert before == {name: (model / name).read_bytes() for name in MEMBERS}


def test_a_complete_model_with_another_cut_is_cut_again_only_with_force(trained: Path, tmp_path: Path) -> None:
    model = copy_of(trained, tmp_path)
    n_clusters = load_model(model).model.n_clusters
    wanted = n_clusters + 1 if n_clusters < load_model(model).model.tree.n_most else n_clusters - 1
    before = {name: (model / name).read_bytes() for name in MEMBERS}
    said = TRAIN.refused(OutputError, FCS[0], "-o", model, "--resume", "--clusters", wanted)
    assert f"{n_clusters} clusters" in said
    assert "--force" in said
    assert before == {name: (model / name).read_bytes() for name in MEMBERS}
    said = TRAIN.done(FCS[0], "-o", model, "--resume", "--clusters", wanted, "--force").output
    assert f"cut into {wanted} clusters" in said
    TRAIN.done(FCS[0], "-o", tmp_path / "anew", "--clusters", wanted)
    for name in MEMBERS[:-1]:
        assert (model / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()
    load_model(model)
    # auto is the cut that the data suggest, not the one that the model has
    TRAIN.refused(OutputError, FCS[0], "-o", model, "--resume")


def test_a_cut_that_is_impossible_is_refused(trained: Path, tmp_path: Path) -> None:
    model = copy_of(trained, tmp_path)
    TRAIN.refused(UsageError, FCS[0], "-o", model, "--resume", "--clusters", 8_000, "--force")
    load_model(model)


# --- what cannot be trained -------------------------------------------------------------------------------------------


def test_one_marker_is_refused_and_leaves_no_state(tmp_path: Path) -> None:
    assert "at least 2 markers" in TRAIN.refused(UsageError, FCS[0], "-o", tmp_path / "m", "--markers", "CD3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_largest_seed_trains(tmp_path: Path) -> None:
    TRAIN.done(FCS[0], "-o", tmp_path / "m", "--seed", 2**32 - 1)
    load_model(tmp_path / "m")


@pytest.mark.parametrize("option", ["--markers", "--exclude"])
@pytest.mark.parametrize("value", [",", " , ", ""])
def test_a_list_that_names_nothing_is_refused(tmp_path: Path, option: str, value: str) -> None:
    assert option in TRAIN.refused(UsageError, FCS[0], "-o", tmp_path / "m", option, value)


def test_an_output_that_holds_an_input_is_refused(trained: Path, tmp_path: Path) -> None:
    model = copy_of(trained, tmp_path)
    before = (model / "landmarks.parquet").read_bytes()
    TRAIN.refused(UsageError, model / "landmarks.parquet", "-o", model, "--force")
    assert (model / "landmarks.parquet").read_bytes() == before


@pytest.mark.parametrize("value", ["0", "", "two", "-1"])
def test_an_impossible_number_of_numba_threads_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", value)
    assert "NUMBA_NUM_THREADS" in TRAIN.refused(UsageError, FCS[0], "-o", tmp_path / "m")
