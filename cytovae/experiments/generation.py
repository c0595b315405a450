"""How like real cells generated ones are: those of Bendall's five largest gated populations, beside held-out cells of
the same clusters, and beside what simpler models draw that are fitted to the same cells.

A model learns from 80 % of the cells, without gates. Gates only say which clusters to look at: a population's are those
in which it is the most frequent one among the gated cells of training (where there is none, the one that holds most of
it). The real cells are those of the other 20 % that the model assigns to these clusters, whatever their gate. All
methods are fitted to the same landmarks of these clusters; the single decoder, which is one for all clusters, to all
landmarks first.
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
from cytovae.study.train_model import learn_with_history

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


AUC, QUANTILES, WORST, MMD, ASSIGNED = (
    *("AUC", "quantile distance", "quantile distance, worst marker", "MMD²", "assigned to the same clusters"),
)


HELD_OUT = 0.2


_POPULATIONS = 5


_FOLDS = 5


_LEVELS = np.linspace(0.005, 0.995, 199)


_MMD_CELLS = 2_000


_REGULAR = 1e-6  # added to variances of Gaussians: a marker may be constant in a cluster


Values = NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """At most so many ``cells`` of the set (None = all); ``compared`` real and as many generated cells of each
    population; ``trees`` of the forest that is to tell them apart.
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
    """How like ``real`` cells others are; see :func:`likeness`."""

    auc: float
    quantiles: NDArray[np.float64]  # (m,)
    mmd2: float


def data_set(folder: Path) -> DataSet:
    """Bendall's cells in ``folder``. Raises :class:`InputError` where their file is missing."""
    return read_table(PUBLIC, folder, (SET,))[0]


