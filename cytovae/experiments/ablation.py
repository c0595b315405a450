"""Ablation: the default with one part left out or replaced; and Figure A4, the separation of populations in the code.

The data are two very different cytometry sets: FlowSOM ff (fluorescence, 9 markers, 6 populations) and HuImm (mass
cytometry, 30 markers, 18 populations). Models learn from all cells that are scored, so that the populations found
before the network is trained can be scored, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.benchmark.datasets import PUBLIC, DataSet, GatedCells, fingerprint, load, read_table, subsample
from cytovae.benchmark.over_seeds import Spread
from cytovae.benchmark.tables import markdown
from cytovae.cells import GateLabels
from cytovae.experiments.experiment import (
    Finished,
    Measurement,
    Outcome,
    Piece,
    distinct,
    measurements_of,
    over_seeds,
)
from cytovae.experiments.on_coordinates import learn_on_coordinates
from cytovae.experiments.two_sample import mmd_test
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.metrics import ScoreReport, score
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import PopulationTree, population_tree
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS = ("flowsom_ff", "huimm")
ABLATION, SEPARATION = "ablation", "A4"
WHOLE, NO_SIMILARITY, NO_NETWORK = "the default", "no similarity matrix", "no network: populations of the UMAP alone"
CELLS_COMPARED = 200  # of each population

_MEASURES = ("F_weighted", "F1_mean", "ARI")
_SMALLEST_COMPARED = 50  # cells of a population
_PERMUTATIONS = 200
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Variant:
    """The default with some ``changes`` to its settings, as pairs of name and value, or without a network."""

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    network: bool = True

    def settings(self, design: "Design") -> Settings:
        """The settings to train with."""
        settings = replace(Settings(), **dict(self.changes))
        return settings if design.steps is None else replace(settings, steps=design.steps)


VARIANTS = (
    Variant(WHOLE),
    Variant(NO_SIMILARITY, (("similarity_weight", 0.0), ("population_weight", 0.0))),
    Variant("eq. 7 between small parts only", (("population_weight", 0.0),)),
    Variant("with DEPICT (weight 0.1)", (("depict_weight", 0.1),)),
    Variant("no reconstruction", (("reconstruction_weight", 0.0),)),
    Variant("one decoder, as wide as an expert", (("decoder", "single"),)),
    Variant("one decoder, as many weights as all experts", (("decoder", "single"), ("expert_width", 150 * 16))),
    Variant("no noise on the markers", (("input_noise", 0.0),)),
    Variant("S by distance threshold (radius 2)", (("similarity", "radius"),)),
    Variant("S by 10 nearest neighbours in the batch", (("similarity", "neighbors"),)),
    Variant(
        "S by distance threshold, a cluster an expert (25)",
        (("similarity", "radius"), ("resolution", "experts"), ("experts", 25)),
    ),
    Variant("correlation in place of Euclidean distance", (("metric", "correlation"),)),
    Variant("Canberra in place of Euclidean distance", (("metric", "canberra"),)),
    Variant(NO_NETWORK, network=False),
)


@dataclass(frozen=True)
class Design:
    """The size of the experiment: at most ``cells`` random cells of each set, and training ``steps`` if not default."""

    cells: int = 20_000
    steps: int | None = None
    variants: tuple[Variant, ...] = VARIANTS


QUICK = Design(3_000, 300)


def data_sets(folder: Path) -> tuple[DataSet, ...]:
    """The two data sets in ``folder``. Raises :class:`InputError` if their files are missing."""
    return read_table(PUBLIC, folder, SETS)


def pieces(datasets: Sequence[DataSet], design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each data set and seed. All of its variants share neighbours, UMAP and populations."""
    planned = []
    for dataset in datasets:
        content = fingerprint(dataset)
        for seed in range(seeds):
            planned.append(
                Piece(
                    f"{dataset.name}, seed {seed}",
                    ("ablation", content, design, tuple(each.settings(design) for each in design.variants), seed),
                    lambda d=dataset, s=seed: _measure(d, design, s, device),  # type: ignore[misc]
                )
            )
    return tuple(planned)


