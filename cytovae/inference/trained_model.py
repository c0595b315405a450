"""A trained model: everything needed to assign transformed marker values, and nothing about files."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.events.compensation import NO_COMPENSATION, Compensation
from cytovae.events.panel import Panel
from cytovae.events.transform import Transform
from cytovae.inference.cell_distribution import CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import ProgressRecord
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import Settings


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in evaluation mode on the CPU, with the scaling of its inputs and the clusters its experts make.

    ``n_clusters`` says where ``tree`` is cut: the number found, or the one asked for. ``novelty`` is what unlikeness is
    measured by, None where that is not known, and ``distribution`` what cells are generated from, None in a model that
    was not trained to generate.
    """

    network: MoeSimVae
    settings: Settings
    markers: tuple[str, ...]
    scaling: Scaling
    tree: MergeTree
    n_clusters: int
    novelty: NoveltyScale | None = None
    distribution: CellDistribution | None = None

    def __post_init__(self) -> None:
        if len(self.scaling.low) != len(self.markers):
            raise UsageError(f"a scaling of {len(self.scaling.low)} markers does not fit {len(self.markers)}")

    @property
    def expert_clusters(self) -> NDArray[np.int32]:
        """The cluster of each expert (k,), from 1."""
        return self.tree.cut(self.n_clusters)

    @property
    def cluster_cells(self) -> NDArray[np.int64]:
        """Training cells in each cluster, (n_clusters,), falling."""
        return np.bincount(self.expert_clusters - 1, weights=self.tree.cells).astype(np.int64)

    def with_clusters(self, n_clusters: int) -> "TrainedModel":
        """The same model cut into ``n_clusters``; no training. Raises :class:`UsageError` where it cannot be."""
        self.tree.cut(n_clusters)
        return replace(self, n_clusters=n_clusters)


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a model folder holds for assigning: the model, the panel to look for in files, and how their raw values
    become what the model sees: compensation first, then the transform.
    """

    model: TrainedModel
    panel: Panel
    transform: Transform
    compensation: Compensation = NO_COMPENSATION

    def __post_init__(self) -> None:
        if self.panel.names != self.model.markers or len(self.transform.cofactors) != len(self.panel):
            raise UsageError("panel, transform and model are not of the same markers")


@dataclass(frozen=True, eq=False)
class Learning:
    """What learning leaves behind beside the model: the landmarks (rows of the cell table), their UMAP coordinates
    (n, 2), the records of training and the seconds of each stage.
    """

    model: TrainedModel
    landmarks: NDArray[np.int64]
    coordinates: NDArray[np.float32]
    history: tuple[ProgressRecord, ...]
    seconds: dict[str, float]
