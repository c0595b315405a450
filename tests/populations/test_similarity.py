"""Similarity matrices S, computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cytovae.populations.similarity import Similarity, draw_weight, make_similarity
from cytovae.settings import Settings


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


def block(similarity: Similarity, rows: list[int]) -> list[list[float]]:
    values: list[list[float]] = similarity.block(torch.tensor(rows)).tolist()
    return values


# --- S of a batch -----------------------------------------------------------------------------------------------------

TRIANGLE = [[0.0, 0.0], [1.5, 0.0], [1.5, 1.5], [3.5, 0.0]]  # sides 1.5, 1.5, 2.12; the last 2 from the second


def test_radius_by_hand() -> None:
    """The radius is 2. A cell exactly 2 away is not similar."""
    assert block(similarity("radius", TRIANGLE), [0, 1, 2, 3]) == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_rows_are_in_the_order_of_the_batch() -> None:
    assert block(similarity("radius", TRIANGLE), [2, 0, 1]) == [[1, 0, 1], [0, 1, 1], [1, 1, 1]]


def test_neighbors_by_hand() -> None:
    # On a line at 0, 1, 3, 7 the nearest are 0 → 1, 1 → 0, 3 → 1, 7 → 3; S counts either direction.
    line = [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [7.0, 0.0]]
    assert block(similarity("neighbors", line), [0, 1, 2, 3]) == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]
    # In a batch without the cell at 1, the nearest of 0 is 3, and that of 3 is 0.
    assert block(similarity("neighbors", line), [0, 2, 3]) == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


def test_with_more_neighbors_than_cells_all_cells_are_similar() -> None:
    assert block(similarity("neighbors", TRIANGLE, neighbors=10), [0, 1, 3]) == [[1, 1, 1]] * 3


def test_partition_by_hand() -> None:
    made = similarity("partition", TRIANGLE, [4, 0, 4, 0])
    assert block(made, [0, 1, 2, 3]) == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]


@pytest.mark.parametrize("kind", ["radius", "neighbors"])
def test_known_labels_overrule_coordinates(kind: str) -> None:
    # 0 and 1 coincide, 2 is their neighbour, 3 is far away and has the label of 0.
    coordinates = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [50.0, 0.0]]
    made = similarity(kind, coordinates, [7, 8, -1, 7], neighbors=2, weak=True)
    assert block(made, [0, 1, 2, 3])[:3] == [
        [1, 0, 1, 1],  # not 1 by label, 2 by coordinates, 3 by label
        [0, 1, 1, 0],
        [1, 1, 1, 0 if kind == "radius" else 1],  # 2 is among the two nearest of 3
    ]


@pytest.mark.parametrize("kind", ["radius", "neighbors", "partition"])
@pytest.mark.parametrize("weak", [False, True])
def test_s_is_symmetric_with_ones_on_the_diagonal(kind: str, weak: bool) -> None:
    rng = np.random.default_rng(5)
    coordinates = torch.from_numpy(rng.normal(0, 6, (400, 2)).astype(np.float32))
    coordinates[200:] = coordinates[:200]  # cells with the same coordinates
    labels = torch.from_numpy(rng.integers(-1 if weak else 0, 5, 400))
    made = Similarity(kind if not weak or kind != "partition" else "radius", coordinates, labels, 2.0, 10, weak)
    for _ in range(5):
        s = made.block(torch.from_numpy(rng.permutation(400)[:256]))
        assert torch.equal(s, s.T)
        assert (s.diagonal() == 1).all()
        assert np.unique(s.numpy()).tolist() == [0, 1]


# --- from settings ----------------------------------------------------------------------------------------------------


def test_without_labels_the_settings_choose_the_kind() -> None:
    coordinates = np.random.default_rng(7).normal(size=(50, 2)).astype(np.float32)
    for kind in ("partition", "radius", "neighbors"):
        made = make_similarity(coordinates, replace(Settings(), similarity=kind, experts=5), seed=0)
        assert (made.kind, made.weak) == (kind, False)
        assert (made.labels >= 0).all() if kind == "partition" else (made.labels == -1).all()


def test_labels_of_a_user_are_weak_and_overrule_coordinates() -> None:
    coordinates = np.array([[0, 0], [0.5, 0], [9, 0]], np.float32)
    made = make_similarity(coordinates, Settings(), seed=0, labels=np.array([0, -1, 0]))
    # 0 and 1 by coordinates, 0 and 2 by label, 1 and 2 by coordinates.
    assert block(made, [0, 1, 2]) == [[1, 1, 1], [1, 1, 0], [1, 0, 1]]


def test_populations_are_drawn_by_the_square_root_of_their_cells() -> None:
    population = torch.tensor([0, 0, 0, 0, 1])
    known = Similarity("partition", torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64), 2.0, 10, False, population)
    weight = draw_weight(known)
    assert weight is not None
    np.testing.assert_allclose(weight, [0.5, 0.5, 0.5, 0.5, 1])  # sums 2 and 1, the roots of 4 and 1
    assert draw_weight(replace(known, populations=None)) is None
