"""New cells from a trained model: an expert of the cluster is drawn in proportion to its cells, a code from its
Gaussian, the expert decodes it, and observation noise makes a cell of what it rebuilds.

The KL term (eq. 3) drives a cluster's codes towards a Gaussian of unit variance, but they do not reach it, and an
expert's are correlated: each expert keeps the mean and the whole covariance of its landmarks' codes. What an expert
rebuilds is a mean; what it leaves out is kept as the covariance of its residuals. Marker by marker neither looks like
ion counts, which pile up at and below zero: so a drawn value is replaced by that of the expert's landmarks at the same
quantile (a Gaussian copula whose marginals are those of the landmarks). No landmark is kept, only 37 quantiles of each
marker and expert.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.assignment import CHUNK, Assigner
from cytovae.errors import ModelError, UsageError
from cytovae.model import MoeSimVae
from cytovae.trained import CellDistribution, TrainedModel
from cytovae.transform import Scaling

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
MOST_RUNS = 1_000  # for one accepted cell, on average


@dataclass(frozen=True, eq=False)
class GeneratedCells:
    """``values`` float32 (n, m) on the model's transformed scale, ``cluster`` int32 (n,) from 1, in order of clusters;
    ``runs`` says for each cluster how many cells were drawn for those that were taken.
    """

    values: NDArray[np.float32]
    cluster: NDArray[np.int32]
    runs: Mapping[int, int]


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
        drawn = _rebuilt(fitted, expert, DRAWS, decode, rng)
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


def draw_cells(
    fitted: CellDistribution,
    shares: NDArray[np.float64],
    n: int,
    decode: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """``n`` cells (n, m) on the transformed scale, each of an expert drawn in proportion to ``shares`` (k,)."""
    parts = []
    for expert, count in enumerate(rng.multinomial(n, shares / shares.sum()).tolist()):
        if count:
            drawn = _rebuilt(fitted, expert, count, decode, rng)
            tables = zip(drawn.T, fitted.drawn[expert].T, fitted.observed[expert].T, strict=True)
            parts.append(np.stack([np.interp(*table) for table in tables], axis=1))
    cells = np.concatenate(parts) if parts else np.zeros((0, fitted.observed.shape[2]))
    return rng.permutation(cells).astype(np.float32)


def _rebuilt(
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


def generate(
    model: TrainedModel, events: Mapping[int, int], *, min_posterior: float = 0.0, seed: int
) -> GeneratedCells:
    """As many new cells of each cluster as ``events`` says, cluster by cluster, whatever others are asked for.

    A cell is taken where its own assignment gives its cluster a probability of at least ``min_posterior``. Raises
    :class:`ModelError` for a model that cannot generate, and :class:`UsageError` for a cluster there is not and where
    a thousand runs for each cell do not give enough cells of such a probability.
    """
    if model.distribution is None and model.settings.kl_weight > 0:
        raise ModelError(
            f"this model has {len(model.markers)} markers, and only cells of {MOST_MARKERS} at most can be generated; "
            "train it on fewer with --markers"
        )
    if model.distribution is None:
        raise ModelError(
            "this model was trained without the KL term and cannot generate cells; "
            "train one that can with `cytovae train --generative`"
        )
    if not 0 <= min_posterior < 1:
        raise UsageError(f"a probability that cells reach is from 0 to below 1, not {min_posterior}")
    for cluster, count in events.items():
        if not 1 <= cluster <= model.n_clusters:
            raise UsageError(f"there is no cluster {cluster}; this model has the clusters 1 … {model.n_clusters}")
        if count < 0:
            raise UsageError(f"{count} cells of cluster {cluster} cannot be generated")
    assigner = Assigner(model) if min_posterior else None
    values, runs = [], {}
    for cluster, count in sorted(events.items()):
        cells, runs[cluster] = _of_cluster(model, model.distribution, cluster, count, assigner, min_posterior, seed)
        values.append(cells)
    clusters = np.repeat(np.array(sorted(events), np.int32), [len(cells) for cells in values])
    return GeneratedCells(np.concatenate([np.zeros((0, len(model.markers)), np.float32), *values]), clusters, runs)


def _of_cluster(
    model: TrainedModel,
    fitted: CellDistribution,
    cluster: int,
    count: int,
    assigner: Assigner | None,
    min_posterior: float,
    seed: int,
) -> tuple[NDArray[np.float32], int]:
    """``count`` cells (count, m) of one cluster and how many were drawn for them."""
    rng = np.random.default_rng([seed, cluster])
    shares = np.where(model.expert_clusters == cluster, model.tree.cells, 0).astype(np.float64)
    taken: list[NDArray[np.float32]] = []
    missing, runs, highest = count, 0, 0.0
    while missing:
        if runs >= MOST_RUNS * count:
            raise UsageError(
                f"cluster {cluster}: {count - missing:,} of {count:,} cells reached a probability of {min_posterior:g} "
                f"in {runs:,} runs, {MOST_RUNS:,} for each; the highest was {highest:.3g}. Ask for a lower one"
            )
        # A piece is not larger than what is missing while all are taken: then one run is one cell.
        drawn = draw_cells(
            fitted,
            shares,
            min(CHUNK, missing if assigner is None else max(missing, 256), MOST_RUNS * count - runs),
            lambda code, expert: decoded(model.network, code, expert),
            rng,
        )
        good = np.ones(len(drawn), dtype=bool)
        if assigner is not None:
            probability = assigner.assign(drawn).probabilities[:, cluster - 1]
            good, highest = probability >= min_posterior, max(highest, float(probability.max()))
        # What comes after the last one taken was not needed, and is no run.
        needed = np.flatnonzero(good)[:missing]
        runs += int(needed[-1]) + 1 if len(needed) == missing else len(drawn)
        taken.append(drawn[needed])
        missing -= len(needed)
    return np.concatenate([np.zeros((0, len(model.markers)), np.float32), *taken]), runs


def events_of_clusters(model: TrainedModel, which: str, n: int, seed: int) -> dict[int, int]:
    """How many cells of each cluster ``which`` and ``n`` ask for: ``n`` of one cluster by its number, ``n`` of each
    ("all"), or ``n`` in all, each of a cluster drawn in proportion to its cells in training ("proportional").

    Raises :class:`UsageError` for anything else.
    """
    if which == "all":
        return dict.fromkeys(range(1, model.n_clusters + 1), n)
    if which == "proportional":
        cells = model.cluster_cells
        counts = np.random.default_rng([seed, 0]).multinomial(n, cells / cells.sum())
        return {cluster: int(count) for cluster, count in enumerate(counts, start=1) if count}
    if not which.isdecimal():
        raise UsageError(f"a cluster is asked for by its number, or as all or proportional, not as {which!r}")
    return {int(which): n}
