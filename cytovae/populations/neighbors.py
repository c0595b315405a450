"""The exact k nearest neighbours of each landmark."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.settings import Metric

# Distances at once when neighbours are found: as many as fit a processor's cache.
CHUNK = 2**22


GPU_CHUNK = 2**25


MOST_WORKERS = 8  # each takes some 50 MB


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Nearest cells: ``indices`` int64 (n, k), the cell itself first, and ``distances`` float32 (n, k), ascending."""

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]


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
