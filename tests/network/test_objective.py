"""The population of each expert, and what it is for."""

from dataclasses import replace

import numpy as np
import torch
from helpers.gaussian_cells import gaussians
from sklearn.metrics import adjusted_rand_score

from cytovae.network.objective import population_of_experts
from cytovae.network.training_loop import build_network, train
from cytovae.populations.similarity import Similarity
from cytovae.settings import Settings


def test_an_expert_belongs_to_the_population_with_most_cells_relative_to_the_root_of_its_size() -> None:
    """The populations have 400 and 25 recent cells, with the roots 20 and 5."""
    votes = torch.tensor([[60.0, 20], [300, 0], [40, 5]])  # relative: 3 and 4, 15 and 0, 2 and 1
    assert population_of_experts(votes).tolist() == [1, 0, 0]


def test_a_population_without_recent_cells_gets_no_expert() -> None:
    assert population_of_experts(torch.tensor([[5.0, 0, 0], [0, 0, 3]])).tolist() == [0, 2]


def test_a_small_population_keeps_an_expert_that_has_more_cells_of_a_large_one() -> None:
    """There are as many experts as micro-clusters, and that of the small population is mostly of the large one."""
    values, population = gaussians([[0.0] * 4, [6.0, 0.0, 0.0, 0.0]], [1980, 20], seed=1)
    x = torch.from_numpy(((values - values.min(0)) / np.ptp(values, 0)).astype(np.float32))
    micro_cluster = np.where(values[:, 0] > 0.5, 0, 1 + np.digitize(values[:, 1], [-0.7, 0.0, 0.7]))
    shared = np.bincount(population[micro_cluster == 0])
    assert shared[0] > 20 * shared[1] > 0
    similarity = Similarity(
        "partition", x[:, :2], torch.from_numpy(micro_cluster), 1.0, 1, False, torch.from_numpy(population)
    )
    settings = replace(Settings(), experts=5, steps=300, encoder_width=16, clustering_width=16)
    network = build_network(4, settings, 0)
    weight = np.bincount(population)[population] ** -0.5
    list(train(network, x, similarity, weight, settings, 0, correct=False))
    with torch.no_grad():
        expert = network.assign(x).argmax(1).numpy()
    small = [index for index in np.unique(expert) if population[expert == index].mean() > 0.5]
    assert len(small) == 1
    assert adjusted_rand_score(population, np.isin(expert, small)) > 0.8
