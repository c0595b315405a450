"""Cuts of a view: clusters must be distinct or large; what views say about landmarks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.populations.valleys import ValleyHierarchy
from cytovae.populations.views import View, average_linkage, mean_joined, resolve, together

# Two large micro-clusters with a shallow valley (0.7) between them, a small one beside the second (0.62 and 0.58), and
# two that are distinct, one of them small.
JOINED = np.array(
    [
        [1.0, 0.7, 0.58, 0.3, 0.2],
        [0.7, 1.0, 0.62, 0.3, 0.2],
        [0.58, 0.62, 1.0, 0.3, 0.2],
        [0.3, 0.3, 0.3, 1.0, 0.2],
        [0.2, 0.2, 0.2, 0.2, 1.0],
    ]
)
SIZES = np.array([3000, 3000, 60, 2000, 20])


def groups(clusters: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(clusters == index).tolist()) for index in np.unique(clusters)}


@pytest.mark.parametrize(
    ("populations", "sizes", "expected"),
    [
        (0, SIZES, [{0, 1, 2}, {3}, {4}]),
        (3, SIZES, [{0, 1, 2}, {3}, {4}]),  # distinct clusters count from 0.2 % of the cells on
        (4, SIZES, [{0}, {1, 2}, {3}, {4}]),  # the small piece stays with the more similar of the large ones
        (9, SIZES, [{0}, {1, 2}, {3}, {4}]),
        (4, SIZES // 2, [{0, 1, 2}, {3}, {4}]),  # among few cells, a shallow valley may be chance
    ],
)
def test_clusters_are_distinct_or_large(populations: int, sizes: NDArray[np.int64], expected: list[set[int]]) -> None:
    (clusters,) = resolve(average_linkage(JOINED), JOINED, sizes, 0.45, [populations])
    assert groups(clusters) == {frozenset(group) for group in expected}


def test_each_number_of_populations_has_its_own_cut() -> None:
    linkage = average_linkage(JOINED)
    several = resolve(linkage, JOINED, SIZES, 0.45, [0, 3, 4, 9])
    alone = [resolve(linkage, JOINED, SIZES, 0.45, [number])[0] for number in (0, 3, 4, 9)]
    assert [groups(clusters) for clusters in several] == [groups(clusters) for clusters in alone]


def test_a_distinct_cluster_of_small_pieces_stays_whole() -> None:
    joined = np.array([[1.0, 0.7, 0.2], [0.7, 1.0, 0.2], [0.2, 0.2, 1.0]])
    (clusters,) = resolve(average_linkage(joined), joined, np.array([40, 40, 6000]), 0.45, [3])
    assert groups(clusters) == {frozenset({0, 1}), frozenset({2})}


def test_one_micro_cluster_is_one_cluster() -> None:
    (clusters,) = resolve(np.zeros((0, 4)), np.ones((1, 1)), np.array([50]), 0.45, [14])
    assert clusters.tolist() == [0]


def test_together_is_the_probability_that_two_random_cells_share_a_cluster() -> None:
    """Micro-cluster 0 has 1 of 2 cells in cluster 0, micro-cluster 1 has 1 of 4."""
    shared = together(np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 1, 1]))
    assert shared[0, 1] == pytest.approx(1 / 2 * 1 / 4 + 1 / 2 * 3 / 4)


def test_a_view_speaks_for_the_landmarks_nearest_to_its_cells() -> None:
    """Three cells in two micro-clusters that join at 0.3; four landmarks, of which two are nearest to the last cell."""
    hierarchy = ValleyHierarchy(np.zeros((1, 2), np.int64), np.array([[1.0, 0.3], [0.3, 1.0]]))
    view = View((np.array([0, 0, 1]),), (hierarchy,), np.array([0, 1, 2, 2]))
    clusters = view.clusters(0.45, 2)
    assert clusters.shape == (5, 4)
    assert {frozenset(np.flatnonzero(row == row[0]).tolist()) for row in clusters} == {frozenset({0, 1})}
    np.testing.assert_allclose(view.joined(np.array([0, 0, 1, 1])), [[1, 0.3], [0.3, 1]])
    np.testing.assert_allclose(
        view.joined(np.array([0, 1, 1, 1])), [[1, (1 + 2 * 0.3) / 3]] * 1 + [[(1 + 0.6) / 3, (1 + 4 * 0.3 + 4) / 9]]
    )


def test_levels_are_averaged_over_partitions() -> None:
    first = ValleyHierarchy(np.zeros((1, 2), np.int64), np.array([[1.0, 0.2], [0.2, 1.0]]))
    second = ValleyHierarchy(np.zeros((1, 2), np.int64), np.array([[1.0, 0.6], [0.6, 1.0]]))
    label = np.array([0, 1])
    np.testing.assert_allclose(mean_joined(label, [label, label], (first, second)), [[1, 0.4], [0.4, 1]])
