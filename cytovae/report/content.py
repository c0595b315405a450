"""The content of a report: types only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_gates import ClusterGates
from cytovae.annotations.cluster_names import UNKNOWN, ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.inference.trained_model import SavedModel
from cytovae.metrics import Contingency, ScoreReport
from cytovae.model_folder.record import ModelRecord
from cytovae.populations.merge_tree import FAIR_SUPPORT
from cytovae.report.explored import ExploredCells
from cytovae.report.file_differences import FileDifferences, warnings_of
from cytovae.report.warning import ReportWarning, some_of

# Limits that the report counts cells by.
LOW_PROBABILITY, FAIR_PROBABILITY = 0.5, 0.9
FAIR_NOVELTY, HIGH_NOVELTY = 0.5, 0.9

MANY_NOVEL = 0.05
"""A larger share of cells of high novelty in a file causes a warning; among the training cells there are hardly any."""

_UNSUPPORTED = (
    "Other samples of the training cells divide these cells in another way. Do not rely on such a cluster by itself; "
    "a coarser cut (--clusters N) may join it with its neighbour."
)
_UNLIKE_TRAINING = (
    "Check the panel, the staining and the compensation of the file, or train with it: its cells get clusters that "
    "were learned from other cells."
)


@dataclass(frozen=True, eq=False)
class ReportFile:
    """One file of the report.

    Attributes
    ----------
    name, path : str
        Its name in tables, and where it is.
    counts : ndarray of int64, shape (n_clusters,)
        Number of cells in each cluster.
    in_training : bool
        Whether the model was trained on it.
    sample : tuple of str
        Its row of the sample sheet.
    n_low_probability, n_high_novelty : int
        Number of cells with a probability below 0.5, and with a novelty of 0.9 or more.
    """

    name: str
    path: str
    counts: NDArray[np.int64]
    in_training: bool
    sample: tuple[str, ...] = ()
    n_low_probability: int = 0
    n_high_novelty: int = 0
    support: float | None = None

    def title(self, sheet: SampleSheet) -> str:
        """The name of the sample, if the sheet has one, else of the file."""
        return self.sample[sheet.columns.index("sample")] or self.name if "sample" in sheet.columns else self.name

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of the files.

    Attributes
    ----------
    values : ndarray of float32, shape (n, n_markers)
        Marker values.
    cluster : ndarray of int32, shape (n,)
        Cluster, from 1.
    probability : ndarray of float32, shape (n,)
        Probability of that cluster.
    population : ndarray of int32, shape (n,)
        Gate, from 0; −1 for an ungated cell and if there are no gates.
    novelty : ndarray of float32, shape (n,), or None
        Novelty; None if the model does not measure it.
    """

    values: NDArray[np.float32]
    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    population: NDArray[np.int32]
    novelty: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class LandmarkMap:
    """The landmarks that come from files of the report.

    Attributes
    ----------
    coordinates : ndarray of float32, shape (n, 2)
        UMAP coordinates from training.
    source : ndarray of int64, shape (n,)
        Index of each landmark's file in the report.
    cells : Cells
        The landmarks themselves.
    """

    coordinates: NDArray[np.float32]
    source: NDArray[np.int64]
    cells: Cells


@dataclass(frozen=True, eq=False)
class Agreement:
    """Clusters compared with manual gates: names of the gates, cells in each pair, and the scores."""

    names: tuple[str, ...]
    table: Contingency
    scores: ScoreReport


