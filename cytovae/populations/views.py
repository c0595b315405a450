"""Views of the cells: each has its own micro-clusters, and its own opinion which of them belong together.

A view of the landmarks takes their UMAP as it is. A small view draws its own sample of cells and projects it anew, so
that nothing arbitrary about one sample or one projection returns in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform

from cytovae.populations.merge_tree import ROUNDING
from cytovae.populations.neighbors import nearest_cells, nearest_neighbors
from cytovae.populations.partition import count_overlaps, numbered_partition
from cytovae.populations.umap_projection import umap_projection
from cytovae.populations.valleys import ValleyHierarchy, valley_hierarchy
from cytovae.settings import Settings

# Partitions of a view of the landmarks. With several, their arbitrary edges cancel.
PARTITIONS = 2

# Partitions of a small view. The many small views cancel their arbitrary edges by themselves.
SMALL_PARTITIONS = 1

# Epochs of UMAP in a small view, relative to `Settings.umap_epochs`. More change no score: see docs/choices.md.
SMALL_VIEW_EPOCHS = 0.5

# A view is cut several times, into more and fewer populations than `Settings.populations`. How finely a data set is
# gated is not in its data; what most resolutions agree on depends less on the number chosen.
RESOLUTIONS = (0.7, 0.85, 1.0, 1.15, 1.3)

# The resolution of a view on its own. Its cuts are nested, so this is also what most of its resolutions agree on.
MIDDLE = len(RESOLUTIONS) // 2

# Valleys shallower than this never separate populations; they also occur within a single population. Measured on six
# gated data sets: see docs/method.md.
SHALLOWEST = 0.8

# With fewer cells, a shallow valley may well be chance.
CELLS_FOR_SHALLOW_VALLEYS = 5_000

# Step of the search for the level of a cut.
LEVEL_STEP = 0.01

# Least share of the cells for a cluster to count as one of the populations that a panel resolves. Smaller clusters are
# debris, doublets and rare cells, and their number says nothing about the panel.
COUNTED_SHARE = 0.002

# Least share of the cells of a cluster that only a valley shallower than `Settings.valley` separates.
LEAST_SHARE = 0.01

# With more files than this, or fewer cells per file, files with similar means are treated as one.
MOST_ORIGINS = 16
CELLS_PER_ORIGIN = 1_000


@dataclass(frozen=True, eq=False)
class View:
    """A sample of v cells, its partitions into micro-clusters, and how these merge.

    Attributes
    ----------
    partitions : tuple of int64 (v,)
        Micro-cluster of each cell in each partition, from 0.
    hierarchies : tuple of ValleyHierarchy
        How the micro-clusters of each partition merge.
    nearest : int64 (n,)
        The cell of the view that is nearest to each landmark.
    """

    partitions: tuple[NDArray[np.int64], ...]
    hierarchies: tuple[ValleyHierarchy, ...]
    nearest: NDArray[np.int64]

    def joined(self, micro_cluster: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean level (u, u) at which micro-clusters of the landmarks join; ``micro_cluster`` (n,) is of each."""
        return mean_joined(micro_cluster, [partition[self.nearest] for partition in self.partitions], self.hierarchies)

    def clusters(self, valley: float, populations: int) -> NDArray[np.int64]:
        """The cluster of each landmark at each of :data:`RESOLUTIONS`, (5, n), from 0."""
        first = self.partitions[0]
        joined = mean_joined(first, self.partitions, self.hierarchies)
        linkage, sizes = average_linkage(joined), np.bincount(first)
        cuts = resolve(linkage, joined, sizes, valley, [round(populations * share) for share in RESOLUTIONS])
        return np.stack([clusters[first[self.nearest]] for clusters in cuts])


