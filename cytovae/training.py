"""The training loop: a generator of progress records. It opens no file and prints nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae import losses
from cytovae.distributed import ALONE, Ranks
from cytovae.errors import NumericalError
from cytovae.model import MoeSimVae
from cytovae.settings import Settings
from cytovae.similarity import Similarity

SHORTEST_CYCLE = 20  # steps: fewer have no room for a rise
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
        )


def train(
    network: MoeSimVae,
    x: Tensor,
    similarity: Similarity,
    weight: NDArray[np.float64] | None,
    settings: Settings,
    seed: int,
    ranks: Ranks = ALONE,
) -> Iterator[ProgressRecord]:
    """Fit ``network`` to markers ``x`` (n, m) in [0, 1], in place; yields a record every few steps and at the last.

    ``weight`` (n,) says how often a cell is drawn (None: equally often). Every one of ``ranks`` calls this with the
    same values, and gets the same network and records. Raises :class:`NumericalError` when a loss is not finite.
    """
    n = len(x)
    device = x.device
    batch = min(settings.batch, n)
    share = ranks.share(batch)
    parallel = ranks.parallel(network, batch, some_unused=not settings.posterior_noise)  # the variance is not, then
    rows_of = _batches(n, batch, weight, settings.steps, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    scheduler = (
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            settings.learning_rate,
            total_steps=settings.steps,
            pct_start=0.1,
            cycle_momentum=False,
        )
        if settings.schedule == "one-cycle" and settings.steps >= SHORTEST_CYCLE
        else None
    )
    generator = torch.Generator(device).manual_seed(seed)
    weights = (settings.reconstruction_weight, settings.kl_weight, settings.similarity_weight, settings.depict_weight)
    network.train()
    for step in range(1, settings.steps + 1):
        rows = torch.from_numpy(next(rows_of)).to(device)
        cells = x.index_select(0, rows)  # (b, m)
        with_depict = settings.depict_weight > 0 and step > settings.depict_from * settings.steps
        noise = None
        if settings.posterior_noise:
            noise = torch.randn(len(rows), settings.code, generator=generator, device=device)
        seen = cells
        if settings.input_noise:
            seen = cells + settings.input_noise * torch.randn(cells.shape, generator=generator, device=device)
        own = parallel(seen[share], None if noise is None else noise[share], generator if with_depict else None)
        out = ranks.gathered(own, batch)

        zero = x.new_zeros(())
        reconstruction = losses.reconstruction_loss(out.logits, cells)
        similar = losses.similarity_loss(out.probabilities, similarity.block(rows))
        kl = losses.kl_loss(out.probabilities, out.code) if settings.kl_weight > 0 else zero
        depict = losses.depict_loss(out.probabilities, out.noisy_log_probabilities) if with_depict else zero
        total = losses.total_loss(reconstruction, kl, similar, depict, weights)

        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step % RECORD_EVERY == 0 or step == settings.steps:
            values = torch.stack([reconstruction, kl, similar, depict, total]).detach().cpu().tolist()
            record = ProgressRecord(step, *values)
            if not np.isfinite(record.total):
                raise NumericalError(
                    f"the loss at step {step} is {record.total}; try a smaller learning rate "
                    f"(it was {settings.learning_rate}) or look for extreme values with `cytovae inspect`"
                )
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
