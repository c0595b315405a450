"""Exact nearest neighbors, compared with SciPy."""

from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from cytovae.errors import UsageError
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.settings import Metric

METRICS: tuple[Metric, ...] = get_args(Metric)
ROUNDING = 1e-5  # of float32 distances up to about 30


def cells(n: int, markers: int, seed: int = 0) -> NDArray[np.float32]:
    """Skewed non-negative values as after arcsinh; some markers are brighter than others."""
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(0, rng.uniform(0.5, 3, markers), (n, markers))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "markers"), [(400, 3), (300, 20)])
def test_neighbors_equal_those_of_scipy(metric: Metric, n: int, markers: int) -> None:
    x = cells(n, markers)
    found = nearest_neighbors(x, 15, metric)
    expected = cdist(x.astype(np.float64), x.astype(np.float64), metric)
    own = np.take_along_axis(expected, found.indices, 1)
    np.testing.assert_allclose(found.distances, own, atol=ROUNDING)
    # Equally near cells may be in another order.
    np.testing.assert_allclose(own, np.sort(expected, 1)[:, :15], atol=ROUNDING)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_are_distinct_sorted_and_start_with_the_cell_itself(metric: Metric) -> None:
    x = cells(200, 6)
    x[100:150] = x[:50]  # copies
    found = nearest_neighbors(x, 10, metric)
    assert (found.indices[:, 0] == np.arange(200)).all()
    assert (found.distances[:, 0] == 0).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 10 for row in found.indices)
    assert (found.indices[:50, 1] == np.arange(100, 150)).all()
    assert (found.indices[100:150, 1] == np.arange(50)).all()
    assert found.distances[:50, 1].max() <= (1e-6 if metric == "correlation" else 0)


def test_neighbors_start_with_the_cell_itself_among_many_copies() -> None:
    found = nearest_neighbors(np.ones((30, 4), np.float32), 5, "euclidean")
    assert (found.indices[:, 0] == np.arange(30)).all()
    assert (found.distances == 0).all()


def test_small_euclidean_distances_are_accurate_among_large_values() -> None:
    """Far from the mean, a distance from matrix products would be mostly rounding of the squares."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 1, (100, 8)), 200 + rng.normal(0, 1e-2, (60, 8))]).astype(np.float32)
    found = nearest_neighbors(x, 4, "euclidean")
    expected = np.take_along_axis(cdist(x.astype(np.float64), x.astype(np.float64)), found.indices, 1)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-3)


def test_correlation_ignores_brightness_and_contrast() -> None:
    x = cells(120, 9)
    other = x * np.linspace(0.5, 3, 120, dtype=np.float32)[:, None] + 5
    found, again = nearest_neighbors(x, 8, "correlation"), nearest_neighbors(other, 8, "correlation")
    np.testing.assert_allclose(again.distances, found.distances, atol=ROUNDING)


def test_constant_cells_have_distance_0_to_each_other_and_1_to_all_others() -> None:
    x = cells(60, 5)
    x[:4] = np.array([0.0, 0.0, 0.1, 3.0], np.float32)[:, None]  # all markers of a cell are equal
    found = nearest_neighbors(x, 6, "correlation")
    assert {frozenset(row[:4].tolist()) for row in found.indices[:4]} == {frozenset({0, 1, 2, 3})}
    np.testing.assert_allclose(found.distances[:4, :4], 0, atol=ROUNDING)
    np.testing.assert_allclose(found.distances[:4, 4:], 1, atol=ROUNDING)


def test_canberra_distances_by_hand() -> None:
    x = np.array([[1, 0], [3, 0], [1, 5]], np.float32)
    # 0 and 1: 2/4 + 0/0, which counts as 0;  0 and 2: 0/2 + 5/5;  1 and 2: 2/4 + 5/5
    found = nearest_neighbors(x, 3, "canberra")
    assert found.indices.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]
    np.testing.assert_allclose(found.distances, [[0, 0.5, 1], [0, 0.5, 1.5], [0, 1, 1.5]], atol=1e-6)


def test_cells_of_different_chunks_are_neighbors() -> None:
    """With more cells than fit into one chunk, the last cell finds the first."""
    x = np.repeat(np.arange(6000, dtype=np.float32)[:, None], 2, 1)
    x[-1] = x[0] + 0.25
    found = nearest_neighbors(x, 2, "euclidean")
    assert found.indices[-1].tolist() == [5999, 0]
    assert found.distances[-1, 1] == pytest.approx(0.25 * 2**0.5, abs=1e-3)
    assert (found.indices[:, 0] == np.arange(6000)).all()


@pytest.fixture
def caller_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_do_not_depend_on_threads(
    metric: Metric, monkeypatch: pytest.MonkeyPatch, caller_threads: Callable[[int], None]
) -> None:
    """The same bytes for 1 and 2 threads of the caller and 1 to 4 workers; the caller's setting does not change."""
    x = cells(300, 5)
    monkeypatch.setattr("cytovae.populations.neighbors.CPU_DISTANCES", 300 * 7)  # where threads matter on some CPUs
    first = None
    for threads in (1, 2):
        caller_threads(threads)
        for workers in (1, 2, 3, 4):
            found = nearest_neighbors(x, 6, metric, workers=workers)
            assert torch.get_num_threads() == threads
            first = first or found
            np.testing.assert_array_equal(found.indices, first.indices)
            np.testing.assert_array_equal(found.distances, first.distances)


def test_more_neighbors_than_cells_are_refused() -> None:
    with pytest.raises(UsageError, match="6 nearest neighbors need at least 6 cells, but there are 5"):
        nearest_neighbors(cells(5, 2), 6, "euclidean")


def test_read_only_values_do_not_change() -> None:
    x = cells(40, 3)
    before = x.copy()
    x.setflags(write=False)  # as from pandas; torch would warn
    for metric in METRICS:
        nearest_neighbors(x, 3, metric)
    assert (x == before).all()
