"""Merges of experts, on cells whose populations are known."""

import numpy as np
import pytest
from helpers.gaussian_cells import THREE_CENTERS, certain, clusters_of, gaussians, merge_tree, split
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cytovae.errors import UsageError
from cytovae.populations.expert_merges import keep_experts

pytestmark = pytest.mark.slow

# --- one population or several ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_nine_experts_of_three_populations_merge_into_three_clusters(seed: int) -> None:
    values, population = gaussians(THREE_CENTERS, [600, 400, 200], seed)
    expert = split(values, population, 3)
    tree = merge_tree(values, certain(expert, 9))
    assert tree.n_found == 3
    assert adjusted_rand_score(population, clusters_of(tree, expert)) == 1
    # Numbered by size: the first population is the largest.
    assert (clusters_of(tree, expert) == population + 1).all()


def test_two_halves_of_one_population_are_one_cluster() -> None:
    values, _ = gaussians([[0.0, 0.0, 0.0]], [1000])
    tree = merge_tree(values, certain((values[:, 0] > 0).astype(np.int64), 2))
    assert tree.n_found == 1
    assert tree.level[0] > 0.9  # the density has its peak where the halves meet


def test_slices_of_different_size_are_one_population() -> None:
    values, _ = gaussians([[0.0, 0.0]], [2000], seed=3)
    expert = np.digitize(values[:, 0], [-1.5, 0.3, 1.8])
    assert merge_tree(values, certain(expert, 4)).n_found == 1


def test_two_neighboring_populations_stay_separate() -> None:
    values, population = gaussians([[0.0, 0.0], [5.0, 0.0]], [1000, 1000])
    expert = split(values, population, 2)
    tree = merge_tree(values, certain(expert, 4))
    assert tree.n_found == 2
    assert adjusted_rand_score(population, clusters_of(tree, expert)) == 1
    # Halfway between two unit Gaussians 5 apart the density is 2 e^(−2.5²/2) = 0.088 of a peak. The kernels, 0.35 of a
    # standard deviation, raise that to 2 e^(−2.5²/(2 · 1.1225)) = 0.124.
    assert tree.level[-1] < 0.25
    assert (tree.level[:-1] > 0.5).all()


@pytest.mark.parametrize("size", [12, 40])
def test_a_distant_rare_population_stays_separate(size: int) -> None:
    values, population = gaussians([[0.0] * 6, [10.0] + [0.0] * 5], [3000, size])
    expert = np.where(population == 0, 0, 20)
    expert[:3000] = KMeans(20, n_init=1, random_state=0).fit_predict(values[:3000])
    tree = merge_tree(values, certain(expert, 21))
    assert tree.n_found == 2
    assert (clusters_of(tree, expert) == population + 1).all()


def test_sets_in_the_same_place_are_one_population() -> None:
    values, _ = gaussians([[0.0, 0.0, 0.0]], [400])
    tree = merge_tree(np.concatenate([values, values]), certain(np.repeat([0, 1], 400), 2))
    assert tree.n_found == 1
    assert tree.level[0] > 0.9


# --- invariance -------------------------------------------------------------------------------------------------------


def test_scale_and_location_of_the_cells_do_not_matter() -> None:
    values, population = gaussians(THREE_CENTERS, [400, 300, 200])
    expert = split(values, population, 3)
    original = merge_tree(values, certain(expert, 9))
    shifted = merge_tree(4 * values + 16, certain(expert, 9))
    assert shifted.n_found == original.n_found
    assert (shifted.cut(3) == original.cut(3)).all()
    # Rounding may move one partition to the next level, 0.05 away.
    np.testing.assert_allclose(shifted.level, original.level, atol=0.05)


def test_the_numbering_of_the_experts_does_not_matter() -> None:
    values, population = gaussians(THREE_CENTERS, [400, 300, 200])
    expert = split(values, population, 3)
    renamed = np.random.default_rng(1).permutation(9)[expert]
    first, second = (merge_tree(values, certain(e, 9)) for e in (expert, renamed))
    for n_clusters in range(1, 10):
        assert (
            adjusted_rand_score(
                clusters_of(first, expert, n_clusters),
                clusters_of(second, renamed, n_clusters),
            )
            == 1
        )


def test_the_same_seed_gives_the_same_tree() -> None:
    """Also if only a sample of the cells of a set is used for its density."""
    values, population = gaussians(THREE_CENTERS, [3000, 2000, 1000])
    expert = split(values, population, 2)
    first, second = (merge_tree(values, certain(expert, 6), seed=4) for _ in range(2))
    assert (first.level == second.level).all()
    assert (first.agreement == second.agreement).all()
    assert (first.kept == second.kept).all()


# --- cells of clusters ------------------------------------------------------------------------------------------------


def two_populations(second: float) -> NDArray[np.float32]:
    """Probabilities of three experts for 300 cells of one population and 100 of another, far away.

    The experts 0 and 1 divide the first population. Expert 2 is that of the other, with probability ``second`` there,
    and is the most probable single expert of ten cells of the first.
    """
    probabilities = np.zeros((400, 3), np.float32)
    probabilities[:150] = 0.9, 0.1, 0.0
    probabilities[150:300] = 0.1, 0.9, 0.0
    probabilities[:10] = 0.31, 0.29, 0.4
    probabilities[300:] = (1 - second) / 2, (1 - second) / 2, second
    return probabilities


