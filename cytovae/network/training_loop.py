"""The training loop: a generator of progress records. It opens no files and prints nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.errors import NumericalError
from cytovae.network.label_task import LabelTask
from cytovae.network.model import ModelOutput, MoeSimVae
from cytovae.network.objective import Objective, population_of_experts
from cytovae.network.optimizer import Adam, one_cycle
from cytovae.populations.similarity import Similarity
from cytovae.settings import Settings

SHORTEST_CYCLE = 20  # with fewer steps the learning rate is constant
RECORD_EVERY = 25  # steps between two records, because reading a loss waits for the device

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class ProgressRecord:
    """The terms of the loss of one batch before their weights, and the total; ``step`` counts from 1."""

    step: int
    reconstruction: float
    kl: float
    similarity: float
    depict: float
    total: float


@dataclass(frozen=True, eq=False)
class LoopState:
    """Everything that changes during training. Batches and learning rate follow from the number of the step."""

    network: MoeSimVae
    optimizer: Adam
    generator: torch.Generator
    votes: Tensor  # (k, c), of the objective; changed in place

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all tensors, by name."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {"generator": self.generator.get_state(), "votes": self.votes}
        return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in tensors.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore the state that :meth:`arrays` returned.

        Tensors are copied, because the alignment of their memory may change the last bit of a result.
        """
        tensors: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for name, array in arrays.items():
            owner, _, rest = name.partition(".")
            tensors.setdefault(owner, {})[rest] = torch.tensor(array)
        self.network.load_state_dict(tensors["network"])
        self.optimizer.load(tensors["optimizer"])
        self.generator.set_state(tensors["generator"][""])
        self.votes.copy_(tensors["votes"][""])


class LoopCheckpoint(Protocol):
    """Saves the state of the loop, see :class:`cytovae.model_folder.checkpoint.Checkpoint`."""

    def restore(self, loop: LoopState) -> tuple[ProgressRecord, ...]:
        """Load the saved state into ``loop``; returns the records up to there, none without a saved state."""

    def note(self, loop: LoopState, record: ProgressRecord, *, last: bool) -> None:
        """Take the state after the step of ``record``."""


def build_network(markers: int, settings: Settings, seed: int, *, strangers: bool = False) -> MoeSimVae:
    """A network with random weights from ``seed``; torch's global generator is unchanged.

    ``strangers`` adds the output that tells strangers from landmarks.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MoeSimVae(
            markers=markers,
            experts=settings.experts,
            code=settings.code,
            encoder_depth=settings.encoder_depth,
            encoder_width=settings.encoder_width,
            clustering_depth=settings.clustering_depth,
            clustering_width=settings.clustering_width,
            expert_width=settings.expert_width,
            activation=settings.activation,
            dropout=settings.dropout,
            decoder=settings.decoder,
            strangers=strangers,
        )


def train(
    network: MoeSimVae,
    x: Tensor,
    similarity: Similarity,
    weight: NDArray[np.float64] | None,
    settings: Settings,
    seed: int,
    checkpoint: LoopCheckpoint | None = None,
    augment: Augment | None = None,
    task: LabelTask | None = None,
    correct: bool = True,
) -> Iterator[ProgressRecord]:
    """Train ``network`` in place; yields a record every 25 steps and after the last.

    Parameters
    ----------
    network
        The network, on the device of ``x``. At the end it is in evaluation mode.
    x
        Markers (n, m) of the landmarks in [0, 1].
    similarity
        S and, if known, the populations of the landmarks.
    weight
        Relative frequency (n,) with which each landmark is drawn; None draws all equally often.
    settings
        How to train.
    seed
        Seed of the batches and of all noise.
    checkpoint
        Training continues from its state, if it has one; the records up to there come first.
    augment
        Transforms the encoder's input (b, m), drawing from the generator; the target is unchanged.
    task
        Known names of the landmarks. It replaces the noise on the encoder's input by its own.
    correct
        Correct probabilities in the end for how often populations were drawn, if they are known.

    Raises
    ------
    NumericalError
        If a loss is not finite.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    batches = _batches(len(x), min(settings.batch, len(x)), weight, seed)
    objective = Objective(similarity, settings, x, task)
    optimizer = Adam(network.parameters())
    network.train()
    loop = LoopState(network, optimizer, generator, objective.votes)
    past = checkpoint.restore(loop) if checkpoint is not None else ()
    yield from past
    done = past[-1].step if past else 0
    for _ in range(done):
        next(batches)

    for step in range(done + 1, settings.steps + 1):
        rows = torch.from_numpy(next(batches)).to(x.device)  # (b,)
        cells = x.index_select(0, rows)  # (b, m)
        if task is None:
            augmented = _augmented(cells, augment, settings, generator)  # (b, m)
        else:
            strange = task.strangers(task.n_strangers(len(rows)), generator)  # (s, m)
            augmented = task.as_imagined(torch.cat([cells, strange]), generator)  # (b + s, m)
        noise = _posterior_noise(len(augmented), settings, generator)  # (b, d)
        out: ModelOutput = network(augmented, noise, generator if objective.uses_depict(step) else None)
        loss = objective(out, cells, rows, step)

        optimizer.zero_grad()
        torch.autograd.backward(loss.total)
        optimizer.step(_learning_rate(step, settings))

        last = step == settings.steps
        if last or step % RECORD_EVERY == 0:
            record = ProgressRecord(step, *torch.stack(loss).detach().cpu().tolist())
            _check_finite(record, settings)
            if checkpoint is not None:
                checkpoint.note(loop, record, last=last)
            yield record
    network.eval()
    if correct and weight is not None and similarity.populations is not None:
        _correct_frequencies(network, objective.votes, similarity.populations, weight)


