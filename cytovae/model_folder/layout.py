"""The model folder: names of its files, schema of its arrays, columns of its tables. Only this module knows them.

``model.safetensors`` holds every array and ``model.json`` everything else that assigning needs. ``history.parquet``
holds the losses during training, ``landmarks.parquet`` the training cells with their coordinates, and ``run.json`` how
the model came about. ``run.json`` is written last, so a folder without it is incomplete. In a refined model, each
folder ``part_N`` is such a folder, too.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cytovae.errors import ModelError
from cytovae.inference.cell_distribution import QUANTILE_LEVELS
from cytovae.plain_file import is_plain, resolved

SCHEMA_VERSION = 1
REFINED_SCHEMA_VERSION = 2  # of a model with parts; versions of cytovae without `refine` refuse it

# --- files ---

WEIGHTS, DESCRIPTION, RUN = "model.safetensors", "model.json", "run.json"
HISTORY, LANDMARKS = "history.parquet", "landmarks.parquet"
FILES = (WEIGHTS, DESCRIPTION, HISTORY, LANDMARKS, RUN)  # in the order of writing
CHECKSUMMED = FILES[:-1]  # run.json holds their SHA-256; in models of version 0.1.0 only of the first two

PARTS = "parts"  # the field of model.json that lists what was learned inside clusters
_PART_FOLDER = re.compile(r"part_[1-9][0-9]{0,3}")

TRAIN_AGAIN = "Train the model again, or use an intact copy of its folder"


def part_folder(number: int) -> str:
    """The folder of a part of a refined model, from 1. It holds the files of a model."""
    return f"part_{number}"


def is_part_of_model(name: str) -> bool:
    """Whether a model folder may hold an entry of this name."""
    return name in FILES or _PART_FOLDER.fullmatch(name) is not None


def member_path(folder: Path, name: str) -> Path:
    """The path of a file in the folder.

    Raises :class:`ModelError` if it is missing, is not a regular file, or is a link that leads out of the folder.
    """
    path = folder / name
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} is missing or cannot be reached. {TRAIN_AGAIN}.") from error
    if not inside or not path.is_file():
        raise ModelError(f"{path} is not a plain file, or is a link out of the model folder. {TRAIN_AGAIN}.")
    return path


# --- files that run.json names ---

STARTED_IN = "started_in"  # in run.json: the working folder of training, as seen from the model's folder


def way_to_working_folder(model: Path) -> str:
    """The working folder as seen from the model's folder, so that both can move together; "" if there is no way."""
    try:
        return Path(os.path.relpath(Path.cwd(), resolved(model))).as_posix()
    except (OSError, ValueError):  # the folder is gone, or on another drive
        return ""


def recorded_path(name: str, model: Path, started_in: str) -> Path:
    """Where a file is that ``run.json`` names: seen from the folder in which training started, else from here.

    ``started_in`` is "" in models of version 0.1.0. The name stays as it is where both are the same file.
    """
    path = Path(name)
    there = resolved(model / started_in) / path
    if not started_in or path.is_absolute() or not is_plain(there) or resolved(there) == resolved(path):
        return path
    return there


# --- arrays of model.safetensors ---


@dataclass(frozen=True)
class ArrayType:
    """Type (as safetensors spells it) and shape of an array; None in a shape stands for any length."""

    dtype: str
    shape: tuple[int | None, ...]

    def matches(self, other: "ArrayType") -> bool:
        """Whether an array of type ``other`` is allowed here."""
        return (
            self.dtype == other.dtype
            and len(self.shape) == len(other.shape)
            and all(size in (None, found) for size, found in zip(self.shape, other.shape, strict=True))
        )

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


TREE_ARRAYS: Mapping[str, str] = {
    "tree.kept": "kept",
    "tree.absorbed": "absorbed",
    "tree.valley": "level",  # the name of version 0.1.0
    "tree.cells": "cells",
    "tree.agreement": "agreement",
}
"""Arrays of every model, and the field of :class:`cytovae.populations.merge_tree.MergeTree` that each one stores."""

