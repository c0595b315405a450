"""Cells of Gaussian populations, and the merge tree of experts that are given."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from cytovae.populations.expert_merges import merge_experts
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.population_tree import population_tree
from cytovae.settings import Settings

THREE_CENTERS = [[0.0, 0.0, 0.0], [7.0, 0.0, 0.0], [0.0, 7.0, 3.0]]


def gaussians(
    centers: list[list[float]], sizes: list[int], seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cells with unit variance around ``centers``, and the population of each."""
    rng = np.random.default_rng(seed)
    population = np.repeat(np.arange(len(centers)), sizes)
    values = np.asarray(centers, dtype=np.float64)[population] + rng.normal(size=(len(population), len(centers[0])))
    return values.astype(np.float32), population


def split(values: NDArray[np.float32], population: NDArray[np.int64], n_experts: int) -> NDArray[np.int64]:
    """Experts that divide every population into ``n_experts``, by k-means."""
    expert = np.empty(len(values), dtype=np.int64)
    for index in np.unique(population):
        rows = np.flatnonzero(population == index)
        expert[rows] = n_experts * index + KMeans(n_experts, n_init=2, random_state=0).fit_predict(values[rows])
    return expert


def certain(expert: NDArray[np.integer], n_experts: int) -> NDArray[np.float32]:
    """Probabilities 1 for the expert of each cell."""
    probabilities = np.zeros((len(expert), n_experts), np.float32)
    probabilities[np.arange(len(expert)), expert] = 1
    return probabilities


def merge_tree(
    values: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    seed: int = 0,
    source: NDArray[np.int32] | None = None,
    *,
    named: bool = False,
) -> MergeTree:
    """The merge tree of experts, with the first two markers as UMAP coordinates and a micro-cluster per expert."""
    settings = replace(Settings(), experts=probabilities.shape[1], views=0, support=0)
    tree = population_tree(
        values,
        np.ascontiguousarray(values[:, :2]),
        np.zeros(len(values), np.int32) if source is None else source,
        settings,
        seed=seed,
    )
    return merge_experts(probabilities, tree, named=named)


def clusters_of(tree: MergeTree, expert: NDArray[np.int64], n_clusters: int | None = None) -> NDArray[np.int32]:
    """The cluster of each cell, given its expert."""
    return tree.cut(tree.n_found if n_clusters is None else n_clusters)[expert]
