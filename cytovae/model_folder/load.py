"""The model folder ↔ a trained model in memory: safetensors and JSON, versioned, never pickle.

``model.safetensors`` holds every array, ``model.json`` everything else that assigning needs, ``history.parquet`` the
losses during training, ``landmarks.parquet`` the cells learned from, and ``run.json`` how the model came about. The
last is written last: without it a folder is not complete. It also holds checksums of the first two, so that a changed
bit is noticed. A folder appears whole or not at all; what is read from one is checked before it is believed.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from cytovae.errors import ModelError, UsageError
from cytovae.events.compensation import Compensation, Spillover
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Logicle, Transform
from cytovae.inference.cell_distribution import LEVELS, CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.inference.trained_model import SavedModel, TrainedModel
from cytovae.model_folder.json_fields import JsonFields, member, read_json
from cytovae.model_folder.layout import (
    DESCRIPTION,
    RUN,
    SCHEMA_VERSION,
    TRAIN_AGAIN,
    TREE_ARRAYS,
    WEIGHTS,
    must_be_finite,
    sha256_of,
)
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import build_network
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import Settings, settings_from_dict

MOST_LAYERS = 64


# --- reading ----------------------------------------------------------------------------------------------------------


def load_model(path: Path) -> SavedModel:
    """The model of a folder. Raises :class:`ModelError` naming the file and what is wrong with it."""
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "does not exist"
        raise ModelError(f"{path} {found}; expected a model folder, as `cytovae train -o` writes it")
    if not (path / RUN).exists():
        raise ModelError(f"{path} holds no complete model: {RUN} is missing. {TRAIN_AGAIN}.")
    content = read_json(member(path, DESCRIPTION))
    description = JsonFields(member(path, DESCRIPTION), content)
    version = description.whole("schema_version")
    if version != SCHEMA_VERSION:
        raise description.error(
            "schema_version",
            f"{version}",
            f"{SCHEMA_VERSION}",
            "Use the version of cytovae that wrote it, or train again",
        )
    panel = _read_panel(description)
    settings = _read_settings(description)
    compensation = _read_compensation(description)
    kind = description.text("transform")
    network = _empty_network(len(panel), settings, description)
    arrays = _read_arrays(member(path, WEIGHTS), network, len(panel), settings.experts)
    try:
        transform = Transform(kind, panel.cofactors, _read_logicle(description))  # type: ignore[arg-type]
        scaling = Scaling(arrays["scaling.low"], arrays["scaling.high"])
    except UsageError as error:
        raise ModelError(f"{path}: {error}. {TRAIN_AGAIN}.") from error
    tree = _read_tree(arrays, description, member(path, WEIGHTS))
    n_clusters = description.whole("n_clusters")
    if not max(1, tree.n_experts - len(tree.kept)) <= n_clusters <= tree.n_most:
        raise description.error(
            "n_clusters", f"{n_clusters}", f"a number that the tree can be cut into (1 … {tree.n_most})"
        )
    weights = {
        name.removeprefix("network."): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False).eval()
    _check_sums(path)
    return SavedModel(
        TrainedModel(network, settings, panel.names, scaling, tree, n_clusters, *_read_optional(arrays)),
        panel,
        transform,
        compensation,
    )


def _read_optional(arrays: Mapping[str, NDArray[Any]]) -> tuple[NoveltyScale | None, CellDistribution | None]:
    """The scale of novelty and what cells are generated from, None in a model that was written without."""
    novelty = {field.name: arrays.get(f"novelty.{field.name}") for field in fields(NoveltyScale)}
    distribution = {field.name: arrays.get(f"distribution.{field.name}") for field in fields(CellDistribution)}
    return (
        NoveltyScale(**novelty) if novelty["error"] is not None else None,  # type: ignore[arg-type]
        CellDistribution(**distribution) if distribution["drawn"] is not None else None,  # type: ignore[arg-type]
    )


def key_of(path: Path) -> str | None:
    """The key of the training that made the complete model at ``path``, None where there is none or it is damaged."""
    try:
        load_model(path)
        return str(read_json(member(path, RUN)).get("key", ""))
    except ModelError:
        return None


def _read_panel(description: JsonFields) -> Panel:
    markers = []
    for position, entry in enumerate(description.of_type("markers", list, "a list of markers")):
        if not isinstance(entry, dict):
            raise description.error(f"markers[{position}]", repr(entry), "a marker")
        marker = JsonFields(description.path, entry, f"markers[{position}].")
        names = (marker.text("name"), marker.text("channel"), marker.number("cofactor"), marker.text("label"))
        try:
            markers.append(Marker(*names))
        except UsageError as error:
            raise marker.error("cofactor", str(names[2]), "a positive number") from error
    try:
        return Panel(tuple(markers))
    except UsageError as error:
        raise description.error("markers", str(error), "different markers, at least one") from error


def _read_logicle(description: JsonFields) -> Logicle:
    if "logicle" not in description.content:
        return Logicle()
    found = JsonFields(description.path, description.of_type("logicle", dict, "T, W, M and A"), "logicle.")
    try:
        return Logicle(**{name: found.number(name) for name in ("t", "w", "m", "a")})
    except UsageError as error:
        raise description.error("logicle", str(error), "parameters of the scale") from error


def _read_compensation(description: JsonFields) -> Compensation:
    if "compensation" not in description.content:
        return Compensation()
    content = description.of_type("compensation", dict, "what was done to the files")
    found = JsonFields(description.path, content, "compensation.")
    spillover = None
    try:
        if "matrix" in content:
            rows = found.of_type("matrix", list, "a matrix")
            channels = found.of_type("channels", list, "names of channels")
            spillover = Spillover(tuple(map(str, channels)), np.array(rows, dtype=np.float64))
        return Compensation(found.text("source"), spillover)  # type: ignore[arg-type]
    except (UsageError, ValueError, TypeError) as error:
        raise description.error("compensation", str(error), "none, file, or a matrix that can be inverted") from error


def _read_settings(description: JsonFields) -> Settings:
    content = description.of_type("settings", dict, "the settings of the run")
    settings = JsonFields(description.path, content, "settings.")
    hints = get_type_hints(Settings)
    for field in fields(Settings):
        if field.name not in content:
            continue  # a choice that did not exist then, when what is its default now was done
        kind = hints[field.name]
        if get_origin(kind) is Literal:
            if content[field.name] not in get_args(kind):
                raise settings.error(field.name, repr(content[field.name]), f"one of {', '.join(get_args(kind))}")
        elif kind is float:
            settings.number(field.name)
        else:
            settings.of_type(field.name, kind, f"a value of type {kind.__name__}")
    try:
        return settings_from_dict(content)
    except UsageError as error:
        raise ModelError(f"{description.path}: settings: {error}. {TRAIN_AGAIN}.") from error


def _empty_network(markers: int, settings: Settings, description: JsonFields) -> MoeSimVae:
    """The network of ``settings`` without memory for its weights: sizes in a file are believed only once they fit."""
    for name in ("encoder_depth", "clustering_depth"):
        if not 0 <= (depth := getattr(settings, name)) <= MOST_LAYERS:
            raise description.error(f"settings.{name}", f"{depth}", f"0 … {MOST_LAYERS}")
    try:
        with torch.device("meta"):
            return build_network(markers, settings, seed=0)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{description.path}: settings: {error} Expected sizes of a network. {TRAIN_AGAIN}."
        ) from error


def _read_arrays(path: Path, network: MoeSimVae, markers: int, experts: int) -> dict[str, NDArray[Any]]:
    """Every array, each of the type and shape that the rest of the model asks for.

    safetensors checks its header against the size of the file before an array is made.
    """
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        f"network.{name}": (kinds[tensor.dtype], tuple(tensor.shape)) for name, tensor in network.state_dict().items()
    }
    expected |= {"scaling.low": ("F32", (markers,)), "scaling.high": ("F32", (markers,))}
    expected |= {f"tree.{name}": (kind, (None,)) for name, kind in TREE_ARRAYS.items()}  # None: any length
    expected["tree.cells"] = ("I64", (experts,))
    novelty: dict[str, tuple[str, tuple[int | None, ...]]] = {
        **{f"novelty.{name}": ("F32", (experts, markers)) for name in ("center", "spread")},
        **{f"novelty.{name}": ("F32", (experts,)) for name in ("distance", "error")},
    }
    code, quantiles = network.encoder.mean.out_features, len(LEVELS)
    distribution: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "distribution.code_mean": ("F32", (experts, code)),
        "distribution.code_root": ("F32", (experts, code, code)),
        "distribution.noise_root": ("F32", (experts, markers, markers)),
        **{f"distribution.{name}": ("F32", (experts, quantiles, markers)) for name in ("drawn", "observed")},
    }
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with safe_open(path, framework="numpy") as stored:
            names = set(stored.keys())
            for optional in (novelty, distribution):
                if names & set(optional):
                    expected |= optional
            if names != set(expected):
                first = min(names ^ set(expected))
                what = "is missing" if first in expected else "is not part of this network"
                raise ModelError(f"{path}: {first} {what}. {TRAIN_AGAIN}.")
            for name, (kind, shape) in expected.items():
                part = stored.get_slice(name)
                found = tuple(part.get_shape())
                fits = len(found) == len(shape) and all(a == b or b is None for a, b in zip(found, shape, strict=True))
                if part.get_dtype() != kind or not fits:
                    spelled = f"{part.get_dtype()} {found}"
                    raise ModelError(f"{path}: {name}: found {spelled}, expected {kind} {shape}. {TRAIN_AGAIN}.")
                arrays[name] = stored.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}. {TRAIN_AGAIN}.") from error
    for name, array in arrays.items():
        if must_be_finite(name) and not np.isfinite(array).all():
            raise ModelError(f"{path}: {name}: found values that are not finite. {TRAIN_AGAIN}.")
    return arrays


def _read_tree(arrays: Mapping[str, NDArray[Any]], description: JsonFields, path: Path) -> MergeTree:
    """The merge tree, checked: each expert is absorbed at most once, and nothing is merged into what is gone."""
    kept, absorbed, cells = (arrays[f"tree.{name}"] for name in ("kept", "absorbed", "cells"))
    n_same = description.whole("n_same")
    if len(kept) != len(absorbed) or len(kept) >= len(cells):
        found = f"{len(kept)} and {len(absorbed)} sides of merges of {len(cells)} experts"
        raise ModelError(f"{path}: tree: found {found}. {TRAIN_AGAIN}.")
    if not 0 <= n_same <= len(kept):
        raise description.error("n_same", f"{n_same}", f"0 … {len(kept)}, the number of merges")
    gone = np.zeros(len(cells), dtype=bool)
    sound = bool((cells >= 0).all() and cells.any())
    for a, b in zip(kept.tolist(), absorbed.tolist(), strict=True):
        sound = sound and 0 <= a < len(cells) and 0 <= b < len(cells) and a != b and not (gone[a] or gone[b])
        if not sound:
            break
        gone[b] = True
    if not sound:
        raise ModelError(f"{path}: tree: found merges or counts that cannot be. {TRAIN_AGAIN}.")
    parts: dict[str, Any] = {name: arrays[f"tree.{name}"] for name in TREE_ARRAYS}
    return MergeTree(n_same=n_same, **parts)


def _check_sums(folder: Path) -> None:
    """Raise :class:`ModelError` where a file is not the one that was written."""
    path = member(folder, RUN)
    sums = JsonFields(path, JsonFields(path, read_json(path)).of_type("sha256", dict, "checksums of the model's files"))
    for name in (WEIGHTS, DESCRIPTION):
        if sums.text(name) != sha256_of(folder / name):
            raise ModelError(
                f"{folder / name} is not as it was written (its SHA-256 is not that in {RUN}). {TRAIN_AGAIN}."
            )
