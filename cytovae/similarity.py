"""Which cells are similar: nearest neighbours, their UMAP projection, and the similarity matrix S of a batch.

Neighbours are exact, found by chunked matrix products, so the same cells give the same neighbours on every run; UMAP
gets them precomputed and never builds an index of its own. The only module that imports umap.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.errors import UsageError
from cytovae.settings import Metric, Settings

if TYPE_CHECKING:
    from cytovae.resolution import PopulationTree

# Distances at once when neighbours are found: as many as fit a processor's cache.
CHUNK = 2**22
GPU_CHUNK = 2**25
MOST_WORKERS = 8  # each takes some 50 MB


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Nearest cells: ``indices`` int64 (n, k), the cell itself first, and ``distances`` float32 (n, k), ascending."""

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Similarity:
    """What S of a batch is made from. ``coordinates`` float32 (n, 2): UMAP's; ``labels`` int64 (n,), −1 = unknown.

    ``kind`` says how two cells are compared: the same label ("partition"), nearer than ``radius`` ("radius"), or one
    among the ``neighbors`` nearest of the other within the batch ("neighbors"). Known labels always decide between
    two cells that both have one; a pair with an unknown label falls back to the coordinates. ``populations`` int64
    (n,), 0 …, are what the labels of a partition join to, None where that is not known.
    """

    kind: str
    coordinates: Tensor
    labels: Tensor
    radius: float
    neighbors: int
    weak: bool  # labels are partial knowledge laid over the coordinates, not a partition of them
    populations: Tensor | None = None

    def block(self, rows: Tensor) -> Tensor:
        """S of the cells at ``rows`` (b,): float32 (b, b), symmetric, 1 on the diagonal."""
        if self.kind == "partition" and not self.weak:
            label = self.labels[rows]
            return (label[:, None] == label[None]).float()
        y = self.coordinates[rows]
        # By differences, not products: those would leave rounding that depends on the order of the two cells.
        distance = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist")  # (b, b)
        if self.kind == "radius":
            s = distance < self.radius
        else:
            k = min(self.neighbors + 1, len(rows))  # the cell itself is one of them
            nearest = distance.topk(k, largest=False).indices
            s = torch.zeros_like(distance, dtype=torch.bool).scatter_(1, nearest, True)
            s = s | s.T
        if self.weak:
            label = self.labels[rows]
            known = label >= 0
            s = torch.where(known[:, None] & known[None], label[:, None] == label[None], s)
        s.fill_diagonal_(True)
        return s.float()


def nearest_neighbors(
    values: NDArray[np.float32], k: int, metric: Metric, device: str = "cpu", *, workers: int = 1
) -> Neighbors:
    """The ``k`` nearest cells of each of ``values`` (n, m), itself included, exactly.

    Euclidean and correlation distances are matrix products of (chunk × n), ``workers`` chunks at a time; Canberra
    (eq. 17) goes marker by marker. Ties are broken by the order of ``topk``, the same on every run on one machine.
    A cell whose markers are all equal has no correlation: it is taken as 0 with other cells (distance 1) and as 1 with
    its like (distance 0).
    """
    n = len(values)
    if k > n:
        raise UsageError(f"{k} nearest neighbours need at least {k} cells, there are {n}")
    threads = torch.get_num_threads()
    try:
        # The number of threads changes how torch splits a matrix product, and so the last bit of a distance. Each
        # thread of the pool has a setting of its own, whatever the caller's is.
        torch.set_num_threads(1)
        return _nearest_neighbors(values, k, metric, device, workers)
    finally:
        torch.set_num_threads(threads)


