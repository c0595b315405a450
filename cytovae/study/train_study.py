"""Files to a model folder: what `cytovae train` does, without a terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cytovae.cells import CellTable, GateLabels
from cytovae.errors import OutputError, UsageError
from cytovae.events.channel_use import state_markers_left_out
from cytovae.events.compensation import NO_COMPENSATION, Compensation
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import MarkerFile, files_of_study
from cytovae.events.panel import Panel, resolve_panel
from cytovae.events.panel_table import read_panel
from cytovae.events.transform import Logicle, Transform
from cytovae.events.value_scale import TransformChoice
from cytovae.settings import Settings
from cytovae.study.study_transform import OwnCofactors, TransformOption, panel_and_transform

if TYPE_CHECKING:
    from cytovae.annotations.marker_table import PanelTypes
    from cytovae.inference.trained_model import Learning, SavedModel
    from cytovae.model_folder.checkpoint import Checkpoint
    from cytovae.model_folder.input_files import FileIdentity
    from cytovae.model_folder.layout import InputRecord, RunRecord


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
    choice : TransformChoice or None
        How the program chose the transform; None if the user did.
    identities : mapping of Path to FileIdentity
        The identity of each file from before it was opened.
    """

    raw: tuple[EventFile, ...]
    files: tuple[MarkerFile, ...]
    panel: Panel
    transform: Transform
    compensation: Compensation
    unused_state_markers: tuple[str, ...] = ()
    choice: TransformChoice | None = None
    identities: "Mapping[Path, FileIdentity]" = field(default_factory=dict)

    @property
    def n_events(self) -> int:
        """Number of events in all files."""
        return sum(file.n_events for file in self.files)


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model and how it came about.

    Attributes
    ----------
    study, saved, learning, cells
        The files, the model, what training returned, and the cells that it learned from.
    inputs : tuple of InputRecord
        The records of the files as they were read.
    seconds : dict
        Seconds of each stage.
    """

    study: TrainStudy
    saved: "SavedModel"
    learning: "Learning"
    cells: CellTable
    inputs: "tuple[InputRecord, ...]"
    seconds: dict[str, float]


@dataclass(frozen=True)
class CompleteModel:
    """A model that was complete before training began: its number of clusters, and whether it was cut again."""

    n_clusters: int
    recut: bool


def open_train_study(
    raw: Sequence[EventFile],
    *,
    markers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    panel_csv: Path | None = None,
    state_markers: bool = False,
    transform: TransformOption = "auto",
    cofactor: float | None = None,
    logicle: Logicle | None = None,
    compensation: Compensation = NO_COMPENSATION,
    identities: "Mapping[Path, FileIdentity] | None" = None,
) -> TrainStudy:
    """Choose the markers in the first of the files ``raw`` and find them in the others.

    Parameters
    ----------
    raw : sequence of EventFile
        The files, at least one.
    markers, exclude, panel_csv, state_markers
        See :func:`cytovae.events.panel.resolve_panel`.
    transform : {"auto", "arcsinh", "logicle", "none"}
        Kind of transform; "auto" is arcsinh, or none if values are transformed already.
    cofactor : float, optional
        Cofactor of arcsinh for markers without one in the panel table. Default: by the instrument.
    logicle : Logicle, optional
        Parameters of the logicle scale.
    compensation : Compensation
        What happens to the files before the transform.
    identities : mapping of Path to FileIdentity, optional
        The identity of each file from before it was opened. Default: now.

    Raises
    ------
    PanelError
        If a marker is unknown or ambiguous, or a file lacks one.
    InputError
        If a file cannot be compensated.
    UsageError
        If the transform is left open and the files disagree about it.
    """
    from cytovae.model_folder.input_files import identities as identities_now

    if identities is None:
        identities = identities_now(file.path for file in raw)
    if markers and panel_csv is not None:
        raise UsageError("markers can be named or read from a panel table, not both: drop --markers or --panel")
    compensated = tuple(compensation.of(file) for file in raw)

    def resolve(cofactor: float) -> Panel:
        return resolve_panel(
            compensated[0],
            markers=markers,
            exclude=exclude,
            panel_csv=panel_csv,
            cofactor=cofactor,
            state_markers=state_markers,
        )

    panel, scale, choice = panel_and_transform(
        compensated, resolve, transform, cofactor, logicle=logicle, own_cofactors=_own_cofactors(panel_csv)
    )
    by_default = not (markers or panel_csv or state_markers)
    unused = state_markers_left_out(compensated[0].channels) if by_default else ()
    files = files_of_study(compensated, panel, scale)
    return TrainStudy(tuple(raw), files, panel, scale, compensation, unused, choice, identities)


def _own_cofactors(panel_csv: Path | None) -> OwnCofactors:
    """How many of the used rows of a panel table have a cofactor."""
    given = [row.cofactor is not None for row in read_panel(panel_csv) if row.use] if panel_csv is not None else []
    return "none" if not any(given) else "all" if all(given) else "some"


def labels_of_cells(labels: GateLabels, cells: CellTable, files: Sequence[MarkerFile]) -> GateLabels:
    """The labels of the training cells; ``labels`` has one for each event of all files in turn."""
    first = np.cumsum([0, *(file.n_events for file in files)])[:-1]
    return GateLabels(labels.population[first[cells.source] + cells.event], labels.names)


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
    labels: GateLabels | None = None,
    types: "PanelTypes | None" = None,
    n_clusters: int | None = None,
    workers: int = 1,
    checkpoint: "Checkpoint",
    resume: bool = False,
    force: bool = False,
    argv: Sequence[str] = (),
    reading: Mapping[str, object] | None = None,
    seconds_of_reading: float = 0.0,
    resumed: Callable[[bool], None] = lambda _state_found: None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> TrainingResult | CompleteModel:
    """Train a model on ``cells`` of the study and write its folder.

    Parameters
    ----------
    study, cells
        The files, and the training cells that :func:`cytovae.study.sampling.draw_cells` drew from them.
    output : Path
        The model folder.
    settings, seed, device, labels, types, n_clusters, workers, progress
        See :func:`cytovae.study.train_model.train_model`.
    checkpoint, resume, force
        The state folder of the model, entered; whether to continue from it, and to replace an existing model.
    argv, reading, seconds_of_reading
        For the record: the command, the options with which files were opened, and the seconds of reading ``cells``.
    resumed : callable
        With ``resume``, receives whether there was a state to continue from.

    Returns
    -------
    TrainingResult or CompleteModel
        The second if ``resume`` is set and the folder already holds the result of this training.

    Raises
    ------
    InputError
        If a file was replaced, changed or removed while it was read.
    OutputError
        If the folder holds this model with another number of clusters, and ``force`` is not set.
    """
    from cytovae.model_folder.save import check_model_target, save_model
    from cytovae.model_folder.training_key import key_of, training_key
    from cytovae.study.train_model import train_model

    key = training_key(cells, settings, seed=seed, device=device, labels=labels, types=types)
    if resume:
        if key_of(output) == key.digest:
            return _complete(output, n_clusters, argv=argv, force=force)
        check_model_target(output, force=force)
    inputs = input_records_of(study, cells)
    checkpoint.begin(key)
    if resume:
        resumed(checkpoint.resumed)
    learning = train_model(
        cells,
        settings,
        seed=seed,
        device=device,
        labels=labels,
        types=types,
        n_clusters=n_clusters,
        workers=workers,
        progress=progress,
        kept=checkpoint,
    )
    result = training_result(study, cells, learning, inputs, seconds_of_reading)
    record = run_record(result, seed=seed, device=device, argv=argv, key=key.digest, reading=reading)
    save_model(output, result.saved, learning, cells, record, force=force)
    return result


def _complete(output: Path, n_clusters: int | None, *, argv: Sequence[str], force: bool) -> CompleteModel:
    """The complete model in a folder, cut into ``n_clusters`` (None: as the data suggest) if ``force`` is set."""
    from cytovae.model_folder.load import load_model
    from cytovae.model_folder.save import recut_model

    model = load_model(output).model
    wanted = model.tree.n_found if n_clusters is None else n_clusters
    if model.n_clusters == wanted:
        return CompleteModel(wanted, recut=False)
    model.with_clusters(wanted)  # raises UsageError if that is impossible
    if not force:
        raise OutputError(
            f"{output} holds the result of this training with {model.n_clusters} clusters; add --force to cut it into "
            f"{wanted} without training again, or use --clusters {wanted} of assign and report"
        )
    recut_model(output, wanted, argv=argv)
    return CompleteModel(wanted, recut=True)


def input_records_of(study: TrainStudy, cells: CellTable, *, strict: bool = True) -> "tuple[InputRecord, ...]":
    """The records of the files of a study, see :func:`cytovae.model_folder.input_files.input_records`."""
    from cytovae.model_folder.input_files import input_records

    per_file = np.bincount(cells.source, minlength=len(study.files)).tolist()
    return input_records([file.file for file in study.files], per_file, study.identities, strict=strict)


def training_result(
    study: TrainStudy,
    cells: CellTable,
    learning: "Learning",
    inputs: "Sequence[InputRecord]",
    seconds_of_reading: float = 0.0,
) -> TrainingResult:
    """The model that ``learning`` found, with what it needs to assign files, and the records of its ``inputs``."""
    from cytovae.inference.trained_model import SavedModel

    saved = SavedModel(learning.model, study.panel, study.transform, study.compensation)
    seconds = {"reading": seconds_of_reading, **learning.seconds}
    return TrainingResult(study, saved, learning, cells, tuple(inputs), seconds)


def run_record(
    result: TrainingResult,
    *,
    seed: int,
    device: str,
    argv: Sequence[str] = (),
    key: str = "",
    reading: Mapping[str, object] | None = None,
) -> "RunRecord":
    """How a model came about, for its folder."""
    from cytovae.model_folder.layout import RunRecord

    transform = describe_transform(result.study)
    return RunRecord(tuple(argv), seed, device, result.inputs, result.seconds, key, transform, reading or {})


def describe_transform(study: TrainStudy) -> dict[str, object]:
    """How the transform was chosen, for ``run.json``."""
    kind, choice = study.transform.kind, study.choice
    if choice is None:
        return {"kind": kind, "chosen": "by the user"}
    return {"kind": kind, "chosen": "auto", "reason": choice.reason}
