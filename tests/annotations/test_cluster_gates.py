"""The label of a cluster by its gates: a name needs half of all its cells, gated or not."""

import numpy as np
import pytest

from cytovae.annotations.cluster_gates import ClusterGates, gates_of_clusters, percent
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import UsageError


def cluster_of(**cells: int) -> ClusterGates:
    """A cluster with so many cells in each gate; ``ungated`` is no gate."""
    names = tuple(name for name in cells if name != "ungated")
    index = {name: position for position, name in enumerate(names)} | {"ungated": UNGATED}
    population = np.repeat([index[name] for name in cells], list(cells.values())).astype(np.int32)
    (found,) = gates_of_clusters(np.ones(len(population), np.int32), GateLabels(population, names), 1)
    assert found.cells == sum(cells.values())
    assert found.gated == found.cells - cells.get("ungated", 0)
    return found


@pytest.mark.parametrize(
    ("cells", "label"),
    [
        ({"ungated": 4085, "B": 5}, "– (99.9 % ungated)"),
        ({"ungated": 51, "B": 49}, "– (51.0 % ungated)"),
        ({"ungated": 50, "B": 50}, "B"),
        ({"B": 1}, "B"),
        ({"T": 1, "B": 2}, "B"),
        ({"ungated": 20, "B": 41, "T": 39}, "– (mixed: 41 % B, 39 % T)"),
        ({"ungated": 10, "NK": 20, "B": 40, "T": 30}, "– (mixed: 40 % B, 30 % T, …)"),
        ({"ungated": 7}, "– (100.0 % ungated)"),
        ({"ungated": 99_999, "B": 1}, "– (> 99.9 % ungated)"),
        ({}, "–"),
    ],
)
def test_a_name_needs_half_of_all_cells(cells: dict[str, int], label: str) -> None:
    assert cluster_of(**cells).label == label


def test_purity_and_gated_share_count_all_cells() -> None:
    found = cluster_of(ungated=50, B=30, T=20)
    assert (found.purity, found.gated_share, found.population) == (0.3, 0.5, "")
    assert np.isnan(cluster_of().purity)
    assert cluster_of(ungated=3).purity == 0


def test_clusters_are_in_the_order_of_their_numbers() -> None:
    gates = GateLabels(np.array([0, 1, UNGATED, 1, 0], np.int32), ("B", "T"))
    found = gates_of_clusters(np.array([3, 1, 1, 1, 0], np.int32), gates, 4)
    assert [(each.cluster, each.cells, each.gated) for each in found] == [(1, 3, 2), (2, 0, 0), (3, 1, 1), (4, 0, 0)]
    assert [each.label for each in found] == ["T", "–", "B", "–"]
    with pytest.raises(UsageError, match="5 gate labels do not fit 2 cells"):
        gates_of_clusters(np.ones(2, np.int32), gates, 1)


def test_only_whole_shares_are_written_as_0_and_100() -> None:
    assert [percent(share) for share in (0, 1e-9, 0.5, 1 - 1e-9, 1)] == [
        *("0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"),
    ]
    assert percent(0.996, 0) == "> 99 %"
