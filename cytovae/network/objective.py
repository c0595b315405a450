"""The loss of one batch: the terms of losses.py, weighted (eq. 11)."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from cytovae.network import losses
from cytovae.network.label_task import LabelTask
from cytovae.network.model import ModelOutput
from cytovae.populations.similarity import Similarity
from cytovae.settings import Settings

# Decay per batch of the votes for the population of an expert: they are a mean over about the last fifty batches.
VOTE_DECAY = 0.98

# Lower bound of the votes of a population, of which there may be no recent cells.
SMALLEST_VOTES = 1e-6


class BatchLoss(NamedTuple):
    """The terms before their weights, and their weighted sum; scalars."""

    reconstruction: Tensor
    kl: Tensor
    similarity: Tensor
    depict: Tensor
    total: Tensor


class Objective:
    """The loss that training minimizes.

    Where populations are known, eq. 7 also holds between populations: the probability of a population is the sum of
    the probabilities of its experts, see :func:`population_of_experts`. With known names, an expert belongs to one
    population from the start, and the names add their own term to eq. 7.

    Parameters
    ----------
    similarity
        S and, if known, the populations of the landmarks.
    settings
        Weights of the terms, and when they start.
    x
        Any tensor of the type and on the device of the network's output.
    task
        Known names of the landmarks.
    """

    def __init__(self, similarity: Similarity, settings: Settings, x: Tensor, task: LabelTask | None = None) -> None:
        self.similarity = similarity
        self.settings = settings
        self.task = task
        self.weights = (
            settings.reconstruction_weight,
            settings.kl_weight,
            settings.similarity_weight,
            settings.depict_weight,
        )
        self.n_populations = 0 if similarity.populations is None else int(similarity.populations.max()) + 1  # c
        self.votes = x.new_zeros(settings.experts, self.n_populations)  # (k, c)

    def uses_depict(self, step: int) -> bool:
        """Whether the loss at ``step`` includes DEPICT, for which the network must compute its noisy branch."""
        return self.settings.depict_weight > 0 and step > self.settings.depict_from * self.settings.steps

    def __call__(self, out: ModelOutput, cells: Tensor, rows: Tensor, step: int) -> BatchLoss:
        """The loss of the landmarks ``rows`` (b,) with markers ``cells`` (b, m), given the network's output.

        Output beyond the first b rows is that of strangers.
        """
        stranger = out.stranger
        if self.task is not None:
            out = out.first(len(rows))
        p, zero = out.probabilities, cells.new_zeros(())
        reconstruction = losses.reconstruction_loss(out.logits, cells)  # eq. 4
        similarity = losses.similarity_loss(p, self.similarity.block(rows))  # eq. 7
        if self.task is not None and stranger is not None:
            between = losses.similarity_loss(p @ self.task.owner, self.task.same(rows))  # eq. 7 with known names
            similarity = similarity + between + self.task.loss(p, stranger, rows)
        elif self.similarity.populations is not None and self.settings.population_weight > 0:
            population = functional.one_hot(self.similarity.populations[rows], self.n_populations).to(cells.dtype)
            self._vote(p, population)
            if step > self.settings.populations_from * self.settings.steps:
                similarity = similarity + self.settings.population_weight * self._between_populations(p, population)
        kl = losses.kl_loss(p, out.code) if self.settings.kl_weight > 0 else zero  # eq. 3
        depict = losses.depict_loss(p, out.noisy_log_probabilities) if self.uses_depict(step) else zero  # eq. 8
        total = losses.total_loss(reconstruction, kl, similarity, depict, self.weights)  # eq. 11
        return BatchLoss(reconstruction, kl, similarity, depict, total)

    def _vote(self, p: Tensor, population: Tensor) -> None:
        """Add the cells of a batch, with one-hot ``population`` (b, c), to the votes of their experts."""
        self.votes.mul_(VOTE_DECAY).add_(p.detach().T @ population)  # (k, c)

    def _between_populations(self, p: Tensor, population: Tensor) -> Tensor:
        """Eq. 7 for the probabilities of populations; ``population`` (b, c) is one-hot."""
        of_expert = functional.one_hot(population_of_experts(self.votes), self.n_populations).to(p.dtype)  # (k, c)
        return losses.similarity_loss(p @ of_expert, population @ population.T)


def population_of_experts(votes: Tensor) -> Tensor:
    """The population of each expert (k,), given the ``votes`` (k, c) of recent cells of c populations.

    An expert belongs to the population with the most cells there, each relative to the root of the population's cells.
    So a small population keeps an expert that also has cells of a large one, which has other experts.
    """
    return (votes / votes.sum(0).clamp_min(SMALLEST_VOTES).sqrt()).argmax(1)