def pieces(dataset: DataSet, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each seed: one model, and all populations by all methods."""
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
    """How like ``real`` cells (n, m) the cells ``other`` (n', m) are, on the transformed scale.

    The AUC is that of a random forest which is to tell them apart, in five-fold cross-validation, on as many cells of
    each (0.5 = it cannot). A marker's quantile distance is the mean difference of 199 quantiles, in units of the
    transformed scale. MMD² is eq. 14 in Gretton's normalisation, its bandwidth the median distance of real cells.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(seed)
    n = min(len(real), len(other))
    some, few = rng.permutation(real)[:n], rng.permutation(other)[:n]
    truth = np.repeat([0, 1], n)
    forest = RandomForestClassifier(trees, min_samples_leaf=5, random_state=seed)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    told = cross_val_predict(forest, np.concatenate([some, few]), truth, cv=folds, method="predict_proba")[:, 1]
    apart = np.abs(np.quantile(real, _LEVELS, axis=0) - np.quantile(other, _LEVELS, axis=0)).mean(0)
    some, few = some[:_MMD_CELLS].astype(np.float64), few[:_MMD_CELLS].astype(np.float64)
    # Neighbours in random order are pairs at random.
    bandwidth = float(np.median(np.linalg.norm(some[1:] - some[:-1], axis=1)))
    return Likeness(float(roc_auc_score(truth, told)), apart, mmd2(some, few, bandwidth))


def clusters_of_population(cluster: NDArray[np.int32], gates: GateLabels, population: int) -> NDArray[np.int64]:
    """The clusters (from 1, rising) that stand for a gated population, told by cells (n,) and their gates: those in
    which it is the most frequent; where there is none, the one that holds most of it.
    """
    gated = gates.population >= 0
    counts = np.zeros((int(cluster.max()) + 1, len(gates.names)), dtype=np.int64)
    np.add.at(counts, (cluster[gated], gates.population[gated]), 1)
    own = np.flatnonzero((counts.argmax(1) == population) & (counts[:, population] > 0))
    return own if len(own) else np.array([counts[:, population].argmax()])


def _measure(dataset: DataSet, design: Design, seed: int, device: str) -> Outcome:
    gated = subsample(load(dataset), design.cells)
    held = held_out(len(gated.cells), HELD_OUT, seed)
    seen, unseen = gated.take(np.flatnonzero(~held)), gated.cells.take(np.flatnonzero(held))
    learning = learn_with_history(seen.cells, design.settings, seed=seed, device=device)
    model, landmarks = learning.model, seen.cells.values[learning.landmarks]
    assigner = Assigner(model)
    cluster, new = assigner.assign(seen.cells.values).cluster, assigner.assign(unseen.values).cluster
    drawers = _drawers(model, landmarks, design, seed, device)
    counts = np.bincount(gated.gates.population[gated.gates.population >= 0], minlength=len(gated.gates.names))
    lines: list[Measurement] = []
    arrays: dict[str, NDArray[np.float64]] = {}
    for population in np.argsort(-counts, kind="stable")[:_POPULATIONS].tolist():
        name = gated.gates.names[population]
        own = clusters_of_population(cluster, seen.gates, population)
        real = unseen.values[np.isin(new, own)]
        real = np.random.default_rng([seed, population]).permutation(real)[: design.compared]
        fitted = np.isin(cluster[learning.landmarks], own)  # (n_landmarks,)
        in_clusters = np.isin(cluster, own) & (seen.gates.population >= 0)
        about = {
            "clusters": float(len(own)),
            "experts": float((np.isin(model.expert_clusters, own) & (model.tree.cells > 0)).sum()),
            "landmarks": float(fitted.sum()),
            "compared": float(len(real)),
            "of this gate": float((seen.gates.population[in_clusters] == population).mean()),
        }
        lines += [Measurement(POPULATIONS, "", name, seed, measure, value) for measure, value in about.items()]
        for method in design.methods:
            drawn = drawers[method](fitted, own, len(real), seed)
            found = likeness(real, drawn, trees=design.trees, seed=seed)
            measures = {
                AUC: found.auc,
                QUANTILES: float(found.quantiles.mean()),
                WORST: float(found.quantiles.max()),
                MMD: found.mmd2,
                ASSIGNED: float(np.isin(assigner.assign(drawn).cluster, own).mean()),
            }
            lines += [Measurement(LIKENESS, method, name, seed, measure, value) for measure, value in measures.items()]
            if method in (OURS, GAUSSIAN, SINGLE):
                arrays[f"{name}|{method}"] = np.quantile(drawn, _LEVELS, axis=0)
        arrays[f"{name}|{REAL}"] = np.quantile(real, _LEVELS, axis=0)
    return Outcome(tuple(lines), arrays)


# --- who draws cells --------------------------------------------------------------------------------------------------

Drawer = Callable[[NDArray[np.bool_], NDArray[np.int64], int, int], Values]
"""Which landmarks (n,) to be fitted to, the clusters they are, how many cells, a seed → cells (n, m), transformed."""


def _drawers(model: TrainedModel, landmarks: Values, design: Design, seed: int, device: str) -> Mapping[str, Drawer]:
    def ours(_fitted: NDArray[np.bool_], own: NDArray[np.int64], n: int, seed: int) -> Values:
        shares = model.cluster_cells[own - 1]
        events = np.random.default_rng([seed, 1]).multinomial(n, shares / shares.sum()).tolist()
        return generate(model, dict(zip(own.tolist(), events, strict=True)), seed=seed).values

    def gaussian(fitted: NDArray[np.bool_], _own: NDArray[np.int64], n: int, seed: int) -> Values:
        return _mixture(landmarks[fitted], np.zeros(int(fitted.sum()), np.int64), n, seed)

    def gaussians(fitted: NDArray[np.bool_], _own: NDArray[np.int64], n: int, seed: int) -> Values:
        return _mixture(landmarks[fitted], expert[fitted], n, seed)

    def training(fitted: NDArray[np.bool_], _own: NDArray[np.int64], n: int, seed: int) -> Values:
        some: Values = np.random.default_rng([seed, 2]).permutation(landmarks[fitted])[:n]
        return some

    x = torch.from_numpy(model.scaling.scale(landmarks))
    with torch.inference_mode():
        expert = model.network.clustering(model.network.encoder(x)[0]).argmax(1).numpy()
    drawers: dict[str, Drawer] = {OURS: ours, GAUSSIAN: gaussian, GAUSSIANS: gaussians, REAL: training}
    if {SINGLE, SAME_SINGLE} & set(design.methods):
        vade = fit_vade(x.to(device), replace(design.single, components=model.n_clusters), seed).cpu()
        drawers |= {SINGLE: _plain(vade, model, landmarks), SAME_SINGLE: _single(vade, model, landmarks)}
    if MANY_SINGLE in design.methods:
        vade = fit_vade(x.to(device), replace(design.single, components=model.settings.experts), seed).cpu()
        drawers[MANY_SINGLE] = _single(vade, model, landmarks)
    return drawers


def _mixture(values: Values, part: NDArray[np.int64], n: int, seed: int) -> Values:
    """``n`` cells of Gaussians with full covariance, one for each ``part`` (n,) of ``values``, in proportion."""
    rng = np.random.default_rng([seed, 3])
    parts, sizes = np.unique(part, return_counts=True)
    whole = np.atleast_2d(np.cov(values.T, bias=True))
    drawn = []
    for each, size, count in zip(parts, sizes, rng.multinomial(n, sizes / sizes.sum()), strict=True):
        own = values[part == each].astype(np.float64)
        # What is too few for a covariance of its own takes the share of all that fits its size.
        covariance = np.cov(own.T, bias=True) if size > 2 * values.shape[1] else whole / len(parts)
        covariance = covariance + _REGULAR * np.eye(values.shape[1])
        drawn.append(rng.multivariate_normal(own.mean(0), covariance, int(count)))
    return rng.permutation(np.concatenate(drawn)).astype(np.float32)


def _plain(vade: Vade, model: TrainedModel, landmarks: Values) -> Drawer:
    """Cells of the one decoder as VaDE has them: a component in proportion to its cells among those fitted to, a code
    from its Gaussian of the mixture, the decoder, and Gaussian noise as wide as a marker's residuals.
    """
    x = torch.from_numpy(model.scaling.scale(landmarks))
    with torch.inference_mode():
        codes = torch.from_numpy(encoded(vade, x))
        component = vade.posterior(codes).argmax(1).numpy()
        residual = (x - torch.sigmoid(vade.decoder(codes))).numpy()

    def draw(fitted: NDArray[np.bool_], _own: NDArray[np.int64], n: int, seed: int) -> Values:
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


def _single(vade: Vade, model: TrainedModel, landmarks: Values) -> Drawer:
    """Cells of the one decoder, made by our own recipe with its components in the place of experts: a component in
    proportion to its cells among those fitted to, their codes' Gaussian, the decoder, their residuals and marginals.
    """
    x = torch.from_numpy(model.scaling.scale(landmarks))
    codes = encoded(vade, x)

    def decode(code: Values, _component: int) -> Values:
        with torch.inference_mode():
            return torch.sigmoid(vade.decoder(torch.from_numpy(code))).numpy()

    with torch.inference_mode():
        component = vade.posterior(torch.from_numpy(codes)).argmax(1).numpy()
    n_components = len(vade.shares)

    def draw(fitted: NDArray[np.bool_], _own: NDArray[np.int64], n: int, seed: int) -> Values:
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
