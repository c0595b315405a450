"""Cells to clusters, probabilities and latent codes."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.cells import Assignment, CellTable
from cytovae.errors import UsageError
from cytovae.inference.novelty import NoveltyMeter, log_odds_between, usual_novelty
from cytovae.inference.refined import PartAssigner
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.device import decoder_chunk, encoder_chunk
from cytovae.network.scaling import scale_unclipped

EVENTS_BEFORE = 20_000
"""So many events of a file, evenly spaced, tell how much its levels differ from those in training."""


class Assigner:
    """A trained model on one device, ready to assign chunk after chunk; safe to use from several threads.

    Assigning uses the mean of the posterior, so the same values always get the same answer.

    Parameters
    ----------
    model : TrainedModel
        The model.
    device : str
        A device of torch.
    further : sequence of int
        Numbers of clusters to cut the tree into besides that of the model.

    Raises
    ------
    UsageError
        If the tree cannot be cut into one of ``further``.
    """

    def __init__(self, model: TrainedModel, device: str = "cpu", further: Sequence[int] = ()) -> None:
        self.markers = model.markers
        self.device = torch.device(device)
        self.network = model.network.to(self.device).eval()
        self._low = torch.from_numpy(model.scaling.low).to(self.device)  # (m,)
        self._high = torch.from_numpy(model.scaling.high).to(self.device)  # (m,)
        self._membership = _membership(model.expert_clusters).to(self.device)  # (k, n_clusters)
        self._further = [_membership(model.tree.cut(number)).to(self.device) for number in further]
        self._parts = [PartAssigner(part, self.device) for part in model.parts]
        self._novelty = None if model.novelty is None else NoveltyMeter(model.novelty, self.device)
        self._labelled = _labelled_populations(model)  # (n_clusters,)
        self._usual = None if model.naming is None else model.naming.usual_novelty
        self._shift = 0.0  # of the log-odds of novelty, in a model with names

    @property
    def has_novelty(self) -> bool:
        """Whether assignments include novelty."""
        return self._novelty is not None

    @property
    def depends_on_file(self) -> bool:
        """Whether novelty depends on the other cells of a file; see :meth:`for_file`."""
        return self.has_novelty and self._usual is not None

    @staticmethod
    def events_before(n_events: int) -> NDArray[np.int64]:
        """The events of a file that are assigned before all others, to see how much its levels differ."""
        return np.unique(np.linspace(0, n_events - 1, min(n_events, EVENTS_BEFORE)).astype(np.int64))

    def for_file(self, values: NDArray[np.float32]) -> "Assigner":
        """The same model for a file, whose :meth:`events_before` have ``values`` (n, m).

        In a model that learned labels, novelty is relative to the file, whose levels may differ from those in training.
        Clusters and probabilities do not depend on it.
        """
        if self._usual is None or not self.has_novelty:
            return self
        adapted = copy(self)
        adapted._shift = 0.0
        here = adapted.usual_novelty(values)
        adapted._shift = 0.0 if here is None else log_odds_between(here, self._usual)
        return adapted

    def usual_novelty(self, values: NDArray[np.float32]) -> float | None:
        """How novel the cells ``values`` (n, m) of most labelled populations are; None if they are too few."""
        assigned = self.assign(values)
        if assigned.novelty is None:
            return None
        return usual_novelty(assigned.novelty, self._labelled[assigned.cluster - 1])

    def assign(self, values: NDArray[np.float32]) -> Assignment:
        """Assign cells to clusters.

        The probability of a cluster is the sum of the probabilities of its experts.

        Parameters
        ----------
        values : ndarray of float32, shape (n, m)
            Transformed marker values.

        Returns
        -------
        Assignment
            Clusters, probabilities and, if :attr:`has_novelty`, novelty of the n cells in their order; also their
            clusters in further cuts, if there are some.

        Raises
        ------
        UsageError
            If the values have another number of markers than the model.
        """
        self._check(values)
        block = decoder_chunk(self.device)
        blocks = [self._assign_block(values[start : start + block]) for start in range(0, len(values), block)]
        if not blocks:
            blocks = [self._no_cells()]
        p, further, novelty = (_joined(list(parts)) for parts in zip(*blocks, strict=True))
        return Assignment(
            p.argmax(1).astype(np.int32) + 1,
            p,
            novelty if self.has_novelty else None,
            further=further.astype(np.int32) + 1 if self._further else None,
        )

    def codes(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latent codes of cells: the means of their posteriors.

        Parameters
        ----------
        values : ndarray of float32, shape (n, m)
            Transformed marker values.

        Returns
        -------
        ndarray of float32, shape (n, d)
            The codes of the n cells in their order.

        Raises
        ------
        UsageError
            If the values have another number of markers than the model.
        """
        self._check(values)
        chunk = encoder_chunk(self.device)
        codes = np.empty((len(values), self.network.encoder.mean.out_features), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(values), chunk):
                x = self._scaled(values[start : start + chunk]).clamp(0, 1)  # (b, m)
                code, _ = self.network.encoder(x)  # (b, d)
                codes[start : start + len(x)] = code.cpu().numpy()
        return codes

    def _check(self, values: NDArray[np.float32]) -> None:
        if values.ndim != 2 or values.shape[1] != len(self.markers):
            raise UsageError(f"values of shape {values.shape} do not fit the model's {len(self.markers)} markers")

    def _scaled(self, values: NDArray[np.float32]) -> Tensor:
        """Scaled markers (b, m) on the device, not clipped to [0, 1]."""
        x = torch.tensor(values, dtype=torch.float32, device=self.device)  # (b, m)
        return scale_unclipped(x, self._low, self._high)

    def _no_cells(self) -> tuple[NDArray[Any], ...]:
        """What :meth:`_assign_block` returns for a block without cells."""
        shapes = ((0, self._membership.shape[1]), (0, len(self._further)), (0,))
        return tuple(np.zeros(shape, np.float32) for shape in shapes)

    def _assign_block(self, values: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """Probabilities (b, n_clusters), clusters in further cuts (b, n_further) from 0, and novelty (b,) of a block.

        Novelty is 0 in a model without it.
        """
        with torch.inference_mode():
            x = torch.tensor(values, dtype=torch.float32, device=self.device)  # (b, m)
            scaled = scale_unclipped(x, self._low, self._high)  # (b, m)
            chunk = encoder_chunk(self.device)
            pairs = zip(torch.split(scaled.clamp(0, 1), chunk), torch.split(x, chunk), strict=True)
            chunks = [self._assign_chunk(*pair) for pair in pairs]
            p, further, *for_novelty = (torch.cat(each) for each in zip(*chunks, strict=True))
            novelty = p.new_zeros(len(p))  # (b,)
            if self._novelty is not None:
                code, expert, *stranger = for_novelty
                novelty = self._novelty.measure(self.network, code, expert, scaled, *stranger, shift=self._shift)
            return p.cpu().numpy(), further.cpu().numpy(), novelty.cpu().numpy()

    def _assign_chunk(self, x: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Probabilities (b, n_clusters) and clusters in further cuts (b, n_further) of cells.

        ``x`` (b, m) are the scaled cells, ``values`` (b, m) the same not scaled, for the parts of a refined model.

        If the model has novelty, also what measuring it takes: latent codes (b, d), the most likely of the network's
        own experts (b,) and, if it tells strangers from landmarks, the logit of being a stranger (b,).
        """
        code, _ = self.network.encoder(x)  # (b, d)
        stranger = self.network.stranger_logit(code)  # (b,) or None
        own = torch.softmax(self.network.clustering(code), 1)  # (b, k)
        experts = own
        for part in self._parts:
            experts = part.share_out(experts, values)
        p, *others = (_summed(experts, membership) for membership in (self._membership, *self._further))
        clusters = [other.argmax(1) for other in others]
        further = torch.stack(clusters, 1) if clusters else p.new_zeros(len(p), 0)  # (b, n_further)
        if self._novelty is None:
            return p, further
        measured = (p, further, code, own.max(1).indices)
        return measured if stranger is None else (*measured, stranger)


def assign(model: TrainedModel, values: NDArray[np.float32], device: str = "cpu") -> Assignment:
    """Assign transformed ``values`` (n, m) to the clusters of ``model``; see :meth:`Assigner.assign`."""
    return Assigner(model, device).assign(values)


def assign_table(assigner: Assigner, table: CellTable) -> Assignment:
    """Assign the cells of a table, file by file where novelty depends on the file."""
    if not assigner.depends_on_file:
        return assigner.assign(table.values)
    files = [np.flatnonzero(table.source == file) for file in np.unique(table.source)]
    found = []
    for rows in files:
        values = table.values[rows]
        found.append(assigner.for_file(values[assigner.events_before(len(rows))]).assign(values))
    order = np.argsort(np.concatenate(files))
    return Assignment(
        np.concatenate([each.cluster for each in found])[order],
        np.concatenate([each.probabilities for each in found])[order],
        np.concatenate([each.novelty for each in found if each.novelty is not None])[order],
    )


def latent_codes(assigner: Assigner, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Latent codes (n, d) of transformed ``values`` (n, m); see :meth:`Assigner.codes`."""
    return assigner.codes(values)


def _labelled_populations(model: TrainedModel) -> NDArray[np.int32]:
    """The labelled population of each cluster (n_clusters,) as a number from 1; 0 for clusters without labels."""
    if model.names is None or model.naming is None:
        return np.zeros(model.highest_cluster, np.int32)
    labelled = [name in dict(model.naming.labelled) for name in model.names.of_cluster]
    return np.where(labelled, model.names.numbers, np.int32(0))


def _membership(expert_clusters: NDArray[np.int32]) -> Tensor:
    """1 where an expert belongs to a cluster, else 0: (k, n_clusters), from the cluster of each expert (k,)."""
    cluster = torch.from_numpy(expert_clusters.astype(np.int64) - 1)  # (k,)
    return torch.zeros(len(cluster), int(expert_clusters.max())).scatter_(1, cluster[:, None], 1.0)


def _summed(experts: Tensor, membership: Tensor) -> Tensor:
    """Probabilities of clusters (b, n_clusters): the sums of those of their ``experts`` (b, k)."""
    p = experts @ membership
    return p / p.sum(1, keepdim=True)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
