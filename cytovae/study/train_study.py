"""Files to a model folder: what `cytovae train` does, without a terminal."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import CellTable, GateLabels
from cytovae.errors import UsageError
from cytovae.events.channel_use import state_markers_left_out
from cytovae.events.compensation import NO_COMPENSATION, Compensation
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import MarkerFile, files_of_study
from cytovae.events.panel import Panel, columns_in_study, resolve_panel
from cytovae.events.panel_table import read_panel
from cytovae.events.transform import Logicle, Transform, TransformKind
from cytovae.events.value_scale import DEFAULT_COFACTOR, TransformChoice, choose_transform, file_scale
from cytovae.settings import Settings

if TYPE_CHECKING:
    from cytovae.inference.trained_model import Learning, SavedModel
    from cytovae.model_folder.checkpoint import Checkpoint
    from cytovae.model_folder.layout import RunRecord


@dataclass(frozen=True, eq=False)
class TrainStudy:
    """Files to learn from, seen through one panel, transform and compensation.

    Attributes
    ----------
    raw : tuple of EventFile
        The files as they are.
    files : tuple of MarkerFile
        The same files as the model will see them.
    panel : Panel
        The markers, chosen in the first file.
    transform : Transform
        What turns raw values into marker values.
    compensation : Compensation
        What happens to the files before the transform.
    unused_state_markers : tuple of str
        The state markers that were left out because no markers were named.
    """

    raw: tuple[EventFile, ...]
    files: tuple[MarkerFile, ...]
    panel: Panel
    transform: Transform
    compensation: Compensation
    unused_state_markers: tuple[str, ...] = ()

    @property
    def n_events(self) -> int:
        """Number of events in all files."""
        return sum(file.n_events for file in self.files)


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model, the files and cells that it learned from, how it came about, and the seconds of each stage."""

    study: TrainStudy
    saved: "SavedModel"
    learning: "Learning"
    cells: CellTable
    seconds: dict[str, float]


def open_train_study(
    raw: Sequence[EventFile],
    *,
    markers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    panel_csv: Path | None = None,
    state_markers: bool = False,
    transform: TransformKind = "arcsinh",
    cofactor: float = 5.0,
    logicle: Logicle | None = None,
    compensation: Compensation = NO_COMPENSATION,
) -> TrainStudy:
    """Choose the markers in the first of the files ``raw`` and find them in the others.

    Parameters
    ----------
    raw : sequence of EventFile
        The files, at least one.
    markers, exclude, panel_csv, state_markers, cofactor
        See :func:`cytovae.events.panel.resolve_panel`.
    transform : {"arcsinh", "logicle", "none"}
        Kind of transform.
    logicle : Logicle, optional
        Parameters of the logicle scale.
    compensation : Compensation
        What happens to the files before the transform.

    Raises
    ------
    PanelError
        If a marker is unknown or ambiguous, or a file lacks one.
    InputError
        If a file cannot be compensated.
    """
    compensated = tuple(compensation.of(file) for file in raw)
    panel = resolve_panel(
        compensated[0],
        markers=markers,
        exclude=exclude,
        panel_csv=panel_csv,
        cofactor=cofactor,
        state_markers=state_markers,
    )
    by_default = not (markers or panel_csv or state_markers)
    unused = state_markers_left_out(compensated[0].channels) if by_default else ()
    scale = Transform(transform, panel.cofactors, logicle or Logicle())
    files = files_of_study(compensated, panel, scale)
    return TrainStudy(tuple(raw), files, panel, scale, compensation, unused)


def labels_of_cells(labels: GateLabels, cells: CellTable, files: Sequence[MarkerFile]) -> NDArray[np.int64]:
    """The label of each training cell, −1 = unknown; ``labels`` has one for each event of all files in turn."""
    first = np.cumsum([0, *(file.n_events for file in files)])[:-1]
    return labels.population[first[cells.source] + cells.event].astype(np.int64)


