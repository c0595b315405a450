"""Neighbours against scipy, similarity matrices worked by hand, UMAP by scikit-learn's trustworthiness."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness

from cytovae.errors import UsageError
from cytovae.populations import similarity as similarity_module
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.partition import fine_partition
from cytovae.populations.similarity import Similarity, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

METRICS: tuple[Metric, ...] = get_args(Metric)
ROUNDING = 1e-5  # of float32 distances up to about 30


def cells(n: int, markers: int, seed: int = 0) -> NDArray[np.float32]:
    """Values such as arcsinh gives: not negative, skewed, some markers brighter than others."""
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(0, rng.uniform(0.5, 3, markers), (n, markers))).astype(np.float32)


def blobs(centres: int, each: int, markers: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(centres), each)
    return (rng.normal(0, 8, (centres, markers))[label] + rng.normal(0, 1, (len(label), markers))).astype(
        np.float32
    ), label


def similarity(
    kind: str,
    coordinates: list[list[float]],
    labels: list[int] | None = None,
    *,
    radius: float = 2.0,
    neighbors: int = 1,
    weak: bool = False,
) -> Similarity:
    unknown = [-1] * len(coordinates)
    return Similarity(kind, torch.tensor(coordinates), torch.tensor(labels or unknown), radius, neighbors, weak)


def block(made: Similarity, rows: list[int]) -> list[list[float]]:
    values: list[list[float]] = made.block(torch.tensor(rows)).tolist()
    return values


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "markers"), [(400, 3), (300, 20)])
def test_neighbors_are_those_of_scipy(metric: Metric, n: int, markers: int) -> None:
    x = cells(n, markers)
    found = nearest_neighbors(x, 15, metric)
    expected = cdist(x.astype(np.float64), x.astype(np.float64), metric)
    own = np.take_along_axis(expected, found.indices, 1)
    np.testing.assert_allclose(found.distances, own, atol=ROUNDING)
    # The same cells, that is: as near as the truly nearest, whichever of two equally near it was.
    np.testing.assert_allclose(own, np.sort(expected, 1)[:, :15], atol=ROUNDING)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_are_distinct_ascending_and_begin_with_the_cell_itself(metric: Metric) -> None:
    x = cells(200, 6)
    x[100:150] = x[:50]  # the same cells twice
    found = nearest_neighbors(x, 10, metric)
    assert (found.indices[:, 0] == np.arange(200)).all()
    assert (found.distances[:, 0] == 0).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 10 for row in found.indices)
    assert (found.indices[:50, 1] == np.arange(100, 150)).all()
    assert (found.indices[100:150, 1] == np.arange(50)).all()
    assert found.distances[:50, 1].max() <= (1e-6 if metric == "correlation" else 0)


def test_more_copies_of_a_cell_than_neighbors_still_begin_with_itself() -> None:
    found = nearest_neighbors(np.ones((30, 4), np.float32), 5, "euclidean")
    assert (found.indices[:, 0] == np.arange(30)).all()
    assert (found.distances == 0).all()


def test_small_euclidean_distances_survive_large_values() -> None:
    """Far from the mean a distance by products would keep only what rounding of the squares leaves."""
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


def test_cells_without_a_correlation_are_alike_and_far_from_others() -> None:
    x = cells(60, 5)
    x[:4] = np.array([0.0, 0.0, 0.1, 3.0], np.float32)[:, None]  # every marker the same
    found = nearest_neighbors(x, 6, "correlation")
    assert {frozenset(row[:4].tolist()) for row in found.indices[:4]} == {frozenset({0, 1, 2, 3})}
    np.testing.assert_allclose(found.distances[:4, :4], 0, atol=ROUNDING)
    np.testing.assert_allclose(found.distances[:4, 4:], 1, atol=ROUNDING)


def test_canberra_by_hand() -> None:
    x = np.array([[1, 0], [3, 0], [1, 5]], np.float32)
    # 0 and 1: 2/4 + 0/0, taken as 0;  0 and 2: 0/2 + 5/5;  1 and 2: 2/4 + 5/5
    found = nearest_neighbors(x, 3, "canberra")
    assert found.indices.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]
    np.testing.assert_allclose(found.distances, [[0, 0.5, 1], [0, 0.5, 1.5], [0, 1, 1.5]], atol=1e-6)


def test_neighbors_of_chunks_are_neighbors_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many cells that they do not fit one chunk: the last ones find the first ones."""
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
    """The same bytes for 1 and 2 threads of the caller and 1 to 4 workers, which leave the caller's setting alone."""
    x = cells(300, 5)
    monkeypatch.setattr(similarity_module, "CHUNK", 300 * 7)  # rows for which threads matter on some processors
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
    with pytest.raises(UsageError, match="6 nearest neighbours need at least 6 cells, there are 5"):
        nearest_neighbors(cells(5, 2), 6, "euclidean")


