"""The methods of the benchmark without prior knowledge: from cells to clusters.

Settings are fixed and the same for every data set. A method that needs the number of clusters is run with each of
:data:`NUMBERS_OF_CLUSTERS`, and the tree of cytovae is cut into as many clusters. FlowSOM and PhenoGraph are
licensed under the GPL and come with the extra ``baselines``; no other module imports them, and this one only in the
process of a job.
"""

import importlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.settings import Settings

NUMBERS_OF_CLUSTERS = (10, 15, 20, 25, 30, 40)

METHODS = ("cytovae", "flowsom", "phenograph", "kmeans", "gmm", "umap+hdbscan", "scyan", "lda", "knn")

KNOWING = ("types", "labels")
"""Variants of cytovae that are no presets: the default that learns from a marker table, or from labels."""

NEEDS_NUMBER = ("flowsom", "kmeans", "gmm")
"""Methods that need the number of clusters."""

LABELS = "labels"
"""The method of labels that another tool wrote to a file: read and scored, never run."""

ASSIGNS_NEW_CELLS = ("cytovae", "flowsom", "kmeans", "gmm", "lda", "knn")
"""Methods that can learn from some cells and assign others. The other methods see all cells, held-out ones too."""


CELLS_AT_ONCE = 50_000
"""About so many cells are assigned at once to a cut of a tree."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """The clusters of all cells, and the time it took to find them.

    Attributes
    ----------
    number : int
        The number of clusters that the method was given; 0 if it finds the number itself.
    cluster : ndarray of int32, shape (n_cells,)
        Cluster of each cell, from 1; 0 = unassigned.
    wall_seconds, cpu_seconds : float or None
        Of the clustering alone, without reading and importing, but with just-in-time compilation. None for a cut of a
        model whose training another clustering has counted.
    """

    number: int
    cluster: NDArray[np.int32]
    wall_seconds: float | None
    cpu_seconds: float | None


@dataclass(frozen=True)
class Run:
    """The settings of a method. None of them depends on labels.

    ``numbers`` are the numbers of clusters to run it with, or to cut the tree of cytovae into. ``variant`` is a preset
    of cytovae ("" = the default) or one of :data:`KNOWING`, and ``steps`` replaces the number of training steps of that
    preset. For the method :data:`LABELS`, ``variant`` is the name of the tool and ``labels`` the file of its labels, as
    ``FILE`` or ``FILE:COLUMN``.
    """

    method: str
    numbers: tuple[int, ...] = ()
    variant: str = ""
    seed: int = 0
    threads: int = 1
    steps: int | None = None
    device: str = "cpu"
    labels: str = ""

    def settings(self) -> "Settings":
        """The settings of cytovae, without support, which clusters do not depend on.

        Raises :class:`UsageError` for an unknown preset.
        """
        from cytovae.settings import preset

        settings = replace(preset("default" if self.variant in ("", *KNOWING) else self.variant), support=0)
        return settings if self.steps is None else replace(settings, steps=self.steps)


def method_name(run: Run) -> str:
    """The name of a method in tables, with its variant if it has one: "cytovae:paper-weber"."""
    return f"{run.method}:{run.variant}" if run.variant else run.method


class Clock:
    """Measures wall and CPU seconds since its creation, with those of finished child processes."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._cpu = cpu_seconds()

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds."""
        return time.monotonic() - self._wall, cpu_seconds() - self._cpu


def cpu_seconds() -> float:
    """CPU seconds of this process and its finished children."""
    return sum(os.times()[:4])


def cluster(run: Run, cells: CellTable, learn: NDArray[np.bool_] | None = None) -> Iterator[Clustering]:
    """Cluster cells with one method.

    Parameters
    ----------
    run : Run
        The method and its settings.
    cells : CellTable
        All cells to cluster.
    learn : ndarray of bool, shape (n_cells,), optional
        The cells to learn from, for methods in :data:`ASSIGNS_NEW_CELLS`. Default: all.

    Yields
    ------
    Clustering
        One for each number in ``run.numbers``; a single one if the method finds the number itself. cytovae has one for
        the number that it finds, then one for each number that its tree can be cut into.
    """
    learn = np.ones(len(cells), dtype=np.bool_) if learn is None else learn
    match run.method:
        case "cytovae":
            yield from _cytovae(run, cells, learn)
        case "flowsom":
            yield from _flowsom(run, cells.values, learn)
        case "kmeans":
            yield from _kmeans(run, cells.values, learn)
        case "gmm":
            yield from _gmm(run, cells.values, learn)
        case "phenograph":
            yield _phenograph(run, cells.values)
        case "umap+hdbscan":
            yield _umap_hdbscan(run, cells.values)
        case unknown:
            raise UsageError(f"no clustering method is called {unknown}")


def _cytovae(run: Run, cells: CellTable, learn: NDArray[np.bool_]) -> Iterator[Clustering]:
    """One model of cytovae; then cuts of its tree."""
    from cytovae.inference.assigner import assign
    from cytovae.study.train_model import learn as train

    clock = Clock()
    model = train(cells.take(np.flatnonzero(learn)), run.settings(), seed=run.seed, device=run.device)
    assignment = assign(model, cells.values, device=run.device)
    yield Clustering(0, assignment.cluster, *clock.read())
    del assignment
    for number in run.numbers:
        try:
            cut = replace(model.with_clusters(number), novelty=None)
        except UsageError:  # the tree cannot be cut into that many clusters: there is no such result
            continue
        # In blocks, so that the probabilities of many clusters do not count as memory of the method.
        blocks = np.array_split(cells.values, max(1, len(cells) // CELLS_AT_ONCE))
        labels = np.concatenate([assign(cut, block, device=run.device).cluster for block in blocks])
        yield Clustering(number, labels, None, None)


def _flowsom(run: Run, values: NDArray[np.float32], learn: NDArray[np.bool_]) -> Iterator[Clustering]:
    """FlowSOM (Van Gassen et al. 2015): a 10 × 10 self-organising map whose nodes are merged into K clusters.

    The map depends on the seed but not on K, so it is trained once. The seconds of a result are those of the map plus
    those of its own merging. The estimators are called directly because ``FlowSOM(…, cluster_kwargs={"seed": …})``
    silently drops the seed.
    """
    models: Any = from_extra("flowsom.models")
    data = values.astype(np.float64)
    clock = Clock()
    grid = models.SOMEstimator(xdim=10, ydim=10, rlen=10, seed=run.seed)
    grid.fit(data[learn])
    node = np.asarray(grid.labels_ if learn.all() else grid.predict(data)).astype(np.int64)
    map_wall, map_cpu = clock.read()
    for number in run.numbers:
        clock = Clock()
        merged = np.asarray(models.ConsensusCluster(n_clusters=number).fit_predict(grid.codes))
        labels = merged[node].astype(np.int32) + 1
        wall, cpu = clock.read()
        yield Clustering(number, labels, map_wall + wall, map_cpu + cpu)


def _kmeans(run: Run, values: NDArray[np.float32], learn: NDArray[np.bool_]) -> Iterator[Clustering]:
    """Lloyd's k-means, the best of ten k-means++ initialisations."""
    from sklearn.cluster import KMeans

    for number in run.numbers:
        clock = Clock()
        model = KMeans(n_clusters=number, n_init=10, random_state=run.seed).fit(values[learn])
        yield Clustering(number, model.predict(values).astype(np.int32) + 1, *clock.read())


