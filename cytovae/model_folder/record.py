"""How a model came about, read from its folder: ``run.json``, ``history.parquet`` and ``landmarks.parquet``."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from cytovae.errors import ModelError, UsageError
from cytovae.events.event_file import EventFile
from cytovae.inference.umap_placement import LandmarkPlaces
from cytovae.model_folder.json_fields import member
from cytovae.model_folder.layout import HISTORY, LANDMARKS, RUN, TRAIN_AGAIN, InputRecord

LOSSES = ("total", "reconstruction", "similarity", "depict", "kl")


@dataclass(frozen=True, eq=False)
class History:
    """Losses during training: ``step`` int64 (h,), ``losses`` float64 (h, 5) in the order of :data:`LOSSES`."""

    step: NDArray[np.int64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The cells learned from: the place of each one's file among the run's inputs, int64 (l,), −1 where it is none of
    them; its event there, int64 (l,); and its UMAP ``coordinates`` float32 (l, 2).
    """

    source: NDArray[np.int64]
    event: NDArray[np.int64]
    coordinates: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ModelRecord:
    """Everything a model folder says about its making."""

    argv: tuple[str, ...]
    seed: int
    device: str
    versions: Mapping[str, str]
    seconds: Mapping[str, float]
    inputs: tuple[InputRecord, ...]
    history: History
    landmarks: Landmarks


def read_record(folder: Path) -> ModelRecord:
    """The record of a model folder that loads. Raises :class:`ModelError` naming the file that cannot be used."""
    run = _read_run(folder / RUN)
    path = folder / RUN
    inputs = []
    for entry in _field(run, "inputs", list, path):
        if not isinstance(entry, dict):
            raise ModelError(f"{path}: inputs: found {entry!r:.80}, expected a record of a file.")
        names = {"file": str, "sha256": str, "bytes": int, "events": int, "cells": int}
        inputs.append(InputRecord(**{name: _field(entry, name, kind, path) for name, kind in names.items()}))
    seconds = {str(k): float(v) for k, v in _field(run, "seconds", dict, path).items() if isinstance(v, int | float)}
    return ModelRecord(
        argv=tuple(map(str, _field(run, "argv", list, path))),
        seed=_field(run, "seed", int, path),
        device=_field(run, "device", str, path),
        versions={str(name): str(value) for name, value in _field(run, "versions", dict, path).items()},
        seconds=seconds,
        inputs=tuple(inputs),
        history=_read_history(folder / HISTORY),
        landmarks=_read_landmarks(folder / LANDMARKS, tuple(record.file for record in inputs)),
    )


def matched_inputs(files: Sequence[EventFile], inputs: Sequence[InputRecord]) -> tuple[int | None, ...]:
    """For each file the place among ``inputs`` of the one it is, or None for a file the model has never seen.

    A file is known again by its name, its size and its number of events, wherever it lies now.
    """
    found: list[int | None] = []
    for file in files:
        size = file.path.stat().st_size
        same = [
            place
            for place, record in enumerate(inputs)
            if (Path(record.file).name, record.events, record.bytes) == (file.path.name, file.n_events, size)
        ]
        as_given = [place for place in same if inputs[place].file == str(file.path)]
        found.append(as_given[0] if as_given else same[0] if len(same) == 1 else None)
    return tuple(found)


def _read_run(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object.")
    return content


def _field(content: Mapping[str, Any], name: str, kind: type, path: Path) -> Any:
    value = content.get(name)
    if not isinstance(value, kind):
        raise ModelError(f"{path}: {name}: found {value!r:.80}, expected a {kind.__name__}.")
    return value


def _read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        table = parquet.read_table(path, columns=list(names))
        return {name: table.column(name).to_numpy() for name in names}
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ModelError(f"{path} cannot be read as the table that training wrote: {error}.") from error


def _read_history(path: Path) -> History:
    columns = _read_columns(path, ("step", *LOSSES))
    losses = np.stack([columns[name].astype(np.float64) for name in LOSSES], axis=1)
    return History(columns["step"].astype(np.int64), losses)


def _read_landmarks(path: Path, inputs: Sequence[str]) -> Landmarks:
    columns = _read_columns(path, ("file", "event", "umap_1", "umap_2"))
    shared = Counter(Path(name).name for name in inputs)
    # The names that cytovae.events.event_file.file_names gave them.
    known = {name if shared[Path(name).name] > 1 else Path(name).name: place for place, name in enumerate(inputs)}
    names, index = np.unique(columns["file"].astype(str), return_inverse=True)
    source = np.array([known.get(str(name), -1) for name in names], dtype=np.int64)[index]
    coordinates = np.stack([columns["umap_1"], columns["umap_2"]], axis=1).astype(np.float32)
    return Landmarks(source, columns["event"].astype(np.int64), coordinates)


def load_landmark_places(folder: Path) -> LandmarkPlaces:
    """Where training put the landmarks of the model in ``folder``: their latent codes and UMAP coordinates.

    Raises :class:`ModelError` where they are not there or cannot be used.
    """
    path = member(folder, LANDMARKS)
    try:
        table = parquet.read_table(path)
        codes = [name for name in table.column_names if name.startswith("z_")]
        parts = [
            np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.float32)
            for names in (codes, ("umap_1", "umap_2"))
        ]
        return LandmarkPlaces(*parts)
    except (OSError, pa.ArrowException, KeyError, ValueError, UsageError) as error:
        raise ModelError(f"{path} does not say where training put the landmarks: {error}. {TRAIN_AGAIN}.") from error