def test_a_cell_counts_for_its_most_probable_cluster_not_its_most_probable_expert() -> None:
    values, _ = gaussians([[0.0, 0.0], [20.0, 0.0]], [300, 100])
    tree = merge_tree(values, two_populations(second=0.8))
    assert tree.n_found == 2
    # Of the first ten cells, the experts 0 and 1 together have 0.6, so the cells are of their cluster.
    assert tree.cells.tolist() == [150, 150, 100]
    assert tree.cut(2).tolist() == [1, 1, 2]


def test_a_population_that_is_no_cells_most_probable_one_has_no_cluster() -> None:
    values, _ = gaussians([[0.0, 0.0], [20.0, 0.0]], [300, 100])
    tree = merge_tree(values, two_populations(second=0.4))
    assert tree.n_found == tree.n_most - 1 == 1
    assert tree.cells.tolist() == [250, 150, 0]


@pytest.mark.parametrize(("n_cells", "named", "n_clusters"), [(5, False, 2), (4, False, 1), (4, True, 2), (1, True, 2)])
def test_a_cluster_without_a_name_has_at_least_five_cells(n_cells: int, named: bool, n_clusters: int) -> None:
    values, _ = gaussians([[0.0, 0.0], [20.0, 0.0]], [300, 100])
    probabilities = two_populations(second=0.8)
    probabilities[300 + n_cells :] = 0.3, 0.3, 0.4  # together, the experts of the other population have 0.6
    tree = merge_tree(values, probabilities, named=named)
    assert tree.n_found == n_clusters
    # The cells of a population without a cluster are of the next probable one.
    kept = n_cells if n_clusters == 2 else 0
    assert tree.cells[2] == kept
    assert tree.cells.sum() == 400


# --- experts without cells --------------------------------------------------------------------------------------------


def test_an_unused_expert_joins_the_one_whose_cells_give_it_the_highest_probability() -> None:
    values, population = gaussians(THREE_CENTERS, [100, 100, 100])
    probabilities = np.zeros((300, 5), np.float32)
    probabilities[np.arange(300), population] = 0.8  # experts 0, 1, 2
    probabilities[population == 0, 3] = 0.05
    probabilities[population == 1, 3] = 0.15  # expert 3 belongs to 1
    probabilities[population == 2, 4] = 0.01  # expert 4 belongs to 2
    for tree in (merge_tree(values, probabilities), keep_experts(probabilities)):
        assert tree.n_most == tree.n_found == 3
        cluster = tree.cut(3)
        assert cluster[3] == cluster[1]
        assert cluster[4] == cluster[2]
        assert len(set(cluster[:3])) == 3
        assert tree.cells.tolist() == [100, 100, 100, 0, 0]


def test_a_single_used_expert_is_a_single_cluster() -> None:
    values, _ = gaussians([[0.0, 0.0]], [60])
    probabilities = np.tile(np.array([[0.2, 0.7, 0.1]], np.float32), (60, 1))
    for tree in (merge_tree(values, probabilities), keep_experts(probabilities)):
        assert tree.n_found == tree.n_most == 1
        assert tree.cut(1).tolist() == [1, 1, 1]


def test_a_single_expert_is_a_single_cluster() -> None:
    values, _ = gaussians([[0.0, 0.0]], [60])
    probabilities = np.ones((60, 1), np.float32)
    for tree in (merge_tree(values, probabilities), keep_experts(probabilities)):
        assert (tree.n_found, tree.n_most) == (1, 1)
        assert tree.cut(1).tolist() == [1]


# --- experts as clusters ----------------------------------------------------------------------------------------------


def test_without_merging_every_used_expert_is_a_cluster() -> None:
    expert = np.repeat([0, 2, 3], [10, 30, 20])
    tree = keep_experts(certain(expert, 4))
    assert tree.n_found == 3
    assert tree.cut(3)[[2, 3, 0]].tolist() == [1, 2, 3]


def test_without_merging_fewer_clusters_than_used_experts_are_refused() -> None:
    tree = keep_experts(certain(np.repeat([0, 2, 3], [10, 30, 20]), 4))
    with pytest.raises(UsageError, match=r"2 clusters.* 3 … 3"):
        tree.cut(2)


# --- degenerate cells -------------------------------------------------------------------------------------------------


def test_copies_of_one_cell_and_constant_markers_give_finite_numbers() -> None:
    """No variance in any direction, or in some: the most distant set is separated first."""
    label = np.repeat([0, 1, 2], 50)
    values = np.array([[0, 0, 3], [1, 0, 3], [0, 9, 3]], np.float32)[label]
    tree = merge_tree(values, certain(label, 3))
    assert np.isfinite(tree.level).all()
    assert np.isfinite(tree.agreement).all()
    assert tree.cut(2).tolist() == [1, 1, 2]


def test_experts_with_one_cell_each() -> None:
    values, _ = gaussians([[0.0, 0.0]], [6])
    tree = merge_tree(values, np.eye(6, dtype=np.float32))
    assert 1 <= tree.n_found <= 6
    assert sorted(tree.cut(6)) == [1, 2, 3, 4, 5, 6]
