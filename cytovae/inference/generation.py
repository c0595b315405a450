"""New cells of a cluster.

An expert of the cluster is drawn in proportion to its training cells, a latent code from the expert's Gaussian, and
observation noise from the Gaussian of its residuals; the decoded code plus the noise is a cell. Two steps go beyond
the paper:

- The KL term (eq. 3) pulls the codes of a cluster towards a Gaussian of unit variance, but does not reach it. Each
  expert therefore keeps the mean and the full covariance of its landmarks' codes.
- Neither the decoder nor the noise reproduces the marginals of ion counts, which pile up at and below zero. Each drawn
  value is replaced by the value of the expert's landmarks at the same quantile: a Gaussian copula with the marginals
  of the landmarks.

The model stores no landmark for this, only 37 quantiles of each marker and expert.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import ModelError, UsageError
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import (
    MOST_MARKERS,
    CellDistribution,
    Decode,
    decode_with_expert,
    draw_scaled_cells,
)
from cytovae.inference.refined import check_clusters
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.device import ENCODER_CHUNK

_LONGEST_NUMBER = 9  # digits of the number of a cluster
MOST_DRAWS_PER_CELL = 1_000  # on average; beyond that, ``min_posterior`` counts as out of reach


@dataclass(frozen=True, eq=False)
class GeneratedCells:
    """Generated cells, ordered by cluster.

    Attributes
    ----------
    values : ndarray of float32, shape (n, m)
        Markers on the model's transformed scale.
    cluster : ndarray of int32, shape (n,)
        The cluster of each cell, from 1.
    runs : mapping of int to int
        For each cluster, how many cells were drawn until enough of them were accepted.
    """

    values: NDArray[np.float32]
    cluster: NDArray[np.int32]
    runs: Mapping[int, int]


def generate(
    model: TrainedModel, events: Mapping[int, int], *, min_posterior: float = 0.0, seed: int
) -> GeneratedCells:
    """Generate new cells of chosen clusters.

    The cells of a cluster depend on ``seed`` and the cluster, not on the other clusters.

    Parameters
    ----------
    model : TrainedModel
        A model with a distribution of cells, as training with ``cytovae train --generative`` returns it.
    events : mapping of int to int
        The number of cells for each cluster, by its number from 1.
    min_posterior : float
        Accept only cells that the model itself assigns to their cluster with at least this probability.
    seed : int
        Seed of the random draws.

    Returns
    -------
    GeneratedCells
        The cells, ordered by cluster.

    Raises
    ------
    ModelError
        If the model cannot generate cells.
    UsageError
        If a cluster does not exist, a number or ``min_posterior`` is out of range, or too few cells reach
        ``min_posterior`` in :data:`MOST_DRAWS_PER_CELL` draws per cell.
    """
    if model.distribution is None and model.settings.kl_weight > 0:
        raise ModelError(
            f"this model has {len(model.markers)} markers, but cells can be generated with {MOST_MARKERS} at most; "
            "train it on fewer markers with --markers"
        )
    if any(each.distribution is None for each in (model, *(part.model for part in model.parts))):
        raise ModelError(
            "this model was trained without the KL term and cannot generate cells; "
            "train one that can with `cytovae train --generative`"
        )
    if not 0 <= min_posterior < 1:
        raise UsageError(f"the least probability of a cell must be at least 0 and below 1, not {min_posterior}")
    check_clusters(model, tuple(events))
    for cluster, count in events.items():
        if count < 0:
            raise UsageError(f"the number of cells of cluster {cluster} must not be negative, found {count}")
    assigner = Assigner(model) if min_posterior else None
    values, runs = [], {}
    for cluster, count in sorted(events.items()):
        cells, runs[cluster] = _of_cluster(model, cluster, count, assigner, min_posterior, seed)
        values.append(cells)
    clusters = np.repeat(np.array(sorted(events), np.int32), [len(cells) for cells in values])
    return GeneratedCells(np.concatenate([np.zeros((0, len(model.markers)), np.float32), *values]), clusters, runs)


def _of_cluster(
    model: TrainedModel,
    cluster: int,
    count: int,
    assigner: Assigner | None,
    min_posterior: float,
    seed: int,
) -> tuple[NDArray[np.float32], int]:
    """``count`` accepted cells (count, m) of one cluster, and the number of draws up to the last of them."""
    rng = np.random.default_rng([seed, cluster])
    shares = np.where(model.expert_clusters == cluster, model.tree.cells, 0).astype(np.float64)
    accepted: list[NDArray[np.float32]] = []
    missing, runs, highest = count, 0, 0.0
    while missing:
        if runs >= MOST_DRAWS_PER_CELL * count:
            raise UsageError(
                f"cluster {cluster}: {count - missing:,} of {count:,} cells reached a probability of {min_posterior:g} "
                f"in {runs:,} draws, {MOST_DRAWS_PER_CELL:,} for each; the highest was {highest:.3g}. "
                "Use a lower probability"
            )
        # Without a threshold every cell is accepted, so no more cells are drawn than are missing.
        drawn = _draw(
            model,
            shares,
            min(ENCODER_CHUNK, missing if assigner is None else max(missing, 256), MOST_DRAWS_PER_CELL * count - runs),
            rng,
        )
        good = np.ones(len(drawn), dtype=bool)
        if assigner is not None:
            probability = assigner.assign(drawn).probabilities[:, cluster - 1]
            good, highest = probability >= min_posterior, max(highest, float(probability.max()))
        # Cells drawn after the last accepted one were not needed and do not count.
        needed = np.flatnonzero(good)[:missing]
        runs += int(needed[-1]) + 1 if len(needed) == missing else len(drawn)
        accepted.append(drawn[needed])
        missing -= len(needed)
    return np.concatenate([np.zeros((0, len(model.markers)), np.float32), *accepted]), runs


def _draw(model: TrainedModel, shares: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw ``n`` cells (n, m) of experts with these ``shares`` (k,), of the model or of parts of a refined one."""
    inner = [part.model for part in model.parts]
    n_inner = [each.tree.n_experts for each in inner]
    own = np.split(shares, np.cumsum([len(shares) - sum(n_inner), *n_inner])[:-1])
    weights = np.array([each.sum() for each in own])
    counts = rng.multinomial(n, weights / weights.sum()).tolist() if inner else [n]
    drawn = []
    for source, of_experts, count in zip((model, *inner), own, counts, strict=True):
        if count and source.distribution is not None:
            decode = partial(decode_with_expert, source.network)
            drawn.append(draw_cells(source.distribution, of_experts, count, decode, rng))
    return drawn[0] if len(drawn) == 1 else rng.permutation(np.concatenate(drawn))


