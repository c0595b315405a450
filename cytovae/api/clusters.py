"""Clusters of cells, and their agreement with gates."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN, ClusterNames
from cytovae.api.cells import StudyCells
from cytovae.api.data import as_event_files, as_gates, is_anndata, rows_of
from cytovae.api.model import Model
from cytovae.cells import Assignment, GateLabels
from cytovae.errors import UsageError
from cytovae.metrics import ScoreReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class AssignedCells(Assignment):
    """The cluster of each cell, with probabilities, novelty and the origin of the cell.

    Attributes
    ----------
    cluster : ndarray of int32, shape (n_cells,)
        The most probable cluster, from 1.
    probabilities : ndarray of float32, shape (n_cells, n_clusters)
        Probability of each cluster; rows sum to 1.
    novelty : ndarray of float32, shape (n_cells,) or None
        In [0, 1]; 1 for a cell unlike any training cell. None if the model does not measure it.
    file : ndarray of object, shape (n_cells,)
        Name of the file.
    event : ndarray of int64, shape (n_cells,)
        Row in the file, from 0.
    retired : tuple of int
        Numbers of clusters that are not in use, in a refined model: their probability is 0.
    names : ClusterNames or None
        The population of each cluster, if the model knows names.
    """

    file: NDArray[np.object_] | None = None
    event: NDArray[np.int64] | None = None
    retired: tuple[int, ...] = ()
    names: ClusterNames | None = None

    @property
    def population(self) -> NDArray[np.object_] | None:
        """Name of each cell's population, shape (n_cells,), "unknown" without one; None if the model knows no names."""
        if self.names is None:
            return None
        titles = np.array([UNKNOWN, *self.names.populations], dtype=object)
        return titles[self._population_numbers(self.names)]

    @property
    def population_probability(self) -> NDArray[np.float32] | None:
        """Probability of that population, shape (n_cells,): the sum over its clusters."""
        if self.names is None:
            return None
        return self.names.probability(self.cluster, self.probabilities, self._population_numbers(self.names))

    def _population_numbers(self, names: ClusterNames) -> NDArray[np.int32]:
        return names.numbers_of_cells(self.cluster, self.novelty)

    def to_frame(self) -> "pd.DataFrame":
        """A data frame with the columns that ``cytovae assign`` writes."""
        import pandas as pd

        columns: dict[str, Any] = {"file": self.file, "event": self.event, "cluster": self.cluster}
        columns["probability"] = self.probabilities.max(axis=1)
        if self.names is not None:
            columns |= {"population": self.population, "population_probability": self.population_probability}
        if self.novelty is not None:
            columns["novelty"] = self.novelty
        numbered = enumerate(self.probabilities.T, start=1)
        columns |= {f"p_{number}": p for number, p in numbered if number not in self.retired}
        return pd.DataFrame(columns)


