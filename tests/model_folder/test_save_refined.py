"""Refined models on disk: a round trip, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_model import CLUSTERS, CODES, COORDINATES, LANDMARKS, RUN, tiny_model, write_tiny_model

from cytovae.cells import CellTable
from cytovae.errors import ModelError, OutputError, UsageError
from cytovae.inference.assigner import assign
from cytovae.inference.refined import refined
from cytovae.inference.trained_model import Learning
from cytovae.model_folder.layout import DESCRIPTION, WEIGHTS
from cytovae.model_folder.layout import RUN as RUN_FILE
from cytovae.model_folder.load import load_model
from cytovae.model_folder.record import read_record
from cytovae.model_folder.save import check_model_target, recut_model
from cytovae.model_folder.save_refined import LearnedPart, save_refined

VALUES = np.random.default_rng(0).uniform(-1, 7, (50, 3)).astype(np.float32)


def part(retired: tuple[int, ...], seed: int) -> LearnedPart:
    saved = tiny_model(seed)
    cells = CellTable(np.zeros((6, 3), np.float32), saved.panel.names, ("a",), np.zeros(6, np.int32), np.arange(6))
    return LearnedPart(
        retired, saved, Learning(saved.model, LANDMARKS, COORDINATES, CODES, CLUSTERS, (), {}), cells, RUN
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


def test_a_model_refined_twice_is_read_as_it_was_written(source: Path, tmp_path: Path) -> None:
    save_refined(tmp_path / "once", source, [part((2,), 1)])
    save_refined(tmp_path / "twice", tmp_path / "once", [part((4,), 2)])
    expected = refined(refined(tiny_model().model, (2,), tiny_model(1).model), (4,), tiny_model(2).model)
    found = load_model(tmp_path / "twice").model
    assert found.retired_clusters == (2, 4)
    assert (assign(found, VALUES).probabilities == assign(expected, VALUES).probabilities).all()
    assert (tmp_path / "twice" / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    assert read_record(tmp_path / "twice").inputs == read_record(source).inputs
    assert not list(tmp_path.glob(".*"))


def test_without_parts_the_model_is_equal(source: Path, tmp_path: Path) -> None:
    save_refined(tmp_path / "same", source, [])
    for file in source.iterdir():
        if file.name != RUN_FILE:
            assert (tmp_path / "same" / file.name).read_bytes() == file.read_bytes()
    assert not load_model(tmp_path / "same").model.parts


def test_versions_without_parts_refuse_it(source: Path, tmp_path: Path) -> None:
    save_refined(tmp_path / "once", source, [part((2,), 1)])
    assert json.loads((tmp_path / "once" / DESCRIPTION).read_text())["schema_version"] == 2
    assert json.loads((source / DESCRIPTION).read_text())["schema_version"] == 1


@pytest.mark.parametrize("damage", ["weights of the part", "run of the part", "no part"])
def test_a_damaged_part_is_refused(source: Path, tmp_path: Path, damage: str) -> None:
    save_refined(tmp_path / "once", source, [part((2,), 1)])
    inner = tmp_path / "once" / "part_1"
    if damage == "weights of the part":
        (inner / WEIGHTS).write_bytes((source / WEIGHTS).read_bytes())
    elif damage == "run of the part":
        (inner / RUN_FILE).write_bytes((inner / RUN_FILE).read_bytes() + b"\n")
    else:
        inner.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="part_1"):
        load_model(tmp_path / "once")


def test_only_models_are_replaced(source: Path, tmp_path: Path) -> None:
    save_refined(tmp_path / "once", source, [part((2,), 1)])
    with pytest.raises(OutputError, match="exists"):
        save_refined(tmp_path / "once", source, [])
    check_model_target(tmp_path / "once", force=True)
    with pytest.raises(UsageError, match="refined model"):
        recut_model(tmp_path / "once", 2, argv=())
    save_refined(tmp_path / "once", source, [], force=True)
    assert not (tmp_path / "once" / "part_1").exists()
