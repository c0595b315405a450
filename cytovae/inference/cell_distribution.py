"""The distribution that new cells are drawn from, fitted to the landmarks.

Each expert has a Gaussian of its landmarks' latent codes, a Gaussian of the residuals that its decoder leaves, and two
sets of marker quantiles. :mod:`cytovae.inference.generation` says how a cell comes from them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.network.device import ENCODER_CHUNK
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling

Decode = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""Decodes latent codes (n, d) by the expert of that index, to scaled markers (n, m)."""

_TAIL_LEVELS = (0.0, 0.002, 0.006)

# Evenly spaced in the middle, closer together in the tails, where quantile functions curve most.
QUANTILE_LEVELS = np.array([*_TAIL_LEVELS, *((np.arange(31) + 0.5) / 31), *(1 - level for level in _TAIL_LEVELS[::-1])])

DRAWS_FOR_QUANTILES = 4_000  # cells of each expert

MOST_MARKERS = 200  # the covariance of residuals has markers² entries; tables with more are images, not panels

# The covariance within all experts counts as this many cells of each expert: few landmarks give no covariance.
COVARIANCE_PRIOR_CELLS = 20.0

COVARIANCE_RIDGE = 1e-6  # added to each variance, so that the Cholesky root exists

# With fewer landmarks, an expert's quantiles come from its landmarks plus noise of the standard error of their mean.
FEWEST_FOR_QUANTILES = 25


@dataclass(frozen=True, eq=False)
class CellDistribution:
    """The distribution of new cells of k experts: codes of dimension d, m markers, q quantiles.

    Covariances are stored as a root L with LLᵀ = Σ. All arrays are float32.

    Attributes
    ----------
    code_mean : shape (k, d)
        Mean of the latent codes of each expert's landmarks.
    code_root : shape (k, d, d)
        Root of the covariance of these codes.
    noise_root : shape (k, m, m)
        Root of the covariance of the residuals, in scaled markers.
    drawn : shape (k, q, m)
        Quantiles of markers of cells drawn from both Gaussians, scaled.
    observed : shape (k, q, m)
        Quantiles of markers of the landmarks, on the transformed scale.
    """

    code_mean: NDArray[np.float32]
    code_root: NDArray[np.float32]
    noise_root: NDArray[np.float32]
    drawn: NDArray[np.float32]
    observed: NDArray[np.float32]


# --- fitting ----------------------------------------------------------------------------------------------------------


def fit_distribution(network: MoeSimVae, scaling: Scaling, values: NDArray[np.float32]) -> CellDistribution:
    """Fit the distribution to landmarks.

    Parameters
    ----------
    network : MoeSimVae
        The trained network in evaluation mode, on any device.
    scaling : Scaling
        Its scaling.
    values : ndarray of float32, shape (n, m)
        The landmarks on the transformed scale.

    Raises
    ------
    UsageError
        If there are more than :data:`MOST_MARKERS` markers.
    """
    n_markers = values.shape[1]
    if n_markers > MOST_MARKERS:
        raise UsageError(f"cells with {n_markers} markers cannot be generated, only with at most {MOST_MARKERS}")
    device = network.decoder.bias.device
    x = scaling.scale(values)  # (n, m)
    with torch.inference_mode():
        chunks = []
        for chunk in torch.split(torch.from_numpy(x), ENCODER_CHUNK):
            code, _ = network.encoder(chunk.to(device))  # (b, d)
            expert = network.clustering(code).argmax(1)  # (b,)
            reconstruction = torch.sigmoid(network.decoder(code, expert))  # (b, m)
            chunks.append([tensor.cpu().numpy() for tensor in (code, expert, reconstruction)])
    codes, experts, reconstructions = (np.concatenate(each) for each in zip(*chunks, strict=True))
    return distribution_of(
        codes,
        experts,
        x - reconstructions,
        values,
        n_experts=network.clustering.out.out_features,
        decode=lambda code, expert: decode_with_expert(network, code, expert),
    )


