"""Partitions into micro-clusters by k-means, and how they overlap."""

import numpy as np

from cytovae.populations.partition import count_overlaps, find_micro_clusters


def test_there_are_as_many_micro_clusters_as_requested_and_a_seed_reproduces_them() -> None:
    coordinates = np.random.default_rng(6).uniform(0, 10, (500, 2)).astype(np.float32)
    labels = find_micro_clusters(coordinates, 25, seed=3)
    assert sorted(np.unique(labels)) == list(range(25))
    assert (find_micro_clusters(coordinates, 25, seed=3) == labels).all()
    # They are compact: 25 in a square of side 10 are about 2 wide, and no cell is far from its center.
    centers = np.stack([coordinates[labels == label].mean(0) for label in range(25)])
    assert np.linalg.norm(coordinates - centers[labels], axis=1).max() < 4


def test_more_micro_clusters_than_cells() -> None:
    """Distant cells are separated, cells with the same coordinates are not."""
    coordinates = np.repeat(np.array([[0, 0], [50, 0], [0, 50]], np.float32), 3, 0)
    labels = find_micro_clusters(coordinates, 99, seed=0)
    assert labels.min() >= 0
    assert labels.max() < 9
    assert len({frozenset(labels[i : i + 3].tolist()) for i in (0, 3, 6)}) == 3


def test_overlaps_are_a_contingency_table() -> None:
    overlaps = count_overlaps(np.array([0, 0, 2, 2, 2]), np.array([1, 0, 1, 1, 0]))
    assert overlaps.tolist() == [[1, 1], [0, 0], [1, 2]]
