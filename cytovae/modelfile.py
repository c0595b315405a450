"""The model folder ↔ a trained model in memory: safetensors and JSON, versioned, never pickle.

``model.safetensors`` holds every array, ``model.json`` everything else that assigning needs, ``history.parquet`` the
losses during training, ``landmarks.parquet`` the cells learned from, and ``run.json`` how the model came about. The
last is written last: without it a folder is not complete. It also holds checksums of the first two, so that a changed
bit is noticed. A folder appears whole or not at all; what is read from one is checked before it is believed.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cytovae import __version__
from cytovae.assignment import Assigner
from cytovae.atomic import flush_to_disk, hidden_name, readable
from cytovae.cells import CellTable
from cytovae.compensation import NO_COMPENSATION, Compensation, Spillover
from cytovae.errors import InputError, ModelError, NumericalError, OutputError, UsageError
from cytovae.event_files import EventFile
from cytovae.generation import LEVELS
from cytovae.interpolation import LandmarkPlaces
from cytovae.latent import latent_codes
from cytovae.model import MoeSimVae
from cytovae.novelty import NoveltyScale
from cytovae.panel import Marker, Panel
from cytovae.rows import check_assignment
from cytovae.settings import Settings, settings_from_dict, settings_to_dict
from cytovae.trained import CellDistribution, TrainedModel
from cytovae.training import build_network
from cytovae.transform import Logicle, Scaling, Transform
from cytovae.tree import MergeTree

if TYPE_CHECKING:
    from cytovae.learning import Learning

SCHEMA_VERSION = 1
WEIGHTS, DESCRIPTION, RUN, HISTORY, LANDMARKS = (
    *("model.safetensors", "model.json", "run.json"),
    *("history.parquet", "landmarks.parquet"),
)
FILES = (WEIGHTS, DESCRIPTION, HISTORY, LANDMARKS, RUN)  # in the order in which they are written
LARGEST_JSON = 16 << 20
MOST_LAYERS = 64
CELLS_CHECKED = 1000  # whose probabilities must sum to 1 before a model is written
_AGAIN = "Train the model again, or take an unchanged copy of its folder"


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a model folder holds for assigning: the model, the panel to look for in files, and how their raw values
    become what the model sees: compensation first, then the transform.
    """

    model: TrainedModel
    panel: Panel
    transform: Transform
    compensation: Compensation = NO_COMPENSATION

    def __post_init__(self) -> None:
        if self.panel.names != self.model.markers or len(self.transform.cofactors) != len(self.panel):
            raise UsageError("panel, transform and model are not of the same markers")


@dataclass(frozen=True)
class InputRecord:
    """One file learned from: its path as given, SHA-256, size in bytes, number of events and of cells in the pool."""

    file: str
    sha256: str
    bytes: int
    events: int
    cells: int


@dataclass(frozen=True)
class RunRecord:
    """How a model came about: the command, seed, device, inputs and the seconds of each stage."""

    argv: tuple[str, ...]
    seed: int
    device: str
    inputs: tuple[InputRecord, ...]
    seconds: Mapping[str, float]
    key: str = ""  # the digest of what decided the result, see :class:`cytovae.checkpoint.TrainingKey`


def input_record(file: EventFile, cells: int) -> InputRecord:
    """The record of ``file``, of which ``cells`` cells were read for training."""
    try:
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(file.path, "file", error.strerror or str(error), "a readable FCS file") from error
    return InputRecord(readable(file.path), digest, size, file.n_events, cells)


def use_threads(n_threads: int, *, with_umap: bool = False) -> None:
    """How many threads torch uses for one operation from now on, and with ``with_umap`` numba, too."""
    if with_umap:
        # The first parallel function that UMAP runs starts numba's threads, and that sets torch's number anew: they
        # are started here, before.
        import numba

        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(n_threads, most))
    torch.set_num_threads(n_threads)


# --- writing ----------------------------------------------------------------------------------------------------------


