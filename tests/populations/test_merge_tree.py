"""Cuts of a merge tree: their number of clusters, their order, and which cuts are refused."""

import numpy as np
import pytest
from helpers.gaussian_cells import THREE_CENTERS, certain, gaussians, merge_tree
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from cytovae.errors import UsageError
from cytovae.populations.merge_tree import MergeTree


def random_tree(seed: int, unused: int = 4) -> tuple[MergeTree, NDArray[np.int64]]:
    """Twelve used experts in random order, and some without cells; also the expert of each cell."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 2, (400, 4)).astype(np.float32)
    names = rng.permutation(12 + unused)[:12]
    expert = names[KMeans(12, n_init=1, random_state=seed).fit_predict(values)]
    probabilities = (
        0.9 * certain(expert, 12 + unused) + 0.1 * rng.dirichlet(np.ones(12 + unused), 400).astype(np.float32)
    ).astype(np.float32)
    return merge_tree(values, probabilities), probabilities.argmax(1)


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_has_the_requested_number_of_clusters_and_none_is_empty(seed: int) -> None:
    tree, expert = random_tree(seed)
    assert tree.n_most == 12
    assert 1 <= tree.n_found <= 12
    for n_clusters in range(1, 13):
        cluster = tree.cut(n_clusters)
        assert cluster.shape == (16,)
        assert sorted(np.unique(cluster)) == list(range(1, n_clusters + 1))
        sizes = np.bincount(cluster[expert], minlength=n_clusters + 1)[1:]
        assert (sizes > 0).all()
        assert (np.diff(sizes) <= 0).all()  # numbered by decreasing size


@pytest.mark.parametrize("seed", range(3))
def test_each_cut_refines_the_coarser_one(seed: int) -> None:
    tree, _ = random_tree(seed)
    for n_clusters in range(1, 12):
        pairs = set(zip(tree.cut(n_clusters), tree.cut(n_clusters + 1), strict=True))
        assert len(pairs) == n_clusters + 1  # every finer cluster lies in one coarser cluster


@pytest.mark.parametrize("n_clusters", [-1, 0, 13])
def test_an_impossible_cut_is_refused(n_clusters: int) -> None:
    tree, _ = random_tree(0)
    with pytest.raises(UsageError, match=rf"into {n_clusters} clusters.* 1 … 12"):
        tree.cut(n_clusters)


def test_clusters_of_equal_size_are_numbered_by_their_first_expert() -> None:
    values, population = gaussians(THREE_CENTERS, [100, 100, 100])
    tree = merge_tree(values, certain(population, 3))
    assert tree.cut(3).tolist() == [1, 2, 3]
