"""A trained model to its folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from safetensors.numpy import save

from cytovae.atomic import already_exists, check_parent, readable, whole_folder
from cytovae.cells import CellTable, check_assignment
from cytovae.environment import versions_of
from cytovae.errors import NumericalError, OutputError
from cytovae.events.compensation import Compensation
from cytovae.inference.assigner import Assigner, latent_codes
from cytovae.inference.cell_distribution import CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.inference.trained_model import SavedModel, TrainedModel
from cytovae.model_folder.layout import (
    DESCRIPTION,
    FILES,
    HISTORY,
    LANDMARKS,
    RUN,
    SCHEMA_VERSION,
    TREE_ARRAYS,
    WEIGHTS,
    RunRecord,
    must_be_finite,
    sha256_of,
)
from cytovae.model_folder.load import load_model
from cytovae.settings import settings_to_dict

if TYPE_CHECKING:
    from cytovae.inference.trained_model import Learning


CELLS_CHECKED = 1000  # whose probabilities must sum to 1 before a model is written


# --- writing ----------------------------------------------------------------------------------------------------------


def check_model_target(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless a model folder can be written at ``path``.

    Nothing or an empty folder may be there; with ``force`` also an earlier model, but no folder with other files.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path} is not a folder; name another place for the model")
    present = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    foreign = [name for name in present if name not in FILES]
    if foreign:
        raise OutputError(f"{path} holds files that are no part of a model, such as {foreign[0]}; name another folder")
    if present and not force:
        raise already_exists(path)
    check_parent(path, path.absolute().parent)


def save_model(
    path: Path, saved: SavedModel, learning: "Learning", cells: CellTable, run: RunRecord, *, force: bool = False
) -> None:
    """Write the folder at ``path``; ``cells`` are those that ``learning`` learned from.

    It is written beside ``path``, read back, and renamed; with ``force`` an earlier model is replaced only then. Raises
    :class:`OutputError` where it cannot be written and :class:`NumericalError` where weights are not finite.
    """
    arrays = _arrays(saved.model)
    for name, array in arrays.items():
        if must_be_finite(name) and not np.isfinite(array).all():
            raise NumericalError(f"training left values in {name} that are not finite; try a smaller learning rate")
    _check_learning(saved, learning, cells)
    check_model_target(path, force=force)
    with whole_folder(path) as partial:
        (partial / WEIGHTS).write_bytes(save(arrays))
        _write_json(partial / DESCRIPTION, _description(saved))
        _write_history(partial / HISTORY, learning)
        _write_landmarks(partial / LANDMARKS, learning, cells)
        _write_json(partial / RUN, _run(run, partial))
        load_model(partial)


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


def _arrays(model: TrainedModel) -> dict[str, NDArray[Any]]:
    """Every array of a model under the name it has in the weights file."""
    arrays = {f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in model.network.state_dict().items()}
    arrays |= {"scaling.low": model.scaling.low, "scaling.high": model.scaling.high}
    arrays |= {f"tree.{name}": getattr(model.tree, name) for name in TREE_ARRAYS}
    if model.novelty is not None:
        arrays |= {f"novelty.{field.name}": getattr(model.novelty, field.name) for field in fields(NoveltyScale)}
    if model.distribution is not None:
        parts = {field.name: getattr(model.distribution, field.name) for field in fields(CellDistribution)}
        arrays |= {f"distribution.{name}": array for name, array in parts.items()}
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


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
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions_of(("cytovae", "python", "numpy", "pyarrow", "torch", "umap-learn", "safetensors")),
        **asdict(run),
        "argv": [readable(word) for word in run.argv],
        "sha256": {name: sha256_of(folder / name) for name in (WEIGHTS, DESCRIPTION)},
    }


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
