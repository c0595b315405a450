"""Can generated cells be told from real ones? The five largest gated populations of Bendall's marrow, each by the
clusters that stand for it, against held-out cells of the same clusters.

Four fifths of the cells are learned from, without gates. A cluster stands for the gated population that most of its
gated cells of training are of; gates are used for this choice only. What is compared are cells of these clusters: the
held-out ones that the model assigns to them, as many that it generates, and as many from two others that were fitted
to the same landmarks of the same clusters. One is a Gaussian with a whole covariance. The other is a single decoder
with a mixture of as many Gaussians as there are clusters (VaDE), as wide as the model's encoder and trained on all
landmarks. It makes cells as our model does (a Gaussian of the codes with a whole covariance, residuals, quantiles of
markers), but has those of a cluster where the model has those of an expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from cytovae.assignment import assign
from cytovae.benchmark.datasets import PUBLIC, GatedCells, load, read_table, subsample
from cytovae.benchmark.experiment import Finished, Measurement, Outcome, Piece, markdown, over_seeds
from cytovae.benchmark.vade import VadeSettings, encoded, fit_vade
from cytovae.errors import UsageError
from cytovae.generation import decoded, distribution_of, draw_cells
from cytovae.learning import learn_with_history
from cytovae.metrics import mmd2
from cytovae.settings import PRESETS, Settings, generating
from cytovae.trained import TrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, GAUSSIAN, SINGLE, TRAINING = "cytovae", "Gaussian", "single decoder (VaDE)", "other real cells"
METHODS = (OURS, GAUSSIAN, SINGLE, TRAINING)
AUC, QUANTILES, MMD = "AUC", "quantile distance", "MMD²"
MEASURES = (AUC, QUANTILES, MMD)
POPULATIONS = 5
FOLDS, TREES, LEAF = 5, 100, 5
FIGURE = "generation.png"
GENERATIVE = generating(PRESETS["default"])


@dataclass(frozen=True)
class Design:
    """``events`` read (None = all), a share ``held_out`` of them, and at most ``compared`` cells of each kind in a
    comparison. ``settings`` train the model; ``warm_steps`` and ``steps`` the single decoder.
    """

    events: int | None = None
    held_out: float = 0.2
    compared: int = 2_000
    settings: Settings = GENERATIVE
    warm_steps: int = 1_000
    steps: int = 2_000


QUICK = Design(25_000, compared=600, warm_steps=300, steps=300)


def read_marrow(folder: Path, design: Design) -> GatedCells:
    """Bendall's cells with their gates, below ``folder``. Raises :class:`InputError` where they are not there."""
    (dataset,) = read_table(PUBLIC, folder, ("bendall",))
    gated = load(dataset)
    return gated if design.events is None else subsample(gated, design.events)