@torch.no_grad()
def _correct_frequencies(network: MoeSimVae, votes: Tensor, populations: Tensor, weight: NDArray[np.float64]) -> None:
    """Correct probabilities from the frequencies with which populations were drawn to those among the landmarks.

    By Bayes' rule the probability of a population is divided by the mean ``weight`` (n,) of its cells. Without
    this, rare populations, which are drawn more often, would be assigned too many cells of files whose levels differ.
    ``votes`` (k, c) tell the population of each expert.
    """
    population = populations.cpu().numpy()  # (n,)
    drawn = np.bincount(population, weights=weight) / np.bincount(population)  # (c,)
    logit = torch.from_numpy(np.log(drawn.mean() / drawn)).to(votes)  # (c,)
    network.clustering.out.bias.add_(logit[population_of_experts(votes)])  # (k,)


def _batches(n: int, batch: int, weight: NDArray[np.float64] | None, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of each batch: without ``weight``, every epoch in a new order; with it, drawn with replacement."""
    rng = np.random.default_rng(seed)
    if weight is None:
        order = rng.permutation(n)
        start = 0
        while True:
            if start + batch > n:
                order, start = rng.permutation(n), 0
            yield order[start : start + batch]
            start += batch
    cumulative = np.cumsum(weight / weight.sum())
    while True:
        yield np.minimum(np.searchsorted(cumulative, rng.random(batch)), n - 1)


def _posterior_noise(b: int, settings: Settings, generator: torch.Generator) -> Tensor | None:
    """Standard normal numbers (b, d) to sample codes from the posterior; None if codes are its mean."""
    if not settings.posterior_noise:
        return None
    return torch.randn(b, settings.code, generator=generator, device=generator.device)


def _augmented(cells: Tensor, augment: Augment | None, settings: Settings, generator: torch.Generator) -> Tensor:
    """The encoder's input (b, m): ``cells`` after ``augment``, some of them with Gaussian noise."""
    x = cells if augment is None else augment(cells, generator)
    n_noisy = round(settings.noisy_share * len(x))
    if not n_noisy or not settings.input_noise:
        return x
    noise = torch.randn((n_noisy, x.shape[1]), generator=generator, device=x.device)
    return torch.cat([x[:n_noisy] + settings.input_noise * noise, x[n_noisy:]])  # a batch has no order


def _learning_rate(step: int, settings: Settings) -> float:
    if settings.schedule == "one-cycle" and settings.steps >= SHORTEST_CYCLE:
        return one_cycle(step, settings.steps, settings.learning_rate)
    return settings.learning_rate


def _check_finite(record: ProgressRecord, settings: Settings) -> None:
    if not np.isfinite(record.total):
        raise NumericalError(
            f"the loss at step {record.step} is {record.total}; try a smaller learning rate "
            f"(it was {settings.learning_rate}) or look for extreme values with `cytovae inspect`"
        )