def _nearest_neighbors(values: NDArray[np.float32], k: int, metric: Metric, device: str, workers: int) -> Neighbors:
    n = len(values)
    x = torch.tensor(values, dtype=torch.float32, device=device)
    if metric == "correlation":
        flat = (x == x[:, :1]).all(1, keepdim=True)  # (n, 1)
        x = x - x.mean(1, keepdim=True)
        x = (x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)).masked_fill(flat, 0)
        x = torch.cat([x, flat.to(x.dtype)], 1)  # a direction of their own
    else:
        x = x - x.mean(0) if metric == "euclidean" else x  # smaller numbers cancel less below
    square = x.square().sum(1)  # (n,)
    chunk = max(1, (CHUNK if x.device.type == "cpu" else GPU_CHUNK) // n)
    # What is kept between the chunks would lie in the memory they leave, and the next would not fit there.
    indices, distances = np.empty((n, k), np.int64), np.empty((n, k), np.float32)

    def find(start: int) -> None:
        part = x[start : start + chunk]  # (c, m)
        if metric == "canberra":
            d = torch.zeros(len(part), n, device=x.device)
            for column in range(x.shape[1]):
                p, q = part[:, column, None], x[None, :, column]
                d += (p - q).abs() / (p.abs() + q.abs()).clamp_min(1e-12)
        else:
            d = torch.addmm(square[None], part, x.T, alpha=-2).add_(square[start : start + chunk, None])  # (c, n)
        own = torch.arange(len(part), device=x.device)
        d[own, own + start] = -1.0  # first, whatever rounding says
        found = d.topk(k, largest=False)
        index, distance = found.indices, found.values.clamp_min(0)
        if metric == "euclidean":
            # Again, by differences: what products leave of a small distance is mostly rounding.
            distance, order = (part[:, None] - x[index]).norm(dim=2).sort(dim=1, stable=True)
            index = index.gather(1, order)
        elif metric == "correlation":
            distance = distance / 2  # |a − b|² = 2 (1 − r) for unit vectors
        indices[start : start + chunk], distances[start : start + chunk] = index.cpu(), distance.cpu()

    threads = min(workers, MOST_WORKERS) if x.device.type == "cpu" else 1
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(find, range(0, n, chunk)))
    return Neighbors(indices, distances)


def umap_projection(
    values: NDArray[np.float32], neighbors: Neighbors, settings: Settings, seed: int
) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of ``values`` (n, m) from precomputed neighbours.

    On one thread, so that a seed means a result.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        import umap

        from cytovae.compiled import keep_compiled

    keep_compiled(umap.layouts, umap.umap_, umap.utils)
    k = min(settings.umap_neighbors, neighbors.indices.shape[1], len(values) - 1)
    reducer = umap.UMAP(
        n_neighbors=k,
        min_dist=settings.umap_min_dist,
        metric=settings.metric,
        n_epochs=settings.umap_epochs,
        init="pca",  # spectral start values are not reproducible where the neighbour graph is not connected
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(neighbors.indices[:, :k], neighbors.distances[:, :k]),
        transform_seed=seed,
    )
    with warnings.catch_warnings():
        # New cells are assigned by the network, never transformed by UMAP.
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        threads = torch.get_num_threads()
        try:
            coordinates = reducer.fit_transform(values)
        finally:
            # Numba sets the number of threads of the OpenMP it shares with torch: training would take many times longer
            # where other work keeps the cores busy, and another number of threads is another order of sums.
            torch.set_num_threads(threads)
    return np.asarray(coordinates, dtype=np.float32)


def fine_partition(coordinates: NDArray[np.float32], parts: int, seed: int) -> NDArray[np.int64]:
    """Labels (n,) 0 … parts − 1 of small neighbourhoods in UMAP ``coordinates`` (n, 2): k-means."""
    from sklearn.cluster import MiniBatchKMeans  # a second to import, that assigning need not pay

    parts = min(parts, len(coordinates))
    kmeans = MiniBatchKMeans(parts, n_init=1, batch_size=4096, random_state=seed)
    return np.asarray(kmeans.fit_predict(coordinates), dtype=np.int64)


def make_similarity(
    coordinates: NDArray[np.float32],
    settings: Settings,
    *,
    seed: int,
    tree: "PopulationTree | None" = None,
    labels: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> Similarity:
    """The :class:`Similarity` that ``settings`` asks for. A partition is that of ``tree``, where there is one;
    ``labels`` (n,), −1 = unknown, are a user's own knowledge.
    """
    kind = settings.similarity
    populations = None
    if labels is not None:
        part = labels
        kind = "radius" if kind == "partition" else kind
    elif kind == "partition" and tree is not None:
        part = tree.unit
        populations = torch.from_numpy(tree.population[tree.unit]).to(device)
    elif kind == "partition":
        part = fine_partition(coordinates, settings.experts, seed)
    else:
        part = np.full(len(coordinates), -1, dtype=np.int64)
    return Similarity(
        kind,
        torch.from_numpy(coordinates).to(device),
        torch.from_numpy(part).to(device),
        settings.radius,
        settings.neighbors,
        labels is not None,
        populations,
    )