@dataclass(frozen=True, eq=False)
class Groups:
    """All cells in groups: the clusters of the model, or the named populations.

    Attributes
    ----------
    titles : tuple of str
        Title of each group, for legends and rows.
    numbers : tuple of str
        Short label of each group, for bars.
    counts : ndarray of int64, shape (n_files, n_groups)
        Cells of each file in each group.
    medians : ndarray of float32, shape (n_groups, n_markers)
        Medians of marker values; NaN for a group without cells in the sample.
    clusters : tuple of tuple of int
        The clusters of each group, from 1.
    """

    titles: tuple[str, ...]
    numbers: tuple[str, ...]
    counts: NDArray[np.int64]
    medians: NDArray[np.float32]
    clusters: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Cells in each group, int64 (n_groups,)."""
        return np.asarray(self.counts.sum(axis=0))


@dataclass(frozen=True, eq=False)
class NamedPopulations:
    """The populations that clusters are named after; cells without one form the last, "unknown".

    Attributes
    ----------
    names : ClusterNames
        The population of each cluster, and the novelty above which its cells have none.
    groups : Groups
        Their cells.
    mean_probability : ndarray of float64, shape (n_populations,)
        Mean over their cells of the probability of the population; NaN without cells.
    agreement : Agreement or None
        Populations compared with manual gates, where unknown cells are unassigned; None without gates.
    """

    names: ClusterNames
    groups: Groups
    mean_probability: NDArray[np.float64]
    agreement: Agreement | None


def population_titles(names: ClusterNames) -> tuple[str, ...]:
    """The populations in the order of their numbers, then "unknown" if a cell may have none."""
    return (*names.populations, UNKNOWN) if UNKNOWN in names.of_cluster or names.known_below else names.populations


def population_groups(
    names: ClusterNames, cluster: NDArray[np.int32], novelty: NDArray[np.float32] | None
) -> NDArray[np.int64]:
    """The population of each cell (n,) as an index into :func:`population_titles`."""
    number = names.numbers_of_cells(cluster, novelty)
    return np.where(number > 0, number - 1, len(names.populations)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything that a report shows.

    Attributes
    ----------
    saved, record
        The model and how it came about.
    files : tuple of ReportFile
        The files.
    cluster, probability, novelty : ndarray, shape (n,)
        Cluster (int32, from 1), its probability (float32) and novelty (float32 or None) of all cells, file by file.
    cells : Cells
        The sample of cells that medians and distributions are computed from.
    medians : ndarray of float32, shape (n_clusters, n_markers)
        Medians of marker values; NaN for a cluster without cells in the sample.
    explored : ExploredCells
        The cells that the interactive part of the page draws.
    landmarks : LandmarkMap or None
        None if the model was not trained on any of the files.
    agreement : Agreement or None
        None if there are no gates.
    gates_of_clusters : tuple of ClusterGates
        The gates of the cells of each cluster; empty if there are no gates.
    names : ClusterNames or None
        Names of the clusters; several clusters may share a name.
    named : NamedPopulations or None
        The populations of these names; None without names.
    sheet : SampleSheet
        What is known of each file.
    differences : FileDifferences or None
        How the files differ; None for one file.
    """

    saved: SavedModel
    record: ModelRecord
    files: tuple[ReportFile, ...]
    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    cells: Cells
    medians: NDArray[np.float32]
    explored: ExploredCells
    landmarks: LandmarkMap | None
    agreement: Agreement | None
    novelty: NDArray[np.float32] | None = None
    gates_of_clusters: tuple[ClusterGates, ...] = ()
    names: ClusterNames | None = None
    named: NamedPopulations | None = None
    sheet: SampleSheet = NO_SAMPLES
    differences: FileDifferences | None = None

    @property
    def warnings(self) -> tuple[ReportWarning, ...]:
        """What a user should know about the files and the clusters."""
        found: list[ReportWarning] = []
        if self.differences is not None:
            found += warnings_of(self.differences, tuple(file.name for file in self.files), self.markers)
        if novel := [file.name for file in self.files if file.n_high_novelty > MANY_NOVEL * file.n_cells]:
            text = f"more than {MANY_NOVEL:.0%} of the cells are unlike those in training: {some_of(novel)}"
            found.append(ReportWarning(text, _UNLIKE_TRAINING, "novelty"))
        support = self.saved.model.tree.cluster_support(self.saved.model.n_clusters) if self.n_clusters > 1 else None
        if support is not None and (low := [str(row + 1) for row in np.flatnonzero(support < FAIR_SUPPORT).tolist()]):
            which = "a cluster is" if len(low) == 1 else "clusters are"
            text = f"{which} not always found again (support below {FAIR_SUPPORT:g}): {some_of(low)}"
            found.append(ReportWarning(text, _UNSUPPORTED, "clusters"))
        return tuple(found)

    @property
    def markers(self) -> tuple[str, ...]:
        """Names of the markers, in the order of the model."""
        return self.saved.panel.names

    @property
    def n_clusters(self) -> int:
        """Highest number of a cluster: the number of clusters, or more in a refined model."""
        return self.saved.model.highest_cluster

    @property
    def titles(self) -> tuple[str, ...]:
        """The number of each cluster, followed by its name if it has one.

        A number that a refined model retired has no cells.
        """
        retired = self.saved.model.retired_clusters
        numbers = [
            f"{number} (refined)" if number in retired else f"{number}" for number in range(1, self.n_clusters + 1)
        ]
        if self.names is None:
            return tuple(numbers)
        return tuple(f"{number} {name}" for number, name in zip(numbers, self.names.of_cluster, strict=True))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of cells in each cluster, int64 (n_clusters,)."""
        counts: NDArray[np.int64] = np.bincount(self.cluster, minlength=self.n_clusters + 1)[1:]
        return counts

    @property
    def clusters(self) -> Groups:
        """The clusters as groups of cells."""
        numbers = tuple(str(number) for number in range(1, self.n_clusters + 1))
        each = tuple((number,) for number in range(1, self.n_clusters + 1))
        return Groups(self.titles, numbers, np.stack([file.counts for file in self.files]), self.medians, each)

    def scaled(self, medians: NDArray[np.float32]) -> NDArray[np.float32]:
        """Medians (n, n_markers) with the range of each marker in training scaled to [0, 1]."""
        return self.saved.model.scaling.scale(medians)


@dataclass(frozen=True)
class ClusterRow:
    """One row of the table of clusters.

    Attributes
    ----------
    cluster : int
        Number of the cluster, from 1.
    cells, share : int, float
        Number of its cells, and their share of all cells.
    mean_probability : float
        NaN for a cluster without cells.
    n_low_probability, n_fair_probability : int
        Number of cells with a probability below 0.5 and below 0.9.
    high, low : tuple of str
        The markers whose scaled median is highest and lowest compared with the mean over clusters.
    gates : ClusterGates or None
        The gates of its cells; None without gates.
    n_high_novelty : int
        Number of cells with a novelty of 0.9 or more.
    support : float or None
        How well the cluster is found again in other samples, 0 to 1; None if it was not measured.
    signature : str
        Levels of its markers, such as "CD3+ CD4-", if the model knows a marker table but no name for it.
    """

    cluster: int
    cells: int
    share: float
    mean_probability: float
    n_low_probability: int
    n_fair_probability: int
    high: tuple[str, ...]
    low: tuple[str, ...]
    gates: ClusterGates | None = None
    n_high_novelty: int = 0
    support: float | None = None
    signature: str = ""
