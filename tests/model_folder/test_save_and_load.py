"""The model folder: that a model comes back exactly, and that no damaged folder is believed."""

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cytovae.cells import CellTable
from cytovae.errors import ModelError, NumericalError, OutputError
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.layout import FILES, InputRecord, RunRecord, input_record
from cytovae.model_folder.load import load_model
from cytovae.model_folder.save import check_model_target, save_model
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import ProgressRecord, build_network
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import Settings

SETTINGS = Settings(experts=4, encoder_width=8, clustering_width=8, expert_width=3, code=2, learning_rate=1e-3)
RUN = RunRecord(("cytovae", "train"), 7, "cpu", (InputRecord("a.fcs", "00", 10, 6, 6),), {"training": 1.5})


def merge_tree(kept: list[int], absorbed: list[int], n_same: int, cells: list[int]) -> MergeTree:
    """A tree of these merges; what else it says of them is made up."""
    parts: dict[str, Any] = {
        "kept": np.array(kept, np.int32),
        "absorbed": np.array(absorbed, np.int32),
        "n_same": n_same,
        "cells": np.array(cells, np.int64),
    }
    others = {field.name for field in fields(MergeTree)} - set(parts)
    parts |= {name: np.linspace(1, 0, len(kept), dtype=np.float32) for name in others}
    return MergeTree(**parts)


def saved_model(seed: int = 0) -> SavedModel:
    panel = Panel((Marker("CD3", "Er170Di", 5.0, "170Er_CD3"), Marker("CD4", "Nd145Di", 0.1), Marker("µ", "x", 150.0)))
    scaling = Scaling(np.array([0, -1, 0.1], np.float32), np.array([3, 1 / 3, 7], np.float32))
    tree = merge_tree([0, 0, 2], [3, 1, 0], 1, [3, 2, 1, 0])
    network = build_network(3, SETTINGS, seed).eval()
    model = TrainedModel(network, SETTINGS, panel.names, scaling, tree, 3)
    return SavedModel(model, panel, Transform("arcsinh", panel.cofactors))


def save(path: Path, saved: SavedModel | None = None, *, force: bool = False) -> Path:
    saved = saved or saved_model()
    cells = CellTable(
        np.zeros((6, 3), np.float32),
        saved.panel.names,
        ("a.fcs", "b.fcs"),
        np.array([0, 0, 0, 1, 1, 1], np.int32),
        np.array([0, 2, 4, 1, 3, 5], np.int64),
    )
    learning = Learning(
        saved.model,
        np.array([1, 3, 5]),
        np.array([[0.5, 1], [2, 3], [4, 5]], np.float32),
        (ProgressRecord(25, 0.5, 0.0, 0.25, 0.125, 0.75),),
        {},
    )
    save_model(path, saved, learning, cells, RUN, force=force)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "model")


def test_a_model_comes_back_exactly(folder: Path) -> None:
    before, after = saved_model(), load_model(folder)
    assert after.panel == before.panel
    assert after.transform.kind == "arcsinh"
    assert np.array_equal(after.transform.cofactors, before.transform.cofactors)
    assert (after.model.settings, after.model.markers, after.model.n_clusters) == (SETTINGS, ("CD3", "CD4", "µ"), 3)
    for side in ("low", "high"):
        assert np.array_equal(getattr(after.model.scaling, side), getattr(before.model.scaling, side))
    for part in (field.name for field in fields(MergeTree)):
        assert np.array_equal(getattr(after.model.tree, part), getattr(before.model.tree, part))
    assert after.model.tree.n_same == 1
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert np.array_equal(assign(after.model, values).probabilities, assign(before.model, values).probabilities)


