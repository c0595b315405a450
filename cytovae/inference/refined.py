"""Refined models: a second model shares out the probability of a cluster among its parts.

Let p(c) be the probability of the refined cluster c, and q(i) the probability of part i by the second model, whose sum
is 1. The part then has the probability p(c) · q(i), so the parts of a cell together have that of the cluster, and all
other clusters keep theirs. The number c is retired; the parts have the numbers that follow the highest one.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.errors import UsageError
from cytovae.inference.trained_model import Part, TrainedModel
from cytovae.naming.naming import naming_with_parts
from cytovae.network.scaling import scale_unclipped
from cytovae.populations.refined_tree import refined_tree


def refined(model: TrainedModel, retired: tuple[int, ...], inner: TrainedModel) -> TrainedModel:
    """Replace clusters of a model by the clusters of another one.

    Parameters
    ----------
    model : TrainedModel
        The model; it may be a refined one.
    retired : tuple of int
        The numbers of the clusters to replace. Their parts together have the sum of their probabilities.
    inner : TrainedModel
        A model of the same markers that was trained on their cells.

    Returns
    -------
    TrainedModel
        The refined model. Parts keep the population of their cluster, unless ``inner`` has names for them.

    Raises
    ------
    UsageError
        If one of the clusters does not exist, or the models have different markers.
    """
    check_clusters(model, retired)
    if inner.markers != model.markers:
        raise UsageError("a part of a refined model must have the markers of that model")
    experts = np.isin(model.expert_clusters, retired)  # (k,)
    tree = refined_tree(model.tree, model.n_clusters, retired, inner.tree, inner.n_clusters)
    name = UNKNOWN if model.names is None else model.names.of_cluster[retired[0] - 1]
    naming = naming_with_parts(model.naming, experts, name, inner.naming, inner.tree.n_experts)
    first = model.highest_cluster + 1
    part = Part(retired, tuple(range(first, first + inner.n_clusters)), np.flatnonzero(experts), inner)
    return replace(model, tree=tree, n_clusters=tree.n_found, naming=naming, parts=(*model.parts, part))


def check_clusters(model: TrainedModel, numbers: tuple[int, ...]) -> None:
    """Raise :class:`UsageError` if the model has no cluster of one of the ``numbers``."""
    gone = model.retired_clusters
    for number in numbers:
        if number in gone:
            parts = ", ".join(map(str, parts_of(model, number)))
            raise UsageError(f"there is no cluster {number} any more: it was refined into {parts}")
        if not 1 <= number <= model.highest_cluster:
            present = f"the clusters 1 … {model.highest_cluster}"
            but = f" except {', '.join(map(str, gone))}" if gone else ""
            raise UsageError(f"there is no cluster {number}; this model has {present}{but}")


def parts_of(model: TrainedModel, number: int) -> tuple[int, ...]:
    """The clusters that the cluster ``number`` was refined into; empty if it was not."""
    return next((part.numbers for part in model.parts if number in part.retired), ())


class PartAssigner:
    """One part of a refined model on a device."""

    def __init__(self, part: Part, device: torch.device) -> None:
        self._network = part.model.network.to(device).eval()
        self._low = torch.from_numpy(part.model.scaling.low).to(device)  # (m,)
        self._high = torch.from_numpy(part.model.scaling.high).to(device)  # (m,)
        self._experts = torch.from_numpy(part.experts).to(device)  # (r,)

    def share_out(self, experts: Tensor, values: Tensor) -> Tensor:
        """Probabilities of experts (b, k + j), from those of the k ``experts`` before this part and its own j.

        ``values`` (b, m) are transformed markers. The retired experts have the probability 0.
        """
        x = scale_unclipped(values, self._low, self._high).clamp(0, 1)  # (b, m)
        code, _ = self._network.encoder(x)
        own = torch.softmax(self._network.clustering(code), 1)  # (b, j)
        whole = experts[:, self._experts].sum(1, keepdim=True)  # (b, 1)
        return torch.cat([experts.index_fill(1, self._experts, 0.0), whole * own], 1)
