"""Two-sample tests: are two sets of cells drawn from one distribution?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.errors import UsageError


def mmd2(x: ArrayLike, y: ArrayLike, bandwidth: float, chunk: int = 2048) -> float:
    """Unbiased squared maximum mean discrepancy of two samples, with the kernel exp(−‖a − b‖² / (2 bandwidth²)).

    ``x`` is (m, d) and ``y`` (n, d), at least two rows each. The estimator is Gretton et al.'s (JMLR 2012, equation
    3): means over ordered pairs of different rows within each sample, minus twice the mean over pairs across; it may
    fall below 0. Equation 14 as printed divides sums over ordered pairs by the number of unordered ones, and so does
    its cross term: it is twice this value, with the cross term larger by m / (m − 1). ``chunk`` rows are compared at
    a time: memory is chunk × n. Raises :class:`UsageError` for shapes that do not fit or a bandwidth that is not
    positive.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(f"samples of shape {first.shape} and {second.shape} cannot be compared")
    if len(first) < 2 or len(second) < 2:
        raise UsageError(f"two samples of at least two rows are needed, not {len(first)} and {len(second)}")
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise UsageError(f"the bandwidth must be positive, not {bandwidth}")
    # Distances do not depend on the origin; near it, |a|² − 2ab + |b|² cancels least.
    centre = (first.sum(axis=0) + second.sum(axis=0)) / (len(first) + len(second))
    first, second = first - centre, second - centre
    m, n = len(first), len(second)
    within_first = (_kernel_sum(first, first, bandwidth, chunk) - m) / (m * (m - 1))
    within_second = (_kernel_sum(second, second, bandwidth, chunk) - n) / (n * (n - 1))
    across = _kernel_sum(first, second, bandwidth, chunk) / (m * n)
    return within_first + within_second - 2 * across


@dataclass(frozen=True)
class TwoSampleTest:
    """``mmd2`` of two samples, and the share ``p`` of random divisions of their rows into two in which it is as large
    (the division that is tested counted among them).
    """

    mmd2: float
    p: float


def mmd_test(x: ArrayLike, y: ArrayLike, bandwidth: float, *, permutations: int = 200, seed: int = 0) -> TwoSampleTest:
    """Test of H0: both samples come from one distribution (eqs. 15 and 16), by permutations of :func:`mmd2`.

    ``x`` is (m, d) and ``y`` (n, d); all (m + n)² kernel values are held at a time, so samples are to be of hundreds.
    Raises what :func:`mmd2` raises.
    """
    observed = mmd2(x, y, bandwidth)
    both = np.concatenate([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    m, n = len(np.asarray(x)), len(np.asarray(y))
    both -= both.mean(axis=0)
    lengths = np.einsum("ij,ij->i", both, both)
    kernel = np.exp(np.maximum(lengths[:, None] + lengths - 2 * both @ both.T, 0.0) / (-2.0 * bandwidth**2))
    np.fill_diagonal(kernel, 0.0)
    # A division is a vector of 1 (first sample) and 0: sums over pairs are products with the kernel.
    rng = np.random.default_rng(seed)
    first = np.zeros((m + n, permutations))
    for column in range(permutations):
        first[rng.permutation(m + n)[:m], column] = 1.0
    met = kernel @ first  # (m + n, permutations)
    within_first = (first * met).sum(axis=0)
    across = met.sum(axis=0) - within_first
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