def check_model_target(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless a model folder can be written at ``path``.

    Nothing or an empty folder may be there; with ``force`` also an earlier model, but no folder with other files.
    """
    parent = path.absolute().parent
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path} is not a folder; name another place for the model")
    present = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    foreign = [name for name in present if name not in FILES]
    if foreign:
        raise OutputError(f"{path} holds files that are no part of a model, such as {foreign[0]}; name another folder")
    if present and not force:
        raise OutputError(f"{path} exists already; use --force to replace it, or another name")
    if not parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {parent}")


def save_model(
    path: Path, saved: SavedModel, learning: "Learning", cells: CellTable, run: RunRecord, *, force: bool = False
) -> None:
    """Write the folder at ``path``; ``cells`` are those that ``learning`` learned from.

    It is written beside ``path``, read back, and renamed; with ``force`` an earlier model is replaced only then. Raises
    :class:`OutputError` where it cannot be written and :class:`NumericalError` where weights are not finite.
    """
    arrays = _arrays(saved.model)
    for name, array in arrays.items():
        if _must_be_finite(name) and not np.isfinite(array).all():
            raise NumericalError(f"training left values in {name} that are not finite; try a smaller learning rate")
    _check_learning(saved, learning, cells)
    check_model_target(path, force=force)
    final = path.absolute()
    partial = hidden_name(final, "partial")
    try:
        with _removed_on_failure(partial):
            partial.mkdir()
            (partial / WEIGHTS).write_bytes(save(arrays))
            _write_json(partial / DESCRIPTION, _description(saved))
            _write_history(partial / HISTORY, learning)
            _write_landmarks(partial / LANDMARKS, learning, cells)
            _write_json(partial / RUN, _run(run, partial))
            load_model(partial)
            for entry in (*(partial / name for name in FILES), partial):
                flush_to_disk(entry)
            _swap_in(partial, final)
            flush_to_disk(final.parent)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _check_learning(saved: SavedModel, learning: "Learning", cells: CellTable) -> None:
    """Raise :class:`NumericalError` where what training left cannot be: the last look before it is written."""
    rows = learning.landmarks
    losses = np.array([astuple(record) for record in learning.history], dtype=np.float64)
    if not len(rows) or rows.min() < 0 or rows.max() >= len(cells) or len(np.unique(rows)) != len(rows):
        raise NumericalError("the landmarks are not different cells of those read; please report this")
    if learning.coordinates.shape != (len(rows), 2) or not np.isfinite(learning.coordinates).all():
        raise NumericalError("UMAP left coordinates that are not finite; try another --metric or --transform")
    if not np.isfinite(losses).all():
        raise NumericalError("a loss is not finite; try a smaller learning rate, or --transform arcsinh")
    some = cells.values[rows[:CELLS_CHECKED]]
    check_assignment(Assigner(saved.model).assign(some), saved.model.n_clusters, "the training cells")


@contextlib.contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _swap_in(partial: Path, final: Path) -> None:
    """Rename ``partial`` to ``final``; what was there is set aside first and removed last."""
    if not final.exists():
        partial.rename(final)
        return
    aside = hidden_name(final, "replaced")
    final.rename(aside)
    try:
        partial.rename(final)
    except BaseException:
        aside.rename(final)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _arrays(model: TrainedModel) -> dict[str, NDArray[Any]]:
    """Every array of a model under the name it has in the weights file."""
    arrays = {f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in model.network.state_dict().items()}
    arrays |= {"scaling.low": model.scaling.low, "scaling.high": model.scaling.high}
    arrays |= {f"tree.{name}": getattr(model.tree, name) for name in _TREE_ARRAYS}
    if model.novelty is not None:
        arrays |= {f"novelty.{field.name}": getattr(model.novelty, field.name) for field in fields(NoveltyScale)}
    if model.distribution is not None:
        parts = {field.name: getattr(model.distribution, field.name) for field in fields(CellDistribution)}
        arrays |= {f"distribution.{name}": array for name, array in parts.items()}
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _tree_arrays() -> dict[str, str]:
    """The arrays of a merge tree by name, with the safetensors type of each."""
    kinds = {np.float32: "F32", np.int32: "I32", np.int64: "I64"}
    hints = {name: get_args(hint) for name, hint in get_type_hints(MergeTree).items()}
    return {name: kinds[get_args(parts[1])[0]] for name, parts in hints.items() if parts}


_TREE_ARRAYS = _tree_arrays()


def _must_be_finite(name: str) -> bool:
    return name.startswith(("network.", "scaling.", "novelty.", "distribution."))


def _description(saved: SavedModel) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "markers": [asdict(marker) for marker in saved.panel.markers],
        "transform": saved.transform.kind,
        **({"logicle": asdict(saved.transform.logicle)} if saved.transform.kind == "logicle" else {}),
        "compensation": _described(saved.compensation),
        "n_clusters": saved.model.n_clusters,
        "n_same": saved.model.tree.n_same,
        "settings": settings_to_dict(saved.model.settings),
    }


def _described(compensation: Compensation) -> dict[str, object]:
    spillover = compensation.spillover
    matrix = {} if spillover is None else {"channels": spillover.channels, "matrix": spillover.values.tolist()}
    return {"source": compensation.source, **matrix}


def _run(run: RunRecord, folder: Path) -> dict[str, object]:
    versions = {name: metadata.version(name) for name in ("numpy", "pyarrow", "torch", "umap-learn", "safetensors")}
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": {"cytovae": __version__, "python": platform.python_version(), **versions},
        **asdict(run),
        "argv": [readable(word) for word in run.argv],
        "sha256": {name: _sha256(folder / name) for name in (WEIGHTS, DESCRIPTION)},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_history(path: Path, learning: "Learning") -> None:
    names = ("step", "reconstruction", "kl", "similarity", "depict", "total")
    types = [pa.int32(), *[pa.float32()] * 5]
    columns = [
        pa.array([getattr(record, name) for record in learning.history], kind)
        for name, kind in zip(names, types, strict=True)
    ]
    parquet.write_table(pa.table(columns, names=list(names)), path)


def _write_landmarks(path: Path, learning: "Learning", cells: CellTable) -> None:
    landmarks = cells.take(learning.landmarks)
    codes = latent_codes(Assigner(learning.model), landmarks.values)
    table = {
        "file": pa.array(np.array(cells.files, dtype=object)[landmarks.source], pa.string()),
        "event": pa.array(landmarks.event),
        "umap_1": pa.array(np.ascontiguousarray(learning.coordinates[:, 0], dtype=np.float32)),
        "umap_2": pa.array(np.ascontiguousarray(learning.coordinates[:, 1], dtype=np.float32)),
        **{f"z_{number}": pa.array(np.ascontiguousarray(code)) for number, code in enumerate(codes.T, start=1)},
    }
    parquet.write_table(pa.table(table), path)


# --- reading ----------------------------------------------------------------------------------------------------------


def load_model(path: Path) -> SavedModel:
    """The model of a folder. Raises :class:`ModelError` naming the file and what is wrong with it."""
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "does not exist"
        raise ModelError(f"{path} {found}; expected a model folder, as `cytovae train -o` writes it")
    if not (path / RUN).exists():
        raise ModelError(f"{path} holds no complete model: {RUN} is missing. {_AGAIN}.")
    content = _read_json(_member(path, DESCRIPTION))
    description = _Fields(_member(path, DESCRIPTION), content)
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
    arrays = _read_arrays(_member(path, WEIGHTS), network, len(panel), settings.experts)
    try:
        transform = Transform(kind, panel.cofactors, _read_logicle(description))  # type: ignore[arg-type]
        scaling = Scaling(arrays["scaling.low"], arrays["scaling.high"])
    except UsageError as error:
        raise ModelError(f"{path}: {error}. {_AGAIN}.") from error
    tree = _read_tree(arrays, description, _member(path, WEIGHTS))
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


def load_landmark_places(folder: Path) -> LandmarkPlaces:
    """Where training put the landmarks of the model in ``folder``: their latent codes and UMAP coordinates.

    Raises :class:`ModelError` where they are not there or cannot be used.
    """
    path = _member(folder, LANDMARKS)
    try:
        table = parquet.read_table(path)
        codes = [name for name in table.column_names if name.startswith("z_")]
        parts = [
            np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.float32)
            for names in (codes, ("umap_1", "umap_2"))
        ]
        return LandmarkPlaces(*parts)
    except (OSError, pa.ArrowException, KeyError, ValueError, UsageError) as error:
        raise ModelError(f"{path} does not say where training put the landmarks: {error}. {_AGAIN}.") from error


def key_of(path: Path) -> str | None:
    """The key of the training that made the complete model at ``path``, None where there is none or it is damaged."""
    try:
        load_model(path)
        return str(_read_json(_member(path, RUN)).get("key", ""))
    except ModelError:
        return None


def _member(folder: Path, name: str) -> Path:
    """A file of the folder. A link that leads out of it, or to anything but a plain file, is refused."""
    path = folder / name
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} is missing or cannot be reached. {_AGAIN}.") from error
    if not inside or not path.is_file():
        raise ModelError(f"{path} is a link out of the model folder, or not a plain file. {_AGAIN}.")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise ModelError(f"{path} has {size} bytes, expected less than {LARGEST_JSON}. {_AGAIN}.")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}. {_AGAIN}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object. {_AGAIN}.")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


class _Fields:
    """The fields of a JSON object, each checked for its type when it is asked for."""

    def __init__(self, path: Path, content: Mapping[str, Any], within: str = "") -> None:
        self.path = path
        self.content = content
        self.within = within

    def error(self, name: str, found: str, expected: str, hint: str = _AGAIN) -> ModelError:
        """A :class:`ModelError` about the field ``name``."""
        return ModelError(f"{self.path}: {self.within}{name}: found {found[:80]}, expected {expected}. {hint}.")

    def of_type(self, name: str, kind: type, expected: str) -> Any:
        value = self.content.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, repr(value) if name in self.content else "nothing", expected)
        return value

    def text(self, name: str) -> str:
        return str(self.of_type(name, str, "text"))

    def whole(self, name: str) -> int:
        return int(self.of_type(name, int, "a whole number"))

    def number(self, name: str) -> float:
        value = self.content.get(name)
        kind = int if isinstance(value, int) else float
        try:
            number = float(self.of_type(name, kind, "a number"))
        except OverflowError:
            number = float("inf")
        if not np.isfinite(number):
            raise self.error(name, repr(value), "a finite number")
        return number


def _read_panel(description: _Fields) -> Panel:
    markers = []
    for position, entry in enumerate(description.of_type("markers", list, "a list of markers")):
        if not isinstance(entry, dict):
            raise description.error(f"markers[{position}]", repr(entry), "a marker")
        marker = _Fields(description.path, entry, f"markers[{position}].")
        names = (marker.text("name"), marker.text("channel"), marker.number("cofactor"), marker.text("label"))
        try:
            markers.append(Marker(*names))
        except UsageError as error:
            raise marker.error("cofactor", str(names[2]), "a positive number") from error
    try:
        return Panel(tuple(markers))
    except UsageError as error:
        raise description.error("markers", str(error), "different markers, at least one") from error


def _read_logicle(description: _Fields) -> Logicle:
    if "logicle" not in description.content:
        return Logicle()
    found = _Fields(description.path, description.of_type("logicle", dict, "T, W, M and A"), "logicle.")
    try:
        return Logicle(**{name: found.number(name) for name in ("t", "w", "m", "a")})
    except UsageError as error:
        raise description.error("logicle", str(error), "parameters of the scale") from error


def _read_compensation(description: _Fields) -> Compensation:
    if "compensation" not in description.content:
        return Compensation()
    content = description.of_type("compensation", dict, "what was done to the files")
    found = _Fields(description.path, content, "compensation.")
    spillover = None
    try:
        if "matrix" in content:
            rows = found.of_type("matrix", list, "a matrix")
            channels = found.of_type("channels", list, "names of channels")
            spillover = Spillover(tuple(map(str, channels)), np.array(rows, dtype=np.float64))
        return Compensation(found.text("source"), spillover)  # type: ignore[arg-type]
    except (UsageError, ValueError, TypeError) as error:
        raise description.error("compensation", str(error), "none, file, or a matrix that can be inverted") from error


def _read_settings(description: _Fields) -> Settings:
    content = description.of_type("settings", dict, "the settings of the run")
    settings = _Fields(description.path, content, "settings.")
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
        raise ModelError(f"{description.path}: settings: {error}. {_AGAIN}.") from error


def _empty_network(markers: int, settings: Settings, description: _Fields) -> MoeSimVae:
    """The network of ``settings`` without memory for its weights: sizes in a file are believed only once they fit."""
    for name in ("encoder_depth", "clustering_depth"):
        if not 0 <= (depth := getattr(settings, name)) <= MOST_LAYERS:
            raise description.error(f"settings.{name}", f"{depth}", f"0 … {MOST_LAYERS}")
    try:
        with torch.device("meta"):
            return build_network(markers, settings, seed=0)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{description.path}: settings: {error} Expected sizes of a network. {_AGAIN}.") from error


def _read_arrays(path: Path, network: MoeSimVae, markers: int, experts: int) -> dict[str, NDArray[Any]]:
    """Every array, each of the type and shape that the rest of the model asks for.

    safetensors checks its header against the size of the file before an array is made.
    """
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        f"network.{name}": (kinds[tensor.dtype], tuple(tensor.shape)) for name, tensor in network.state_dict().items()
    }
    expected |= {"scaling.low": ("F32", (markers,)), "scaling.high": ("F32", (markers,))}
    expected |= {f"tree.{name}": (kind, (None,)) for name, kind in _TREE_ARRAYS.items()}  # None: any length
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
                raise ModelError(f"{path}: {first} {what}. {_AGAIN}.")
            for name, (kind, shape) in expected.items():
                part = stored.get_slice(name)
                found = tuple(part.get_shape())
                fits = len(found) == len(shape) and all(a == b or b is None for a, b in zip(found, shape, strict=True))
                if part.get_dtype() != kind or not fits:
                    spelled = f"{part.get_dtype()} {found}"
                    raise ModelError(f"{path}: {name}: found {spelled}, expected {kind} {shape}. {_AGAIN}.")
                arrays[name] = stored.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}. {_AGAIN}.") from error
    for name, array in arrays.items():
        if _must_be_finite(name) and not np.isfinite(array).all():
            raise ModelError(f"{path}: {name}: found values that are not finite. {_AGAIN}.")
    return arrays


def _read_tree(arrays: Mapping[str, NDArray[Any]], description: _Fields, path: Path) -> MergeTree:
    """The merge tree, checked: each expert is absorbed at most once, and nothing is merged into what is gone."""
    kept, absorbed, cells = (arrays[f"tree.{name}"] for name in ("kept", "absorbed", "cells"))
    n_same = description.whole("n_same")
    if len(kept) != len(absorbed) or len(kept) >= len(cells):
        found = f"{len(kept)} and {len(absorbed)} sides of merges of {len(cells)} experts"
        raise ModelError(f"{path}: tree: found {found}. {_AGAIN}.")
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
        raise ModelError(f"{path}: tree: found merges or counts that cannot be. {_AGAIN}.")
    parts: dict[str, Any] = {name: arrays[f"tree.{name}"] for name in _TREE_ARRAYS}
    return MergeTree(n_same=n_same, **parts)


def _check_sums(folder: Path) -> None:
    """Raise :class:`ModelError` where a file is not the one that was written."""
    path = _member(folder, RUN)
    sums = _Fields(path, _Fields(path, _read_json(path)).of_type("sha256", dict, "checksums of the model's files"))
    for name in (WEIGHTS, DESCRIPTION):
        if sums.text(name) != _sha256(folder / name):
            raise ModelError(f"{folder / name} is not as it was written (its SHA-256 is not that in {RUN}). {_AGAIN}.")