def _measure(dataset: DataSet, design: Design, seed: int, device: str) -> Outcome:
    gated = subsample(load(dataset), design.cells)
    projections = _Projections(gated, seed, device)
    measurements: list[Measurement] = []
    arrays: dict[str, NDArray[Any]] = {}
    for variant in design.variants:
        settings = variant.settings(design)
        if not variant.network:
            _, tree = projections.of(settings)
            report = score(tree.landmark_population + 1, gated.gates)
            measurements += _scores(dataset.name, variant.name, seed, report)
            continue
        model = _trained(gated, settings, projections, seed, device)
        report = score(assign(model, gated.cells.values, device).cluster, gated.gates)
        measurements += _scores(dataset.name, variant.name, seed, report)
        if variant.name in (WHOLE, NO_SIMILARITY):
            values, matrix = _separation(model, gated, seed)
            measurements += [
                Measurement(SEPARATION, variant.name, dataset.name, seed, name, value) for name, value in values
            ]
            arrays[f"mmd {variant.name}"] = matrix
    return Outcome(tuple(measurements), arrays)


class _Projections:
    """UMAP coordinates and populations of one set of cells, computed once for each metric."""

    def __init__(self, gated: GatedCells, seed: int, device: str) -> None:
        self.gated, self.seed, self.device = gated, seed, device
        self._cache: dict[Metric, tuple[NDArray[np.float32], PopulationTree]] = {}

    def of(self, settings: Settings) -> tuple[NDArray[np.float32], PopulationTree]:
        """Coordinates (n, 2) and populations with the metric of ``settings`` and otherwise default settings."""
        if settings.metric not in self._cache:
            default = replace(Settings(), metric=settings.metric)
            values = self.gated.cells.values
            neighbors = nearest_neighbors(values, default.umap_neighbors, default.metric, self.device)
            coordinates = umap_projection(values, neighbors, default, self.seed)
            tree = population_tree(
                values,
                coordinates,
                self.gated.cells.source,
                default,
                seed=self.seed,
            )
            self._cache[settings.metric] = coordinates, tree
        return self._cache[settings.metric]


def _trained(gated: GatedCells, settings: Settings, projections: _Projections, seed: int, device: str) -> TrainedModel:
    coordinates, tree = projections.of(settings)
    populations = tree if settings.resolution == "merge" else None
    return learn_on_coordinates(gated.cells, coordinates, settings, seed=seed, device=device, tree=populations)


def _scores(dataset: str, method: str, seed: int, report: ScoreReport) -> list[Measurement]:
    values = {
        "F_weighted": report.f_weighted,
        "F1_mean": report.f1_mean,
        "ARI": report.ari,
        "clusters": float(report.n_clusters),
    }
    return [Measurement(ABLATION, method, dataset, seed, name, value) for name, value in values.items()]


def _separation(
    model: TrainedModel, gated: GatedCells, seed: int
) -> tuple[tuple[tuple[str, float], ...], NDArray[np.float64]]:
    """The separation of the codes of gated populations with enough cells, see :func:`separation`."""
    rng = np.random.default_rng(seed)
    codes = []
    for population in _populations_compared(gated.gates):
        chosen = rng.permutation(np.flatnonzero(gated.gates.population == population))[:CELLS_COMPARED]
        with torch.inference_mode():
            scaled = torch.from_numpy(model.scaling.scale(gated.cells.values[chosen]))
            codes.append(model.network.encoder(scaled)[0].numpy())
    return separation(codes, rng, seed)


def separation(
    codes: Sequence[NDArray[np.float32]], rng: np.random.Generator, seed: int
) -> tuple[tuple[tuple[str, float], ...], NDArray[np.float64]]:
    """Measure how far apart populations lie in the code.

    Parameters
    ----------
    codes : sequence of ndarray, shape (n_cells, d)
        Codes of the cells of each population.
    rng : Generator
        Draws the codes that determine the bandwidth.
    seed : int
        Seed of the permutation tests.

    Returns
    -------
    measures : tuple of (str, float)
        Names and values.
    matrix : ndarray, shape (n_populations, n_populations)
        MMD² of each pair; on the diagonal, that of two halves of one population.
    """
    sample = np.concatenate(codes)
    sample = sample[rng.permutation(len(sample))[:1000]].astype(np.float64)
    # The median distance as bandwidth makes the result independent of the scale of the code.
    bandwidth = float(np.median(np.linalg.norm(sample[:, None] - sample[None], axis=2)))
    n = len(codes)
    matrix = np.zeros((n, n))
    pairs_rejected, halves_rejected = [], []
    for i in range(n):
        half = len(codes[i]) // 2
        test = mmd_test(codes[i][:half], codes[i][half:], bandwidth, permutations=_PERMUTATIONS, seed=seed)
        matrix[i, i] = test.mmd2
        halves_rejected.append(test.p < _SIGNIFICANT)
        for j in range(i):
            test = mmd_test(codes[i], codes[j], bandwidth, permutations=_PERMUTATIONS, seed=seed)
            matrix[i, j] = matrix[j, i] = test.mmd2
            pairs_rejected.append(test.p < _SIGNIFICANT)
    between = matrix[~np.eye(n, dtype=bool)]
    return (
        ("MMD² between populations, mean", float(between.mean())),
        ("MMD² between populations, lowest", float(between.min())),
        ("pairs told apart by the test", float(np.mean(pairs_rejected))),
        ("halves of one population told apart", float(np.mean(halves_rejected))),
    ), matrix


