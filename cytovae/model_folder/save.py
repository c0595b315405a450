"""A trained model to its folder."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from safetensors.numpy import save

from cytovae.atomic import already_exists, check_parent, output_errors, readable, whole_folder
from cytovae.cells import CellTable
from cytovae.environment import versions_of
from cytovae.errors import NumericalError, OutputError, UsageError
from cytovae.events.compensation import Compensation
from cytovae.inference.cell_distribution import CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.json_fields import read_json
from cytovae.model_folder.layout import (
    CHECKSUMMED,
    CODE_PREFIX,
    COORDINATES,
    DESCRIPTION,
    HISTORY,
    LANDMARKS,
    LOSS_COLUMNS,
    RUN,
    SCHEMA_VERSION,
    STARTED_IN,
    SUPPORT_ARRAYS,
    TREE_ARRAYS,
    WEIGHTS,
    RunRecord,
    is_part_of_model,
    member_path,
    must_be_finite,
    way_to_working_folder,
)
from cytovae.model_folder.load import load_model
from cytovae.model_folder.naming_fields import describe_naming
from cytovae.plain_file import sha256_of
from cytovae.settings import settings_to_dict

_PACKAGES = ("cytovae", "python", "numpy", "pyarrow", "torch", "umap-learn", "safetensors")  # recorded in run.json


def check_model_target(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless a model folder can be written at ``path``.

    The path must be free or an empty folder; with ``force`` it may hold an earlier model, but no other files.
    """
    with output_errors(path):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise OutputError(f"{path} is not a folder; choose another name for the model")
        present = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    foreign = [name for name in present if not is_part_of_model(name)]
    if foreign:
        raise OutputError(f"{path} holds files that are not part of a model, such as {foreign[0]}; name another folder")
    if present and not force:
        raise already_exists(path)
    check_parent(path, path.absolute().parent)


def save_model(
    path: Path, saved: SavedModel, learning: Learning, cells: CellTable, run: RunRecord, *, force: bool = False
) -> None:
    """Write a trained model to a folder.

    The folder is written under a hidden name beside ``path``, loaded again as a check, and then renamed. The network
    is not run: ``learning`` brings everything that is computed with it.

    Parameters
    ----------
    path : Path
        The model folder.
    saved : SavedModel
        The model with the panel, transform and compensation of its files.
    learning : Learning
        What training returned: landmarks, their coordinates and codes, and the losses.
    cells : CellTable
        The training cells, of which ``learning.landmarks`` are rows.
    run : RunRecord
        The record of the run, for ``run.json``.
    force : bool
        Replace an earlier model, once the new one is complete.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written, see :func:`check_model_target`.
    NumericalError
        If weights, coordinates, codes or losses are not finite, or the landmarks are not distinct cells.
    UsageError
        If the model is a refined one: :func:`cytovae.model_folder.save_refined.save_refined` writes those.
    """
    if saved.model.parts:
        raise UsageError("a refined model is written from the folder of the model that was refined")
    arrays = _arrays(saved.model)
    for name, array in arrays.items():
        if must_be_finite(name) and not np.isfinite(array).all():
            raise NumericalError(f"training left values in {name} that are not finite; try a smaller learning rate")
    _check_learning(learning, len(cells))
    check_model_target(path, force=force)
    with whole_folder(path) as partial:
        (partial / WEIGHTS).write_bytes(save(arrays))
        write_json(partial / DESCRIPTION, _description(saved))
        _write_history(partial / HISTORY, learning)
        _write_landmarks(partial / LANDMARKS, learning, cells)
        write_json(partial / RUN, {**_run(run, partial), STARTED_IN: way_to_working_folder(path)})
        load_model(partial)


def recut_model(path: Path, n_clusters: int, *, argv: Sequence[str]) -> None:
    """Cut the model in a folder into another number of clusters, as training with that number would have done.

    Parameters
    ----------
    path : Path
        A complete model folder. It is replaced as a whole.
    n_clusters : int
        The number of clusters.
    argv : sequence of str
        The command, for the record.

    Raises
    ------
    UsageError
        If the tree of the model cannot be cut into ``n_clusters``, or the model is a refined one.
    OutputError
        If the folder cannot be written.
    """
    saved = load_model(path)
    if saved.model.parts:
        raise UsageError(f"{path} is a refined model, which keeps its clusters; cut it with --clusters of assign")
    saved = replace(saved, model=saved.model.with_clusters(n_clusters))
    run = dict(read_json(member_path(path, RUN)).content)
    check_model_target(path, force=True)
    with whole_folder(path) as partial:
        for name in (WEIGHTS, HISTORY, LANDMARKS):
            shutil.copyfile(member_path(path, name), partial / name)
        write_json(partial / DESCRIPTION, _description(saved))
        sums = {name: sha256_of(partial / name) for name in CHECKSUMMED}
        write_json(partial / RUN, {**run, "argv": [readable(word) for word in argv], "sha256": sums})
        load_model(partial)


