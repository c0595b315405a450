"""The methods of the benchmark with prior knowledge: from cells and knowledge to named cells.

A marker table says what populations are (``cytovae:types``, ``scyan``); the gates of some files teach the others
(``cytovae:labels``, ``lda``, ``knn``). Settings are fixed and the same for every data set. scyan is BSD-licensed and
comes with the extra ``scyan``; it is imported in the process of a job only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.known_labels import known_labels
from cytovae.annotations.marker_table import PanelTypes, read_marker_table, types_of_panel
from cytovae.benchmark.datasets import DataSet
from cytovae.benchmark.methods import Clock, Run, from_extra, method_name
from cytovae.cells import UNGATED, CellTable, GateLabels
from cytovae.study.sampling import choose_landmarks

if TYPE_CHECKING:
    from cytovae.inference.trained_model import TrainedModel

Knowledge = Literal["types", "train_files"]

KNOWLEDGE: dict[str, Knowledge] = {
    "cytovae:types": "types",
    "scyan": "types",
    "cytovae:labels": "train_files",
    "lda": "train_files",
    "knn": "train_files",
}
"""What each method needs: the field of the data set that says it."""

FEWEST_CELLS = 30
"""Populations with fewer cells, in the cells that teach or in those that are scored, do not count in scores by name."""

MOST_CELLS_OF_SCYAN = 20_000
NEIGHBORS, MOST_CELLS_OF_NEIGHBORS = 15, 20_000
SCYAN_BATCH = 1_024


@dataclass(frozen=True, eq=False)
class Named:
    """The names of all cells, and the time it took to find them.

    Attributes
    ----------
    cluster : ndarray of int32, shape (n_cells,)
        Cluster of each cell, from 1; 0 = unassigned. Where a method finds names only, a name is a cluster.
    number : ndarray of int32, shape (n_cells,)
        The name of each cell: 1 for the first of ``names``; 0 = unknown.
    names : tuple of str
        The names that the method could give.
    wall_seconds, cpu_seconds : float
        Of learning and naming, without reading and importing.
    """

    cluster: NDArray[np.int32]
    number: NDArray[np.int32]
    names: tuple[str, ...]
    wall_seconds: float
    cpu_seconds: float


def knowledge_of(run: Run) -> Knowledge | None:
    """What the method of ``run`` needs to know; None if nothing."""
    return KNOWLEDGE.get(method_name(run))


def taught(dataset: DataSet, cells: CellTable) -> NDArray[np.bool_]:
    """The cells (n_cells,) of the files that teach."""
    return np.isin(cells.source, [dataset.files.index(file) for file in dataset.train_files])


def large_populations(gates: GateLabels) -> frozenset[str]:
    """The populations with at least 30 cells."""
    sizes = np.bincount(gates.population[gates.population != UNGATED], minlength=len(gates.names))
    return frozenset(name for name, size in zip(gates.names, sizes, strict=True) if size >= FEWEST_CELLS)


def name_cells(
    run: Run, dataset: DataSet, cells: CellTable, gates: GateLabels, learn: NDArray[np.bool_] | None = None
) -> Named:
    """Name cells with a method in :data:`KNOWLEDGE`.

    Parameters
    ----------
    run : Run
        The method and its settings.
    dataset : DataSet
        Where the knowledge is.
    cells : CellTable
        All cells to name.
    gates : GateLabels
        Their gates. Only those of the cells that teach are read, by methods that learn from gates.
    learn : ndarray of bool, shape (n_cells,), optional
        The cells to learn from; scyan sees all cells. Default: all.

    Raises
    ------
    InputError
        If the marker table does not fit the cells, or the cells that teach have fewer than two populations.
    """
    learn = np.ones(len(cells), dtype=np.bool_) if learn is None else learn
    if knowledge_of(run) == "types":
        return (_scyan if run.method == "scyan" else _by_table)(run, dataset, cells, learn)
    rows = np.flatnonzero(learn)
    labels = _labels(dataset, gates, rows)
    return (_by_labels if run.method == "cytovae" else _by_classifier)(run, cells, rows, labels)


def _by_table(run: Run, dataset: DataSet, cells: CellTable, learn: NDArray[np.bool_]) -> Named:
    """``cytovae train --types``, then ``assign``."""
    from cytovae.study.train_model import learn as train

    types = _types(dataset, cells)
    clock = Clock()
    model = train(cells.take(np.flatnonzero(learn)), run.settings(), seed=run.seed, device=run.device, types=types)
    return _assigned(model, cells, types.populations, run, clock)


def _by_labels(run: Run, cells: CellTable, rows: NDArray[np.intp], labels: GateLabels) -> Named:
    """``cytovae train --labels``, then ``assign``."""
    from cytovae.study.train_model import learn as train

    clock = Clock()
    model = train(cells.take(rows), run.settings(), seed=run.seed, device=run.device, labels=labels)
    return _assigned(model, cells, labels.names, run, clock)


def _assigned(model: "TrainedModel", cells: CellTable, names: tuple[str, ...], run: Run, clock: Clock) -> Named:
    """The names that ``assign`` gives to cells; ``names`` are those of the knowledge, also where no cell has one."""
    from cytovae.inference.assigner import Assigner, assign_table

    assignment = assign_table(Assigner(model, run.device), cells)
    known = model.cell_names
    if known is None:
        raise ValueError("a model that learned names has none")
    number = known.numbers_of_cells(assignment.cluster, assignment.novelty)
    of_known = {name: index for index, name in enumerate(names, start=1)}
    numbers = np.array([0, *(of_known[name] for name in known.populations)], dtype=np.int32)
    return Named(assignment.cluster, numbers[number], names, *clock.read())


def _scyan(run: Run, dataset: DataSet, cells: CellTable, _learn: NDArray[np.bool_]) -> Named:
    """The normalizing flow of Blampey et al. (2023, Brief Bioinform 24:bbad260), with its defaults but smaller batches.

    Its own batches of 8,192 are made for 200,000 cells; 20,000 cells would be two batches. Markers of arcsinh values
    are scaled without centring, others with it, as its documentation advises. Cells below its limit of probability
    are unknown.
    """
    import pandas as pd

    scyan, anndata, lightning = (from_extra(module, "scyan") for module in ("scyan", "anndata", "lightning"))
    types = _types(dataset, cells)
    used = np.flatnonzero(~np.isnan(types.levels).all(axis=0))
    markers = [types.markers[column] for column in used]
    clock = Clock()
    lightning.seed_everything(run.seed, verbose=False)
    data = anndata.AnnData(cells.values[:, used].copy(), var=pd.DataFrame(index=markers))
    scyan.preprocess.scale(data, center=dataset.transform != "arcsinh")
    table = pd.DataFrame(types.levels[:, used], index=list(types.populations), columns=markers)
    model = scyan.Scyan(data, table, batch_size=SCYAN_BATCH)
    model.fit(enable_progress_bar=False, enable_model_summary=False)
    found = model.predict(key_added="named", add_levels=False)
    of_name = {name: index for index, name in enumerate(types.populations, start=1)}
    number = np.array([of_name.get(name, 0) for name in found], dtype=np.int32)
    return Named(number, number, types.populations, *clock.read())


def _by_classifier(run: Run, cells: CellTable, rows: NDArray[np.intp], labels: GateLabels) -> Named:
    """A classifier of scikit-learn: linear discriminants, or the nearest of at most 20,000 labelled cells."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import KNeighborsClassifier

    labelled = np.flatnonzero(labels.population != UNGATED)
    clock = Clock()
    if run.method == "knn":
        labelled = labelled[choose_landmarks(len(labelled), MOST_CELLS_OF_NEIGHBORS, run.seed)]
    classifier: Any = LinearDiscriminantAnalysis() if run.method == "lda" else KNeighborsClassifier(NEIGHBORS)
    classifier.fit(cells.values[rows[labelled]], labels.population[labelled])
    number = classifier.predict(cells.values).astype(np.int32) + 1
    return Named(number, number, labels.names, *clock.read())


def _types(dataset: DataSet, cells: CellTable) -> PanelTypes:
    """The marker table of a data set, for the markers of its cells."""
    path = Path(dataset.types or "")
    return types_of_panel(read_marker_table(path), cells.markers, path)


def _labels(dataset: DataSet, gates: GateLabels, rows: NDArray[np.intp]) -> GateLabels:
    """The gates of ``rows``, as labels to learn from."""
    return known_labels(GateLabels(gates.population[rows], gates.names), f"train_files of {dataset.name}").labels