def test_read_only_values_are_left_alone() -> None:
    x = cells(40, 3)
    before = x.copy()
    x.setflags(write=False)  # what pandas hands out; torch would warn
    for metric in METRICS:
        nearest_neighbors(x, 3, metric)
    assert (x == before).all()


# --- S of a batch -----------------------------------------------------------------------------------------------------

TRIANGLE = [[0.0, 0.0], [1.5, 0.0], [1.5, 1.5], [3.5, 0.0]]  # sides 1.5, 1.5, 2.12; the last 2 from the second


def test_radius_by_hand() -> None:
    """Nearer than 2: the cell exactly 2 away is not similar."""
    assert block(similarity("radius", TRIANGLE), [0, 1, 2, 3]) == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_rows_of_a_batch_are_in_its_order() -> None:
    assert block(similarity("radius", TRIANGLE), [2, 0, 1]) == [[1, 0, 1], [0, 1, 1], [1, 1, 1]]


def test_neighbors_by_hand() -> None:
    # On a line at 0, 1, 3, 7, each with its nearest one: 0 → 1, 1 → 0, 3 → 1, 7 → 3; either way counts.
    line = [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [7.0, 0.0]]
    assert block(similarity("neighbors", line), [0, 1, 2, 3]) == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]
    # In a batch without the cell at 1, the nearest of 0 is 3, and that of 3 is 0.
    assert block(similarity("neighbors", line), [0, 2, 3]) == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


def test_more_neighbors_than_the_batch_has_are_all_of_them() -> None:
    assert block(similarity("neighbors", TRIANGLE, neighbors=10), [0, 1, 3]) == [[1, 1, 1]] * 3


def test_partition_by_hand() -> None:
    made = similarity("partition", TRIANGLE, [4, 0, 4, 0])
    assert block(made, [0, 1, 2, 3]) == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]


@pytest.mark.parametrize("kind", ["radius", "neighbors"])
def test_known_labels_overrule_coordinates_and_unknown_ones_do_not(kind: str) -> None:
    # 0 and 1 coincide, 2 is their neighbour, 3 is far away and has the label of 0.
    coordinates = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [50.0, 0.0]]
    made = similarity(kind, coordinates, [7, 8, -1, 7], neighbors=2, weak=True)
    assert block(made, [0, 1, 2, 3])[:3] == [
        [1, 0, 1, 1],  # unlike 1 by label, like 2 by place, like 3 by label
        [0, 1, 1, 0],
        [1, 1, 1, 0 if kind == "radius" else 1],  # 2 is among the two nearest of 3
    ]


@pytest.mark.parametrize("kind", ["radius", "neighbors", "partition"])
@pytest.mark.parametrize("weak", [False, True])
def test_every_block_is_symmetric_with_a_unit_diagonal(kind: str, weak: bool) -> None:
    rng = np.random.default_rng(5)
    coordinates = torch.from_numpy(rng.normal(0, 6, (400, 2)).astype(np.float32))
    coordinates[200:] = coordinates[:200]  # and cells at the same place
    labels = torch.from_numpy(rng.integers(-1 if weak else 0, 5, 400))
    made = Similarity(kind if not weak or kind != "partition" else "radius", coordinates, labels, 2.0, 10, weak)
    for _ in range(5):
        s = made.block(torch.from_numpy(rng.permutation(400)[:256]))
        assert torch.equal(s, s.T)
        assert (s.diagonal() == 1).all()
        assert np.unique(s.numpy()).tolist() == [0, 1]


# --- from settings ----------------------------------------------------------------------------------------------------


