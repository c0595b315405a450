"""The models of a comparison, all from statsmodels: a quasi-binomial GLM of counts, OLS of medians, and the FDR."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from cytovae.comparison.design import Design

CONFIDENCE = 0.95
_NAN = float("nan")
_HALF_CELL = 0.5
_LOG2 = 1 / math.log(2)  # from natural logarithms


@dataclass(frozen=True)
class Effect:
    """The difference between a level of the condition and the reference.

    Attributes
    ----------
    effect : float
        The estimate; NaN if there is none.
    standard_error, low, high : float
        Its standard error and 95 % confidence interval; NaN without a test.
    t, df, p : float
        The t statistic, its degrees of freedom and the two-sided p value; NaN without a test.
    note : str
        Why there is no estimate or no test; otherwise ''.
    """

    effect: float = _NAN
    standard_error: float = _NAN
    low: float = _NAN
    high: float = _NAN
    t: float = _NAN
    df: float = _NAN
    p: float = _NAN
    note: str = ""


def count_effects(
    cells: NDArray[np.int64],
    totals: NDArray[np.int64],
    offset: NDArray[np.float64],
    design: Design,
    *,
    describe: bool = False,
) -> tuple[Effect, ...]:
    """Compare the abundance of a population between conditions.

    A binomial GLM with logit link of the cells of the population against all other cells of each sample. The variance
    is the binomial one times Pearson's X² divided by its degrees of freedom, and tests use the t distribution. If a
    group, block or batch has no cell of the population or no other cell, half a cell is added on both sides in every
    sample, because the estimate would be infinite (Haldane 1956).

    Parameters
    ----------
    cells, totals : ndarray of int, shape (n_samples,)
        The cells of the population, and all cells.
    offset : ndarray, shape (n_samples,)
        The expected log odds of an unchanged population, up to a constant.
    design : Design
        The samples.
    describe : bool
        Estimate effects without tests.

    Returns
    -------
    tuple of Effect
        For each of ``design.compared``, as log2 of the odds ratio.
    """
    hits, trials = cells.astype(np.float64), totals.astype(np.float64)
    groups = [factor.rows(level) for factor in design.factors for level in factor.levels]
    if any(hits[rows].sum() in (0, trials[rows].sum()) for rows in groups):
        hits, trials = hits + _HALF_CELL, trials + 2 * _HALF_CELL
    # Shares with weights, not pairs of counts: for pairs, statsmodels' X² leaves out the number of trials.
    model = GLM(hits / trials, design.matrix, family=Binomial(), offset=offset, var_weights=trials)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # about a perfect fit, when there are as many effects as samples
        fit = model.fit(scale=1.0 if describe else "X2", use_t=True, maxiter=200)
    if not describe and np.allclose(fit.mu, hits / trials, rtol=1e-7, atol=0):
        return _without_spread(fit, design, _LOG2)
    if not fit.converged and not np.allclose(fit.mu, hits / trials):  # statsmodels stops at a perfect fit
        return tuple(Effect(note="not tested: the model did not converge") for _ in design.compared)
    return _effects(fit, design, _LOG2, describe=describe)


def level_effects(medians: NDArray[np.float64], design: Design, *, describe: bool = False) -> tuple[Effect, ...]:
    """Compare medians (n_samples,) between conditions by ordinary least squares.

    Returns the difference of means for each of ``design.compared``, in the units of ``medians``.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fit = OLS(medians, design.matrix).fit()
        if not describe and float(np.sqrt(fit.scale)) <= 1e-9 * max(1.0, float(np.abs(medians).max())):
            return _without_spread(fit, design, 1.0)
        return _effects(fit, design, 1.0, describe=describe)


def false_discovery_rates(p: Sequence[float]) -> NDArray[np.float64]:
    """The FDR of each test by the procedure of Benjamini and Hochberg (1995); NaN where ``p`` is NaN."""
    values = np.asarray(p, dtype=np.float64)
    rates = np.full(len(values), np.nan)
    tested = np.isfinite(values)
    if tested.any():
        rates[tested] = multipletests(values[tested], method="fdr_bh")[1]
    return rates


def _of_condition(values: Any, design: Design) -> NDArray[np.float64]:
    """The rows of ``values`` that belong to ``design.compared``; they follow the intercept."""
    return np.asarray(values, dtype=np.float64)[1 : 1 + len(design.compared)]


def _without_spread(fit: Any, design: Design, unit: float) -> tuple[Effect, ...]:
    """Effects of a model that fits perfectly, so that there is no standard error."""
    note = "not tested: no differences between samples of a group"
    return tuple(Effect(effect=float(value), note=note) for value in _of_condition(fit.params, design) * unit)


def _effects(fit: Any, design: Design, unit: float, *, describe: bool) -> tuple[Effect, ...]:
    """The effects of a fitted model, multiplied by ``unit``."""
    estimates = _of_condition(fit.params, design) * unit
    if describe:
        return tuple(Effect(effect=float(value), note="not tested (--describe)") for value in estimates)
    errors = _of_condition(fit.bse, design) * unit
    ranges = _of_condition(fit.conf_int(1 - CONFIDENCE), design) * unit
    statistics, p = _of_condition(fit.tvalues, design), _of_condition(fit.pvalues, design)
    return tuple(
        Effect(
            float(estimate), float(error), float(low), float(high), float(t), float(fit.df_resid), float(probability)
        )
        for estimate, error, (low, high), t, probability in zip(estimates, errors, ranges, statistics, p, strict=True)
    )
