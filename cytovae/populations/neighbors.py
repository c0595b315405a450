"""The exact k nearest neighbors of each landmark."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.errors import UsageError
from cytovae.settings import Metric

# Distances computed at once. Many neighbors take long to select, so that fewer, larger chunks are faster; one neighbor
# is found fastest in chunks that fit a processor's cache. Measured with 5,000 and 20,000 cells.
CPU_DISTANCES = 2**22
CPU_DISTANCES_OF_ONE = 2**19
GPU_DISTANCES = 2**25
MOST_WORKERS = 8  # each takes about 50 MB


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Nearest cells: ``indices`` int64 (n, k), the cell itself first, and ``distances`` float32 (n, k), ascending."""

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]


def nearest_neighbors(
    values: NDArray[np.float32], k: int, metric: Metric, device: str = "cpu", *, workers: int = 1
) -> Neighbors:
    """The exact ``k`` nearest neighbors of each cell, including itself.

    Distances are computed in chunks of rows, ``workers`` chunks at a time: Euclidean and correlation distances by
    matrix products, Canberra distances (eq. 17) marker by marker. The result does not depend on the number of workers
    or threads. A cell whose markers are all equal has no correlation; its distance is 1 to all others and 0 to other
    such cells.

    Parameters
    ----------
    values
        Transformed markers (n, m).
    k
        Number of neighbors. Raises :class:`UsageError` if there are fewer cells.
    metric
        How distances are measured.
    device
        Where distances are computed.
    workers
        Threads on a CPU; a GPU takes one chunk at a time.
    """
    n = len(values)
    if k > n:
        raise UsageError(f"{k} nearest neighbors need at least {k} cells, but there are {n}")
    # Allocated before the chunks: results kept between them would fragment the memory that they free.
    indices, distances = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    with _one_torch_thread():
        x = _prepare(torch.tensor(values, dtype=torch.float32, device=device), metric)  # (n, m)
        squares = x.square().sum(1)  # (n,)
        on_cpu = x.device.type == "cpu"
        chunk = max(1, (CPU_DISTANCES if on_cpu else GPU_DISTANCES) // n)

        def fill(start: int) -> None:
            rows = slice(start, start + chunk)
            index, distance = _nearest(x, squares, rows, k, metric)
            indices[rows], distances[rows] = index.cpu(), distance.cpu()

        threads = min(workers, MOST_WORKERS) if on_cpu else 1
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(fill, range(0, n, chunk)))
    return Neighbors(indices, distances)


def nearest_cells(queries: NDArray[np.float32], values: NDArray[np.float32], metric: Metric) -> NDArray[np.int64]:
    """The nearest of n cells for each of q others.

    Parameters
    ----------
    queries
        Transformed markers (q, m) of the cells whose neighbor is looked for.
    values
        Transformed markers (n, m) of the cells to choose from.
    metric
        How distances are measured; see :func:`nearest_neighbors`.

    Returns
    -------
    int64 (q,)
        Rows of ``values``.
    """
    nearest = np.empty(len(queries), np.int64)
    with _one_torch_thread():
        both = _prepare(torch.from_numpy(np.concatenate([values, queries])), metric)
        x, asked = both[: len(values)], both[len(values) :]
        squares = x.square().sum(1)  # (n,)
        chunk = max(1, CPU_DISTANCES_OF_ONE // len(x))
        for start in range(0, len(asked), chunk):
            cells = asked[start : start + chunk]
            # Squared distances (c, n) lack the square of the query, which is the same for all cells.
            by_products = metric != "canberra"
            d = torch.addmm(squares[None], cells, x.T, alpha=-2) if by_products else _canberra(cells, x)
            nearest[start : start + chunk] = d.numpy().argmin(1)  # several times faster than torch's
    return nearest


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread: how it splits a matrix product among threads changes the last bit of a distance."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _prepare(x: Tensor, metric: Metric) -> Tensor:
    """Cells (n, m) such that a distance follows from dot products."""
    if metric == "euclidean":
        return x - x.mean(0)  # smaller numbers lose less in the subtraction of squares
    if metric == "correlation":
        constant = (x == x[:, :1]).all(1, keepdim=True)  # (n, 1)
        x = x - x.mean(1, keepdim=True)
        x = (x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)).masked_fill(constant, 0)
        return torch.cat([x, constant.to(x.dtype)], 1)  # constant cells point in a direction of their own
    return x


def _canberra(cells: Tensor, x: Tensor) -> Tensor:
    """Canberra distances (c, n) of ``cells`` (c, m) and ``x`` (n, m), eq. 17."""
    d = torch.zeros(len(cells), len(x), device=x.device)  # (c, n)
    for marker in range(x.shape[1]):
        a, b = cells[:, marker, None], x[None, :, marker]
        d += (a - b).abs() / (a.abs() + b.abs()).clamp_min(1e-12)
    return d


def _nearest(x: Tensor, squares: Tensor, rows: slice, k: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """Indices and distances (c, k) of the nearest cells of ``x[rows]``, ascending."""
    cells = x[rows]  # (c, m)
    if metric == "canberra":
        d = _canberra(cells, x)  # (c, n)
    else:
        d = torch.addmm(squares[None], cells, x.T, alpha=-2).add_(squares[rows, None])  # (c, n), squared
    own = torch.arange(len(cells), device=x.device)
    d[own, own + rows.start] = -1.0  # the cell itself comes first, despite rounding
    nearest = d.topk(k, largest=False)
    index, distance = nearest.indices, nearest.values.clamp_min(0)  # (c, k) each
    if metric == "euclidean":
        # Recomputed from differences: small distances from products are mostly rounding.
        distance, order = (cells[:, None] - x[index]).norm(dim=2).sort(dim=1, stable=True)
        index = index.gather(1, order)
    elif metric == "correlation":
        distance = distance / 2  # |a − b|² = 2 (1 − r) for unit vectors
    return index, distance
