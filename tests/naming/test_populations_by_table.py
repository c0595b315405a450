"""Populations of a marker table among simulated cells, whose populations are known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average

from cytovae.annotations.marker_table import PanelTypes, parse_marker_table, types_of_panel
from cytovae.naming.evidence import signature
from cytovae.naming.populations_by_table import CellsAround, NamedCells, name_populations
from cytovae.naming.tree_labels import label_branches

MARKERS = ("CD3", "CD4", "CD8", "CD19", "CD14")
TABLE = """population,CD3,CD4,CD8,CD19,CD14
CD4 T,+,+,-,-,
CD8 T,+,-,+,-,
B,-,,,+,-
Monocytes,-,,-,-,+
"""
PROFILES = {"CD4 T": (4, 4, 0, 0, 0), "CD8 T": (4, 0, 5, 0, 0), "B": (0, 0, 0, 3, 0), "Monocytes": (0, 1, 0, 0, 4)}


def types_of(text: str) -> PanelTypes:
    return types_of_panel(parse_marker_table(text, Path("types.csv")), MARKERS, Path("types.csv"))


def cells_of(sizes: dict[str, int], seed: int = 0) -> tuple[NDArray[np.float32], list[str], NDArray[np.int64]]:
    """Values, population and micro-cluster of cells with a standard deviation of 0.4 around their profile."""
    rng = np.random.default_rng(seed)
    truth = [name for name, n in sizes.items() for _ in range(n)]
    profiles = {**PROFILES, "Odd": (0, 0, 0, 0, 0)}
    values = np.array([profiles[name] for name in truth]) + rng.normal(0, 0.4, (len(truth), len(MARKERS)))
    micro, first = np.zeros(len(truth), dtype=np.int64), 0
    for name, n in sizes.items():  # a micro-cluster has about 50 cells of one population
        rows = np.flatnonzero([other == name for other in truth])
        parts = max(1, n // 50)
        micro[rows] = first + np.arange(n) % parts
        first += parts
    return values.astype(np.float32), truth, micro


def tree_of(values: NDArray[np.float32], micro: NDArray[np.int64]) -> NDArray[np.float64]:
    linkage = average(np.stack([values[micro == index].mean(0) for index in range(micro.max() + 1)]))
    linkage[:, 2] /= linkage[:, 2].max()
    return linkage


def named(sizes: dict[str, int], text: str = TABLE) -> tuple[NamedCells, list[str]]:
    values, truth, micro = cells_of(sizes)
    return name_populations(values, micro, tree_of(values, micro), types_of(text)), truth


def share_right(result: NamedCells, truth: list[str]) -> float:
    found = [(*result.names, "unknown")[index] for index in result.population]
    return float(np.mean([a == b for a, b in zip(found, truth, strict=True)]))


@pytest.mark.parametrize(
    "sizes",
    [
        {"CD4 T": 500, "CD8 T": 500, "B": 500, "Monocytes": 500},
        {"CD4 T": 3000, "CD8 T": 100, "B": 60, "Monocytes": 300},  # one dominates
        {"Monocytes": 3000, "CD4 T": 100, "CD8 T": 100, "B": 50},
    ],
)
def test_cells_get_the_population_of_their_profile(sizes: dict[str, int]) -> None:
    result, truth = named(sizes)
    assert share_right(result, truth) >= 0.98
    assert result.not_found == ()


def test_cells_around_tell_what_is_low_and_high() -> None:
    values, truth, micro = cells_of({"CD4 T": 400, "CD8 T": 300})  # all of them are CD3+
    others, _, micro_of_others = cells_of({"B": 1000, "Monocytes": 1000}, seed=1)
    around = CellsAround(others, micro_of_others, tree_of(others, micro_of_others), 2000 / 2700)
    linkage, types = tree_of(values, micro), types_of(TABLE)
    result = name_populations(values, micro, linkage, types, around)
    assert result.names == ("CD4 T", "CD8 T")
    assert len(result.population) == len(truth)
    assert [each.cells for each in result.evidence] == [400, 300]
    assert share_right(result, truth) >= 0.98
    assert share_right(name_populations(values, micro, linkage, types), truth) < 0.9  # without them
    # Ten times as many of the same cells around stand for no more than these did.
    many = CellsAround(np.tile(others, (10, 1)), np.tile(micro_of_others, 10), around.linkage, around.share)
    again = name_populations(values, micro, linkage, types, many)
    assert (again.population == result.population).all()
    np.testing.assert_allclose(again.high, result.high, rtol=1e-5)


def test_absent_populations_are_reported_and_take_no_cells() -> None:
    result, truth = named({"CD4 T": 500, "CD8 T": 500, "Monocytes": 300})
    assert share_right(result, truth) >= 0.98
    assert result.not_found == ("B",)


def test_cells_that_fit_nothing_have_no_name() -> None:
    table = TABLE.replace("Monocytes,-,,-,-,+\n", "")
    result, truth = named({"CD4 T": 500, "CD8 T": 500, "B": 400, "Monocytes": 300}, table)
    unknown = np.array([name == "Monocytes" for name in truth])
    assert (result.population[unknown] == -1).mean() >= 0.95
    assert (result.population[~unknown] >= 0).mean() >= 0.98


def test_a_child_wins_over_its_parent() -> None:
    table = TABLE + "T,+,,,-,\n"
    result, truth = named({"CD4 T": 500, "CD8 T": 500, "B": 400, "Monocytes": 300}, table)
    assert share_right(result, truth) >= 0.98
    assert result.not_found == ("T",)


def test_evidence_says_what_was_asked_and_found() -> None:
    result, truth = named({"CD4 T": 500, "CD8 T": 500, "B": 500, "Monocytes": 500})
    evidence = {each.name: each for each in result.evidence}["CD8 T"]
    assert evidence.markers == ("CD3", "CD4", "CD8", "CD19")
    assert evidence.asked == (1, -1, 1, -1)
    assert [value > 0 for value in evidence.found] == [True, False, True, False]
    assert evidence.agreement >= 0.99
    assert evidence.cells == pytest.approx(truth.count("CD8 T"), abs=10)
    assert evidence.next_best == "CD4 T"
    assert evidence.next_agreement <= 0.55  # two of its four markers fit


def test_levels_of_a_signature() -> None:
    assert signature(np.array([0.9, -1.2, 0.1, np.nan]), ("CD3", "CD4", "CD8", "CD19")) == "CD3+ CD4- CD8~"


def test_a_branch_is_cut_off_only_if_its_gain_exceeds_the_price() -> None:
    # Two leaves that join at level 1 (no valley): a cut costs 8 for each cell of the branch, and 1e-4.
    share = np.array([0.75, 0.25])
    flat, deep = np.array([[0.0, 1.0, 0.0, 2.0]]), np.array([[0.0, 1.0, 1.0, 2.0]])
    for gain, linkage, expected in ((7.9, flat, [0, 0]), (8.1, flat, [0, 1]), (0.1, deep, [0, 1])):
        cost = np.array([[0.0, gain * 10], [gain, 0.0]])
        assert label_branches(cost, share, linkage).tolist() == expected