def small_view(
    values: NDArray[np.float32],
    source: NDArray[np.int32],
    landmarks: NDArray[np.float32],
    settings: Settings,
    seed: int,
    index: int,
) -> View:
    """The view of a sample of cells, with its own UMAP.

    Parameters
    ----------
    values, source
        Markers (v, m) and file (v,) of the cells.
    landmarks
        Markers (n, m) of the landmarks.
    settings
        Metric, UMAP and number of micro-clusters.
    seed, index
        Seed and number of the view. Views of different numbers differ in everything that is random.
    """
    neighbors = nearest_neighbors(values, min(settings.umap_neighbors, len(values)), settings.metric)
    epochs = max(1, round(SMALL_VIEW_EPOCHS * settings.umap_epochs))
    coordinates = umap_projection(values, neighbors, replace(settings, umap_epochs=epochs), seed)
    nearest = nearest_cells(landmarks, values, settings.metric)
    numbers = range(SMALL_PARTITIONS * index, SMALL_PARTITIONS * (index + 1))
    return view_on_coordinates(values, coordinates, source, nearest, settings, seed, numbers)


def own_view(
    values: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    source: NDArray[np.int32],
    settings: Settings,
    seed: int,
    index: int,
) -> View:
    """The view number ``index`` of the landmarks; see :func:`view_on_coordinates`."""
    numbers = range(PARTITIONS * index, PARTITIONS * (index + 1))
    return view_on_coordinates(values, coordinates, source, np.arange(len(values)), settings, seed, numbers)


def view_on_coordinates(
    values: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    source: NDArray[np.int32],
    nearest: NDArray[np.int64],
    settings: Settings,
    seed: int,
    numbers: range,
) -> View:
    """A view of cells with UMAP coordinates (v, 2).

    ``nearest`` (n,) is as in :class:`View`. ``numbers`` are those of its partitions, see
    :func:`cytovae.populations.partition.numbered_partition`.
    """
    origin = _origins(values, source, seed)
    partitions = [numbered_partition(coordinates, settings.experts, seed, number) for number in numbers]
    hierarchies = [
        valley_hierarchy(values, partition, origin, seed + number)
        for number, partition in zip(numbers, partitions, strict=True)
    ]
    return View(tuple(partitions), tuple(hierarchies), nearest)