def pieces(gated: GatedCells, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each seed: training, and the comparison of all populations."""
    content = hash_of(gated)
    return tuple(
        Piece(
            f"Bendall, seed {seed}",
            ("generation", content, design, seed),
            lambda seed=seed: measure(gated, design, seed, device),  # type: ignore[misc]
        )
        for seed in range(seeds)
    )


def hash_of(gated: GatedCells) -> str:
    """A digest of the cells and gates."""
    import hashlib

    digest = hashlib.sha256(np.ascontiguousarray(gated.cells.values).tobytes())
    digest.update(np.ascontiguousarray(gated.gates.population).tobytes())
    return digest.hexdigest()


def measure(gated: GatedCells, design: Design, seed: int, device: str) -> Outcome:
    """Train on a part of the cells and compare what each method makes with the rest of them."""
    order = np.random.default_rng(seed).permutation(len(gated.cells))
    n_held_out = int(design.held_out * len(order))
    held_out, learned = (gated.take(np.sort(part)) for part in (order[:n_held_out], order[n_held_out:]))
    learning = learn_with_history(learned.cells, design.settings, seed=seed, device=device)
    model = learning.model
    landmarks = learned.cells.values[learning.landmarks]
    of_landmarks = assign(model, landmarks, device).cluster
    single = SingleDecoder(model, landmarks, of_landmarks, design, seed, device)
    of_learned = assign(model, learned.cells.values, device).cluster
    of_held_out = assign(model, held_out.cells.values, device).cluster
    lines: list[Measurement] = []
    arrays: dict[str, NDArray[np.float32]] = {}
    for population, clusters in clusters_of_populations(learned, of_learned, model.n_clusters).items():
        name = gated.gates.names[population]
        rng = np.random.default_rng([seed, population])
        real = rng.permutation(held_out.cells.values[np.isin(of_held_out, clusters)])[: design.compared]
        fitted = landmarks[np.isin(of_landmarks, clusters)]
        n = len(real)
        if n < 2 * FOLDS or len(fitted) < 2:
            raise UsageError(f"{n} held-out cells of {name} are too few to compare with; read more events")
        made = {
            OURS: _ours(model, clusters, n, rng),
            GAUSSIAN: rng.multivariate_normal(fitted.mean(0), np.cov(fitted.T), n).astype(np.float32),
            SINGLE: single.draw(clusters, n, rng),
            TRAINING: rng.permutation(fitted)[:n],
        }
        bandwidth = _median_distance(real)
        for method, cells in made.items():
            found = (two_sample_auc(real, cells, seed), quantile_distance(real, cells), mmd2(real, cells, bandwidth))
            lines += [
                Measurement("populations", method, name, seed, measure_, float(value))
                for measure_, value in zip(MEASURES, found, strict=True)
            ]
            arrays[f"{name}|{method}"] = cells[:1000]
        arrays[f"{name}|real"] = real[:1000]
        of_gate = learned.gates.population[np.isin(of_learned, clusters)]
        facts = {
            "clusters": len(clusters),
            "experts": int((model.tree.cells[np.isin(model.expert_clusters, clusters)] > 0).sum()),
            "cells compared": n,
            "of this gate": float((of_gate[of_gate >= 0] == population).mean()),
        }
        lines += [Measurement("facts", OURS, name, seed, fact, float(value)) for fact, value in facts.items()]
    return Outcome(tuple(lines), arrays)


def clusters_of_populations(
    learned: GatedCells, cluster: NDArray[np.int32], n_clusters: int
) -> dict[int, NDArray[np.int64]]:
    """The clusters (from 1) that stand for each of the largest gated populations, falling by size: those most of whose
    gated cells are of it. Populations that no cluster stands for are left out, and the next ones taken.
    """
    population = learned.gates.population
    gated = population >= 0
    table = np.zeros((n_clusters, len(learned.gates.names)), np.int64)
    np.add.at(table, (cluster[gated] - 1, population[gated]), 1)
    stands_for = np.where(table.any(1), table.argmax(1), -1)
    found = {}
    for index in np.argsort(-table.sum(0), kind="stable").tolist():
        clusters = np.flatnonzero(stands_for == index) + 1
        if len(clusters) and len(found) < POPULATIONS:
            found[index] = clusters
    return found


class SingleDecoder:
    """The single decoder trained on ``landmarks`` (n, m), and what cells of each ``cluster`` (n,) are drawn from."""

    def __init__(
        self,
        model: TrainedModel,
        landmarks: NDArray[np.float32],
        cluster: NDArray[np.int32],
        design: Design,
        seed: int,
        device: str,
    ) -> None:
        settings = VadeSettings(
            components=model.n_clusters,
            code=design.settings.code,
            width=design.settings.encoder_width,
            batch=design.settings.batch,
            warm_steps=design.warm_steps,
            steps=design.steps,
        )
        x = torch.from_numpy(model.scaling.scale(landmarks)).to(device)
        self.network = fit_vade(x, settings, seed)
        codes = encoded(self.network, x)
        residuals = x.cpu().numpy() - self._decode(codes, 0)
        groups = cluster.astype(np.int64) - 1
        self.cells = np.bincount(groups, minlength=model.n_clusters)
        self.fitted = distribution_of(
            codes, groups, residuals, landmarks, n_experts=model.n_clusters, decode=self._decode
        )

    def _decode(self, codes: NDArray[np.float32], _cluster: int) -> NDArray[np.float32]:
        device = self.network.means.device
        with torch.inference_mode():
            return torch.sigmoid(self.network.decoder(torch.from_numpy(codes).to(device))).cpu().numpy()

    def draw(self, clusters: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """``n`` cells (n, m) of ``clusters``, in proportion to their landmarks."""
        shares = np.where(np.isin(np.arange(len(self.cells)) + 1, clusters), self.cells, 0).astype(np.float64)
        return draw_cells(self.fitted, shares, n, self._decode, rng)


def _ours(model: TrainedModel, clusters: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """``n`` cells (n, m) of ``clusters`` in proportion, as :func:`cytovae.generation.generate` makes those of one."""
    if model.distribution is None:
        raise UsageError("the settings of this experiment have no KL term, and their models cannot generate")
    shares = np.where(np.isin(model.expert_clusters, clusters), model.tree.cells, 0).astype(np.float64)
    return draw_cells(model.distribution, shares, n, lambda code, expert: decoded(model.network, code, expert), rng)


# --- measures ---------------------------------------------------------------------------------------------------------


def two_sample_auc(first: NDArray[np.float32], second: NDArray[np.float32], seed: int) -> float:
    """How well a random forest tells two samples (n, m) and (l, m) apart, cross-validated: 0.5 not at all, 1 always."""
    x = np.concatenate([first, second])
    y = np.repeat([0, 1], [len(first), len(second)])
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    said = cross_val_predict(forest, x, y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, said))


def quantile_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean absolute difference of the quantiles 0.5, 1, … 99.5 % of two samples (n, m), (l, m), over all markers."""
    levels = np.linspace(0.005, 0.995, 199)
    return float(np.abs(np.quantile(first, levels, axis=0) - np.quantile(second, levels, axis=0)).mean())


def _median_distance(values: NDArray[np.float32], most: int = 500) -> float:
    """The median distance of two cells, the usual bandwidth of the kernel; it is the real cells' for all methods."""
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(values[:most])))


