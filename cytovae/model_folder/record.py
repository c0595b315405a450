"""How a model came about: ``run.json``, the losses during training, and the landmarks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from cytovae.atomic import readable
from cytovae.errors import ModelError, UsageError
from cytovae.events.event_file import EventFile
from cytovae.inference.umap_placement import LandmarkPositions
from cytovae.model_folder.json_fields import JsonFields, check_sum, read_json
from cytovae.model_folder.layout import (
    CODE_PREFIX,
    COORDINATES,
    HISTORY,
    LANDMARKS,
    READING_OPTIONS,
    RUN,
    STARTED_IN,
    TRAIN_AGAIN,
    InputRecord,
    member_path,
    recorded_path,
)

_Kind = TypeVar("_Kind", bound=np.generic)

LOSSES = ("total", "reconstruction", "similarity", "depict", "kl")
"""The losses in the order in which they are shown."""


@dataclass(frozen=True, eq=False)
class History:
    """Losses during training: ``step`` int64 (h,), ``losses`` float64 (h, 5) in the order of :data:`LOSSES`."""

    step: NDArray[np.int64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of a model.

    ``source`` int64 (l,) is the index of each landmark's file among the inputs of the run, −1 if it is none of them;
    ``event`` int64 (l,) its event in that file; ``coordinates`` float32 (l, 2) its position on the UMAP.
    """

    source: NDArray[np.int64]
    event: NDArray[np.int64]
    coordinates: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ModelRecord:
    """How a model came about: command line, versions, seconds per stage, input files, losses and landmarks.

    ``reading`` has the options with which the input files were opened, where they were not the defaults. ``paths`` are
    the paths of the inputs as they can be opened from here, also if training ran in another working folder.
    """

    argv: tuple[str, ...]
    seed: int
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    inputs: tuple[InputRecord, ...]
    history: History
    landmarks: Landmarks
    reading: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()


def read_record(folder: Path) -> ModelRecord:
    """Read the record of a model from its folder.

    Raises
    ------
    ModelError
        If ``run.json``, ``history.parquet`` or ``landmarks.parquet`` is missing or damaged.
    """
    run = read_json(member_path(folder, RUN))
    inputs = tuple(
        InputRecord(
            file=entry.text("file"),
            sha256=entry.text("sha256"),
            bytes=entry.integer("bytes"),
            events=entry.integer("events"),
            cells=entry.integer("cells"),
            part=entry.text("part") if "part" in entry else "",
        )
        for entry in run.entries("inputs", "a list of input files", "a record of a file")
    )
    versions = run.nested("versions", "versions of packages")
    seconds = run.nested("seconds", "seconds of each stage")
    started_in = run.text(STARTED_IN) if STARTED_IN in run else ""
    return ModelRecord(
        argv=tuple(map(str, run.of_type("argv", list, "a list of words"))),
        seed=run.integer("seed"),
        device=run.text("device"),
        versions={name: versions.text(name) for name in versions.content},
        seconds={name: seconds.number(name) for name in seconds.content},
        inputs=inputs,
        history=_read_history(_checked_table(folder, HISTORY, run)),
        landmarks=_read_landmarks(_checked_table(folder, LANDMARKS, run), inputs),
        reading=_read_reading(run),
        paths=tuple(recorded_path(entry.file, folder, started_in) for entry in inputs),
    )


def load_landmark_places(folder: Path) -> LandmarkPositions:
    """Read the latent codes and UMAP coordinates of a model's landmarks.

    Raises
    ------
    ModelError
        If ``landmarks.parquet`` is missing or damaged, or was written without codes.
    """
    run = read_json(member_path(folder, RUN))
    path = _checked_table(folder, LANDMARKS, run)
    table = _read_table(path)
    names = [name for name in table.column_names if name.startswith(CODE_PREFIX)]
    codes, coordinates = (_columns(table, part, np.float32, path) for part in (names, COORDINATES))
    try:
        return LandmarkPositions(codes, coordinates)
    except UsageError as error:
        raise ModelError(f"{path} holds no usable codes and UMAP coordinates: {error}. {TRAIN_AGAIN}.") from error


def matched_inputs(
    files: Sequence[EventFile], inputs: Sequence[InputRecord], paths: Sequence[Path] = ()
) -> tuple[int | None, ...]:
    """For each file its index among the inputs of the run, None for a file that was not among them.

    Files are recognized by name, part, size and number of events, in whatever folder they are. Among several such
    inputs, the one with the same path counts: as recorded, or as in ``paths`` (see :class:`ModelRecord`).
    """
    matches: list[int | None] = []
    for file in files:
        identity = (file.path.name, readable(file.part), file.n_events, file.path.stat().st_size)
        same = [
            index
            for index, record in enumerate(inputs)
            if (Path(record.file).name, record.part, record.events, record.bytes) == identity
        ]
        same_path = [
            index
            for index in same
            if inputs[index].file == str(file.path) or (index < len(paths) and paths[index] == file.path)
        ]
        matches.append(same_path[0] if same_path else same[0] if len(same) == 1 else None)
    return tuple(matches)


def _read_reading(run: JsonFields) -> dict[str, Any]:
    """The options with which the inputs were opened; models of version 0.1.0 do not record them."""
    if "reading" not in run:
        return {}
    reading = run.nested("reading", "options of reading")
    known = {name: kind for name, kind in READING_OPTIONS.items() if name in reading}
    return {name: reading.of_type(name, kind, f"a value of type {kind.__name__}") for name, kind in known.items()}


def _read_table(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            return parquet.read_table(stream)
    except (OSError, pa.ArrowException) as error:
        raise ModelError(f"{path} cannot be read as the table that training wrote: {error}. {TRAIN_AGAIN}.") from error


def _columns(table: Any, names: Sequence[str], kind: type[_Kind], path: Path) -> NDArray[_Kind]:
    """Columns of the table of file ``path`` side by side, (n, len(names))."""
    try:
        return np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(kind)
    except (KeyError, ValueError, TypeError) as error:
        spelled = ", ".join(names)
        raise ModelError(f"{path}: {spelled}: expected columns that training wrote; {error}. {TRAIN_AGAIN}.") from error


def _checked_table(folder: Path, name: str, run: JsonFields) -> Path:
    """The path of a table in ``folder``. Raises :class:`ModelError` if it is missing or belongs to another model.

    Models of version 0.1.0 record no checksums of tables.
    """
    path = member_path(folder, name)
    sums = run.nested("sha256", "checksums of the model's files")
    if name in sums:
        check_sum(folder, name, sums)
    return path


def _read_history(path: Path) -> History:
    table = _read_table(path)
    return History(_columns(table, ("step",), np.int64, path)[:, 0], _columns(table, LOSSES, np.float64, path))


def _read_landmarks(path: Path, inputs: Sequence[InputRecord]) -> Landmarks:
    table = _read_table(path)
    files = _columns(table, ("file",), np.str_, path)[:, 0]
    # Training names files by cytovae.events.event_file.file_names: by their path if two have the same name.
    short = [entry.part or Path(entry.file).name for entry in inputs]
    shared = Counter(short)
    full = [f"{entry.file}/{entry.part}" if entry.part else entry.file for entry in inputs]
    known = {
        long if shared[name] > 1 else name: index for index, (name, long) in enumerate(zip(short, full, strict=True))
    }
    names, inverse = np.unique(files, return_inverse=True)
    source = np.array([known.get(str(name), -1) for name in names], dtype=np.int64)[inverse]
    event = _columns(table, ("event",), np.int64, path)[:, 0]
    return Landmarks(source, event, _columns(table, COORDINATES, np.float32, path))
