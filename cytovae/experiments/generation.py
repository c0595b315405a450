"""How similar generated cells are to real cells, for cytovae and for simpler models.

A model learns from 80 % of Bendall's cells, without gates. The gates only select the clusters to compare: those in
which one of the five largest populations is the most frequent one (:func:`clusters_of_population`). The real cells are
those of the other 20 % that the model assigns to these clusters, whatever their gate. All methods are fitted to the
landmarks of these clusters; the single decoder, which serves all clusters, first learns from all landmarks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.benchmark.datasets import PUBLIC, DataSet, fingerprint, held_out, load, read_table, subsample
from cytovae.cells import GateLabels
from cytovae.experiments.experiment import Measurement, Outcome, Piece
from cytovae.experiments.two_sample import mmd2
from cytovae.experiments.vade import Vade, VadeSettings, encoded, fit_vade
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import distribution_of
from cytovae.inference.generation import draw_cells, generate
from cytovae.inference.trained_model import TrainedModel
from cytovae.settings import Settings, generating
from cytovae.study.train_model import train_model

SET = "bendall"
LIKENESS, POPULATIONS = "generation", "populations"

OURS, GAUSSIAN, SINGLE = "cytovae", "Gaussian", "single decoder (VaDE)"
SAME_SINGLE, MANY_SINGLE, GAUSSIANS, REAL = (
    "single decoder, our recipe",
    "single decoder, our recipe, as many components as experts",
    "a Gaussian for each expert",
    "training cells",
)
METHODS = (OURS, GAUSSIAN, SINGLE, SAME_SINGLE, MANY_SINGLE, GAUSSIANS, REAL)

AUC, QUANTILES, WORST = "AUC", "quantile distance", "quantile distance, worst marker"
MMD, ASSIGNED = "MMD²", "assigned to the same clusters"

HELD_OUT = 0.2
_POPULATIONS = 5
_FOLDS = 5
_QUANTILE_LEVELS = np.linspace(0.005, 0.995, 199)
_MMD_CELLS = 2_000
_REGULARIZATION = 1e-6  # added to variances: a marker may be constant in a cluster

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """The size of the experiment.

    At most ``cells`` cells of the data set (None = all); ``compared`` real and as many generated cells of each
    population; ``trees`` in the random forest; the settings of our model and of the ``single`` decoder.
    """

    cells: int | None = None
    compared: int = 2_000
    trees: int = 100
    settings: Settings = field(default_factory=lambda: generating(Settings()))
    single: VadeSettings = field(default_factory=lambda: VadeSettings(code=9, width=64, warm_steps=2_000, steps=3_000))
    methods: tuple[str, ...] = METHODS


QUICK = Design(
    20_000,
    500,
    50,
    replace(generating(Settings()), landmarks=6_000, steps=600),
    VadeSettings(code=9, width=64, warm_steps=300, steps=500),
)


@dataclass(frozen=True, eq=False)
class Likeness:
    """How similar two sets of cells are; see :func:`likeness`."""

    auc: float
    quantiles: NDArray[np.float64]  # (m,)
    mmd2: float


def data_set(folder: Path) -> DataSet:
    """Bendall's data set in ``folder``. Raises :class:`InputError` if its file is missing."""
    return read_table(PUBLIC, folder, (SET,))[0]


