"""Scores against cases computed by hand, all matchings of small tables, scikit-learn, and invariants."""

import doctest
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from cytovae import metrics
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import UsageError
from cytovae.metrics import ScoreReport, contingency, expected_calibration_error, score

SUMMARY = ("f_weighted", "f_weighted_clusters", "f1_mean", "ari", "nmi", "accuracy")
EXACT = 1e-12  # double precision, a handful of operations


def gates_of(population: list[int] | NDArray[np.int32], names: tuple[str, ...] | None = None) -> GateLabels:
    labels = np.asarray(population, dtype=np.int32)
    count = int(labels.max(initial=UNGATED)) + 1
    return GateLabels(labels, names or tuple(f"population {index}" for index in range(count)))


def cells_of(table: list[list[int]]) -> tuple[NDArray[np.int32], GateLabels]:
    """Cells with a contingency table: row = population, column = cluster from 1."""
    population, cluster = [], []
    for row, counts in enumerate(table):
        for column, count in enumerate(counts):
            population += [row] * count
            cluster += [column + 1] * count
    names = tuple(f"population {row}" for row in range(len(table)))
    return np.array(cluster, dtype=np.int32), gates_of(population, names)


def summary(report: ScoreReport) -> list[float]:
    return [getattr(report, name) for name in SUMMARY]


# --- computed by hand ---


def test_a_table_computed_by_hand() -> None:
    # population 0: 6 cells, 4 in cluster 1, 2 in cluster 2; population 1: 4 cells, all in cluster 2
    # F: (0,1) = 2·4/(6+4) = 0.8, (0,2) = 2·2/(6+6) = 1/3, (1,2) = 2·4/(4+6) = 0.8
    report = score(*cells_of([[4, 2], [0, 4]]))
    assert report.f_weighted == pytest.approx(0.6 * 0.8 + 0.4 * 0.8, abs=EXACT)
    assert report.f_weighted_clusters == pytest.approx(0.4 * 0.8 + 0.6 * 0.8, abs=EXACT)
    assert report.f1_mean == pytest.approx(0.8, abs=EXACT)
    assert report.accuracy == pytest.approx(0.8, abs=EXACT)
    # pairs: together 6 + 1 + 6 = 13; populations 15 + 6 = 21; clusters 6 + 15 = 21; all 45
    assert report.ari == pytest.approx((13 - 21 * 21 / 45) / (21 - 21 * 21 / 45), abs=EXACT)
    first, second = report.populations
    assert (first.size, first.cluster, first.precision, first.best_cluster) == (6, 1, 1.0, 1)
    assert first.recall == pytest.approx(4 / 6, abs=EXACT)
    assert (second.size, second.cluster, second.recall) == (4, 2, 1.0)
    assert second.precision == pytest.approx(4 / 6, abs=EXACT)


def test_the_two_weightings_of_equation_12_differ() -> None:
    # One cluster of 9 + 1 cells: F = 2·9/19 and 2·1/11. Both count by population, only the larger by cluster.
    report = score(*cells_of([[9], [1]]))
    assert report.f_weighted == pytest.approx(0.9 * 18 / 19 + 0.1 * 2 / 11, abs=EXACT)
    assert report.f_weighted_clusters == pytest.approx(18 / 19, abs=EXACT)
    assert report.f1_mean == pytest.approx((18 / 19 + 0) / 2, abs=EXACT)
    assert report.accuracy == pytest.approx(0.9, abs=EXACT)
    assert report.ari == 0.0
    assert report.nmi == 0.0


def test_a_single_cluster_of_levine_13() -> None:
    # Sizes of the 24 populations of Levine_13dim; the expected values were computed independently.
    levine_13 = [912, 6779, 1278, 253, 12030, 73, 261, 502, 7796, 608, 13964, 7821]
    levine_13 += [3684, 194, 152, 3025, 6987, 9564, 3864, 468, 293, 5, 240, 994]
    report = score(*cells_of([[size] for size in levine_13]))
    assert report.n_gated == 81747
    assert report.f_weighted == pytest.approx(0.184, abs=5e-4)
    assert report.f_weighted_clusters == pytest.approx(0.292, abs=5e-4)
    assert report.f1_mean == pytest.approx(0.012, abs=5e-4)


