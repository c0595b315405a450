"""A model folder to a trained model. Everything is checked before it is used, and nothing is unpickled."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from cytovae.errors import ModelError, UsageError
from cytovae.events.compensation import Compensation
from cytovae.events.panel import Marker, Panel
from cytovae.events.spillover import Spillover
from cytovae.events.transform import Logicle, Transform
from cytovae.inference.cell_distribution import CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.inference.refined import refined
from cytovae.inference.trained_model import SavedModel, TrainedModel
from cytovae.model_folder.json_fields import JsonFields, check_sum, read_json
from cytovae.model_folder.layout import (
    CHECKSUMMED,
    DESCRIPTION,
    HISTORY,
    LANDMARKS,
    PARTS,
    REFINED_SCHEMA_VERSION,
    RUN,
    SCHEMA_VERSION,
    SUPPORT_ARRAYS,
    TRAIN_AGAIN,
    TREE_ARRAYS,
    WEIGHTS,
    ArrayType,
    distribution_arrays,
    member_path,
    must_be_finite,
    novelty_arrays,
    part_folder,
    required_arrays,
    support_arrays,
)
from cytovae.model_folder.naming_fields import has_strangers, read_naming
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import build_network
from cytovae.plain_file import folder_exists, is_plain
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import SettingError, Settings, settings_from_dict

MOST_LAYERS = 64

Arrays = Mapping[str, NDArray[Any]]


def load_model(path: Path) -> SavedModel:
    """Read a trained model from its folder.

    Parameters
    ----------
    path
        A folder written by :func:`cytovae.model_folder.save.save_model` or ``cytovae train -o``.

    Returns
    -------
    SavedModel
        The model on the CPU in evaluation mode, with the panel, transform and compensation of its files.

    Raises
    ------
    ModelError
        If the folder is missing or incomplete, of another schema version, or damaged. The message names the file and
        the field.
    """
    if not folder_exists(path):
        found = "is not a folder" if is_plain(path) else "does not exist"
        raise ModelError(f"{path} {found}; expected a model folder, as `cytovae train -o` writes it")
    if not (path / RUN).exists():
        raise ModelError(f"{path} holds no complete model: {RUN} is missing. {TRAIN_AGAIN}.")
    description = _read_description(path)
    panel = _read_panel(description)
    settings = _read_settings(description)
    compensation = _read_compensation(description)
    kind = description.text("transform")
    naming = read_naming(description, panel.names, settings.experts)
    network = _empty_network(len(panel), settings, description, strangers=has_strangers(naming))
    arrays = _read_arrays(member_path(path, WEIGHTS), network, len(panel), settings.experts)
    try:
        transform = Transform(kind, panel.cofactors, _read_logicle(description))  # type: ignore[arg-type]
        scaling = Scaling(arrays["scaling.low"], arrays["scaling.high"])
    except UsageError as error:
        raise ModelError(f"{path}: {error}. {TRAIN_AGAIN}.") from error
    tree = _read_tree(arrays, description, path / WEIGHTS)
    n_clusters = _read_n_clusters(description, tree)
    _check_sums(path)
    _fill(network, arrays)
    novelty, distribution = _optional_parts(arrays)
    model = TrainedModel(network, settings, panel.names, scaling, tree, n_clusters, novelty, distribution, naming)
    model = _with_parts(model, path, description)
    return SavedModel(model, panel, transform, compensation)


# --- model.json ---


def _read_description(folder: Path) -> JsonFields:
    description = read_json(member_path(folder, DESCRIPTION))
    version = description.integer("schema_version")
    if version != (REFINED_SCHEMA_VERSION if PARTS in description else SCHEMA_VERSION):
        hint = "Use the version of cytovae that wrote the model, or train it again"
        raise description.error("schema_version", f"{version}", f"{SCHEMA_VERSION}", hint)
    return description


def _read_panel(description: JsonFields) -> Panel:
    markers = []
    for entry in description.entries("markers", "a list of markers", "a marker"):
        name, channel, label = entry.text("name"), entry.text("channel"), entry.text("label")
        cofactor = entry.number("cofactor")
        try:
            markers.append(Marker(name, channel, cofactor, label))
        except UsageError as error:
            raise entry.error("cofactor", f"{cofactor}", "a positive number") from error
    try:
        return Panel(tuple(markers))
    except UsageError as error:
        raise description.error("markers", str(error), "different markers, at least one") from error


def _read_logicle(description: JsonFields) -> Logicle:
    if "logicle" not in description:
        return Logicle()
    parameters = description.nested("logicle", "the parameters T, W, M and A")
    try:
        return Logicle(**{name: parameters.number(name) for name in ("t", "w", "m", "a")})
    except UsageError as error:
        raise description.error("logicle", str(error), "valid parameters T, W, M and A") from error


def _read_compensation(description: JsonFields) -> Compensation:
    if "compensation" not in description:
        return Compensation()
    content = description.nested("compensation", "how the files were compensated")
    spillover = None
    try:
        if "matrix" in content:
            rows = content.of_type("matrix", list, "a matrix")
            channels = content.of_type("channels", list, "a list of channel names")
            spillover = Spillover(tuple(map(str, channels)), np.array(rows, dtype=np.float64))
        return Compensation(content.text("source"), spillover)  # type: ignore[arg-type]
    except (UsageError, ValueError, TypeError) as error:
        raise description.error("compensation", str(error), "none, file, or an invertible matrix") from error


def _read_settings(description: JsonFields) -> Settings:
    settings = description.nested("settings", "the settings of the training")
    try:
        return settings_from_dict(settings.content)  # a setting newer than the model has its default
    except SettingError as error:
        raise settings.error(error.name, repr(error.found), error.expected) from error
    except UsageError as error:
        raise ModelError(f"{description.path}: settings: {error}. {TRAIN_AGAIN}.") from error


def _read_n_clusters(description: JsonFields, tree: MergeTree) -> int:
    n_clusters = description.integer("n_clusters")
    fewest = max(1, tree.n_experts - len(tree.kept))
    if not fewest <= n_clusters <= tree.n_most:
        expected = f"a number that the tree can be cut into ({fewest} … {tree.n_most})"
        raise description.error("n_clusters", f"{n_clusters}", expected)
    return n_clusters


# --- model.safetensors ---


def _empty_network(markers: int, settings: Settings, description: JsonFields, *, strangers: bool) -> MoeSimVae:
    """The network without memory for its weights: sizes from a file are trusted only if its arrays match them."""
    for name in ("encoder_depth", "clustering_depth"):
        if not 0 <= (depth := getattr(settings, name)) <= MOST_LAYERS:
            raise description.error(f"settings.{name}", f"{depth}", f"0 … {MOST_LAYERS}")
    try:
        with torch.device("meta"):
            return build_network(markers, settings, seed=0, strangers=strangers)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{description.path}: settings: {error} Expected the sizes of a network. {TRAIN_AGAIN}."
        ) from error


def _read_arrays(path: Path, network: MoeSimVae, markers: int, experts: int) -> dict[str, NDArray[Any]]:
    """Every array by name, of the type and shape that the rest of the model requires.

    safetensors checks its header against the size of the file before it allocates an array.
    """
    dtypes = {torch.float32: "F32", torch.int64: "I64"}
    expected = {
        f"network.{name}": ArrayType(dtypes[tensor.dtype], tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }
    expected |= required_arrays(markers, experts)
    code = network.encoder.mean.out_features
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with safe_open(path, framework="numpy") as stored:
            names = set(stored.keys())
            for optional in (
                support_arrays(experts),
                novelty_arrays(markers, experts),
                distribution_arrays(markers, experts, code),
            ):
                if names & set(optional):
                    expected |= optional
            if names != set(expected):
                first = min(names ^ set(expected))
                problem = "is missing" if first in expected else "is not part of this network"
                raise ModelError(f"{path}: {first} {problem}. {TRAIN_AGAIN}.")
            for name, allowed in expected.items():
                header = stored.get_slice(name)
                found = ArrayType(header.get_dtype(), tuple(header.get_shape()))
                if not allowed.matches(found):
                    raise ModelError(f"{path}: {name}: found {found}, expected {allowed}. {TRAIN_AGAIN}.")
                arrays[name] = stored.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}. {TRAIN_AGAIN}.") from error
    for name, array in arrays.items():
        if must_be_finite(name) and not np.isfinite(array).all():
            raise ModelError(f"{path}: {name}: found values that are not finite. {TRAIN_AGAIN}.")
    return arrays


def _read_tree(arrays: Arrays, description: JsonFields, path: Path) -> MergeTree:
    """The merge tree; each expert may be absorbed once and takes no part in merges after that."""
    kept, absorbed, cells = arrays["tree.kept"], arrays["tree.absorbed"], arrays["tree.cells"]
    n_same = description.integer("n_same")
    if len(kept) != len(absorbed) or len(kept) >= len(cells):
        found = f"{len(kept)} kept and {len(absorbed)} absorbed experts in the merges of {len(cells)} experts"
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
        raise ModelError(f"{path}: tree: found impossible merges or cell counts. {TRAIN_AGAIN}.")
    if "tree.support" in arrays and len(arrays["tree.support"]) != len(kept):
        found = f"support of {len(arrays['tree.support'])} merges"
        raise ModelError(f"{path}: tree.support: found {found}, expected {len(kept)}. {TRAIN_AGAIN}.")
    stored = {**TREE_ARRAYS, **SUPPORT_ARRAYS}
    parts: dict[str, Any] = {field: arrays[name] for name, field in stored.items() if name in arrays}
    return MergeTree(n_same=n_same, **parts)


def _fill(network: MoeSimVae, arrays: Arrays) -> None:
    """Give the network its weights, and freeze it."""
    weights = {
        name.removeprefix("network."): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False).eval()


def _optional_parts(arrays: Arrays) -> tuple[NoveltyScale | None, CellDistribution | None]:
    """The scale of novelty and the distribution of cells, each None in a model saved without it."""
    novelty = {field.name: arrays.get(f"novelty.{field.name}") for field in fields(NoveltyScale)}
    distribution = {field.name: arrays.get(f"distribution.{field.name}") for field in fields(CellDistribution)}
    return (
        NoveltyScale(**novelty) if novelty["error"] is not None else None,  # type: ignore[arg-type]
        CellDistribution(**distribution) if distribution["drawn"] is not None else None,  # type: ignore[arg-type]
    )


def _with_parts(model: TrainedModel, folder: Path, description: JsonFields) -> TrainedModel:
    """The model with the parts that were learned inside its clusters, if it is a refined one."""
    if PARTS not in description:
        return model
    sums = read_json(member_path(folder, RUN)).nested("sha256", "checksums of the model's files")
    parts = description.entries(PARTS, "a list of parts", "a part")
    for number, part in enumerate(parts, start=1):
        retired = part.of_type("retired", list, "numbers of clusters")
        if not retired or not all(type(cluster) is int for cluster in retired):
            raise part.error("retired", repr(retired), "numbers of clusters")
        run = f"{part_folder(number)}/{RUN}"
        member_path(folder, run)
        check_sum(folder, run, sums)
        inner = load_model(folder / part_folder(number)).model
        try:
            if inner.parts:
                raise UsageError("a part has parts itself")
            model = refined(model, tuple(retired), inner)
        except UsageError as error:
            raise part.error("retired", str(error), "a part that fits the model") from error
    return model


def _check_sums(folder: Path) -> None:
    """Raise :class:`ModelError` if a file changed after it was written. Tables that do not exist are not checked."""
    sums = read_json(member_path(folder, RUN)).nested("sha256", "checksums of the model's files")
    for name in CHECKSUMMED:
        if name in (HISTORY, LANDMARKS) and not (folder / name).exists():
            continue
        if name in (HISTORY, LANDMARKS) and name not in sums:  # written by version 0.1.0
            continue
        check_sum(folder, name, sums)
