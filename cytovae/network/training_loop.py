"""The training loop: a generator of progress records. It opens no file and prints nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cytovae.errors import NumericalError
from cytovae.network import losses
from cytovae.network.model import ModelOutput, MoeSimVae
from cytovae.network.optimizer import Adam, one_cycle
from cytovae.populations.similarity import Similarity
from cytovae.settings import Settings

SHORTEST_CYCLE = 20  # steps: fewer have no room for a rise


MEMORY = 0.98  # of which population an expert's cells are: what a batch says is forgotten over about fifty


RECORD_EVERY = 25  # steps between two records: reading a loss waits for the device


@dataclass(frozen=True)
class ProgressRecord:
    """The losses of one batch, each before its weight; ``step`` counts from 1."""

    step: int
    reconstruction: float
    kl: float
    similarity: float
    depict: float
    total: float


@dataclass(frozen=True, eq=False)
class LoopState:
    """What decides how training goes on after a step; batches and learning rate follow from the number of the step."""

    network: MoeSimVae
    optimizer: Adam
    generator: torch.Generator
    votes: Tensor  # (k, c), changed in place

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all tensors, by name."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {"generator": self.generator.get_state(), "votes": self.votes}
        return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in tensors.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what :meth:`arrays` told of. Tensors are copied: how memory is aligned may change the last bit."""
        of: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            of.setdefault(kind, {})[rest] = torch.tensor(array)
        self.network.load_state_dict(of["network"])
        self.optimizer.load(of["optimizer"])
        self.generator.set_state(of["generator"][""])
        self.votes.copy_(of["votes"][""])


class Keeper(Protocol):
    """Where the state of the loop is kept between records, see :class:`cytovae.model_folder.checkpoint.Checkpoint`."""

    def restore(self, loop: LoopState) -> tuple[ProgressRecord, ...]:
        """Put ``loop`` where it was when it was kept; the records up to there, none if it was not."""

    def note(self, loop: LoopState, record: ProgressRecord, *, last: bool) -> None:
        """Take the state after the step of ``record``."""


def build_network(markers: int, settings: Settings, seed: int) -> MoeSimVae:
    """A network with weights drawn from ``seed``; torch's global generator is left as it was."""
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
        )


def train(
    network: MoeSimVae,
    x: Tensor,
    similarity: Similarity,
    weight: NDArray[np.float64] | None,
    settings: Settings,
    seed: int,
    keeper: Keeper | None = None,
    moved: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> Iterator[ProgressRecord]:
    """Fit ``network`` to markers ``x`` (n, m) in [0, 1], in place; yields a record every few steps and at the last.

    Where ``similarity`` knows populations, experts learn to tell those apart, too: eq. 7 holds for the sums of the
    probabilities of the experts that stand for each. ``weight`` (n,) says how often a cell is drawn (None: equally
    often). ``moved`` makes of a batch (b, m) what the encoder sees, drawing from the generator: the same things seen
    otherwise, as an image a little aside; what is to be reconstructed stays. Training goes on from what ``keeper`` has,
    whose records come first. Raises :class:`NumericalError` when a loss is not finite.
    """
    n = len(x)
    device = x.device
    batch = min(settings.batch, n)
    rows_of = _batches(n, batch, weight, settings.steps, seed)
    optimizer = Adam(network.parameters())
    cycle = settings.schedule == "one-cycle" and settings.steps >= SHORTEST_CYCLE
    generator = torch.Generator(device).manual_seed(seed)
    weights = (settings.reconstruction_weight, settings.kl_weight, settings.similarity_weight, settings.depict_weight)
    populations = similarity.populations
    n_populations = 0 if populations is None else int(populations.max()) + 1
    votes = x.new_zeros(settings.experts, n_populations)
    network.train()
    loop = LoopState(network, optimizer, generator, votes)
    past = keeper.restore(loop) if keeper is not None else ()
    yield from past
    done = past[-1].step if past else 0
    for _ in range(done):
        next(rows_of)  # the batches of those steps
    for step in range(done + 1, settings.steps + 1):
        rows = torch.from_numpy(next(rows_of)).to(device)
        cells = x.index_select(0, rows)  # (b, m)
        with_depict = settings.depict_weight > 0 and step > settings.depict_from * settings.steps
        noise = None
        if settings.posterior_noise:
            noise = torch.randn(len(rows), settings.code, generator=generator, device=device)
        seen = cells if moved is None else moved(cells, generator)
        if (noisy := round(settings.noisy_share * len(rows))) and settings.input_noise:
            added = torch.randn((noisy, cells.shape[1]), generator=generator, device=device)
            seen = torch.cat([seen[:noisy] + settings.input_noise * added, seen[noisy:]])  # (b, m)
        out: ModelOutput = network(seen, noise, generator if with_depict else None)

        zero = x.new_zeros(())
        reconstruction = losses.reconstruction_loss(out.logits, cells)
        similar = losses.similarity_loss(out.probabilities, similarity.block(rows))
        if populations is not None and settings.population_weight > 0:
            population = functional.one_hot(populations[rows], n_populations).to(x.dtype)  # (b, c)
            votes.mul_(MEMORY).add_(out.probabilities.detach().T @ population)  # (k, c)
            if step > settings.populations_from * settings.steps:
                of_experts = functional.one_hot(votes.argmax(1), n_populations).to(x.dtype)  # (k, c)
                joined = losses.similarity_loss(out.probabilities @ of_experts, population @ population.T)
                similar = similar + settings.population_weight * joined
        kl = losses.kl_loss(out.probabilities, out.code) if settings.kl_weight > 0 else zero
        depict = losses.depict_loss(out.probabilities, out.noisy_log_probabilities) if with_depict else zero
        total = losses.total_loss(reconstruction, kl, similar, depict, weights)

        optimizer.forget_gradients()
        torch.autograd.backward(total)
        optimizer.step(one_cycle(step, settings.steps, settings.learning_rate) if cycle else settings.learning_rate)
        if step % RECORD_EVERY == 0 or step == settings.steps:
            values = torch.stack([reconstruction, kl, similar, depict, total]).detach().cpu().tolist()
            record = ProgressRecord(step, *values)
            if not np.isfinite(record.total):
                raise NumericalError(
                    f"the loss at step {step} is {record.total}; try a smaller learning rate "
                    f"(it was {settings.learning_rate}) or look for extreme values with `cytovae inspect`"
                )
            if keeper is not None:
                keeper.note(loop, record, last=step == settings.steps)
            yield record
    network.eval()


def _batches(
    n: int, batch: int, weight: NDArray[np.float64] | None, steps: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Rows of each batch, drawn without replacement when equally likely (epoch by epoch), else with it."""
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