def test_a_partition_has_as_many_parts_as_there_are_experts_and_is_the_same_by_seed() -> None:
    coordinates = np.random.default_rng(6).uniform(0, 10, (500, 2)).astype(np.float32)
    labels = fine_partition(coordinates, 25, seed=3)
    assert sorted(np.unique(labels)) == list(range(25))
    assert (fine_partition(coordinates, 25, seed=3) == labels).all()
    # Parts are small: 25 of a square of side 10 are about 2 wide, and no cell is far from its part's centre.
    centres = np.stack([coordinates[labels == part].mean(0) for part in range(25)])
    assert np.linalg.norm(coordinates - centres[labels], axis=1).max() < 4


def test_more_parts_than_cells_are_asked_for() -> None:
    """Cells far from each other are parted, cells at one place are not."""
    coordinates = np.repeat(np.array([[0, 0], [50, 0], [0, 50]], np.float32), 3, 0)
    labels = fine_partition(coordinates, 99, seed=0)
    assert labels.min() >= 0
    assert labels.max() < 9
    assert len({frozenset(labels[i : i + 3].tolist()) for i in (0, 3, 6)}) == 3


def test_without_labels_the_settings_decide() -> None:
    coordinates = np.random.default_rng(7).normal(size=(50, 2)).astype(np.float32)
    for kind in ("partition", "radius", "neighbors"):
        made = make_similarity(coordinates, replace(Settings(), similarity=kind, experts=5), seed=0)
        assert (made.kind, made.weak) == (kind, False)
        assert (made.labels >= 0).all() if kind == "partition" else (made.labels == -1).all()


def test_labels_of_a_user_are_weak_and_laid_over_coordinates() -> None:
    coordinates = np.array([[0, 0], [0.5, 0], [9, 0]], np.float32)
    made = make_similarity(coordinates, Settings(), seed=0, labels=np.array([0, -1, 0]))
    # 0 and 1 by place, 0 and 2 by label, 1 and 2 by place.
    assert block(made, [0, 1, 2]) == [[1, 1, 1], [1, 1, 0], [1, 0, 1]]


# --- UMAP -------------------------------------------------------------------------------------------------------------

QUICK = Settings(umap_epochs=60)


@pytest.mark.parametrize("metric", METRICS)
def test_close_cells_stay_close(metric: Metric) -> None:
    x, label = blobs(4, 60, 10)
    if metric == "canberra":
        x = np.abs(x)
    coordinates = umap_projection(x, nearest_neighbors(x, 15, metric), replace(QUICK, metric=metric), seed=0)
    assert coordinates.shape == (240, 2)
    assert coordinates.dtype == np.float32
    assert trustworthiness(x, coordinates, n_neighbors=10, metric=metric) > 0.9
    # And the nearest cell of each in the plane is one of its own blob, for all but a few.
    nearest = nearest_neighbors(coordinates, 2, "euclidean").indices[:, 1]
    assert (label[nearest] == label).mean() > 0.97


def test_a_seed_means_a_projection_and_the_global_generator_is_left_alone() -> None:
    x, _ = blobs(3, 50, 6)
    neighbors = nearest_neighbors(x, 15, "euclidean")
    state = np.random.get_state(legacy=True)  # noqa: NPY002
    first = umap_projection(x, neighbors, QUICK, seed=1)
    assert (umap_projection(x, neighbors, QUICK, seed=1) == first).all()
    assert (umap_projection(x, neighbors, QUICK, seed=2) != first).any()
    assert str(state) == str(np.random.get_state(legacy=True))  # noqa: NPY002


def test_the_number_of_threads_is_left_alone() -> None:
    """Numba and torch share an OpenMP; what one asks of it the other gets."""
    x, _ = blobs(2, 40, 4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        umap_projection(x, nearest_neighbors(x, 15, "euclidean"), QUICK, seed=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_fewer_cells_than_neighbors_asked_for() -> None:
    """Fifty cells and sixty neighbours: all cells there are, and no warning."""
    x, _ = blobs(2, 25, 4)
    neighbors = nearest_neighbors(x, 50, "euclidean")
    coordinates = umap_projection(x, neighbors, replace(QUICK, umap_neighbors=60), seed=0)
    assert np.isfinite(coordinates).all()