# --- results ----------------------------------------------------------------------------------------------------------


def tables(finished: Sequence[Finished]) -> str:
    """The Markdown tables: each measure by population and method; and what stands for the populations."""
    names = list(dict.fromkeys(line.setting for each in finished for line in each.outcome.measurements))
    parts = ["# Generated cells against held-out ones\n"]
    for measure_ in MEASURES:
        lines = [
            [
                name,
                *(over_seeds(finished, part="populations", method=m, measure=measure_, setting=name) for m in METHODS),
            ]
            for name in names
        ]
        parts.append(f"{_ABOUT[measure_]}\n\n{markdown(['population', *METHODS], lines)}\n")
    facts = ("clusters", "experts", "cells compared", "of this gate")
    lines = [
        [name, *(over_seeds(finished, part="facts", method=OURS, measure=fact, setting=name) for fact in facts)]
        for name in names
    ]
    parts.append(f"What stands for each population:\n\n{markdown(['population', *facts], lines)}\n")
    return "\n".join(parts)


_ABOUT = {
    AUC: "AUC of a random forest that tells real from generated, cross-validated (0.5 = cannot be told apart):",
    QUANTILES: "Distance of the quantiles of markers, arcsinh units, mean over markers:",
    MMD: "Squared maximum mean discrepancy (eq. 14), the kernel as wide as two real cells are commonly apart:",
}


def figures(finished: "Sequence[Finished]") -> "dict[str, Figure]":
    """The distribution of each marker in the first population: real, ours and the others', of the first seed."""
    from matplotlib.figure import Figure

    arrays = finished[0].outcome.arrays
    name = next(iter(arrays)).partition("|")[0]
    n_markers = next(iter(arrays.values())).shape[1]
    figure = Figure(figsize=(12, 2.2 * ((n_markers + 4) // 5)), layout="constrained")
    axes = figure.subplots((n_markers + 4) // 5, 5, squeeze=False).ravel()
    for marker, ax in enumerate(axes):
        if marker >= n_markers:
            ax.axis("off")
            continue
        values = {kind: arrays[f"{name}|{kind}"][:, marker] for kind in ("real", OURS, SINGLE, GAUSSIAN)}
        edges = np.linspace(*np.quantile(values["real"], [0.002, 0.998]), 50)
        ax.hist(values["real"], edges, density=True, color="0.8", label="real, held out")
        for kind, color in ((OURS, "C0"), (SINGLE, "C2"), (GAUSSIAN, "C3")):
            ax.hist(values[kind], edges, density=True, histtype="step", color=color, label=kind)
        ax.set_yticks([])
        ax.set_title(f"marker {marker + 1}", fontsize=9)
    axes[0].legend(fontsize=7)
    figure.suptitle(f"{name}: markers of real and generated cells, arcsinh units")
    return {FIGURE: figure}