def test_a_folder_holds_what_is_promised(folder: Path) -> None:
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]
    landmarks = pd.read_parquet(folder / "landmarks.parquet")
    assert landmarks["file"].tolist() == ["a.fcs", "b.fcs", "b.fcs"]
    assert landmarks["event"].tolist() == [2, 1, 5]
    assert landmarks["umap_2"].tolist() == [1, 3, 5]
    history = pd.read_parquet(folder / "history.parquet")
    assert history.iloc[0].to_dict() == {
        **{"step": 25, "reconstruction": 0.5, "kl": 0, "similarity": 0.25, "depict": 0.125, "total": 0.75}
    }
    run = json.loads((folder / "run.json").read_text())
    assert (run["seed"], run["device"], run["seconds"]) == (7, "cpu", {"training": 1.5})
    assert run["inputs"] == [{"file": "a.fcs", "sha256": "00", "bytes": 10, "events": 6, "cells": 6}]
    assert run["versions"]["torch"] == torch.__version__
    # Any safetensors reader sees the same weights.
    weights = load_file(folder / "model.safetensors")
    state = saved_model().model.network.state_dict()
    assert all(np.array_equal(weights[f"network.{name}"], tensor.numpy()) for name, tensor in state.items())


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = save(tmp_path / "again")
    for name in ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_an_input_is_recorded_with_its_checksum(tmp_path: Path) -> None:
    write_fcs(tmp_path / "a.fcs", np.ones((4, 1)), [Channel(0, "CD3", "", 10.0)])
    record = input_record(open_fcs(tmp_path / "a.fcs"), 3)
    content = (tmp_path / "a.fcs").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert (record.bytes, record.events, record.cells) == (len(content), 4, 3)


# --- what is there stays ---


def test_nothing_is_replaced_without_force(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="--force"):
        save(folder, saved_model(1))
    assert (folder / "model.safetensors").read_bytes() == before
    save(folder, saved_model(1), force=True)
    assert (folder / "model.safetensors").read_bytes() != before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]


def test_folders_of_other_things_are_never_replaced(folder: Path, tmp_path: Path) -> None:
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
    saved = saved_model()
    with torch.no_grad():
        next(saved.model.network.parameters())[0] = float("nan")
    before = (folder / "model.json").read_bytes()
    with pytest.raises(NumericalError, match="network"):
        save(folder, saved, force=True)
    assert (folder / "model.json").read_bytes() == before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, OSError])
def test_an_interruption_leaves_the_earlier_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise failure

    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("cytovae.model_folder.save._write_landmarks", fail)
    with pytest.raises(OutputError if failure is OSError else failure):
        save(folder, saved_model(1), force=True)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model"]


# --- damage ---


def weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        arrays = load_file(folder / "model.safetensors")
        change(arrays)
        save_file(arrays, folder / "model.safetensors")

    return damage


