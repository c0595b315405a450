"""Known names of landmarks as a task of the network.

Each expert belongs to one population, and the probability of a population is the sum of those of its experts. Eq. 7
holds between populations; the name itself adds a cross-entropy. A second output tells cells from strangers: artificial
cells, whose markers come from cells of several populations at random, so that their combinations of levels mostly do
not exist. Files differ in levels, so that cells are also seen as imagined files would show them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# Imagined files in a batch, and the share of them that are as measured. In the others, each marker is shifted by so
# many standard deviations within populations and scaled; some markers are shifted much more, in units of their range.
FILES, AS_MEASURED = 16, 0.5
SHIFT, SCALE, LARGE_SHIFT, SHARE_OF_LARGE = 0.2, 0.05, 0.3, 0.2

NOISE = 0.05  # of scaled markers; augmentation by files leaves less to it than settings.input_noise

STRANGERS = 0.25  # per cell of a batch
SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class LabelTask:
    """What the network learns from names, on the device of the landmarks.

    Attributes
    ----------
    population : Tensor of int64, shape (n,)
        Population of each landmark, from 0.
    owner : Tensor of float32, shape (k, c)
        1 where an expert belongs to a population, else 0.
    spread : Tensor of float32, shape (m,)
        Standard deviation of scaled markers within populations.
    cells : Tensor of float32, shape (n, m)
        The landmarks.
    drawn : Tensor of float64, shape (n,)
        Cumulated frequency with which a landmark gives its markers to strangers.
    prior : Tensor of float32, shape (c,)
        Frequency of each population, relative to how often its landmarks are drawn.
    """

    population: Tensor
    owner: Tensor
    spread: Tensor
    cells: Tensor
    drawn: Tensor
    prior: Tensor

    def as_imagined(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Cells ``x`` (b, m) as files would show them whose levels differ from those of the landmarks."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=x.device)

        m = x.shape[1]
        large = torch.rand((FILES, m), generator=generator, device=x.device) < SHARE_OF_LARGE
        shift = SHIFT * normal(FILES, m) * self.spread + LARGE_SHIFT * normal(FILES, m) * large
        scale = (SCALE * normal(FILES, m)).exp()
        measured = torch.arange(FILES, device=x.device)[:, None] < AS_MEASURED * FILES
        shift, scale = shift.masked_fill(measured, 0.0), scale.masked_fill(measured, 1.0)
        file = torch.arange(len(x), device=x.device) % FILES  # batches are drawn at random
        return x * scale[file] + shift[file] + NOISE * normal(*x.shape)

    def strangers(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` artificial cells (n, m): each marker from one of two landmarks."""
        place = torch.rand((2, n), generator=generator, device=self.cells.device, dtype=torch.float64)
        a, b = self.cells[torch.searchsorted(self.drawn, place).clamp_max(len(self.cells) - 1)]
        from_a = torch.rand(a.shape, generator=generator, device=a.device) < 0.5
        return torch.where(from_a, a, b)

    def same(self, rows: Tensor) -> Tensor:
        """S (b, b) of the landmarks ``rows`` (b,) with full knowledge: 1 for cells of one population."""
        population = self.population[rows]
        return (population[:, None] == population[None]).to(self.owner)

    def n_strangers(self, batch: int) -> int:
        """Number of strangers beside ``batch`` cells."""
        return round(STRANGERS * batch)

    def loss(self, p: Tensor, stranger: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy of names and of being a stranger, per cell.

        Parameters
        ----------
        p
            Probabilities (b, k) of the experts for landmarks.
        stranger
            Logits (b + s,) of being a stranger: of the landmarks, then of strangers.
        rows
            The landmarks (b,).
        """
        as_drawn = (p @ self.owner) / self.prior  # (b, c), so that p are corrected
        own = as_drawn.gather(1, self.population[rows][:, None]) / as_drawn.sum(1, keepdim=True)  # (b, 1)
        truth = torch.zeros_like(stranger)
        truth[len(rows) :] = 1
        name = -own.clamp_min(SMALLEST).log().sum()
        return (name + functional.binary_cross_entropy_with_logits(stranger, truth, reduction="sum")) / len(rows)


def label_task(
    x: Tensor, population: NDArray[np.int64], owner: Sequence[int], prior: NDArray[np.float64] | None = None
) -> LabelTask:
    """The task of learning the ``population`` (n,) of scaled landmarks ``x`` (n, m).

    ``owner`` is the population of each expert (k,). Every population must have an expert. ``prior`` (c,) is the
    frequency of each population, relative to how often its landmarks are drawn (default: 1).
    """
    size = np.bincount(population)
    of_cell = torch.from_numpy(population).to(x.device)
    total = x.new_zeros(len(size), x.shape[1]).index_add_(0, of_cell, x)
    mean = total / torch.from_numpy(np.maximum(size, 1)).to(x)[:, None]
    spread = (x - mean[of_cell]).square().mean(0).sqrt()
    cumulated = np.cumsum(size[population] ** -0.5)
    one_hot = functional.one_hot(torch.tensor(owner), len(size)).to(x)
    drawn = torch.from_numpy(cumulated / cumulated[-1])
    relative = torch.ones(len(size)) if prior is None else torch.from_numpy(prior)
    return LabelTask(of_cell, one_hot, spread, x, drawn.to(x.device), relative.to(x))