def pieces(dataset: DataSet, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each seed: one model, and all methods for all populations."""
    content = fingerprint(dataset)
    return tuple(
        Piece(
            f"{dataset.name}, seed {seed}",
            (LIKENESS, content, design, seed),
            lambda s=seed: _measure(dataset, design, s, device),  # type: ignore[misc]
        )
        for seed in range(seeds)
    )


def likeness(real: Values, other: Values, *, trees: int, seed: int) -> Likeness:
    """Compare two sets of cells on the transformed scale.

    Parameters
    ----------
    real, other : ndarray, shapes (n_real, n_markers) and (n_other, n_markers)
        The cells.
    trees : int
        Number of trees of the random forest.
    seed : int
        Seed of subsampling, folds and forest.

    Returns
    -------
    Likeness
        AUC of a random forest that separates equal numbers of both in five-fold cross-validation (0.5 = it cannot);
        for each marker, the mean difference of 199 quantiles; and MMD² (eq. 14 in Gretton's normalisation), with the
        median distance of real cells as bandwidth.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(seed)
    n = min(len(real), len(other))
    x, y = rng.permutation(real)[:n], rng.permutation(other)[:n]
    truth = np.repeat([0, 1], n)
    forest = RandomForestClassifier(trees, min_samples_leaf=5, random_state=seed)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(forest, np.concatenate([x, y]), truth, cv=folds, method="predict_proba")[:, 1]
    quantiles = np.abs(np.quantile(real, _QUANTILE_LEVELS, axis=0) - np.quantile(other, _QUANTILE_LEVELS, axis=0))
    x, y = x[:_MMD_CELLS].astype(np.float64), y[:_MMD_CELLS].astype(np.float64)
    # The cells are in random order, so successive cells are random pairs.
    bandwidth = float(np.median(np.linalg.norm(x[1:] - x[:-1], axis=1)))
    return Likeness(float(roc_auc_score(truth, predicted)), quantiles.mean(0), mmd2(x, y, bandwidth))


def clusters_of_population(cluster: NDArray[np.int32], gates: GateLabels, population: int) -> NDArray[np.int64]:
    """The clusters of a gated population, ascending from 1.

    These are the clusters in which it is the most frequent gated population; if there is none, the cluster with most
    of its cells. ``cluster`` (n,) and ``gates`` belong to the same cells.
    """
    gated = gates.population >= 0
    counts = np.zeros((int(cluster.max()) + 1, len(gates.names)), dtype=np.int64)
    np.add.at(counts, (cluster[gated], gates.population[gated]), 1)
    leading = np.flatnonzero((counts.argmax(1) == population) & (counts[:, population] > 0))
    return leading if len(leading) else np.array([counts[:, population].argmax()])


def _measure(dataset: DataSet, design: Design, seed: int, device: str) -> Outcome:
    gated = subsample(load(dataset), design.cells)
    held = held_out(len(gated.cells), HELD_OUT, seed)
    seen, unseen = gated.take(np.flatnonzero(~held)), gated.cells.take(np.flatnonzero(held))
    learning = train_model(seen.cells, design.settings, seed=seed, device=device)
    model, landmarks = learning.model, seen.cells.values[learning.landmarks]
    assigner = Assigner(model)
    cluster, unseen_cluster = assigner.assign(seen.cells.values).cluster, assigner.assign(unseen.values).cluster
    drawers = _drawers(model, landmarks, design, seed, device)
    counts = np.bincount(gated.gates.population[gated.gates.population >= 0], minlength=len(gated.gates.names))
    measurements: list[Measurement] = []
    arrays: dict[str, NDArray[np.float64]] = {}
    for population in np.argsort(-counts, kind="stable")[:_POPULATIONS].tolist():
        name = gated.gates.names[population]
        clusters = clusters_of_population(cluster, seen.gates, population)
        real = unseen.values[np.isin(unseen_cluster, clusters)]
        real = np.random.default_rng([seed, population]).permutation(real)[: design.compared]
        fitted = np.isin(cluster[learning.landmarks], clusters)  # (n_landmarks,)
        in_clusters = np.isin(cluster, clusters) & (seen.gates.population >= 0)
        about = {
            "clusters": float(len(clusters)),
            "experts": float((np.isin(model.expert_clusters, clusters) & (model.tree.cells > 0)).sum()),
            "landmarks": float(fitted.sum()),
            "compared": float(len(real)),
            "of this gate": float((seen.gates.population[in_clusters] == population).mean()),
        }
        measurements += [Measurement(POPULATIONS, "", name, seed, measure, value) for measure, value in about.items()]
        for method in design.methods:
            drawn = drawers[method](fitted, clusters, len(real), seed)
            result = likeness(real, drawn, trees=design.trees, seed=seed)
            measures = {
                AUC: result.auc,
                QUANTILES: float(result.quantiles.mean()),
                WORST: float(result.quantiles.max()),
                MMD: result.mmd2,
                ASSIGNED: float(np.isin(assigner.assign(drawn).cluster, clusters).mean()),
            }
            measurements += [
                Measurement(LIKENESS, method, name, seed, measure, value) for measure, value in measures.items()
            ]
            if method in (OURS, GAUSSIAN, SINGLE):
                arrays[f"{name}|{method}"] = np.quantile(drawn, _QUANTILE_LEVELS, axis=0)
        arrays[f"{name}|{REAL}"] = np.quantile(real, _QUANTILE_LEVELS, axis=0)
    return Outcome(tuple(measurements), arrays)


# --- how each method draws cells --------------------------------------------------------------------------------------

Drawer = Callable[[NDArray[np.bool_], NDArray[np.int64], int, int], Values]
"""(mask of the landmarks to fit to, their clusters, number of cells, seed) → transformed cells (n, n_markers)."""


def _drawers(model: TrainedModel, landmarks: Values, design: Design, seed: int, device: str) -> Mapping[str, Drawer]:
    def ours(_fitted: NDArray[np.bool_], clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        shares = model.cluster_cells[clusters - 1]
        events = np.random.default_rng([seed, 1]).multinomial(n, shares / shares.sum()).tolist()
        return generate(model, dict(zip(clusters.tolist(), events, strict=True)), seed=seed).values

    def gaussian(fitted: NDArray[np.bool_], _clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        return _draw_gaussians(landmarks[fitted], np.zeros(int(fitted.sum()), np.int64), n, seed)

    def gaussians(fitted: NDArray[np.bool_], _clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        return _draw_gaussians(landmarks[fitted], expert[fitted], n, seed)

    def training(fitted: NDArray[np.bool_], _clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        cells: Values = np.random.default_rng([seed, 2]).permutation(landmarks[fitted])[:n]
        return cells

    x = torch.from_numpy(model.scaling.scale(landmarks))  # (n_landmarks, n_markers)
    with torch.inference_mode():
        expert = model.network.clustering(model.network.encoder(x)[0]).argmax(1).numpy()
    drawers: dict[str, Drawer] = {OURS: ours, GAUSSIAN: gaussian, GAUSSIANS: gaussians, REAL: training}
    if {SINGLE, SAME_SINGLE} & set(design.methods):
        vade = fit_vade(x.to(device), replace(design.single, components=model.n_clusters), seed).cpu()
        drawers[SINGLE] = _vade_drawer(vade, model, landmarks)
        drawers[SAME_SINGLE] = _recipe_drawer(vade, model, landmarks)
    if MANY_SINGLE in design.methods:
        vade = fit_vade(x.to(device), replace(design.single, components=model.settings.experts), seed).cpu()
        drawers[MANY_SINGLE] = _recipe_drawer(vade, model, landmarks)
    return drawers


def _draw_gaussians(values: Values, group: NDArray[np.int64], n: int, seed: int) -> Values:
    """Draw ``n`` cells from a full-covariance Gaussian for each ``group`` (len(values),), in proportion to its size."""
    rng = np.random.default_rng([seed, 3])
    groups, sizes = np.unique(group, return_counts=True)
    whole = np.atleast_2d(np.cov(values.T, bias=True))
    drawn = []
    for each, size, count in zip(groups, sizes, rng.multinomial(n, sizes / sizes.sum()), strict=True):
        members = values[group == each].astype(np.float64)
        # A group too small for a covariance of its own gets a share of the covariance of all.
        covariance = np.cov(members.T, bias=True) if size > 2 * values.shape[1] else whole / len(groups)
        covariance = covariance + _REGULARIZATION * np.eye(values.shape[1])
        drawn.append(rng.multivariate_normal(members.mean(0), covariance, int(count)))
    return rng.permutation(np.concatenate(drawn)).astype(np.float32)


def _vade_drawer(vade: Vade, model: TrainedModel, landmarks: Values) -> Drawer:
    """Draw cells as VaDE does: component, code from its Gaussian, decoder, and noise with the deviation of residuals.

    Components are drawn in proportion to their landmarks among those fitted to.
    """
    x = torch.from_numpy(model.scaling.scale(landmarks))
    with torch.inference_mode():
        codes = torch.from_numpy(encoded(vade, x))
        component = vade.posterior(codes).argmax(1).numpy()
        residual = (x - torch.sigmoid(vade.decoder(codes))).numpy()

    def draw(fitted: NDArray[np.bool_], _clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        rng = np.random.default_rng([seed, 5])
        shares = np.bincount(component[fitted], minlength=len(vade.shares)) / fitted.sum()
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            drawn = [
                vade.draw(each, count, generator) for each, count in enumerate(rng.multinomial(n, shares).tolist())
            ]
            cells = torch.sigmoid(vade.decoder(torch.cat(drawn))).numpy()
        cells = cells + residual[fitted].std(0) * rng.standard_normal(cells.shape)
        return rng.permutation(model.scaling.unscale(cells))

    return draw


def _recipe_drawer(vade: Vade, model: TrainedModel, landmarks: Values) -> Drawer:
    """Draw cells of the single decoder with our own recipe (:mod:`cytovae.inference.generation`).

    The components of the mixture replace the experts.
    """
    x = torch.from_numpy(model.scaling.scale(landmarks))
    codes = encoded(vade, x)

    def decode(code: Values, _component: int) -> Values:
        with torch.inference_mode():
            return torch.sigmoid(vade.decoder(torch.from_numpy(code))).numpy()

    with torch.inference_mode():
        component = vade.posterior(torch.from_numpy(codes)).argmax(1).numpy()
    n_components = len(vade.shares)

    def draw(fitted: NDArray[np.bool_], _clusters: NDArray[np.int64], n: int, seed: int) -> Values:
        distribution = distribution_of(
            codes[fitted],
            component[fitted],
            (x.numpy() - decode(codes, 0))[fitted],
            landmarks[fitted],
            n_experts=n_components,
            decode=decode,
        )
        shares = np.bincount(component[fitted], minlength=n_components).astype(np.float64)
        return draw_cells(distribution, shares, n, decode, np.random.default_rng([seed, 4]))

    return draw