def assign(
    model: Model, data: Any, *, device: str = "cpu", threads: int | None = None, **reading: Any
) -> AssignedCells:
    """Assign cells to the clusters of a model.

    Parameters
    ----------
    model : Model
        The model.
    data
        The cells, in the units that the model was trained on: as for :func:`read_cells`, or its result. Compensation
        and transform are those of the model. An AnnData also receives ``obs["cytovae_cluster"]``,
        ``obs["cytovae_probability"]``, ``obsm["X_cytovae"]``, the latent codes, and with a model that knows names
        ``obs["cytovae_population"]``.
    device : str
        Device of the network.
    threads : int, optional
        Number of threads. Default: one for each processor.
    **reading
        ``markers`` (for an array), ``layer`` and ``file_key``, see :func:`read_cells`.

    Returns
    -------
    AssignedCells
        Clusters, probabilities and novelty, in the order of the cells.

    Raises
    ------
    ModelError
        If a marker is missing.

    Examples
    --------
    >>> import cytovae as cv
    >>> model = cv.load_model("tests/golden/schema1/model")
    >>> assigned = cv.assign(model, "sample_data/donor1_baseline.fcs")
    >>> len(assigned), assigned.to_frame().columns[:4].tolist()
    (2200, ['file', 'event', 'cluster', 'probability'])
    """
    from cytovae.environment import n_processors
    from cytovae.inference.assigner import Assigner, assign_table
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.assign_study import assigned_chunks, open_assign_study

    use_threads(1)
    assigner = Assigner(model.saved.model, resolve_device(device))
    if isinstance(data, StudyCells):
        table = data.table
        if table.markers != model.markers:
            raise UsageError(f"the cells have the markers {', '.join(table.markers)}, the model has others")
        names = np.array(table.files, dtype=object)[table.source]
        return _of_model(_joined([assign_table(assigner, table)], names, table.event), model)
    study = open_assign_study(model.saved, as_event_files(data, **reading), assigner)
    workers = threads or n_processors()
    chunks = [chunk for file in study.files for chunk in assigned_chunks(file, assigner, workers=workers)]
    names = np.concatenate([np.full(file.n_events, file.name, dtype=object) for file in study.files])
    events = np.concatenate([np.arange(file.n_events) for file in study.files])
    assigned = _of_model(_joined(chunks, names, events), model)
    if is_anndata(data):
        order = np.argsort(np.concatenate([rows_of(file, len(data)) for file in study.raw]))
        assigned = _in_order(assigned, order)
        data.obs["cytovae_cluster"] = assigned.cluster
        data.obs["cytovae_probability"] = assigned.probabilities.max(axis=1)
        if assigned.population is not None:
            data.obs["cytovae_population"] = assigned.population
        data.obsm["X_cytovae"] = np.concatenate([assigner.codes(file.values()) for file in study.files])[order]
    return assigned


def score(clusters: Any, gates: Any) -> ScoreReport:
    """Agreement of clusters with manual gates.

    Parameters
    ----------
    clusters : AssignedCells, Assignment or array-like of int, shape (n_cells,)
        The cluster of each cell, from 1; 0 is unassigned.
    gates : GateLabels or array-like, shape (n_cells,)
        The population of each cell; empty text, NaN or None is ungated, and not scored.

    Returns
    -------
    ScoreReport
        F-measures, ARI, NMI and accuracy, and the best cluster of each population.

    Examples
    --------
    >>> import cytovae as cv
    >>> cv.score([1, 1, 2, 2], ["B", "B", "T", ""]).f1_mean
    1.0
    """
    from cytovae.metrics import score as score_arrays

    found = clusters.cluster if isinstance(clusters, Assignment) else np.asarray(clusters)
    return score_arrays(found, gates if isinstance(gates, GateLabels) else as_gates(gates))


def _joined(chunks: list[Assignment], names: NDArray[np.object_], events: NDArray[np.int64]) -> AssignedCells:
    novelty = [chunk.novelty for chunk in chunks if chunk.novelty is not None]
    return AssignedCells(
        np.concatenate([chunk.cluster for chunk in chunks]),
        np.concatenate([chunk.probabilities for chunk in chunks]),
        np.concatenate(novelty) if novelty else None,
        file=names,
        event=events,
    )


def _of_model(cells: AssignedCells, model: Model) -> AssignedCells:
    """The cells with the names that the model knows."""
    return replace(cells, retired=model.saved.model.retired_clusters, names=model.saved.model.cell_names)


def _in_order(cells: AssignedCells, order: NDArray[np.int64]) -> AssignedCells:
    """The cells in the order of an AnnData, in which the cells of a file may lie anywhere."""
    file, event, novelty = cells.file, cells.event, cells.novelty
    return replace(
        cells,
        cluster=cells.cluster[order],
        probabilities=cells.probabilities[order],
        novelty=None if novelty is None else novelty[order],
        file=None if file is None else file[order],
        event=None if event is None else event[order],
    )
