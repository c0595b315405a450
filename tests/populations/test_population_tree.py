"""Experts to clusters on cells whose populations are known, and the laws of a tree that is cut."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cytovae.errors import UsageError
from cytovae.populations.expert_merges import expert_tree
from cytovae.populations.expert_merges import merge_tree as merge_tree_of
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.population_tree import population_tree
from cytovae.populations.valleys import LEVELS, ValleyHierarchy, valley_hierarchy
from cytovae.settings import Settings

DEFAULT = Settings()


def merge_tree(
    values: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    seed: int = 0,
    source: NDArray[np.int32] | None = None,
) -> MergeTree:
    """The tree with the first two markers in the place of UMAP's coordinates, as many units as experts."""
    tree = population_tree(
        values,
        np.ascontiguousarray(values[:, :2]),
        np.zeros(len(values), np.int32) if source is None else source,
        units=probabilities.shape[1],
        valley=DEFAULT.valley,
        populations=DEFAULT.populations,
        seed=seed,
    )
    return merge_tree_of(probabilities, tree)


def certain(expert: NDArray[np.integer], n_experts: int) -> NDArray[np.float32]:
    """Probabilities of cells that are sure of their expert."""
    probabilities = np.zeros((len(expert), n_experts), np.float32)
    probabilities[np.arange(len(expert)), expert] = 1
    return probabilities


