"""Loading a model: it comes back exactly, and every kind of damage is found."""

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
import pytest
import torch
from helpers.tiny_model import SETTINGS, tiny_model, write_tiny_model
from safetensors.numpy import load_file, save_file

from cytovae.errors import ModelError
from cytovae.inference.assigner import assign
from cytovae.model_folder.load import load_model
from cytovae.populations.merge_tree import MergeTree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


def test_a_model_comes_back_exactly(folder: Path) -> None:
    before, after = tiny_model(), load_model(folder)
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


# --- damage ---


def weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        arrays = load_file(folder / "model.safetensors")
        change(arrays)
        save_file(arrays, folder / "model.safetensors")

    return damage


def description(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        change(content)
        (folder / "model.json").write_text(json.dumps(content))

    return damage


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def oversized_header(folder: Path) -> None:
    """A header that declares 4 TB of weights, in a file of a few bytes."""
    size = 1 << 40
    header = json.dumps({"scaling.low": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def oversized_length(folder: Path) -> None:
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


def linked_to_itself(folder: Path) -> None:
    (folder / "model.json").unlink()
    (folder / "model.json").symlink_to("model.json")


def piped(folder: Path) -> None:
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")  # reading it would block


def text(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def without(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()

    return damage


def put(array: str, index: int, value: float) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[array].flat[index] = value

    return change


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut_short, r"model\.safetensors is damaged"),
    "header of a larger file": (oversized_header, r"model\.safetensors"),
    "header longer than the file": (oversized_length, r"model\.safetensors is damaged"),
    "pickle": (pickled, r"model\.safetensors is damaged"),
    "torch.save": (torch_saved, r"model\.safetensors is damaged"),
    "empty": (text("model.safetensors", b""), r"model\.safetensors is damaged"),
    "link out of the folder": (linked_out, "link out of the model folder"),
    "link to itself": (linked_to_itself, r"model\.json"),
    "pipe": (piped, "not a plain file"),
    "one weight": (weights(put("network.encoder.mean.weight", 0, 0.125)), "SHA-256"),
    "NaN weights": (weights(put("network.encoder.mean.weight", 0, np.nan)), "encoder.mean.weight.*not finite"),
    "infinite scaling": (weights(put("scaling.high", 1, np.inf)), "scaling.high.*not finite"),
    "low above high": (weights(put("scaling.low", 1, 99)), "low < high"),
    "merge of an unknown expert": (weights(put("tree.kept", 0, 99)), "tree"),
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
    "schema of the future": (description(lambda d: d.update(schema_version=2)), "schema_version: found 2, expected 1"),
    "no schema": (description(lambda d: d.pop("schema_version")), "schema_version: found nothing"),
    "schema true": (description(lambda d: d.update(schema_version=True)), "schema_version: found True"),
    "unknown transform": (description(lambda d: d.update(transform="hyperlog")), "transform"),
    "no markers": (description(lambda d: d.update(markers=[])), "markers"),
    "a marker less": (description(lambda d: d["markers"].pop()), "found F32"),
    "marker twice": (description(lambda d: d["markers"][1].update(name="CD3")), "markers.*twice"),
    "cofactor 0": (description(lambda d: d["markers"][1].update(cofactor=0)), "cofactor: found 0"),
    "cofactor as text": (description(lambda d: d["markers"][1].update(cofactor="5")), "cofactor: found '5'"),
    "cofactor without end": (description(lambda d: d["markers"][1].update(cofactor=10**400)), "cofactor"),
    "too many clusters": (description(lambda d: d.update(n_clusters=4)), "n_clusters: found 4"),
    "no clusters": (description(lambda d: d.update(n_clusters=0)), "n_clusters: found 0"),
    "n_same": (description(lambda d: d.update(n_same=9)), "n_same: found 9"),
    "other number of experts": (description(lambda d: d["settings"].update(experts=5)), r"found .*expected"),
    "experts as text": (description(lambda d: d["settings"].update(experts="many")), "experts: found 'many'"),
    "huge network": (
        description(lambda d: d["settings"].update(experts=10**12, expert_width=10**12)),
        "settings|found",
    ),
    "very deep network": (description(lambda d: d["settings"].update(encoder_depth=10**9)), "encoder_depth"),
    "unknown activation": (description(lambda d: d["settings"].update(activation="sin")), "activation: found 'sin'"),
    "choice that is a list": (description(lambda d: d["settings"].update(activation=[])), "activation: found"),
    "unknown setting": (description(lambda d: d["settings"].update(magic=1)), "unknown settings magic"),
    "setting out of range": (description(lambda d: d["settings"].update(dropout=2)), "dropout"),
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


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="not a folder"):
        load_model(tmp_path / "file")


def test_a_setting_newer_than_the_model_takes_its_default(folder: Path, tmp_path: Path) -> None:
    # `kl_weight` has its default in SETTINGS, so the model stays the same; the checksum is that of the older file.
    description(lambda d: d["settings"].pop("kl_weight"))(folder)
    run = json.loads((folder / "run.json").read_text())
    run["sha256"]["model.json"] = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(run))
    assert load_model(folder).model.settings == SETTINGS