def _origins(values: NDArray[np.float32], source: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """File of each cell (n,), from 0; the group of files with similar means if there are too many to compare."""
    from sklearn.cluster import KMeans  # takes a second to import, which reading the constants does not need

    files, origin = np.unique(source, return_inverse=True)
    most = max(1, min(MOST_ORIGINS, len(values) // CELLS_PER_ORIGIN))
    if len(files) <= most:
        return origin.astype(np.int64)
    spread = values.std(0) + 1e-9
    mean = np.stack([(values[origin == index] / spread).mean(0) for index in range(len(files))])  # (files, m)
    group = KMeans(most, n_init=4, random_state=seed).fit_predict(mean)
    return np.unique(group[origin], return_inverse=True)[1].astype(np.int64)


def mean_joined(
    micro_cluster: NDArray[np.int64],
    partitions: "list[NDArray[np.int64]] | tuple[NDArray[np.int64], ...]",
    hierarchies: tuple[ValleyHierarchy, ...],
) -> NDArray[np.float64]:
    """The mean level (u, u) at which cells of two micro-clusters join in the hierarchies.

    ``micro_cluster`` and each of the ``partitions`` (n,) label the same cells.
    """
    joined = np.zeros((int(micro_cluster.max()) + 1,) * 2)
    for partition, hierarchy in zip(partitions, hierarchies, strict=True):
        share = _shares(micro_cluster, partition, len(hierarchy.joined))
        joined += share @ hierarchy.joined @ share.T / len(partitions)
    return joined


def together(micro_cluster: NDArray[np.int64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability (u, u) that a cell of one micro-cluster and one of another have the same ``cluster`` (n,)."""
    share = _shares(micro_cluster, cluster, int(cluster.max()) + 1)
    result: NDArray[np.float64] = share @ share.T
    return result


def _shares(micro_cluster: NDArray[np.int64], label: NDArray[np.int64], n_labels: int) -> NDArray[np.float64]:
    """Share (u, n_labels) of the cells of each micro-cluster that have each label."""
    counts = count_overlaps(micro_cluster, label, n_second=n_labels)
    share: NDArray[np.float64] = counts / counts.sum(1, keepdims=True)
    return share


def average_linkage(joined: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average linkage of u micro-clusters with similarities ``joined`` (u, u); heights are 1 − similarity."""
    if len(joined) == 1:
        return np.zeros((0, 4))
    height = np.clip(1 - (joined + joined.T) / 2, 0, 1)
    np.fill_diagonal(height, 0)
    linkage: NDArray[np.float64] = average(squareform(height, checks=False))
    return linkage


def cut(linkage: NDArray[np.float64], n_micro_clusters: int, level: float) -> NDArray[np.int64]:
    """Cluster of each micro-cluster (u,), from 0, if the tree is cut at ``level``."""
    if not len(linkage):
        return np.zeros(n_micro_clusters, dtype=np.int64)
    clusters: NDArray[np.int64] = fcluster(linkage, 1 - level + ROUNDING, "distance").astype(np.int64) - 1
    return clusters


def resolve(
    linkage: NDArray[np.float64],
    joined: NDArray[np.float64],
    sizes: NDArray[np.int64],
    valley: float,
    populations: Sequence[int],
) -> list[NDArray[np.int64]]:
    """Cut a tree into clusters that are distinct or large.

    At the level ``valley``, clusters are distinct whatever their size. If they are fewer than asked for, the tree is
    cut at the first shallower level with enough of them. What only a shallow valley separates must be large: smaller
    pieces stay with the nearest large piece.

    Parameters
    ----------
    linkage, joined
        The tree, and the similarities (u, u) of its micro-clusters.
    sizes
        Cells (u,) of each micro-cluster.
    valley
        The level at which clusters are distinct.
    populations
        How many clusters of some size are looked for, ascending.

    Returns
    -------
    list of int64 (u,)
        The cluster of each micro-cluster, from 0, for each of the ``populations``.
    """
    total = sizes.sum()
    distinct = cut(linkage, len(sizes), valley)  # (u,)
    shallowest = max(valley, SHALLOWEST) if total >= CELLS_FOR_SHALLOW_VALLEYS else valley
    levels = np.arange(valley, shallowest + ROUNDING, LEVEL_STEP).tolist()
    found: list[NDArray[np.int64]] = []
    for level in levels:
        clusters = cut(linkage, len(sizes), level)
        cells = np.bincount(clusters, weights=sizes)
        parts = count_overlaps(distinct, clusters) > 0  # (distinct clusters, clusters)
        whole = (parts.sum(1)[:, None] * parts).sum(0) == 1  # (clusters,)
        counted = (cells >= np.where(whole, COUNTED_SHARE, LEAST_SHARE) * total).sum()
        resolved = sum(level == levels[-1] or counted >= least for least in populations[len(found) :])
        if resolved:
            small = ~whole & (cells < LEAST_SHARE * total)
            found += [_attach(clusters, distinct, small, joined, sizes) if small.any() else clusters] * resolved
        if len(found) == len(populations):
            break
    return found


def _attach(
    clusters: NDArray[np.int64],
    distinct: NDArray[np.int64],
    small: NDArray[np.bool_],
    joined: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Give the micro-clusters of ``small`` clusters to the most similar cluster of the same distinct cluster.

    If all of its parts are small, a distinct cluster stays whole.
    """
    member = np.eye(len(small))[clusters] * sizes[:, None]  # (u, clusters)
    cells = member.sum(0)
    similarity = member.T @ joined @ member / np.outer(cells, cells)  # (clusters, clusters)
    parts = count_overlaps(distinct, clusters) > 0  # (distinct clusters, clusters)
    target = np.arange(len(small))
    for index in np.flatnonzero(small):
        siblings = np.flatnonzero(parts[parts[:, index]].any(0))
        large = siblings[~small[siblings]]
        target[index] = large[similarity[index, large].argmax()] if len(large) else siblings[0]
    return np.unique(target[clusters], return_inverse=True)[1].astype(np.int64)