def gaussians(
    centres: list[list[float]], sizes: list[int], seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cells of unit variance about ``centres``, and which population each is of."""
    rng = np.random.default_rng(seed)
    population = np.repeat(np.arange(len(centres)), sizes)
    values = np.asarray(centres, dtype=np.float64)[population] + rng.normal(size=(len(population), len(centres[0])))
    return values.astype(np.float32), population


def split(values: NDArray[np.float32], population: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """Experts that part every population into ``each`` by k-means."""
    expert = np.empty(len(values), dtype=np.int64)
    for index in np.unique(population):
        rows = np.flatnonzero(population == index)
        expert[rows] = each * index + KMeans(each, n_init=2, random_state=0).fit_predict(values[rows])
    return expert


def clusters_of(tree: MergeTree, expert: NDArray[np.int64], n_clusters: int | None = None) -> NDArray[np.int32]:
    return tree.cut(tree.n_found if n_clusters is None else n_clusters)[expert]


THREE = [[0.0, 0.0, 0.0], [7.0, 0.0, 0.0], [0.0, 7.0, 3.0]]


# --- what is one population -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_three_populations_seen_by_nine_experts_are_three_clusters(seed: int) -> None:
    values, population = gaussians(THREE, [600, 400, 200], seed)
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
    assert tree.valley[0] > 0.9  # the density has its peak right where they touch


def test_a_slice_of_one_population_is_part_of_it() -> None:
    """Also where the parts are of very different size."""
    values, _ = gaussians([[0.0, 0.0]], [2000], seed=3)
    expert = np.digitize(values[:, 0], [-1.5, 0.3, 1.8])
    assert merge_tree(values, certain(expert, 4)).n_found == 1


def test_two_populations_side_by_side_stay_two() -> None:
    values, population = gaussians([[0.0, 0.0], [5.0, 0.0]], [1000, 1000])
    expert = split(values, population, 2)
    tree = merge_tree(values, certain(expert, 4))
    assert tree.n_found == 2
    assert adjusted_rand_score(population, clusters_of(tree, expert)) == 1
    # Half-way between two unit Gaussians 5 apart the density is 2 e^(−2.5²/2) = 0.088 of a peak; the kernels, 0.35 of
    # a standard deviation, widen that to 2 e^(−2.5²/(2 · 1.1225)) = 0.124.
    assert tree.valley[-1] < 0.25
    assert (tree.valley[:-1] > 0.5).all()


@pytest.mark.parametrize("size", [12, 40])
def test_a_rare_population_far_away_stays(size: int) -> None:
    values, population = gaussians([[0.0] * 6, [10.0] + [0.0] * 5], [3000, size])
    expert = np.where(population == 0, 0, 20)
    expert[:3000] = KMeans(20, n_init=1, random_state=0).fit_predict(values[:3000])
    tree = merge_tree(values, certain(expert, 21))
    assert tree.n_found == 2
    assert (clusters_of(tree, expert) == population + 1).all()


# --- laws -------------------------------------------------------------------------------------------------------------


def test_scale_and_place_of_the_cells_do_not_matter() -> None:
    values, population = gaussians(THREE, [400, 300, 200])
    expert = split(values, population, 3)
    first = merge_tree(values, certain(expert, 9))
    moved = merge_tree(4 * values + 16, certain(expert, 9))
    assert moved.n_found == first.n_found
    assert (moved.cut(3) == first.cut(3)).all()
    # Rounding may move a repetition to the next level, 0.05 away.
    np.testing.assert_allclose(moved.valley, first.valley, atol=0.05)


def test_the_names_of_the_experts_do_not_matter() -> None:
    values, population = gaussians(THREE, [400, 300, 200])
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


def test_the_same_seed_means_the_same_tree() -> None:
    """Also where only some of the cells of a set are used for its density."""
    values, population = gaussians(THREE, [3000, 2000, 1000])
    expert = split(values, population, 2)
    first, second = (merge_tree(values, certain(expert, 6), seed=4) for _ in range(2))
    assert (first.valley == second.valley).all()
    assert (first.agreement == second.agreement).all()
    assert (first.kept == second.kept).all()


# --- cutting ----------------------------------------------------------------------------------------------------------


def random_tree(seed: int, unused: int = 4) -> tuple[MergeTree, NDArray[np.int64]]:
    """Twelve used experts in no order, and some that no cell goes to."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 2, (400, 4)).astype(np.float32)
    names = rng.permutation(12 + unused)[:12]
    expert = names[KMeans(12, n_init=1, random_state=seed).fit_predict(values)]
    probabilities = (
        0.9 * certain(expert, 12 + unused) + 0.1 * rng.dirichlet(np.ones(12 + unused), 400).astype(np.float32)
    ).astype(np.float32)
    return merge_tree(values, probabilities), probabilities.argmax(1)


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_has_exactly_as_many_clusters_none_of_them_empty(seed: int) -> None:
    tree, expert = random_tree(seed)
    assert tree.n_most == 12
    assert 1 <= tree.n_found <= 12
    for n_clusters in range(1, 13):
        cluster = tree.cut(n_clusters)
        assert cluster.shape == (16,)
        assert sorted(np.unique(cluster)) == list(range(1, n_clusters + 1))
        sizes = np.bincount(cluster[expert], minlength=n_clusters + 1)[1:]
        assert (sizes > 0).all()
        assert (np.diff(sizes) <= 0).all()  # numbered by falling size


@pytest.mark.parametrize("seed", range(3))
def test_each_cut_refines_the_one_before(seed: int) -> None:
    tree, _ = random_tree(seed)
    for n_clusters in range(1, 12):
        pairs = set(zip(tree.cut(n_clusters), tree.cut(n_clusters + 1), strict=True))
        assert len(pairs) == n_clusters + 1  # every finer cluster lies in one coarser one


@pytest.mark.parametrize("n_clusters", [-1, 0, 13])
def test_a_cut_that_the_tree_does_not_have_is_refused(n_clusters: int) -> None:
    tree, _ = random_tree(0)
    with pytest.raises(UsageError, match=rf"{n_clusters} clusters .* 1 … 12"):
        tree.cut(n_clusters)


def test_equal_clusters_are_numbered_by_their_first_expert() -> None:
    values, population = gaussians(THREE, [100, 100, 100])
    tree = merge_tree(values, certain(population, 3))
    assert tree.cut(3).tolist() == [1, 2, 3]


# --- experts without cells --------------------------------------------------------------------------------------------


def test_an_unused_expert_joins_the_one_whose_cells_think_most_of_it() -> None:
    values, population = gaussians(THREE, [100, 100, 100])
    probabilities = np.zeros((300, 5), np.float32)
    probabilities[np.arange(300), population] = 0.8  # experts 0, 1, 2
    probabilities[population == 0, 3] = 0.05
    probabilities[population == 1, 3] = 0.15  # expert 3 belongs to 1
    probabilities[population == 2, 4] = 0.01  # expert 4, if to anyone, to 2
    for tree in (merge_tree(values, probabilities), expert_tree(probabilities)):
        assert tree.n_most == tree.n_found == 3
        cluster = tree.cut(3)
        assert cluster[3] == cluster[1]
        assert cluster[4] == cluster[2]
        assert len(set(cluster[:3])) == 3
        assert tree.cells.tolist() == [100, 100, 100, 0, 0]


def test_a_single_used_expert_is_a_single_cluster() -> None:
    values, _ = gaussians([[0.0, 0.0]], [60])
    probabilities = np.tile(np.array([[0.2, 0.7, 0.1]], np.float32), (60, 1))
    for tree in (merge_tree(values, probabilities), expert_tree(probabilities)):
        assert tree.n_found == tree.n_most == 1
        assert tree.cut(1).tolist() == [1, 1, 1]


def test_one_expert_alone() -> None:
    values, _ = gaussians([[0.0, 0.0]], [60])
    probabilities = np.ones((60, 1), np.float32)
    for tree in (merge_tree(values, probabilities), expert_tree(probabilities)):
        assert (tree.n_found, tree.n_most) == (1, 1)
        assert tree.cut(1).tolist() == [1]


# --- experts as clusters ----------------------------------------------------------------------------------------------


def test_the_papers_clusters_are_its_experts() -> None:
    expert = np.repeat([0, 2, 3], [10, 30, 20])
    tree = expert_tree(certain(expert, 4))
    assert tree.n_found == 3
    assert tree.cut(3)[[2, 3, 0]].tolist() == [1, 2, 3]


def test_fewer_clusters_than_experts_are_refused_where_a_cluster_is_an_expert() -> None:
    tree = expert_tree(certain(np.repeat([0, 2, 3], [10, 30, 20]), 4))
    with pytest.raises(UsageError, match=r"2 clusters .* 3 … 3"):
        tree.cut(2)


# --- cells that are hard on the arithmetic ----------------------------------------------------------------------------


def test_copies_of_one_cell_and_constant_markers() -> None:
    """No variance in any direction, or in some: finite numbers, and what is most apart is parted first."""
    place = np.repeat([0, 1, 2], 50)
    values = np.array([[0, 0, 3], [1, 0, 3], [0, 9, 3]], np.float32)[place]
    tree = merge_tree(values, certain(place, 3))
    assert np.isfinite(tree.valley).all()
    assert np.isfinite(tree.agreement).all()
    assert tree.cut(2).tolist() == [1, 1, 2]


def test_experts_with_one_cell_each() -> None:
    values, _ = gaussians([[0.0, 0.0]], [6])
    tree = merge_tree(values, np.eye(6, dtype=np.float32))
    assert 1 <= tree.n_found <= 6
    assert sorted(tree.cut(6)) == [1, 2, 3, 4, 5, 6]


def test_sets_at_the_same_place_are_one() -> None:
    values, _ = gaussians([[0.0, 0.0, 0.0]], [400])
    tree = merge_tree(np.concatenate([values, values]), certain(np.repeat([0, 1], 400), 2))
    assert tree.n_found == 1
    assert tree.valley[0] > 0.9


# --- valleys ----------------------------------------------------------------------------------------------------------


def random_hierarchy(seed: int) -> ValleyHierarchy:
    values = np.random.default_rng(seed).normal(0, 2, (600, 3)).astype(np.float32)
    part = KMeans(12, n_init=1, random_state=seed).fit_predict(values).astype(np.int64)
    return valley_hierarchy(values, part, np.zeros(600, np.int64), seed)


@pytest.mark.parametrize("seed", range(3))
def test_each_level_is_coarser_than_the_one_before(seed: int) -> None:
    groups = random_hierarchy(seed).groups
    assert len(groups) == len(LEVELS)
    assert (np.diff(LEVELS) < 0).all()
    for finer, coarser in pairwise(groups):
        assert len(set(zip(finer, coarser, strict=True))) == len(set(finer))
    assert len(set(groups[-1])) == 1  # at level 0 nothing parts two sets


@pytest.mark.parametrize("seed", range(3))
def test_two_parts_are_joined_at_the_first_level_that_groups_them(seed: int) -> None:
    hierarchy = random_hierarchy(seed)
    together = hierarchy.groups[:, :, None] == hierarchy.groups[:, None]  # (levels, k, k)
    expected = LEVELS[together.argmax(0)]
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(hierarchy.joined, expected)
    np.testing.assert_allclose(hierarchy.joined, hierarchy.joined.T)


@pytest.mark.parametrize(("apart", "lowest", "highest"), [(0.0, 0.9, 1.0), (3.0, 0.5, 0.85), (6.0, 0.0, 0.15)])
def test_the_level_at_which_two_gaussians_come_together(apart: float, lowest: float, highest: float) -> None:
    """Half-way between two unit Gaussians a apart lies 2 e^(−a²/8s) / (1 + e^(−a²/2s)) of a peak, with s = 1 + 0.35².

    For a = 3 that is 2 · 0.367 / 1.018 = 0.72, and for a = 6, 2 · 0.018 = 0.036; levels are 0.05 apart, and 0.1 is
    left to chance. Where there is no valley one part is as good as two.
    """
    values, part = gaussians([[0.0, 0.0], [apart, 0.0]], [4000, 4000], seed=1)
    joined = valley_hierarchy(values, part, np.zeros(8000, np.int64), 0).joined[0, 1]
    assert lowest <= joined <= highest


# --- valleys within files ---------------------------------------------------------------------------------------------


def joined_in_files(left: list[float], right: list[float], shift: float, n_files: int = 2) -> float:
    """The level at which two unit Gaussians come together whose cells lie ``shift`` further in each file."""
    values, part = gaussians([left, right], [2000, 2000], seed=2)
    origin = np.arange(len(values)) % n_files
    values = values + (shift * origin)[:, None].astype(np.float32)
    return float(valley_hierarchy(values, part, origin, 0).joined[0, 1])


def test_a_shift_between_files_neither_makes_nor_hides_a_valley() -> None:
    """Within each file two Gaussians 6 apart have a valley of 0.036, two at one place none, wherever it lies."""
    for shift in (0.0, 3.0):
        assert joined_in_files([0.0, 0.0], [6.0, 0.0], shift) <= 0.15
        assert joined_in_files([0.0, 0.0], [0.0, 0.0], shift) >= 0.9


def test_sets_without_a_common_file_are_two_only_if_a_marker_differs_much() -> None:
    """Half a range apart they are two populations; as far apart as files shift, they are one."""
    values, part = gaussians([[0.0, 0.0], [4.0, 0.0], [14.0, 0.0]], [1000, 1000, 1000], seed=3)
    hierarchy = valley_hierarchy(values, part, (part == 1).astype(np.int64), 0)
    # Sets 0 and 1 lie 4 of some 20 apart, in two files; 1 and 2, and 0 and 2, 10 and 14.
    assert hierarchy.joined[0, 1] >= 0.9
    assert hierarchy.joined[0, 2] <= 0.15
    assert hierarchy.joined[1, 2] <= 0.15


# --- where the tree is cut --------------------------------------------------------------------------------------------


def n_populations(populations: int, size: int) -> int:
    """How many clusters three populations of ``size`` are cut into, the first two 8 apart, the last two 3.2."""
    values, _ = gaussians([[0.0, 0.0], [8.0, 0.0], [11.2, 0.0]], [size] * 3, seed=5)
    source = np.zeros(len(values), np.int32)
    tree = population_tree(values, values, source, units=60, valley=0.45, populations=populations, seed=0)
    return int(tree.population.max()) + 1


def test_shallow_valleys_are_followed_only_until_there_are_enough_populations() -> None:
    """Unit Gaussians 8 apart have a valley of 0.001; those 3.2 apart one of 2 e^(−1.6²/2s) = 0.64 (s = 1 + 0.35²)."""
    assert n_populations(2, 2500) == 2
    assert n_populations(3, 2500) == 3
    assert n_populations(3, 300) == 2  # of few cells, a shallow valley says nothing
