"""A trained model in memory: what training returns, and what files need to be assigned."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import ClusterNames
from cytovae.errors import UsageError
from cytovae.events.compensation import NO_COMPENSATION, Compensation
from cytovae.events.panel import Panel
from cytovae.events.transform import Transform
from cytovae.inference.cell_distribution import CellDistribution
from cytovae.inference.novelty import NoveltyScale
from cytovae.naming.naming import Naming
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import ProgressRecord
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import Settings


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network with the scaling of its input and the clusters of its experts.

    A model knows transformed marker values and nothing about files.

    Attributes
    ----------
    network : MoeSimVae
        The network in evaluation mode on the CPU.
    settings : Settings
        The settings it was trained with.
    markers : tuple of str
        Names of the m markers.
    scaling : Scaling
        From transformed values to the input of the network.
    tree : MergeTree
        Merges of the k experts.
    n_clusters : int
        The number of clusters that the tree is cut into: the number found, or the number asked for.
    novelty : NoveltyScale or None
        The scale of novelty; None in models without it.
    distribution : CellDistribution or None
        The distribution of new cells; None in a model that was not trained to generate.
    naming : Naming or None
        Names of populations; None in a model that was trained without a marker table.
    parts : tuple of Part
        In a refined model, what was learned inside clusters, in that order. Their experts follow those of ``network``
        in ``tree`` and ``naming``.

    Raises
    ------
    UsageError
        If the scaling has another number of markers.
    """

    network: MoeSimVae
    settings: Settings
    markers: tuple[str, ...]
    scaling: Scaling
    tree: MergeTree
    n_clusters: int
    novelty: NoveltyScale | None = None
    distribution: CellDistribution | None = None
    naming: Naming | None = None
    parts: "tuple[Part, ...]" = ()

    def __post_init__(self) -> None:
        if len(self.scaling.low) != len(self.markers):
            raise UsageError(f"a scaling of {len(self.scaling.low)} markers does not fit {len(self.markers)} markers")

    @property
    def expert_clusters(self) -> NDArray[np.int32]:
        """The cluster of each expert, shape (k,), from 1."""
        return self.tree.cut(self.n_clusters)

    @property
    def names(self) -> ClusterNames | None:
        """The population of each cluster; None if the model knows no names."""
        return None if self.naming is None else self.naming.of_clusters(self.expert_clusters, self.tree.cells)

    @property
    def cell_names(self) -> ClusterNames | None:
        """The same names for cells, which are unknown if they are unlike anything labelled."""
        names = self.names
        if names is None or self.naming is None:
            return names
        return replace(names, known_below=self.naming.known_below(names))

    @property
    def cluster_cells(self) -> NDArray[np.int64]:
        """Number of training cells in each cluster, shape (highest_cluster,).

        They are in descending order, but for a refined model, in which they are 0 for numbers that are not in use.
        """
        return np.bincount(self.expert_clusters - 1, weights=self.tree.cells).astype(np.int64)

    @property
    def highest_cluster(self) -> int:
        """The highest number of a cluster: ``n_clusters``, or more where a refined model has retired numbers."""
        return int(self.expert_clusters.max())

    @property
    def retired_clusters(self) -> tuple[int, ...]:
        """The numbers up to ``highest_cluster`` that are not in use, ascending."""
        return tuple(sorted(set(range(1, self.highest_cluster + 1)) - set(self.expert_clusters.tolist())))

    def with_clusters(self, n_clusters: int) -> "TrainedModel":
        """The same model with its tree cut into ``n_clusters``, without training.

        Raises
        ------
        UsageError
            If the tree cannot be cut into that many clusters.
        """
        self.tree.cut(n_clusters)
        return replace(self, n_clusters=n_clusters)


@dataclass(frozen=True, eq=False)
class Part:
    """What a refined model learned inside one or more of its clusters.

    Attributes
    ----------
    retired : tuple of int
        The numbers of these clusters.
    numbers : tuple of int
        The numbers of the clusters of ``model`` in the refined model.
    experts : ndarray of int64, shape (r,)
        Their experts in the refined model.
    model : TrainedModel
        A model of their cells. The probability of ``experts`` is shared out among its experts.
    """

    retired: tuple[int, ...]
    numbers: tuple[int, ...]
    experts: NDArray[np.int64]
    model: TrainedModel


@dataclass(frozen=True, eq=False)
class SavedModel:
    """Everything a model folder holds for assigning files.

    Raw values of a file become the input of the model in two steps: compensation, then the transform.

    Attributes
    ----------
    model : TrainedModel
        The trained model.
    panel : Panel
        The markers to find in files.
    transform : Transform
        From raw to transformed values, marker by marker.
    compensation : Compensation
        How files are compensated.

    Raises
    ------
    UsageError
        If model, panel and transform do not have the same markers.
    """

    model: TrainedModel
    panel: Panel
    transform: Transform
    compensation: Compensation = NO_COMPENSATION

    def __post_init__(self) -> None:
        if self.panel.names != self.model.markers or len(self.transform.cofactors) != len(self.panel):
            raise UsageError("panel, transform and model must have the same markers")


@dataclass(frozen=True, eq=False)
class Learning:
    """The result of training.

    Attributes
    ----------
    model : TrainedModel
        The trained model.
    landmarks : ndarray of int64, shape (n,)
        Rows of the landmarks in the table of training cells.
    coordinates : ndarray of float32, shape (n, 2)
        UMAP coordinates of the landmarks.
    codes : ndarray of float32, shape (n, d)
        Latent codes of the landmarks: the posterior means of the trained model.
    clusters : ndarray of int32, shape (n,)
        The cluster that the model assigns each landmark to.
    history : tuple of ProgressRecord
        The losses, every few steps.
    seconds : dict of str to float
        The time that each stage took.
    """

    model: TrainedModel
    landmarks: NDArray[np.int64]
    coordinates: NDArray[np.float32]
    codes: NDArray[np.float32]
    clusters: NDArray[np.int32]
    history: tuple[ProgressRecord, ...]
    seconds: dict[str, float]
