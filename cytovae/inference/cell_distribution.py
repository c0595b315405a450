"""What new cells are drawn from, fitted to the landmarks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.network.device import CHUNK
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling


@dataclass(frozen=True, eq=False)
class CellDistribution:
    """What new cells of k experts are drawn from (see :mod:`cytovae.inference.generation`), all float32.

    ``code_mean`` (k, d) and ``code_root`` (k, d, d) are the Gaussian of an expert's codes, ``noise_root`` (k, m, m)
    that of its residuals in scaled markers, both as a root L of the covariance LLᵀ. ``drawn`` and ``observed``
    (k, q, m) are quantiles of the markers: of what is drawn so, scaled, and of the landmarks, transformed.
    """

    code_mean: NDArray[np.float32]
    code_root: NDArray[np.float32]
    noise_root: NDArray[np.float32]
    drawn: NDArray[np.float32]
    observed: NDArray[np.float32]


# Of a marker: in the middle of equal shares, and closer together in the tails, which are curved most.
_TAIL = (0.0, 0.002, 0.006)


LEVELS = np.array([*_TAIL, *((np.arange(31) + 0.5) / 31), *(1 - level for level in reversed(_TAIL))])


MOST_MARKERS = 200  # covariances of residuals grow with their square; more are images, not panels


# An expert with few landmarks has no covariance of its own: as many cells' worth of that within all are mixed in.
SHRINKAGE = 20.0


# One with fewer than these has no marginals either: its landmarks are spread by what their mean is uncertain by.
FEWEST_FOR_MARGINALS = 25


SMALLEST_VARIANCE = 1e-6


DRAWS = 4_000  # which tell the quantiles of what an expert draws


# --- fitting ----------------------------------------------------------------------------------------------------------


def fit_distribution(network: MoeSimVae, scaling: Scaling, values: NDArray[np.float32]) -> CellDistribution:
    """What cells of each expert are drawn from, told by the landmarks ``values`` (n, m) on the transformed scale.

    ``network`` is trained on them and in evaluation mode, wherever it is. Raises :class:`UsageError` for too many
    markers.
    """
    n_markers = values.shape[1]
    if n_markers > MOST_MARKERS:
        raise UsageError(f"cells of {n_markers} markers cannot be generated, of {MOST_MARKERS} at most")
    device = network.decoder.bias.device
    x = scaling.scale(values)
    with torch.inference_mode():
        parts = []
        for part in torch.split(torch.from_numpy(x), CHUNK):
            code, _ = network.encoder(part.to(device))  # (b, d)
            expert = network.clustering(code).argmax(1)  # (b,)
            rebuilt = torch.sigmoid(network.decoder(code, expert))  # (b, m)
            parts.append([tensor.cpu().numpy() for tensor in (code, expert, rebuilt)])
    codes, experts, rebuilt_values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return distribution_of(
        codes,
        experts,
        x - rebuilt_values,
        values,
        n_experts=network.clustering.out.out_features,
        decode=lambda code, expert: decoded(network, code, expert),
    )


def distribution_of(
    codes: NDArray[np.float32],
    experts: NDArray[np.int64],
    residuals: NDArray[np.float32],
    values: NDArray[np.float32],
    *,
    n_experts: int,
    decode: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
) -> CellDistribution:
    """The distribution of cells ``values`` (n, m) with ``codes`` (n, d), of ``experts`` (n,), that differ from what
    was rebuilt by ``residuals`` (n, m); ``decode`` rebuilds codes (b, d) of one expert.
    """
    rng = np.random.default_rng(0)
    n_codes, n_markers = codes.shape[1], values.shape[1]
    own = [np.flatnonzero(experts == expert) for expert in range(n_experts)]
    within = [_within(part, own) for part in (codes, residuals)]
    spread = np.sqrt(np.diag(_within(values, own)))  # (m,)
    fitted = CellDistribution(
        code_mean=np.zeros((n_experts, n_codes), np.float32),
        code_root=np.zeros((n_experts, n_codes, n_codes), np.float32),
        noise_root=np.zeros((n_experts, n_markers, n_markers), np.float32),
        drawn=np.zeros((n_experts, len(LEVELS), n_markers), np.float32),
        observed=np.zeros((n_experts, len(LEVELS), n_markers), np.float32),
    )
    for expert, rows in enumerate(own):
        if not len(rows):
            continue
        fitted.code_mean[expert] = codes[rows].mean(0)
        fitted.code_root[expert] = _root(codes[rows], within[0])
        fitted.noise_root[expert] = _root(residuals[rows], within[1])
        drawn = residual_roots(fitted, expert, DRAWS, decode, rng)
        fitted.drawn[expert] = np.quantile(drawn, LEVELS, axis=0)
        seen = values[rows]
        if len(rows) < FEWEST_FOR_MARGINALS:
            seen = np.repeat(seen, DRAWS // len(rows), axis=0)
            seen = seen + (spread * len(rows) ** -0.5 * rng.standard_normal(seen.shape)).astype(np.float32)
        fitted.observed[expert] = np.quantile(seen, LEVELS, axis=0)
    return fitted


def _within(values: NDArray[np.float32], own: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """The covariance (m, m) of ``values`` (n, m) about the mean of their own expert."""
    total = np.zeros((values.shape[1],) * 2)
    for rows in own:
        if len(rows):
            about = values[rows].astype(np.float64) - values[rows].mean(0, dtype=np.float64)
            total += about.T @ about
    return total / len(values)


def _root(values: NDArray[np.float32], within: NDArray[np.float64]) -> NDArray[np.float64]:
    """L (m, m) with LLᵀ the covariance of ``values`` (n, m), shrunk towards ``within``."""
    about = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    covariance = (about.T @ about + SHRINKAGE * within) / (len(values) + SHRINKAGE)
    return np.linalg.cholesky(covariance + SMALLEST_VARIANCE * np.eye(len(within)))


# --- drawing ----------------------------------------------------------------------------------------------------------


def decoded(network: MoeSimVae, codes: NDArray[np.float32], expert: int) -> NDArray[np.float32]:
    """What one expert rebuilds of codes (n, d): markers (n, m) in [0, 1]."""
    device = network.decoder.bias.device
    with torch.inference_mode():
        code = torch.from_numpy(codes).to(device)
        of = torch.full((len(code),), expert, device=device)
        return torch.sigmoid(network.decoder(code, of)).cpu().numpy()


def residual_roots(
    fitted: CellDistribution,
    expert: int,
    n: int,
    decode: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What ``expert`` rebuilds of ``n`` codes of its Gaussian, with noise, (n, m) in scaled markers."""
    codes = fitted.code_mean[expert] + rng.standard_normal((n, fitted.code_mean.shape[1])) @ fitted.code_root[expert].T
    noise = rng.standard_normal((n, fitted.noise_root.shape[1])) @ fitted.noise_root[expert].T
    cells: NDArray[np.float64] = decode(codes.astype(np.float32), expert) + noise
    return cells