def _check_learning(learning: Learning, n_cells: int) -> None:
    """Raise :class:`NumericalError` if the landmarks or losses of training cannot be right."""
    rows = learning.landmarks
    losses = np.array([astuple(record) for record in learning.history], dtype=np.float64)
    if not len(rows) or rows.min() < 0 or rows.max() >= n_cells or len(np.unique(rows)) != len(rows):
        raise NumericalError("the landmarks are not distinct cells of those read; please report this")
    if learning.coordinates.shape != (len(rows), 2) or not np.isfinite(learning.coordinates).all():
        raise NumericalError("UMAP left coordinates that are not finite; try another --metric or --transform")
    if len(learning.codes) != len(rows) or not np.isfinite(learning.codes).all():
        raise NumericalError("training left latent codes that are not finite; try a smaller learning rate")
    if not np.isfinite(losses).all():
        raise NumericalError("a loss is not finite; try a smaller learning rate, or --transform arcsinh")


def _arrays(model: TrainedModel) -> dict[str, NDArray[Any]]:
    """Every array of the model by its name in ``model.safetensors``."""
    arrays = {f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in model.network.state_dict().items()}
    arrays |= {"scaling.low": model.scaling.low, "scaling.high": model.scaling.high}
    arrays |= {name: getattr(model.tree, field) for name, field in TREE_ARRAYS.items()}
    if model.tree.support is not None:
        arrays |= {name: getattr(model.tree, field) for name, field in SUPPORT_ARRAYS.items()}
    if model.novelty is not None:
        arrays |= {f"novelty.{field.name}": getattr(model.novelty, field.name) for field in fields(NoveltyScale)}
    if model.distribution is not None:
        parts = {field.name: getattr(model.distribution, field.name) for field in fields(CellDistribution)}
        arrays |= {f"distribution.{name}": array for name, array in parts.items()}
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _description(saved: SavedModel) -> dict[str, object]:
    """The content of ``model.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "markers": [asdict(marker) for marker in saved.panel.markers],
        "transform": saved.transform.kind,
        **({"logicle": asdict(saved.transform.logicle)} if saved.transform.kind == "logicle" else {}),
        "compensation": _describe_compensation(saved.compensation),
        "n_clusters": saved.model.n_clusters,
        "n_same": saved.model.tree.n_same,
        "settings": settings_to_dict(saved.model.settings),
        **({} if saved.model.naming is None else {"naming": describe_naming(saved.model.naming)}),
    }


def _describe_compensation(compensation: Compensation) -> dict[str, object]:
    spillover = compensation.spillover
    matrix = {} if spillover is None else {"channels": spillover.channels, "matrix": spillover.values.tolist()}
    return {"source": compensation.source, **matrix}


def _run(run: RunRecord, folder: Path) -> dict[str, object]:
    """The content of ``run.json``, with checksums of the other files in ``folder``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions_of(_PACKAGES),
        **asdict(run),
        "argv": [readable(word) for word in run.argv],
        "sha256": {name: sha256_of(folder / name) for name in CHECKSUMMED},
    }


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write an object as every JSON file of a model is written."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_history(path: Path, learning: Learning) -> None:
    columns = {"step": pa.array([record.step for record in learning.history], pa.int32())}
    for name in LOSS_COLUMNS:
        columns[name] = pa.array([getattr(record, name) for record in learning.history], pa.float32())
    parquet.write_table(pa.table(columns), path)


def _write_landmarks(path: Path, learning: Learning, cells: CellTable) -> None:
    landmarks = cells.take(learning.landmarks)
    columns = {
        "file": pa.array(np.array(cells.files, dtype=object)[landmarks.source], pa.string()),
        "event": pa.array(landmarks.event),
    }
    for name, values in zip(COORDINATES, learning.coordinates.T, strict=True):
        columns[name] = pa.array(np.ascontiguousarray(values, dtype=np.float32))
    for number, values in enumerate(learning.codes.T, start=1):
        columns[f"{CODE_PREFIX}{number}"] = pa.array(np.ascontiguousarray(values, dtype=np.float32))
    parquet.write_table(pa.table(columns), path)
