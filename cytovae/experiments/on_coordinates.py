"""A model learned on UMAP coordinates that exist already, as experiments need that vary what comes after them."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import fit_scaling
from cytovae.network.training_loop import build_network, train
from cytovae.populations.expert_merges import keep_experts, merge_experts
from cytovae.populations.population_tree import PopulationTree
from cytovae.populations.similarity import draw_weight, make_similarity
from cytovae.settings import Settings


def learn_on_coordinates(
    cells: CellTable,
    coordinates: NDArray[np.float32],
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    tree: PopulationTree | None = None,
    change: Callable[[MoeSimVae], None] = lambda _network: None,
) -> TrainedModel:
    """As :func:`cytovae.study.train_model.learn`, but with coordinates and populations that are given.

    Parameters
    ----------
    cells : CellTable
        All of them are learned from.
    coordinates : ndarray of float32, shape (n_cells, 2)
        UMAP coordinates of the cells.
    settings : Settings
        Settings of the similarity matrix, the network and its training.
    seed : int
        Seed of everything that is random.
    device : str
        Where the network is trained.
    tree : PopulationTree, optional
        Populations of the cells. Without it, each expert is a cluster.
    change : callable
        Changes the new network before it is trained.

    Returns
    -------
    TrainedModel
        The model, without novelty.
    """
    scaling = fit_scaling(cells.values)
    x = torch.tensor(scaling.scale(cells.values), device=device)
    similarity = make_similarity(coordinates, settings, seed=seed, tree=tree, device=device)
    network = build_network(x.shape[1], settings, seed)
    change(network)
    network.to(device)
    for _ in train(network, x, similarity, draw_weight(similarity), settings, seed):
        pass
    network.eval()
    with torch.inference_mode():
        probabilities = network.assign(x).cpu().numpy()
    merges = keep_experts(probabilities) if tree is None else merge_experts(probabilities, tree)
    return TrainedModel(network.cpu(), settings, cells.markers, scaling, merges, merges.n_found)
