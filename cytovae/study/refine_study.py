"""Inside a cluster: what `cytovae refine` does, without a terminal.

The files are assigned chunk by chunk. Of each cluster that is refined, a random sample of cells is kept by file and
event only; their values are read afterwards. Memory is bounded by the samples and the chunks, whatever the files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.marker_table import PanelTypes
from cytovae.cells import CellTable
from cytovae.errors import InputError, UsageError
from cytovae.events.event_file import EventFile
from cytovae.inference.refined import check_clusters, refined
from cytovae.inference.trained_model import Learning, TrainedModel
from cytovae.model_folder.input_files import FileIdentity, input_records
from cytovae.model_folder.layout import RunRecord
from cytovae.model_folder.save_refined import LearnedPart, save_refined
from cytovae.naming.populations_by_table import CellsAround
from cytovae.settings import Settings
from cytovae.study.assign_study import AssignStudy, assigned_chunks
from cytovae.study.name_clusters import cells_around
from cytovae.study.sampling import constant_markers, draw_cells
from cytovae.study.train_model import train_model

MOST_CELLS = 20_000  # of each cluster, over all files
FEWEST_CELLS = 500  # fewer cells have no populations that could be relied on
NOISE = 0.5  # relative to that of the model: the populations of one cluster are close, compared with its range


@dataclass(frozen=True)
class Refinement:
    """What became of one cluster, or of the clusters of one population.

    Attributes
    ----------
    retired : tuple of int
        Their numbers.
    n_cells, n_learned : int
        Number of their cells in all files, and of those that were learned from.
    parts : tuple of int
        The numbers of the parts; empty if the cells do not split, and nothing changed.
    names : tuple of str
        The populations of the parts by a marker table, "unknown" for those without one; that of all cells if they do
        not split. Empty without a table.
    """

    retired: tuple[int, ...]
    n_cells: int
    n_learned: int
    parts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ClusterCells:
    """A sample of the cells of some clusters, and the number of all of them."""

    cells: CellTable
    n_cells: int


def clusters_to_refine(
    model: TrainedModel, clusters: Sequence[int] = (), populations: Sequence[str] = ()
) -> tuple[tuple[int, ...], ...]:
    """The clusters that are refined, each alone, and those of each population together.

    Raises
    ------
    UsageError
        If nothing is named, a cluster or population does not exist, or a cluster is named twice.
    """
    if not clusters and not populations:
        raise UsageError("name what to refine: --cluster N or --population NAME")
    groups = [(number,) for number in clusters] + [_of_population(model, name) for name in populations]
    seen: set[int] = set()
    for group in groups:
        check_clusters(model, group)
        if twice := seen & set(group):
            raise UsageError(f"cluster {min(twice)} is named twice; leave one out")
        seen |= set(group)
    return tuple(groups)


def _of_population(model: TrainedModel, name: str) -> tuple[int, ...]:
    names = model.names
    if names is None:
        raise UsageError("this model knows no names; name its clusters with --cluster")
    found = tuple(
        number
        for number, other in enumerate(names.of_cluster, start=1)
        if other.casefold() == name.strip().casefold() and number not in model.retired_clusters
    )
    if not found:
        raise UsageError(f"this model has no population {name!r}, only {', '.join(names.populations)}")
    return found


def draw_cells_of_clusters(
    study: AssignStudy,
    groups: Sequence[tuple[int, ...]],
    *,
    seed: int,
    most: int = MOST_CELLS,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> tuple[ClusterCells, ...]:
    """Assign all files and draw random cells of each group of clusters.

    Parameters
    ----------
    study : AssignStudy
        The model and the files. Events that fail quality control are not drawn.
    groups : sequence of tuple of int
        The numbers of the clusters of each group.
    seed : int
        Seed of the draw.
    most : int
        Largest number of cells of each group, over all files.
    progress : callable
        Receives "assigning", the number of events that are done, and their total.
    """
    samples = [_Sample(most) for _ in groups]
    n_events, done = sum(file.n_events for file in study.files), 0
    for index, file in enumerate(study.files):
        rng, first = np.random.default_rng([seed, index]), 0
        for chunk in assigned_chunks(file, study.assigner, workers=study.workers):
            keys = rng.random(len(chunk))
            passing = np.ones(len(chunk), dtype=bool)
            if study.quality is not None:
                passing = study.quality.of_files[index][first : first + len(chunk)] == 0
            for sample, group in zip(samples, groups, strict=True):
                rows = np.flatnonzero(np.isin(chunk.cluster, group) & passing)
                sample.add(keys[rows], index, first + rows)
            first += len(chunk)
            done += len(chunk)
            progress("assigning", done, n_events)
    return tuple(ClusterCells(_read(study, sample), sample.n_seen) for sample in samples)


def _read(study: AssignStudy, sample: "_Sample") -> CellTable:
    """The cells of a sample, file by file in the order of their events."""
    source, event = sample.rows()
    values = [file.values_at(event[source == index]) for index, file in enumerate(study.files)]
    names = tuple(file.name for file in study.files)
    return CellTable(np.concatenate(values), study.saved.panel.names, names, source.astype(np.int32), event)


class _Sample:
    """At most ``most`` random cells of a stream: those with the smallest random keys."""

    def __init__(self, most: int) -> None:
        self.n_seen = 0
        self._most = most
        self._keys = np.empty(0)
        self._cells = np.empty((0, 2), dtype=np.int64)  # file, event

    def add(self, keys: NDArray[np.float64], file: int, events: NDArray[np.int64]) -> None:
        """Add cells of a file with their random ``keys``."""
        self.n_seen += len(keys)
        self._keys = np.concatenate([self._keys, keys])
        self._cells = np.concatenate([self._cells, np.column_stack([np.full_like(events, file), events])])
        if len(self._keys) > self._most:
            kept = np.argpartition(self._keys, self._most - 1)[: self._most]
            self._keys, self._cells = self._keys[kept], self._cells[kept]

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The file and the event of each cell, in order."""
        order = np.lexsort((self._cells[:, 1], self._cells[:, 0]))
        return self._cells[order, 0], self._cells[order, 1]