def _gmm(run: Run, values: NDArray[np.float32], learn: NDArray[np.bool_]) -> Iterator[Clustering]:
    """A mixture of Gaussians with full covariances, initialised with k-means."""
    from sklearn.mixture import GaussianMixture

    for number in run.numbers:
        clock = Clock()
        data = values.astype(np.float64)
        # The ridge of 10⁻³ keeps a covariance regular if a marker is 0 in a whole population.
        model = GaussianMixture(number, covariance_type="full", reg_covar=1e-3, random_state=run.seed).fit(data[learn])
        yield Clustering(number, model.predict(data).astype(np.int32) + 1, *clock.read())


def _phenograph(run: Run, values: NDArray[np.float32]) -> Clustering:
    """PhenoGraph (Levine et al. 2015) with its defaults: 30 neighbours, Jaccard graph, Louvain.

    Its Louvain program takes no seed, so another seed just runs it again. Outliers become 0 (unassigned). It writes
    files into the working folder, which is the job's own.
    """
    phenograph: Any = from_extra("phenograph")
    clock = Clock()
    communities, _, _ = phenograph.cluster(values, k=30, n_jobs=run.threads)
    return Clustering(0, np.asarray(communities).astype(np.int32) + 1, *clock.read())


def _umap_hdbscan(run: Run, values: NDArray[np.float32]) -> Clustering:
    """UMAP to two dimensions, then HDBSCAN.

    UMAP has the settings that its documentation recommends for clustering (30 neighbours, min_dist 0). A cluster has at
    least 50 cells or one in a thousand. Noise becomes 0 (unassigned).
    """
    import umap
    from sklearn.cluster import HDBSCAN

    clock = Clock()
    # With a seed, umap-learn uses one thread; n_jobs=1 avoids its warning.
    plane = umap.UMAP(n_neighbors=30, min_dist=0.0, n_components=2, random_state=run.seed, n_jobs=1).fit_transform(
        values
    )
    smallest = max(50, len(values) // 1000)
    labels = HDBSCAN(min_cluster_size=smallest, min_samples=10, copy=True).fit_predict(plane)
    return Clustering(0, np.maximum(labels, -1).astype(np.int32) + 1, *clock.read())


def from_extra(module: str, extra: str = "baselines") -> Any:
    """Import a module of an extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{module.partition('.')[0]} cannot be imported ({error}). In a checkout: pip install '.[{extra}]'"
        ) from error
