"""Differences in the abundance of populations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.comparison.design import Design
from cytovae.comparison.statistics import Effect, count_effects, false_discovery_rates

FEWEST_CELLS = 10
"""A population is tested if at least half of the samples have this many of its cells."""

FEWEST_FOR_OFFSET = 5
"""With fewer populations, the median log-ratio would follow the changes that are looked for."""


@dataclass(frozen=True)
class Difference:
    """The effect of a condition on a population, or on a marker in it.

    Attributes
    ----------
    population : int
        Index of the population.
    level : str
        The level that is compared with the reference.
    effect : Effect
        The estimate.
    fdr : float
        The false discovery rate among all differences of one kind; NaN if not tested.
    marker : int
        Index of the marker; −1 for abundance.
    """

    population: int
    level: str
    effect: Effect
    fdr: float = float("nan")
    marker: int = -1


def is_tested(cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which populations (n_populations,) of ``cells`` (n_samples, n_populations) have enough cells for a test."""
    return np.asarray(2 * (cells >= FEWEST_CELLS).sum(axis=0) >= len(cells), dtype=np.bool_)


def composition_shifts(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the shares of unchanged populations are shifted in each sample, as a natural logarithm.

    Shares sum to one, so a population that doubles lowers the shares of all others. The shift of sample s is

        c_s = median over k of (log y_ks − mean over samples t of log y_kt),  y_ks = (n_ks + ½) / (n_s + 1),

    where n_ks are the cells of population k in sample s, and n_s all its cells. It is the size factor of Anders and
    Huber (2010) for shares. The median runs over the populations with enough cells for a test. With fewer than five
    of them there is no shift.

    Parameters
    ----------
    cells : ndarray of int, shape (n_samples, n_populations)
        Number of cells.

    Returns
    -------
    ndarray of shape (n_samples,)
        Zero where the shares are as in the average sample.
    """
    used = is_tested(cells)
    if used.sum() < FEWEST_FOR_OFFSET:
        return np.zeros(len(cells))
    shares = np.log((cells[:, used] + 0.5) / (cells.sum(axis=1, keepdims=True) + 1))
    return np.asarray(np.median(shares - shares.mean(axis=0), axis=1), dtype=np.float64)


def offsets(cells: NDArray[np.int64], shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The change in log odds of every population that is due to ``shifts`` (n_samples,) alone.

    With the mean share q_k of population k, the offset is logit(q_k exp(c_s)) − logit(q_k). For a rare population that
    is c_s itself; for a common one it is more, because its share appears in the rest, too.

    Returns
    -------
    ndarray of shape (n_samples, n_populations)
    """
    totals = np.maximum(cells.sum(axis=1, keepdims=True), 1)
    mean = np.clip((cells / totals).mean(axis=0), 1e-9, 1 - 1e-9)  # (n_populations,)
    expected = np.clip(mean * np.exp(shifts)[:, None], 1e-9, 1 - 1e-3)
    return np.asarray(np.log(expected / (1 - expected)) - np.log(mean / (1 - mean)), dtype=np.float64)


def compare_abundance(cells: NDArray[np.int64], design: Design, *, describe: bool = False) -> tuple[Difference, ...]:
    """Compare the abundance of every population between conditions.

    Parameters
    ----------
    cells : ndarray of int, shape (n_samples, n_populations)
        Number of cells.
    design : Design
        The samples.
    describe : bool
        Estimate effects of all populations without tests.

    Returns
    -------
    tuple of Difference
        Population by population, each with all compared levels.
    """
    totals, tested = cells.sum(axis=1), is_tested(cells)
    of_sample = offsets(cells, composition_shifts(cells))
    rows: list[tuple[int, str, Effect]] = []
    for population in range(cells.shape[1]):
        if tested[population] or (describe and cells[:, population].any()):
            column = cells[:, population]
            effects = count_effects(column, totals, of_sample[:, population], design, describe=describe)
        else:
            note = f"not tested: fewer than {FEWEST_CELLS} cells in more than half of the samples"
            effects = tuple(Effect(note=note) for _ in design.compared)
        rows += [(population, level, effect) for level, effect in zip(design.compared, effects, strict=True)]
    rates = false_discovery_rates([effect.p for *_, effect in rows])
    return tuple(
        Difference(population, level, effect, float(rate))
        for (population, level, effect), rate in zip(rows, rates, strict=True)
    )
