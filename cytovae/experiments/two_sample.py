"""Two-sample tests: whether two sets of cells are drawn from one distribution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import UsageError


def mmd2(x: ArrayLike, y: ArrayLike, bandwidth: float, chunk: int = 2048) -> float:
    """Unbiased squared maximum mean discrepancy of two samples, with the kernel exp(−‖a − b‖² / (2 bandwidth²)).

    The estimator is that of Gretton et al. (JMLR 2012, equation 3): the means over ordered pairs of different rows
    within each sample, minus twice the mean over pairs across samples. It can be negative. Equation 14 of the paper, as
    printed, divides sums over ordered pairs by the number of unordered pairs, also in its cross term: it is twice this
    value, with the cross term larger by m / (m − 1).

    Parameters
    ----------
    x, y : array-like, shapes (m, d) and (n, d)
        The samples, of at least two rows each.
    bandwidth : float
        Bandwidth of the kernel.
    chunk : int
        Number of rows compared at a time; memory grows with chunk × n.

    Raises
    ------
    UsageError
        If the shapes do not match, or if the bandwidth is not positive.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(f"samples of shape {first.shape} and {second.shape} cannot be compared")
    if len(first) < 2 or len(second) < 2:
        raise UsageError(f"each sample needs at least two rows; they have {len(first)} and {len(second)}")
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise UsageError(f"the bandwidth must be positive, not {bandwidth}")
    # Centre the data: |a|² − 2ab + |b|² loses least precision near the origin.
    centre = (first.sum(axis=0) + second.sum(axis=0)) / (len(first) + len(second))
    first, second = first - centre, second - centre
    m, n = len(first), len(second)
    within_first = (_kernel_sum(first, first, bandwidth, chunk) - m) / (m * (m - 1))
    within_second = (_kernel_sum(second, second, bandwidth, chunk) - n) / (n * (n - 1))
    across = _kernel_sum(first, second, bandwidth, chunk) / (m * n)
    return within_first + within_second - 2 * across


@dataclass(frozen=True)
class TwoSampleTest:
    """MMD² of two samples, and its p-value by permutation (with the observed division among the permutations)."""

    mmd2: float
    p: float


def mmd_test(x: ArrayLike, y: ArrayLike, bandwidth: float, *, permutations: int = 200, seed: int = 0) -> TwoSampleTest:
    """Permutation test of the hypothesis that both samples come from one distribution (eqs. 15 and 16).

    Parameters and errors are those of :func:`mmd2`. All (m + n)² kernel values are in memory at once, so the test is
    for samples of hundreds of rows.
    """
    observed = mmd2(x, y, bandwidth)
    both = np.concatenate([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    m, n = len(np.asarray(x)), len(np.asarray(y))
    both -= both.mean(axis=0)
    lengths = np.einsum("ij,ij->i", both, both)
    kernel = np.exp(np.maximum(lengths[:, None] + lengths - 2 * both @ both.T, 0.0) / (-2.0 * bandwidth**2))
    np.fill_diagonal(kernel, 0.0)
    # A division is a column of 1 (first sample) and 0 (second), so that sums over pairs are products with the kernel.
    rng = np.random.default_rng(seed)
    first = np.zeros((m + n, permutations))
    for column in range(permutations):
        first[rng.permutation(m + n)[:m], column] = 1.0
    sums = kernel @ first  # (m + n, permutations)
    within_first = (first * sums).sum(axis=0)
    across = sums.sum(axis=0) - within_first
    within_second = kernel.sum() - within_first - 2 * across
    permuted = within_first / (m * (m - 1)) + within_second / (n * (n - 1)) - 2 * across / (m * n)
    return TwoSampleTest(observed, float((1 + (permuted >= observed - 1e-12).sum()) / (1 + permutations)))


def _kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64], bandwidth: float, chunk: int) -> float:
    """Sum of the RBF kernel over all pairs of rows of ``x`` and ``y``."""
    lengths = np.einsum("ij,ij->i", y, y)
    total = 0.0
    for start in range(0, len(x), chunk):
        rows = x[start : start + chunk]
        distances = np.einsum("ij,ij->i", rows, rows)[:, None] + lengths[None, :] - 2.0 * (rows @ y.T)
        total += float(np.exp(np.maximum(distances, 0.0) / (-2.0 * bandwidth**2)).sum())
    return total
