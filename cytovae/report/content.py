"""The numbers of a report: one pass over the files for clusters and probabilities, a sample of cells for the rest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.inference.trained_model import SavedModel
from cytovae.metrics import Contingency, ScoreReport
from cytovae.model_folder.record import ModelRecord

DOUBTFUL, SURE = 0.5, 0.9


ODD, STRANGE = 0.5, 0.9  # novelty


_MOST_NAMED = 4  # markers named as a cluster's own


@dataclass(frozen=True, eq=False)
class Sample:
    """One file: ``counts`` int64 (n_clusters,), all its cells by cluster, whether the model learned from it, what the
    sample sheet says of it, and how many of its cells are of low probability and high novelty.
    """

    name: str
    path: str
    counts: NDArray[np.int64]
    learned_from: bool
    about: tuple[str, ...] = ()
    n_doubtful: int = 0
    n_strange: int = 0

    def title(self, sheet: SampleSheet) -> str:
        """The sample's name where the sheet has one, else the file's."""
        return self.about[sheet.columns.index("sample")] or self.name if "sample" in sheet.columns else self.name

    @property
    def n_cells(self) -> int:
        """All cells of the file."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells: transformed ``values`` float32 (n, n_markers), ``cluster`` int32 (n,) from 1, ``probability``
    float32 (n,) of that cluster, ``population`` int32 (n,), −1 where ungated or where there are no gates, and
    ``novelty`` float32 (n,), where the model tells it.
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
    """Landmarks of the files at hand, with the UMAP ``coordinates`` float32 (n, 2) that training gave them, and the
    place of each one's file among the samples, ``source`` int64 (n,).
    """

    coordinates: NDArray[np.float32]
    source: NDArray[np.int64]
    cells: Cells


@dataclass(frozen=True, eq=False)
class Agreement:
    """Clusters against manual gates: the names of populations, the counted pairs, and the scores made of them."""

    names: tuple[str, ...]
    table: Contingency
    scores: ScoreReport


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows.

    ``cells`` are the sample that medians and distributions are taken from. ``medians`` (n_clusters, n_markers) are on
    the transformed scale, NaN for a cluster without a cell in it. ``probability`` float32 (n,), ``cluster`` int32 (n,)
    and ``novelty`` float32 (n,), where the model tells it, are of all cells, file after file. With ``names`` clusters
    are the populations of that table, and ``sheet`` names the columns of what is known of each sample.
    """

    saved: SavedModel
    record: ModelRecord
    samples: tuple[Sample, ...]
    cluster: NDArray[np.int32]
    probability: NDArray[np.float32]
    cells: Cells
    medians: NDArray[np.float32]
    landmarks: LandmarkMap | None
    agreement: Agreement | None
    novelty: NDArray[np.float32] | None = None
    names: ClusterNames | None = None
    sheet: SampleSheet = NO_SAMPLES

    @property
    def markers(self) -> tuple[str, ...]:
        """The names of the markers, in the order of the model."""
        return self.saved.panel.names

    @property
    def n_clusters(self) -> int:
        """Clusters of the model, also those without a cell here; with names, the populations."""
        return self.saved.model.n_clusters if self.names is None else len(self.names.populations)

    @property
    def titles(self) -> tuple[str, ...]:
        """What each cluster is called: its number, and its name where it has one."""
        numbers = [str(number) for number in range(1, self.n_clusters + 1)]
        if self.names is None:
            return tuple(numbers)
        return tuple(f"{number} {name}" for number, name in zip(numbers, self.names.populations, strict=True))

    @property
    def counts(self) -> NDArray[np.int64]:
        """All cells by cluster, int64 (n_clusters,)."""
        counts: NDArray[np.int64] = np.bincount(self.cluster, minlength=self.n_clusters + 1)[1:]
        return counts

    @property
    def scaled_medians(self) -> NDArray[np.float32]:
        """The medians with the range of each marker in training as [0, 1]."""
        return self.saved.model.scaling.scale(self.medians)


@dataclass(frozen=True)
class ClusterRow:
    """One line of the table of clusters: its cells, how sure the model is of them, and what sets them apart.

    ``high`` and ``low`` are the markers whose scaled median differs most from the mean over clusters.
    """

    cluster: int
    cells: int
    share: float
    mean_probability: float
    n_doubtful: int
    n_unsure: int
    high: tuple[str, ...]
    low: tuple[str, ...]
    population: str
    purity: float
    n_strange: int = 0


def cluster_rows(content: ReportContent) -> tuple[ClusterRow, ...]:
    """The table of clusters, in the order of their numbers."""
    counts = content.counts
    n_bins = content.n_clusters + 1
    total = np.bincount(content.cluster, weights=content.probability, minlength=n_bins)[1:]
    doubtful = np.bincount(content.cluster[content.probability < DOUBTFUL], minlength=n_bins)[1:]
    unsure = np.bincount(content.cluster[content.probability < SURE], minlength=n_bins)[1:]
    strange = np.zeros(content.n_clusters, dtype=np.int64)
    if content.novelty is not None:
        strange = np.bincount(content.cluster[content.novelty >= STRANGE], minlength=n_bins)[1:]
    scaled = content.scaled_medians
    present = np.flatnonzero(np.isfinite(scaled).all(axis=1))
    contrast = scaled - scaled[present].mean(axis=0)
    rows = []
    for index, count in enumerate(counts.tolist()):
        order = np.argsort(contrast[index]) if index in present else np.empty(0, dtype=np.int64)
        population, purity = _main_population(content.agreement, index + 1)
        rows.append(
            ClusterRow(
                cluster=index + 1,
                cells=count,
                share=count / len(content.cluster),
                mean_probability=float(total[index] / count) if count else float("nan"),
                n_doubtful=int(doubtful[index]),
                n_unsure=int(unsure[index]),
                high=tuple(content.markers[m] for m in order[::-1][:_MOST_NAMED] if contrast[index, m] > 0.1),
                low=tuple(content.markers[m] for m in order[:_MOST_NAMED] if contrast[index, m] < -0.1),
                population=population,
                purity=purity,
                n_strange=int(strange[index]),
            )
        )
    return tuple(rows)


def _main_population(agreement: Agreement | None, cluster: int) -> tuple[str, float]:
    """The population with most of a cluster's gated cells, and its share of them; nothing where none is gated."""
    if agreement is None or cluster not in agreement.table.clusters:
        return "", float("nan")
    column = agreement.table.counts[:, int(np.searchsorted(agreement.table.clusters, cluster))]
    return agreement.table.names[int(column.argmax())], float(column.max() / column.sum())
