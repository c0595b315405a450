"""The model folder: names, schema, columns; known here only."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np

from cytovae.atomic import readable
from cytovae.errors import InputError
from cytovae.events.event_file import EventFile
from cytovae.populations.merge_tree import MergeTree

SCHEMA_VERSION = 1


WEIGHTS, DESCRIPTION, RUN, HISTORY, LANDMARKS = (
    *("model.safetensors", "model.json", "run.json"),
    *("history.parquet", "landmarks.parquet"),
)


FILES = (WEIGHTS, DESCRIPTION, HISTORY, LANDMARKS, RUN)  # in the order in which they are written


TRAIN_AGAIN = "Train the model again, or take an unchanged copy of its folder"


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
    key: str = ""  # the digest of what decided the result, see :class:`cytovae.model_folder.training_key.TrainingKey`


def input_record(file: EventFile, cells: int) -> InputRecord:
    """The record of ``file``, of which ``cells`` cells were read for training."""
    try:
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(file.path, "file", error.strerror or str(error), "a readable FCS file") from error
    return InputRecord(readable(file.path), digest, size, file.n_events, cells)


def _tree_arrays() -> dict[str, str]:
    """The arrays of a merge tree by name, with the safetensors type of each."""
    kinds = {np.float32: "F32", np.int32: "I32", np.int64: "I64"}
    hints = {name: get_args(hint) for name, hint in get_type_hints(MergeTree).items()}
    return {name: kinds[get_args(parts[1])[0]] for name, parts in hints.items() if parts}


TREE_ARRAYS = _tree_arrays()


def must_be_finite(name: str) -> bool:
    return name.startswith(("network.", "scaling.", "novelty.", "distribution."))


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