def _populations_compared(gates: GateLabels) -> list[int]:
    counts = np.bincount(gates.population[gates.population >= 0], minlength=len(gates.names))
    return [index for index, count in enumerate(counts.tolist()) if count >= _SMALLEST_COMPARED]


def tables(finished: Sequence[Finished]) -> str:
    """The ablation of each data set and the separation of populations (Figure A4), as Markdown."""
    parts = ["# What each part is worth"]
    for dataset in distinct(finished, ABLATION, "setting"):
        lines = []
        default = _spread(finished, ABLATION, WHOLE, dataset, "F_weighted").mean
        for method in distinct(finished, ABLATION, "method"):
            spreads = [_spread(finished, ABLATION, method, dataset, name) for name in _MEASURES]
            clusters = _spread(finished, ABLATION, method, dataset, "clusters").text(".1f")
            mean = spreads[0].mean
            difference = ""
            if method != WHOLE and default is not None and mean is not None:
                difference = f"{round(mean - default, 3) + 0.0:+.3f}"
            lines.append([method, *map(str, spreads), clusters, difference])
        head = ["", *_MEASURES, "clusters", "F_weighted, to the default"]
        parts.append(f"## {dataset}\n\n{markdown(head, lines)}")
    methods = distinct(finished, SEPARATION, "method")
    for dataset in distinct(finished, SEPARATION, "setting"):
        lines = [
            [name, *(str(_spread(finished, SEPARATION, method, dataset, name)) for method in methods)]
            for name in distinct(finished, SEPARATION, "measure")
        ]
        parts.append(f"## Populations in the code of {dataset} (Figure A4)\n\n{markdown(['', *methods], lines)}")
    parts.append(
        "Mean ± standard deviation over seeds, scored on the gated cells among those learned from. MMD² is eq. 14 in "
        f"Gretton's normalisation with the median distance as bandwidth, of at most {CELLS_COMPARED} cells of each "
        f"gated population of {_SMALLEST_COMPARED} or more. The test is that of eqs. 15 and 16 with {_PERMUTATIONS} "
        f"permutations at the level {_SIGNIFICANT:.0%}: it should tell about that share of the halves apart."
    )
    return "\n\n".join(parts)


def _spread(finished: Sequence[Finished], part: str, method: str, dataset: str, measure: str) -> Spread:
    return over_seeds(finished, part=part, method=method, measure=measure, setting=dataset)


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """Figure A4: MMD² between populations in the code with and without the similarity matrix, for the first seed."""
    from matplotlib.figure import Figure

    of_sets: dict[str, dict[str, NDArray[Any]]] = {}
    for each in finished:
        for name, matrix in each.outcome.arrays.items():
            dataset = measurements_of([each], SEPARATION)[0].setting
            of_sets.setdefault(dataset, {}).setdefault(name.removeprefix("mmd "), matrix)
    drawn: dict[str, Figure] = {}
    for dataset, matrices in of_sets.items():
        figure = Figure(figsize=(8, 4), layout="constrained")
        panels = figure.subplots(1, 2)
        image = None
        highest = max(float(matrix.max()) for matrix in matrices.values())
        ordered = sorted(matrices, key=lambda name: name == NO_SIMILARITY)
        for axes, name in zip(panels, ordered, strict=False):
            image = axes.imshow(matrices[name], vmin=0, vmax=highest)
            axes.set_title(name)
            axes.set_xlabel("gated population")
        if image is not None:
            figure.colorbar(image, ax=panels, label="MMD²")
        figure.suptitle(dataset)
        drawn[f"a4_{dataset}.png"] = figure
    return drawn