def test_only_the_best_cluster_may_be_shared() -> None:
    # Cluster 1 is the best cluster of both populations, but only one of them is matched with it.
    report = score(*cells_of([[5, 0], [5, 1]]))
    best = 2 * 5 / (5 + 10)
    first, second = report.populations
    assert (first.best_cluster, second.best_cluster) == (1, 1)
    assert first.best_f1 == pytest.approx(best, abs=EXACT)
    assert second.best_f1 == pytest.approx(2 * 5 / (6 + 10), abs=EXACT)
    assert (first.cluster, second.cluster) == (1, 2)
    assert second.f1 == pytest.approx(2 * 1 / (6 + 1), abs=EXACT)
    assert report.f1_mean == pytest.approx((best + 2 / 7) / 2, abs=EXACT)


def test_a_population_without_a_cluster_of_its_own_counts_zero() -> None:
    report = score(*cells_of([[8, 0], [0, 6], [2, 0]]))
    lost = report.populations[2]
    assert (lost.cluster, lost.precision, lost.recall, lost.f1) == (0, 0.0, 0.0, 0.0)
    assert lost.best_cluster == 1
    assert report.f1_mean == pytest.approx((2 * 8 / 18 + 1.0 + 0.0) / 3, abs=EXACT)


def test_a_partner_without_a_common_cell_is_no_partner() -> None:
    # The matching 0.83 + 0, which pairs population 1 with a cluster without its cells, beats 0.29 + 0.29.
    report = score(*cells_of([[5, 1], [1, 0]]))
    assert [entry.cluster for entry in report.populations] == [1, 0]
    assert report.f1_mean == pytest.approx((2 * 5 / 12 + 0) / 2, abs=EXACT)


def test_unassigned_cells_cost_recall_and_accuracy_but_no_precision() -> None:
    # Population 0: 3 in cluster 1, 1 unassigned. Population 1: 4 in cluster 2, 2 unassigned (-1 counts as 0).
    cluster = np.array([1, 1, 1, 0, 2, 2, 2, 2, 0, -1], dtype=np.int32)
    population = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    report = score(cluster, gates_of(population))
    f_first, f_second = 2 * 3 / (4 + 3), 2 * 4 / (6 + 4)
    assert (report.n_unassigned, report.n_clusters) == (3, 2)
    assert report.f_weighted == pytest.approx(0.4 * f_first + 0.6 * f_second, abs=EXACT)
    assert report.f_weighted_clusters == pytest.approx(0.3 * f_first + 0.4 * f_second, abs=EXACT)
    assert report.f1_mean == pytest.approx((f_first + f_second) / 2, abs=EXACT)
    assert report.accuracy == pytest.approx(0.7, abs=EXACT)
    assert [entry.precision for entry in report.populations] == [1.0, 1.0]
    one_group_more = np.maximum(cluster, 0)
    assert report.ari == pytest.approx(adjusted_rand_score(population, one_group_more), abs=EXACT)
    assert report.nmi == pytest.approx(normalized_mutual_info_score(population, one_group_more), abs=EXACT)


def test_unassigned_cells_alone_score_zero() -> None:
    report = score(np.zeros(4, dtype=np.int32), gates_of([0, 0, 1, 1]))
    assert report.n_clusters == 0
    assert summary(report) == [0.0] * 6
    assert all(entry.cluster == entry.best_cluster == 0 for entry in report.populations)


def test_counts_of_cells_and_clusters() -> None:
    cluster = np.array([1, 1, 7, 9, 9], dtype=np.int32)  # cluster 9 holds ungated cells only
    report = score(cluster, gates_of([0, 0, 1, UNGATED, UNGATED]))
    assert (report.n_cells, report.n_gated, report.n_clusters, report.n_unassigned) == (5, 3, 3, 0)
    assert [entry.cluster for entry in report.populations] == [1, 7]
    assert contingency(cluster, gates_of([0, 0, 1, UNGATED, UNGATED])).clusters.tolist() == [1, 7]


def test_populations_without_a_gated_cell_are_left_out() -> None:
    report = score(np.array([1, 2]), gates_of([0, 2], names=("B", "never seen", "T")))
    assert [entry.name for entry in report.populations] == ["B", "T"]
    assert summary(report) == pytest.approx([1.0] * 6, abs=EXACT)


@pytest.mark.parametrize("names", [(), ("B",)])
def test_no_gated_cell_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="none of the 3 cells is gated"):
        score(np.array([1, 1, 2]), gates_of([UNGATED] * 3, names=names))


def test_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match=r"3 cluster labels .* 2 gate labels"):
        score(np.array([1, 1, 2]), gates_of([0, 1]))


