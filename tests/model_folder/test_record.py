"""The record of a model: read back as it was written, files recognized, damage found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.study import write_study
from helpers.tiny_model import CODES, COORDINATES, RUN, write_tiny_model

from cytovae.environment import versions_of
from cytovae.errors import ModelError
from cytovae.fcs.file import open_fcs
from cytovae.model_folder.layout import InputRecord
from cytovae.model_folder.load import load_model
from cytovae.model_folder.record import LOSSES, load_landmark_places, matched_inputs, read_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two FCS files, with a model of them in the same folder."""
    return write_study(tmp_path_factory.mktemp("study"))


def test_a_record_comes_back_as_it_was_written(folder: Path) -> None:
    record = read_record(folder)
    assert (record.argv, record.seed, record.device) == (RUN.argv, RUN.seed, RUN.device)
    assert record.inputs == RUN.inputs
    assert record.seconds == RUN.seconds
    assert record.versions["numpy"] == versions_of(["numpy"])["numpy"]
    assert record.history.step.tolist() == [25]
    assert dict(zip(LOSSES, record.history.losses[0], strict=True)) == {
        **{"total": 0.75, "reconstruction": 0.5, "similarity": 0.25, "depict": 0.125, "kl": 0}
    }
    # Of the two files of the landmarks only a.fcs is an input of the run.
    assert record.landmarks.source.tolist() == [0, -1, -1]
    assert record.landmarks.event.tolist() == [2, 1, 5]
    assert np.array_equal(record.landmarks.coordinates, COORDINATES)


def test_options_of_reading_come_back_and_are_checked(folder: Path) -> None:
    assert read_record(folder).reading == {}  # also of models that do not record them
    path = folder / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "reading": {"file_key": "donor", "data_set": 1, "later": True}}))
    assert read_record(folder).reading == {"file_key": "donor", "data_set": 1}
    path.write_text(json.dumps({**run, "reading": {"data_set": "1"}}))
    with pytest.raises(ModelError, match="data_set"):
        read_record(folder)


def test_positions_of_landmarks_come_back(folder: Path) -> None:
    landmarks = load_landmark_places(folder)
    assert np.array_equal(landmarks.codes, CODES)
    assert np.array_equal(landmarks.coordinates, COORDINATES)


# --- files of the run ---


def test_a_file_is_recognized_in_another_folder(tmp_path: Path, study: list[Path]) -> None:
    moved = tmp_path / study[0].name
    moved.write_bytes(study[0].read_bytes())
    inputs = read_record(study[0].parent / "model").inputs
    assert matched_inputs([open_fcs(moved), open_fcs(study[1])], inputs) == (0, 1)


def test_files_with_the_same_name_are_distinguished_by_their_path(study: list[Path]) -> None:
    file = open_fcs(study[0])
    size = study[0].stat().st_size
    elsewhere = InputRecord(f"/elsewhere/{study[0].name}", "", size, file.n_events, 0)
    here = InputRecord(str(study[0]), "", size, file.n_events, 0)
    assert matched_inputs([file], [elsewhere, here]) == (1,)
    assert matched_inputs([file], [elsewhere, elsewhere]) == (None,)
    paths = [file.path, Path("elsewhere", file.path.name)]  # relative names as they can be opened from here
    assert matched_inputs([file], [elsewhere, elsewhere], paths) == (0,)


# --- damage ---


@pytest.mark.parametrize("name", ["run.json", "history.parquet", "landmarks.parquet"])
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, study: list[Path], name: str) -> None:
    for file in (study[0].parent / "model").iterdir():
        (tmp_path / file.name).write_bytes(b"{}" if file.name == name else file.read_bytes())
    with pytest.raises(ModelError, match=name):
        read_record(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "history.parquet", "landmarks.parquet"])
def test_a_missing_record_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        read_record(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda run: run.update(seed="7"), "run.json: seed: found '7', expected a whole number"),
        (lambda run: run.update(inputs={}), "run.json: inputs: found {}, expected a list"),
        (lambda run: run["inputs"].append(3), r"run.json: inputs\[1\]: found 3, expected a record of a file"),
        (lambda run: run["inputs"][0].pop("events"), r"run.json: inputs\[0\]\.events: found nothing"),
        (lambda run: run["seconds"].update(umap="long"), r"run.json: seconds\.umap: found 'long', expected a number"),
        (lambda run: run["seconds"].update(umap=float("nan")), "run.json cannot be read as JSON: NaN is not a number"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(
    folder: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    run = json.loads((folder / "run.json").read_text())
    change(run)
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(ModelError, match=complaint):
        read_record(folder)


def test_landmarks_without_codes_have_no_positions(folder: Path) -> None:
    (folder / "landmarks.parquet").write_bytes((folder / "history.parquet").read_bytes())
    with pytest.raises(ModelError, match=r"landmarks\.parquet"):
        load_landmark_places(folder)


# --- tables of another model ---


@pytest.mark.parametrize("name", ["history.parquet", "landmarks.parquet"])
def test_tables_of_another_model_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    other = write_tiny_model(tmp_path / "other", coordinates=COORDINATES + 1, history=())
    assert (other / name).read_bytes() != (folder / name).read_bytes()
    (folder / name).write_bytes((other / name).read_bytes())
    for read in (read_record, load_model, *([load_landmark_places] if name == "landmarks.parquet" else [])):
        with pytest.raises(ModelError, match=rf"{name} changed after it was written, or belongs to another model"):
            read(folder)


def test_models_without_checksums_of_tables_are_read(folder: Path) -> None:
    """As version 0.1.0 wrote them."""
    run = json.loads((folder / "run.json").read_text())
    assert set(run["sha256"]) == {"model.safetensors", "model.json", "history.parquet", "landmarks.parquet"}
    del run["sha256"]["history.parquet"], run["sha256"]["landmarks.parquet"]
    (folder / "run.json").write_text(json.dumps(run))
    load_model(folder)
    read_record(folder)
    load_landmark_places(folder)
