"""Distances between sets of cells, and lines that separate them, from their covariances.

The covariance of two sets is pooled with equal weights, so that the spread of a common population does not decide about
a rare one, and shrunk towards a sphere, because sets can have fewer cells than markers.

A view needs thousands of small matrices. The functions are compiled by numba, since calls to numpy would take most of
the time. They are written as loops, which compile several times faster than expressions of arrays.
"""

import sys

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytovae.populations.numba_cache import keep_compiled

# Shrinkage of a covariance towards a sphere; larger for sets with few cells relative to the number of markers.
LEAST_SHRINKAGE = 0.05

# Added to the variances of a pooled covariance, so that it can be inverted.
RIDGE = 1e-9

_F = NDArray[np.float64]


@njit()
def mahalanobis_distances(count: _F, mean: _F, covariance: _F, a: int, others: NDArray[np.int64]) -> _F:
    """Mahalanobis distances (o,) between the mean of set ``a`` and those of ``others`` (o,).

    Only pairs of large sets need a matrix of their own, and there are at most n / m large sets. So the time grows with
    the square of the number of markers, not with its cube.

    Parameters
    ----------
    count, mean, covariance
        Of two halves of k sets: (2, k), (2, k, m) and (2, k, m, m).
    a, others
        Sets, from 0.
    """
    n_markers = mean.shape[2]
    distances = np.empty(len(others))
    difference = np.empty(n_markers)
    for index in range(len(others)):
        b = others[index]
        n_a, n_b = max(count[0, a] + count[1, a], 1.0), max(count[0, b] + count[1, b], 1.0)
        for marker in range(n_markers):
            mean_a = (count[0, a] * mean[0, a, marker] + count[1, a] * mean[1, a, marker]) / n_a
            mean_b = (count[0, b] * mean[0, b, marker] + count[1, b] * mean[1, b, marker]) / n_b
            difference[marker] = mean_b - mean_a
        first = _shrinkage(count[0, a], count[0, b], n_markers)
        second = _shrinkage(count[1, a], count[1, b], n_markers)
        if first < 1 or second < 1:
            pooled = _pooled(covariance[0, a], covariance[0, b], first)
            other = _pooled(covariance[1, a], covariance[1, b], second)
            for row in range(n_markers):
                for column in range(n_markers):
                    pooled[row, column] = (pooled[row, column] + other[row, column]) / 2
            solved = _solve(pooled, difference)
        else:
            variance = (_sphere(covariance[0, a], covariance[0, b]) + _sphere(covariance[1, a], covariance[1, b])) / 2
            solved = _divided(difference, variance)
        square = 0.0
        for marker in range(n_markers):
            square += difference[marker] * solved[marker]
        distances[index] = np.sqrt(max(square, 0.0))
    return distances


@njit()
def separating_line(covariances: tuple[_F, _F], counts: tuple[float, float], difference: _F) -> _F:
    """The direction (m,) halfway between Fisher's linear discriminant and weighting each marker by itself.

    Fisher's discriminant adds up shifts of all markers that are too small to gate on, and finds valleys that no gate
    would follow.

    Parameters
    ----------
    covariances, counts
        Covariance (m, m) and number of cells of each of two sets.
    difference
        Difference (m,) of their means.
    """
    shrinkage = _shrinkage(counts[0], counts[1], len(difference))
    if shrinkage == 1:
        return _divided(difference, _sphere(covariances[0], covariances[1]))
    pooled = _pooled(covariances[0], covariances[1], shrinkage)
    for row in range(len(difference)):
        for column in range(len(difference)):
            if row != column:
                pooled[row, column] /= 2
    return _solve(pooled, difference)


@njit()
def _shrinkage(n_a: float, n_b: float, n_markers: int) -> float:
    """How much the pooled covariance of sets of ``n_a`` and ``n_b`` cells is shrunk, from 0.05 to 1 (a sphere)."""
    return min(max(LEAST_SHRINKAGE, n_markers / max(min(n_a, n_b), 1.0) / 2), 1.0)


@njit()
def _sphere(a: _F, b: _F) -> float:
    """Variance of the pooled covariance of two sets if it is shrunk to a sphere."""
    variance = 0.0
    for marker in range(len(a)):
        variance += (a[marker, marker] + b[marker, marker]) / 2
    return variance / len(a) + RIDGE


@njit()
def _pooled(a: _F, b: _F, shrinkage: float) -> _F:
    """Mean (m, m) of the covariances of two sets, shrunk towards a sphere."""
    pooled = np.empty(a.shape)
    added = shrinkage * (_sphere(a, b) - RIDGE) + RIDGE
    for row in range(len(a)):
        for column in range(len(a)):
            pooled[row, column] = (1 - shrinkage) * (a[row, column] + b[row, column]) / 2
        pooled[row, row] += added
    return pooled


@njit()
def _divided(x: _F, divisor: float) -> _F:
    """``x`` (m,) divided by a number."""
    divided = np.empty(len(x))
    for index in range(len(x)):
        divided[index] = x[index] / divisor
    return divided


@njit()
def _solve(matrix: _F, right: _F) -> _F:
    """Solution (m,) of ``matrix`` (m, m) times x = ``right`` (m,), by Cholesky's method.

    The matrix is positive definite; it is overwritten by its lower triangle.
    """
    n = len(right)
    solved = np.empty(n)
    for row in range(n):
        for column in range(row + 1):
            rest = matrix[row, column]
            for index in range(column):
                rest -= matrix[row, index] * matrix[column, index]
            matrix[row, column] = np.sqrt(rest) if row == column else rest / matrix[column, column]
        rest = right[row]
        for index in range(row):
            rest -= matrix[row, index] * solved[index]
        solved[row] = rest / matrix[row, row]
    for row in range(n - 1, -1, -1):
        rest = solved[row]
        for index in range(row + 1, n):
            rest -= matrix[index, row] * solved[index]
        solved[row] = rest / matrix[row, row]
    return solved


keep_compiled(sys.modules[__name__])