def test_clusters_that_are_not_integers_are_refused() -> None:
    with pytest.raises(UsageError, match="integers"):
        score(np.array([1.0, 2.0]), gates_of([0, 1]))  # type: ignore[arg-type]


def test_huge_ids_count_like_small_ones() -> None:
    generator = np.random.default_rng(5)
    cluster = generator.integers(-1, 6, 500)
    gates = gates_of(generator.integers(-1, 4, 500))
    huge = np.where(cluster > 0, cluster * 10**12, cluster)
    assert summary(score(huge, gates)) == summary(score(cluster, gates))
    assert contingency(huge, gates).clusters.tolist() == [i * 10**12 for i in range(1, 6)]


def test_the_example_in_the_documentation_is_right() -> None:
    results = doctest.testmod(metrics)
    assert results.attempted > 0
    assert results.failed == 0


# --- against every matching, and scikit-learn ---

tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 6), min_size=width, max_size=width).filter(any), min_size=1, max_size=5
    )
)


def best_matching(values: list[list[float]]) -> float:
    """Largest total over all one-to-one matchings, by trying each."""
    rows, columns = len(values), len(values[0])
    if rows > columns:
        return best_matching([list(column) for column in zip(*values, strict=True)])
    return max(
        sum(values[row][column] for row, column in enumerate(chosen)) for chosen in permutations(range(columns), rows)
    )


@given(tables)
@settings(max_examples=150, deadline=None)
def test_no_matching_is_better(table: list[list[int]]) -> None:
    sizes = [sum(row) for row in table]
    widths = [sum(column) for column in zip(*table, strict=True)]
    total = sum(sizes)

    def harmonic(row: int, column: int) -> float:
        if not table[row][column]:
            return 0.0
        precision, recall = table[row][column] / widths[column], table[row][column] / sizes[row]
        return 2 * precision * recall / (precision + recall)

    values = [[harmonic(row, column) for column in range(len(widths))] for row in range(len(sizes))]
    report = score(*cells_of(table))
    assert report.f1_mean == pytest.approx(best_matching(values) / len(table), abs=EXACT)
    assert report.accuracy == pytest.approx(best_matching([[float(n) for n in row] for row in table]) / total)
    by_population = sum(size / total * max(row) for size, row in zip(sizes, values, strict=True))
    assert report.f_weighted == pytest.approx(by_population, abs=EXACT)
    by_cluster = sum(w / total * max(row[column] for row in values) for column, w in enumerate(widths))
    assert report.f_weighted_clusters == pytest.approx(by_cluster, abs=EXACT)
    assert sum(entry.f1 for entry in report.populations) / len(table) == pytest.approx(report.f1_mean, abs=EXACT)
    assert [entry.best_f1 for entry in report.populations] == pytest.approx([max(row) for row in values], abs=EXACT)
    matched = [entry.cluster for entry in report.populations if entry.cluster]
    assert len(set(matched)) == len(matched)


labellings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 6), min_size=n, max_size=n), st.lists(st.integers(0, 4), min_size=n, max_size=n)
    )
)


# scikit-learn warns that nearly unique labels look like a regression target; here they are intended.
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50")
@given(labellings)
@settings(max_examples=150, deadline=None)
def test_ari_and_nmi_are_scikit_learns(labels: tuple[list[int], list[int]]) -> None:
    cluster, population = labels
    report = score(np.array(cluster), gates_of(population, names=tuple("abcde")))
    assert report.ari == pytest.approx(adjusted_rand_score(population, cluster), abs=1e-10)
    assert report.nmi == pytest.approx(normalized_mutual_info_score(population, cluster), abs=1e-10)


# --- invariants ---

clusterings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 6), min_size=n, max_size=n),
        st.lists(st.integers(UNGATED, 4), min_size=n, max_size=n).filter(lambda p: max(p) > UNGATED),
    )
)
invariant = settings(max_examples=100, deadline=None)


@given(clusterings, st.permutations(range(1, 7)))
@invariant
def test_the_names_of_clusters_do_not_matter(labels: tuple[list[int], list[int]], renaming: list[int]) -> None:
    cluster, gates = np.array(labels[0]), gates_of(labels[1])
    renamed = np.array([0, *renaming])[cluster] * 1000
    assert summary(score(renamed, gates)) == pytest.approx(summary(score(cluster, gates)), abs=EXACT)


@given(clusterings)
@invariant
def test_equal_partitions_score_one(labels: tuple[list[int], list[int]]) -> None:
    gates = gates_of(labels[1])
    assert summary(score(gates.population + 1, gates)) == pytest.approx([1.0] * 6, abs=EXACT)