def distribution_of(
    codes: NDArray[np.float32],
    experts: NDArray[np.int64],
    residuals: NDArray[np.float32],
    values: NDArray[np.float32],
    *,
    n_experts: int,
    decode: Decode,
) -> CellDistribution:
    """Fit the distribution to cells with known codes and experts.

    Parameters
    ----------
    codes : ndarray of float32, shape (n, d)
        Latent codes of the cells.
    experts : ndarray of int64, shape (n,)
        The expert of each cell.
    residuals : ndarray of float32, shape (n, m)
        Scaled markers minus their reconstruction.
    values : ndarray of float32, shape (n, m)
        Markers on the transformed scale.
    n_experts : int
        Number of experts; those without cells stay 0 in every array.
    decode : callable
        The decoder of an expert.
    """
    rng = np.random.default_rng(0)
    n_codes, n_markers = codes.shape[1], values.shape[1]
    rows_of = [np.flatnonzero(experts == expert) for expert in range(n_experts)]
    codes_within, residuals_within = (_covariance_within(part, rows_of) for part in (codes, residuals))
    spread = np.sqrt(np.diag(_covariance_within(values, rows_of)))  # (m,)
    fitted = CellDistribution(
        code_mean=np.zeros((n_experts, n_codes), np.float32),
        code_root=np.zeros((n_experts, n_codes, n_codes), np.float32),
        noise_root=np.zeros((n_experts, n_markers, n_markers), np.float32),
        drawn=np.zeros((n_experts, len(QUANTILE_LEVELS), n_markers), np.float32),
        observed=np.zeros((n_experts, len(QUANTILE_LEVELS), n_markers), np.float32),
    )
    for expert, rows in enumerate(rows_of):
        if not len(rows):
            continue
        fitted.code_mean[expert] = codes[rows].mean(0)
        fitted.code_root[expert] = _covariance_root(codes[rows], codes_within)
        fitted.noise_root[expert] = _covariance_root(residuals[rows], residuals_within)
        drawn = draw_scaled_cells(fitted, expert, DRAWS_FOR_QUANTILES, decode, rng)
        fitted.drawn[expert] = np.quantile(drawn, QUANTILE_LEVELS, axis=0)
        observed = values[rows]
        if len(rows) < FEWEST_FOR_QUANTILES:
            observed = np.repeat(observed, DRAWS_FOR_QUANTILES // len(rows), axis=0)
            noise = spread * len(rows) ** -0.5 * rng.standard_normal(observed.shape)
            observed = observed + noise.astype(np.float32)
        fitted.observed[expert] = np.quantile(observed, QUANTILE_LEVELS, axis=0)
    return fitted


def _covariance_within(values: NDArray[np.float32], rows_of: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Covariance (m, m) of ``values`` (n, m) about the mean of each cell's own expert."""
    total = np.zeros((values.shape[1],) * 2)
    for rows in rows_of:
        if len(rows):
            centered = values[rows].astype(np.float64) - values[rows].mean(0, dtype=np.float64)
            total += centered.T @ centered
    return total / len(values)


def _covariance_root(values: NDArray[np.float32], within: NDArray[np.float64]) -> NDArray[np.float64]:
    """L (m, m) with LLᵀ the covariance of ``values`` (n, m), shrunk towards ``within`` (m, m)."""
    centered = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    weight = COVARIANCE_PRIOR_CELLS
    covariance = (centered.T @ centered + weight * within) / (len(values) + weight)
    return np.linalg.cholesky(covariance + COVARIANCE_RIDGE * np.eye(len(within)))


# --- drawing ----------------------------------------------------------------------------------------------------------


def decode_with_expert(network: MoeSimVae, codes: NDArray[np.float32], expert: int) -> NDArray[np.float32]:
    """Decode latent codes (n, d) by one expert of the network, to markers (n, m) in [0, 1]."""
    device = network.decoder.bias.device
    with torch.inference_mode():
        code = torch.from_numpy(codes).to(device)  # (n, d)
        experts = torch.full((len(code),), expert, device=device)  # (n,)
        return torch.sigmoid(network.decoder(code, experts)).cpu().numpy()


def draw_scaled_cells(
    fitted: CellDistribution, expert: int, n: int, decode: Decode, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw ``n`` cells from the Gaussians of one expert: scaled markers (n, m), not yet matched to quantiles."""
    codes = fitted.code_mean[expert] + rng.standard_normal((n, fitted.code_mean.shape[1])) @ fitted.code_root[expert].T
    noise = rng.standard_normal((n, fitted.noise_root.shape[1])) @ fitted.noise_root[expert].T
    cells: NDArray[np.float64] = decode(codes.astype(np.float32), expert) + noise
    return cells