def described(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        change(content)
        (folder / "model.json").write_text(json.dumps(content))

    return damage


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def lying_header(folder: Path) -> None:
    """A header that claims 4 TB of weights, in a file of a few bytes."""
    size = 1 << 40
    header = json.dumps({"scaling.low": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def lying_length(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pickle-was-run",)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))


def torch_saved(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / "model.safetensors")


def linked_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere")


def linked_in_a_circle(folder: Path) -> None:
    (folder / "model.json").unlink()
    (folder / "model.json").symlink_to("model.json")


def piped(folder: Path) -> None:
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")  # reading it would wait for ever


def text(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def without(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()

    return damage


def put(array: str, place: int, value: float) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[array].flat[place] = value

    return change


SETTING = "settings"

DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut_short, r"model\.safetensors is damaged"),
    "lying header": (lying_header, r"model\.safetensors"),
    "lying length of header": (lying_length, r"model\.safetensors is damaged"),
    "pickle": (pickled, r"model\.safetensors is damaged"),
    "torch.save": (torch_saved, r"model\.safetensors is damaged"),
    "empty": (text("model.safetensors", b""), r"model\.safetensors is damaged"),
    "link out of the folder": (linked_out, "link out of the model folder"),
    "link to itself": (linked_in_a_circle, r"model\.json"),
    "pipe": (piped, "not a plain file"),
    "one weight": (weights(put("network.encoder.mean.weight", 0, 0.125)), "SHA-256"),
    "NaN weights": (weights(put("network.encoder.mean.weight", 0, np.nan)), "encoder.mean.weight.*not finite"),
    "infinite scaling": (weights(put("scaling.high", 1, np.inf)), "scaling.high.*not finite"),
    "low above high": (weights(put("scaling.low", 1, 99)), "low < high"),
    "merge of nothing": (weights(put("tree.kept", 0, 99)), "tree"),
    "expert absorbed twice": (weights(put("tree.absorbed", 1, 3)), "tree"),
    "negative cells": (weights(put("tree.cells", 0, -1)), "tree"),
    "missing array": (weights(lambda a: a.pop("scaling.low")), "scaling.low is missing"),
    "further array": (weights(lambda a: a.update(more=np.zeros(2))), "more is not part"),
    "another type": (weights(lambda a: a.update({"scaling.low": np.zeros(3)})), r"scaling\.low: found F64"),
    "another shape": (weights(lambda a: a.update({"scaling.low": np.zeros(4, np.float32)})), r"found F32 \(4,\)"),
    "no run.json": (without("run.json"), r"run\.json is missing"),
    "no model.json": (without("model.json"), r"model\.json is missing"),
    "no weights": (without("model.safetensors"), r"model\.safetensors is missing"),
    "JSON cut short": (text("model.json", b'{"schema_version": 1'), "cannot be read as JSON"),
    "JSON too deep": (text("model.json", b"[" * 200_000), "cannot be read as JSON"),
    "JSON of another kind": (text("model.json", b"[1]"), "no JSON object"),
    "JSON not UTF-8": (text("model.json", b"\xff\xfe"), "cannot be read as JSON"),
    "run.json without sums": (text("run.json", b"{}"), "sha256"),
    "schema of the future": (described(lambda d: d.update(schema_version=2)), "schema_version: found 2, expected 1"),
    "no schema": (described(lambda d: d.pop("schema_version")), "schema_version: found nothing"),
    "schema true": (described(lambda d: d.update(schema_version=True)), "schema_version: found True"),
    "unknown transform": (described(lambda d: d.update(transform="hyperlog")), "transform"),
    "no markers": (described(lambda d: d.update(markers=[])), "markers"),
    "a marker less": (described(lambda d: d["markers"].pop()), "found F32"),
    "marker twice": (described(lambda d: d["markers"][1].update(name="CD3")), "markers.*twice"),
    "cofactor 0": (described(lambda d: d["markers"][1].update(cofactor=0)), "cofactor: found 0"),
    "cofactor as text": (described(lambda d: d["markers"][1].update(cofactor="5")), "cofactor: found '5'"),
    "cofactor without end": (described(lambda d: d["markers"][1].update(cofactor=10**400)), "cofactor"),
    "too many clusters": (described(lambda d: d.update(n_clusters=4)), "n_clusters: found 4"),
    "no clusters": (described(lambda d: d.update(n_clusters=0)), "n_clusters: found 0"),
    "n_same": (described(lambda d: d.update(n_same=9)), "n_same: found 9"),
    "other number of experts": (described(lambda d: d[SETTING].update(experts=5)), r"found .*expected"),
    "experts as text": (described(lambda d: d[SETTING].update(experts="many")), "experts: found 'many'"),
    "huge network": (described(lambda d: d[SETTING].update(experts=10**12, expert_width=10**12)), "settings|found"),
    "very deep network": (described(lambda d: d[SETTING].update(encoder_depth=10**9)), "encoder_depth"),
    "unknown activation": (described(lambda d: d[SETTING].update(activation="sin")), "activation: found 'sin'"),
    "unhashable choice": (described(lambda d: d[SETTING].update(activation=[])), "activation: found"),
    "unknown setting": (described(lambda d: d[SETTING].update(magic=1)), "unknown settings magic"),
    "setting out of range": (described(lambda d: d[SETTING].update(dropout=2)), "dropout"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(folder: Path, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    harm, expected = DAMAGES[damage]
    harm(folder)
    with pytest.raises(ModelError, match=expected):
        load_model(folder)
    assert not (tmp_path / "pickle-was-run").exists()


def test_a_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert load_model(tmp_path / "link").model.n_clusters == 3


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="not a folder"):
        load_model(tmp_path / "file")


def test_a_setting_that_did_not_exist_then_takes_its_default(folder: Path, tmp_path: Path) -> None:
    # `kl_weight` has its default in SETTINGS, so the model stays the same; the checksum is that of the older file.
    described(lambda d: d[SETTING].pop("kl_weight"))(folder)
    run = json.loads((folder / "run.json").read_text())
    run["sha256"]["model.json"] = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(run))
    assert load_model(folder).model.settings == SETTINGS