def settings_of_parts(settings: Settings) -> Settings:
    """How to train inside a cluster of a model with ``settings``."""
    return replace(settings, landmarks=MOST_CELLS, input_noise=NOISE * settings.input_noise)


def refine_study(
    study: AssignStudy,
    groups: Sequence[tuple[int, ...]],
    source: Path,
    output: Path,
    *,
    types: PanelTypes | None = None,
    n_parts: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 1,
    force: bool = False,
    argv: Sequence[str] = (),
    reading: Mapping[str, object] | None = None,
    identities: Mapping[Path, FileIdentity] | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> tuple[Refinement, ...]:
    """Learn again inside clusters, and write the refined model.

    Parameters
    ----------
    study : AssignStudy
        The model and the files whose cells to learn from.
    groups : sequence of tuple of int
        The clusters, see :func:`clusters_to_refine`.
    source, output : Path
        The folder of the model, and that of the refined one. If nothing splits, both models are equal.
    types : PanelTypes, optional
        A marker table. It decides how many parts there are, and names them.
    n_parts : int, optional
        Number of parts of each group. Default: as many as the data suggest.
    seed, device, workers
        See :func:`cytovae.study.train_model.train_model`.
    force : bool
        Replace an existing model.
    argv, reading, identities
        For the record: the command, the options with which files were opened, and their identities before that.
    progress : callable
        Receives the stage, the steps that are done, and all steps of the stage.

    Returns
    -------
    tuple of Refinement
        What became of each group.

    Raises
    ------
    InputError
        If a group has fewer than 500 cells in the files, or all its values are the same.
    """
    drawn = draw_cells_of_clusters(study, groups, seed=seed, progress=progress)
    for group, of_group in zip(groups, drawn, strict=True):
        if of_group.n_cells < FEWEST_CELLS:
            _refuse(study, group, of_group.n_cells)
        constant_markers(of_group.cells, study.files)
    model, parts, results = study.saved.model, [], []
    of_all = None if types is None else _cells_of_all_clusters(study, seed)
    settings = settings_of_parts(model.settings)
    raw = [file.file for file in study.files]
    for group, of_group in zip(groups, drawn, strict=True):
        cells = of_group.cells
        around = _cells_around(study, group, of_group, of_all)
        learning = train_model(
            cells, settings, seed=seed, device=device, types=types, around=around,
            n_clusters=n_parts, workers=workers, progress=progress,
        )  # fmt: skip
        names = learning.model.names
        result = Refinement(group, of_group.n_cells, len(cells), names=names.of_cluster if names else ())
        if learning.model.n_clusters > 1:
            record = _record(learning, cells, raw, seed, device, argv, reading, identities)
            parts.append(LearnedPart(group, replace(study.saved, model=learning.model), learning, cells, record))
            model = refined(model, group, learning.model)
            result = replace(result, parts=model.parts[-1].numbers)
        results.append(result)
    save_refined(output, source, parts, force=force)
    return tuple(results)


def _cells_around(
    study: AssignStudy, group: tuple[int, ...], of_group: ClusterCells, of_all: ClusterCells | None
) -> CellsAround | None:
    """The cells outside a group, of random cells of all clusters; None without them."""
    if of_all is None:
        return None
    return cells_around(study.saved.model, group, of_all.cells.values, 1 - of_group.n_cells / of_all.n_cells)


def _cells_of_all_clusters(study: AssignStudy, seed: int) -> ClusterCells:
    """Random cells of all files, and the number of all cells."""
    passing = None if study.quality is None else study.quality.passing()
    cells = draw_cells(study.files, at_most=MOST_CELLS, seed=seed, passing=passing)
    n_cells = sum(file.n_events for file in study.files) if passing is None else sum(map(len, passing))
    return ClusterCells(cells, n_cells)


def _refuse(study: AssignStudy, group: tuple[int, ...], n_cells: int) -> None:
    names = ", ".join(str(file.file.path) for file in study.files)
    field = f"cluster{'s' * (len(group) > 1)} {', '.join(map(str, group))}"
    expected = f"at least {FEWEST_CELLS} cells, to find populations among them"
    raise InputError(names, field, f"{n_cells} cells", expected, "Name more files, or another cluster.")


def _record(
    learning: Learning,
    cells: CellTable,
    files: Sequence[EventFile],
    seed: int,
    device: str,
    argv: Sequence[str],
    reading: Mapping[str, object] | None,
    identities: Mapping[Path, FileIdentity] | None,
) -> RunRecord:
    """How a part came about."""
    per_file = np.bincount(cells.source, minlength=len(files)).tolist()
    inputs = input_records(files, per_file, identities)
    return RunRecord(tuple(argv), seed, device, inputs, learning.seconds, reading=reading or {})