@given(clusterings)
@invariant
def test_scores_stay_in_their_range(labels: tuple[list[int], list[int]]) -> None:
    report = score(np.array(labels[0]), gates_of(labels[1]))
    assert all(0.0 <= getattr(report, name) <= 1.0 for name in SUMMARY if name != "ari")
    assert -1.0 <= report.ari <= 1.0
    assert report.f1_mean <= np.mean([entry.best_f1 for entry in report.populations]) + EXACT


@given(clusterings, st.integers(1, 30), st.integers(0, 9))
@invariant
def test_ungated_cells_change_nothing(labels: tuple[list[int], list[int]], more: int, where: int) -> None:
    cluster, population = labels
    before = score(np.array(cluster), gates_of(population))
    after = score(np.array(cluster + [where] * more), gates_of(population + [UNGATED] * more))
    assert summary(after) == summary(before)
    assert after.populations == before.populations
    assert after.n_cells == before.n_cells + more


@given(clusterings, st.integers(1, 6), st.integers(0, 2**60 - 1))
@invariant
def test_splitting_a_cluster_never_raises_recall(labels: tuple[list[int], list[int]], which: int, cut: int) -> None:
    cluster, gates = np.array(labels[0]), gates_of(labels[1])
    to_split = np.array([bool(cut >> place & 1) for place in range(len(cluster))]) & (cluster == which)
    split = np.where(to_split, 7, cluster)
    before, after = contingency(cluster, gates), contingency(split, gates)
    assert (after.counts.max(axis=1, initial=0) <= before.counts.max(axis=1, initial=0)).all()


@given(clusterings, st.randoms(use_true_random=False))
@invariant
def test_the_order_of_cells_does_not_matter(labels: tuple[list[int], list[int]], random: object) -> None:
    order = list(range(len(labels[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    cluster, population = np.array(labels[0]), np.array(labels[1], dtype=np.int32)
    names = tuple("abcde")
    assert score(cluster[order], gates_of(population[order], names)) == score(cluster, gates_of(population, names))


def test_more_clusters_than_populations_and_the_reverse() -> None:
    many = score(*cells_of([[2, 2, 2, 0, 0], [0, 0, 0, 3, 3]]))
    assert many.f1_mean == pytest.approx((2 * 2 / 8 + 2 * 3 / 9) / 2, abs=EXACT)
    assert many.accuracy == pytest.approx(5 / 12, abs=EXACT)
    few = score(*cells_of([[4], [4], [4]]))
    assert few.f1_mean == pytest.approx(2 * 4 / 16 / 3, abs=EXACT)


def test_ari_stays_exact_for_ten_million_cells() -> None:
    # Products of counts of pairs exceed 64 bits here. Two halves in two clusters, with one cell of each swapped.
    half = 5_000_000
    cluster = np.repeat(np.array([1, 2], dtype=np.int32), half)
    gates = gates_of(np.repeat(np.array([0, 1], dtype=np.int32), half))
    assert score(cluster, gates).ari == 1.0
    cluster[0], cluster[-1] = 2, 1
    same, swapped = half - 1, 1
    together = same * (same - 1) + swapped * (swapped - 1)
    sides = half * (half - 1)
    chance = sides * sides / (2 * half * (2 * half - 1) / 2)
    assert score(cluster, gates).ari == pytest.approx((together - chance) / (sides - chance), abs=1e-12)


# --- calibration ---


def test_calibration_computed_by_hand() -> None:
    # (0, 0.5] holds 0.4 and 0.5, one of them right: gap |0.5 − 0.45|. (0.5, 1] holds 0.9 twice, both right: gap 0.1.
    gap = expected_calibration_error([0.4, 0.5, 0.9, 0.9], [False, True, True, True], bins=2)
    assert gap == pytest.approx(0.5 * 0.05 + 0.5 * 0.1, abs=EXACT)


def test_calibrated_and_overconfident_methods() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0, abs=EXACT)
    assert expected_calibration_error([1.0] * 4, [False] * 4) == 1.0
    assert expected_calibration_error([0.0] * 4, [False] * 4) == 0.0


@pytest.mark.parametrize(("confidence", "correct"), [([], []), ([0.5], [True, False]), ([1.5], [True])])
def test_calibration_refuses_unusable_arrays(confidence: list[float], correct: list[bool]) -> None:
    with pytest.raises(UsageError):
        expected_calibration_error(confidence, correct)
