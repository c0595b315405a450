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
from numpy.typing import NDArray

from cytovae.errors import ModelError, UsageError
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import MOST_MARKERS, CellDistribution, decoded, residual_roots
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.device import CHUNK

MOST_RUNS = 1_000  # for one accepted cell, on average


@dataclass(frozen=True, eq=False)
class GeneratedCells:
    """``values`` float32 (n, m) on the model's transformed scale, ``cluster`` int32 (n,) from 1, in order of clusters;
    ``runs`` says for each cluster how many cells were drawn for those that were taken.
    """

    values: NDArray[np.float32]
    cluster: NDArray[np.int32]
    runs: Mapping[int, int]


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
            drawn = residual_roots(fitted, expert, count, decode, rng)
            tables = zip(drawn.T, fitted.drawn[expert].T, fitted.observed[expert].T, strict=True)
            parts.append(np.stack([np.interp(*table) for table in tables], axis=1))
    cells = np.concatenate(parts) if parts else np.zeros((0, fitted.observed.shape[2]))
    return rng.permutation(cells).astype(np.float32)


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