def draw_cells(
    fitted: CellDistribution, shares: NDArray[np.float64], n: int, decode: Decode, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw cells of several experts.

    Parameters
    ----------
    fitted : CellDistribution
        The distribution of the experts' cells.
    shares : ndarray of float64, shape (k,)
        Weight of each expert, not necessarily summing to 1.
    n : int
        Number of cells.
    decode : callable
        The decoder of an expert.
    rng : numpy.random.Generator
        Source of the random draws.

    Returns
    -------
    ndarray of float32, shape (n, m)
        Markers on the transformed scale, in random order.
    """
    parts = []
    for expert, count in enumerate(rng.multinomial(n, shares / shares.sum()).tolist()):
        if count:
            scaled = draw_scaled_cells(fitted, expert, count, decode, rng)  # (count, m)
            markers = zip(scaled.T, fitted.drawn[expert].T, fitted.observed[expert].T, strict=True)
            parts.append(np.stack([np.interp(*marker) for marker in markers], axis=1))
    cells = np.concatenate(parts) if parts else np.zeros((0, fitted.observed.shape[2]))
    return rng.permutation(cells).astype(np.float32)


def events_of_clusters(model: TrainedModel, which: str, n: int, seed: int) -> dict[int, int]:
    """The number of cells for each cluster, as ``cytovae generate --cluster`` takes it.

    Parameters
    ----------
    model : TrainedModel
        The model.
    which : str
        The number of a cluster: ``n`` cells of it. ``"all"``: ``n`` cells of each cluster. ``"proportional"``: ``n``
        cells in total, of clusters drawn in proportion to their training cells.
    n : int
        Number of cells.
    seed : int
        Seed of the draw for ``"proportional"``.

    Raises
    ------
    UsageError
        If ``which`` is something else.
    """
    if which == "all":
        return dict.fromkeys(sorted(set(model.expert_clusters.tolist())), n)
    if which == "proportional":
        cells = model.cluster_cells
        counts = np.random.default_rng([seed, 0]).multinomial(n, cells / cells.sum())
        return {cluster: int(count) for cluster, count in enumerate(counts, start=1) if count}
    if not which.isdecimal() or len(which) > _LONGEST_NUMBER:
        raise UsageError(f"the cluster must be given by its number, or as all or proportional, not as {which[:80]!r}")
    return {int(which): n}