def check_generative(panel: Panel) -> None:
    """Raise :class:`UsageError` if the panel has too many markers for a model that generates cells."""
    from cytovae.inference.cell_distribution import MOST_MARKERS

    if len(panel.markers) > MOST_MARKERS:
        raise UsageError(
            f"{len(panel.markers)} markers are too many for --generative, which takes {MOST_MARKERS} at most; "
            "choose some with --markers"
        )


def train_study(
    study: TrainStudy,
    cells: CellTable,
    output: Path,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    labels: NDArray[np.int64] | None = None,
    n_clusters: int | None = None,
    workers: int = 1,
    checkpoint: "Checkpoint",
    resume: bool = False,
    force: bool = False,
    argv: Sequence[str] = (),
    seconds_of_reading: float = 0.0,
    resumed: Callable[[bool], None] = lambda _state_found: None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> TrainingResult | None:
    """Train a model on ``cells`` of the study and write its folder.

    Parameters
    ----------
    study, cells
        The files, and the training cells that :func:`cytovae.study.sampling.draw_cells` drew from them.
    output : Path
        The model folder.
    settings, seed, device, labels, n_clusters, workers, progress
        See :func:`cytovae.study.train_model.train_model`.
    checkpoint : Checkpoint
        The state folder of the model, entered.
    resume, force : bool
        Whether to continue from the checkpoint, and whether to replace an existing model.
    argv, seconds_of_reading
        The command and the seconds spent on reading ``cells``, for the record.
    resumed : callable
        With ``resume``, receives whether there was a state to continue from.

    Returns
    -------
    TrainingResult or None
        None if ``resume`` is set and the folder already holds the result of this training.
    """
    from cytovae.model_folder.save import check_model_target, save_model
    from cytovae.model_folder.training_key import key_of, training_key
    from cytovae.study.train_model import train_model

    key = training_key(cells, settings, seed=seed, device=device, labels=labels)
    if resume:
        if key_of(output) == key.digest:
            return None
        check_model_target(output, force=force)
    checkpoint.begin(key)
    if resume:
        resumed(checkpoint.resumed)
    learning = train_model(
        cells,
        settings,
        seed=seed,
        device=device,
        labels=labels,
        n_clusters=n_clusters,
        workers=workers,
        progress=progress,
        kept=checkpoint,
    )
    result = training_result(study, cells, learning, seconds_of_reading)
    record = run_record(result, seed=seed, device=device, argv=argv, key=key.digest)
    save_model(output, result.saved, learning, cells, record, force=force)
    return result


def training_result(
    study: TrainStudy, cells: CellTable, learning: "Learning", seconds_of_reading: float = 0.0
) -> TrainingResult:
    """The model that ``learning`` found, with what it needs to assign files."""
    from cytovae.inference.trained_model import SavedModel

    saved = SavedModel(learning.model, study.panel, study.transform, study.compensation)
    return TrainingResult(study, saved, learning, cells, {"reading": seconds_of_reading, **learning.seconds})


def run_record(
    result: TrainingResult, *, seed: int, device: str, argv: Sequence[str] = (), key: str = ""
) -> "RunRecord":
    """How a model came about, for its folder; takes the checksums of the files."""
    from cytovae.model_folder.layout import InputRecord, RunRecord, input_record

    def record(file: MarkerFile, cells: int) -> InputRecord:
        if file.file.path.exists():
            return input_record(file.file, cells)
        values = file.file.read()  # in memory: an array, a data frame or an AnnData
        return InputRecord(file.name, hashlib.sha256(values.tobytes()).hexdigest(), values.nbytes, len(values), cells)

    files = result.study.files
    per_file = np.bincount(result.cells.source, minlength=len(files)).tolist()
    inputs = tuple(record(file, count) for file, count in zip(files, per_file, strict=True))
    return RunRecord(tuple(argv), seed, device, inputs, result.seconds, key)