SUPPORT_ARRAYS: Mapping[str, str] = {"tree.support": "support", "tree.expert_support": "expert_support"}
"""As :data:`TREE_ARRAYS`, in models that measured the support of their clusters."""


def required_arrays(markers: int, experts: int) -> dict[str, ArrayType]:
    """Arrays that every model has, beside the ``network.`` weights."""
    return {
        "scaling.low": ArrayType("F32", (markers,)),
        "scaling.high": ArrayType("F32", (markers,)),
        "tree.kept": ArrayType("I32", (None,)),
        "tree.absorbed": ArrayType("I32", (None,)),
        "tree.valley": ArrayType("F32", (None,)),
        "tree.cells": ArrayType("I64", (experts,)),
        "tree.agreement": ArrayType("F32", (None,)),
    }


def support_arrays(experts: int) -> dict[str, ArrayType]:
    """Arrays of a model that measured the support of its clusters."""
    return {"tree.support": ArrayType("F32", (None,)), "tree.expert_support": ArrayType("F32", (experts,))}


def novelty_arrays(markers: int, experts: int) -> dict[str, ArrayType]:
    """Arrays of a model that measures novelty."""
    return {
        "novelty.center": ArrayType("F32", (experts, markers)),
        "novelty.spread": ArrayType("F32", (experts, markers)),
        "novelty.distance": ArrayType("F32", (experts,)),
        "novelty.error": ArrayType("F32", (experts,)),
    }


def distribution_arrays(markers: int, experts: int, code: int) -> dict[str, ArrayType]:
    """Arrays of a model that can generate cells."""
    quantiles = len(QUANTILE_LEVELS)
    return {
        "distribution.code_mean": ArrayType("F32", (experts, code)),
        "distribution.code_root": ArrayType("F32", (experts, code, code)),
        "distribution.noise_root": ArrayType("F32", (experts, markers, markers)),
        "distribution.drawn": ArrayType("F32", (experts, quantiles, markers)),
        "distribution.observed": ArrayType("F32", (experts, quantiles, markers)),
    }


def must_be_finite(name: str) -> bool:
    """Whether the array ``name`` may hold neither NaN nor infinity."""
    return name.startswith(("network.", "scaling.", "novelty.", "distribution."))


# --- columns of the tables ---

LOSS_COLUMNS = ("reconstruction", "kl", "similarity", "depict", "total")
"""Columns of ``history.parquet`` after ``step``."""

COORDINATES = ("umap_1", "umap_2")
"""Columns of ``landmarks.parquet`` between ``file``, ``event`` and the latent codes."""

CODE_PREFIX = "z_"
"""The latent codes of landmarks are the columns ``z_1``, ``z_2``, …"""


# --- run.json ---

READING_OPTIONS: Mapping[str, type] = {"layer": str, "file_key": str, "data_set": int, "offsets": str}
"""Options of :func:`cytovae.events.event_file.open_event_files` that ``run.json`` records, and their types."""


@dataclass(frozen=True)
class InputRecord:
    """A file that the model was trained on.

    ``file`` is its path as given, ``sha256`` and ``bytes`` describe its content, ``events`` counts its events and
    ``cells`` those among them that were read for training. ``part`` names the part of a file that holds several.
    """

    file: str
    sha256: str
    bytes: int
    events: int
    cells: int
    part: str = ""


@dataclass(frozen=True)
class RunRecord:
    """How a model came about: command line, seed, device, input files and the seconds that each stage took.

    ``key`` is the digest of the :class:`cytovae.model_folder.training_key.TrainingKey`, empty where unknown.
    ``transform`` says how the transform was chosen; ``model.json`` holds the transform itself. ``reading`` has the
    options with which the files were opened, where they were not the defaults: :data:`READING_OPTIONS`.
    """

    argv: tuple[str, ...]
    seed: int
    device: str
    inputs: tuple[InputRecord, ...]
    seconds: Mapping[str, float]
    key: str = ""
    transform: Mapping[str, object] = field(default_factory=dict)
    reading: Mapping[str, object] = field(default_factory=dict)
