"""What each part of the method is worth: the same cells with one part switched off or another in its place, and
Figure A4, how far apart populations lie in the code with the similarity matrix and without.

Two cytometry sets that differ as much as panels do: FlowSOM ff (fluorescence, 9 markers, 6 populations) and HuImm (mass
cytometry, 30 markers, 18 populations). Everything is learned from all cells that are scored, so that also the
populations found before any network is trained (the network left out) can be scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.benchmark.datasets import PUBLIC, DataSet, GatedCells, fingerprint, load, read_table, subsample
from cytovae.cells import GateLabels
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, markdown, over_seeds
from cytovae.experiments.two_sample import mmd_test
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.metrics import ScoreReport, score
from cytovae.network.scaling import fit_scaling
from cytovae.network.training_loop import build_network, train
from cytovae.populations.expert_merges import keep_experts, merge_experts
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import PopulationTree, population_tree
from cytovae.populations.similarity import draw_weight, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SETS = ("flowsom_ff", "huimm")


ABLATION, SEPARATION = "ablation", "A4"


WHOLE, NO_SIMILARITY, NO_NETWORK = "the default", "no similarity matrix", "no network: populations of the UMAP alone"


_MEASURES = ("F_weighted", "F1_mean", "ARI")


FROM_EACH = 200  # cells of a population that are compared


_FEWEST = 50


_PERMUTATIONS = 200


_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Variant:
    """The default with some ``changes`` to its settings (names and values), or without a network."""

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    network: bool = True

    def settings(self, design: "Design") -> Settings:
        """The settings it is trained with."""
        whole = replace(Settings(), **dict(self.changes))
        return whole if design.steps is None else replace(whole, steps=design.steps)


VARIANTS = (
    Variant(WHOLE),
    Variant(NO_SIMILARITY, (("similarity_weight", 0.0), ("population_weight", 0.0))),
    Variant("eq. 7 between small parts only", (("population_weight", 0.0),)),
    Variant("no DEPICT", (("depict_weight", 0.0),)),
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
    """At most so many ``cells`` of each set, drawn once; ``steps`` of training, if not the default's."""

    cells: int = 20_000
    steps: int | None = None
    variants: tuple[Variant, ...] = VARIANTS


QUICK = Design(3_000, 300)


def data_sets(folder: Path) -> tuple[DataSet, ...]:
    """The two sets in ``folder``. Raises :class:`InputError` where their files are missing."""
    return read_table(PUBLIC, folder, SETS)


def pieces(datasets: Sequence[DataSet], design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each data set and seed, with all variants: they share neighbours, UMAP and populations."""
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
    maps = _Maps(gated, seed, device)
    lines: list[Measurement] = []
    arrays: dict[str, NDArray[Any]] = {}
    for variant in design.variants:
        settings = variant.settings(design)
        if not variant.network:
            _, tree = maps.of(settings)
            lines += _lines(dataset.name, variant.name, seed, score(tree.landmark_population + 1, gated.gates))
            continue
        model = _trained(gated, settings, maps, seed, device)
        lines += _lines(
            dataset.name, variant.name, seed, score(assign(model, gated.cells.values, device).cluster, gated.gates)
        )
        if variant.name in (WHOLE, NO_SIMILARITY):
            found, matrix = _separation(model, gated, seed)
            lines += [Measurement(SEPARATION, variant.name, dataset.name, seed, name, value) for name, value in found]
            arrays[f"mmd {variant.name}"] = matrix
    return Outcome(tuple(lines), arrays)


class _Maps:
    """UMAP coordinates and populations of one set of cells, made once for each metric."""

    def __init__(self, gated: GatedCells, seed: int, device: str) -> None:
        self.gated, self.seed, self.device = gated, seed, device
        self.made: dict[Metric, tuple[NDArray[np.float32], PopulationTree]] = {}

    def of(self, settings: Settings) -> tuple[NDArray[np.float32], PopulationTree]:
        """Coordinates (n, 2) and populations with the metric of ``settings``, all else as in the default."""
        if settings.metric not in self.made:
            usual = replace(Settings(), metric=settings.metric)
            values = self.gated.cells.values
            neighbors = nearest_neighbors(values, usual.umap_neighbors, usual.metric, self.device)
            coordinates = umap_projection(values, neighbors, usual, self.seed)
            tree = population_tree(
                values,
                coordinates,
                self.gated.cells.source,
                n_micro_clusters=usual.experts,
                valley=usual.valley,
                populations=usual.populations,
                seed=self.seed,
            )
            self.made[settings.metric] = coordinates, tree
        return self.made[settings.metric]


def _trained(gated: GatedCells, settings: Settings, maps: _Maps, seed: int, device: str) -> TrainedModel:
    """What :func:`cytovae.study.train_model.learn` gives, from coordinates and populations that are known already."""
    coordinates, tree = maps.of(settings)
    merging = settings.resolution == "merge"
    scaling = fit_scaling(gated.cells.values)
    x = torch.tensor(scaling.scale(gated.cells.values), device=device)
    similarity = make_similarity(coordinates, settings, seed=seed, tree=tree if merging else None, device=device)
    network = build_network(x.shape[1], settings, seed).to(device)
    for _ in train(network, x, similarity, draw_weight(similarity), settings, seed):
        pass
    network.eval()
    with torch.inference_mode():
        probabilities = network.assign(x).cpu().numpy()
    merges = merge_experts(probabilities, tree) if merging else keep_experts(probabilities)
    return TrainedModel(network.cpu(), settings, gated.cells.markers, scaling, merges, merges.n_found)


def _lines(dataset: str, method: str, seed: int, report: ScoreReport) -> list[Measurement]:
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
    """Of the codes of gated populations. Those of fewer than fifty cells are left out."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(gated.gates.population == index) for index in _compared(gated.gates)]
    codes = []
    for rows in groups:
        chosen = rng.permutation(rows)[:FROM_EACH]
        with torch.inference_mode():
            scaled = torch.from_numpy(model.scaling.scale(gated.cells.values[chosen]))
            codes.append(model.network.encoder(scaled)[0].numpy())
    return separation(codes, rng, seed)


def separation(
    codes: Sequence[NDArray[np.float32]], rng: np.random.Generator, seed: int
) -> tuple[tuple[tuple[str, float], ...], NDArray[np.float64]]:
    """How far apart populations lie in the code, from ``codes`` (n_p, d) of each: measures, and MMD² of each pair
    (p, p); on the diagonal that of two halves of one population. ``rng`` picks what the bandwidth is taken from,
    ``seed`` is that of the tests.
    """
    some = np.concatenate(codes)
    some = some[rng.permutation(len(some))[:1000]].astype(np.float64)
    # The median distance: whatever the scale of a code, its populations are compared alike.
    bandwidth = float(np.median(np.linalg.norm(some[:, None] - some[None], axis=2)))
    n = len(codes)
    matrix = np.zeros((n, n))
    apart, own = [], []
    for i in range(n):
        half = len(codes[i]) // 2
        same = mmd_test(codes[i][:half], codes[i][half:], bandwidth, permutations=_PERMUTATIONS, seed=seed)
        matrix[i, i] = same.mmd2
        own.append(same.p < _SIGNIFICANT)
        for j in range(i):
            test = mmd_test(codes[i], codes[j], bandwidth, permutations=_PERMUTATIONS, seed=seed)
            matrix[i, j] = matrix[j, i] = test.mmd2
            apart.append(test.p < _SIGNIFICANT)
    between = matrix[~np.eye(n, dtype=bool)]
    return (
        ("MMD² between populations, mean", float(between.mean())),
        ("MMD² between populations, lowest", float(between.min())),
        ("pairs told apart by the test", float(np.mean(apart))),
        ("halves of one population told apart", float(np.mean(own))),
    ), matrix


def _compared(gates: GateLabels) -> list[int]:
    counts = np.bincount(gates.population[gates.population >= 0], minlength=len(gates.names))
    return [index for index, count in enumerate(counts.tolist()) if count >= _FEWEST]


def tables(finished: Sequence[Finished]) -> str:
    """The ablation of each data set, and the separation of Figure A4, as Markdown."""
    parts = ["# What each part is worth"]
    for dataset in _names(finished, ABLATION, "setting"):
        lines = []
        for method in _names(finished, ABLATION, "method"):
            found = [_mean(finished, ABLATION, method, dataset, name) for name in _MEASURES]
            count = over_seeds(finished, part=ABLATION, method=method, measure="clusters", setting=dataset)
            whole = over_seeds(finished, part=ABLATION, method=WHOLE, measure="F_weighted", setting=dataset).mean
            mine = over_seeds(finished, part=ABLATION, method=method, measure="F_weighted", setting=dataset).mean
            loss = "" if method == WHOLE or whole is None or mine is None else f"{round(mine - whole, 3) + 0.0:+.3f}"
            lines.append([method, *found, count.text(".1f"), loss])
        head = ["", *_MEASURES, "clusters", "F_weighted, to the default"]
        parts.append(f"## {dataset}\n\n{markdown(head, lines)}")
    for dataset in _names(finished, SEPARATION, "setting"):
        measures = _names(finished, SEPARATION, "measure")
        methods = _names(finished, SEPARATION, "method")
        lines = [
            [name, *(_mean(finished, SEPARATION, method, dataset, name) for method in methods)] for name in measures
        ]
        parts.append(f"## Populations in the code of {dataset} (Figure A4)\n\n{markdown(['', *methods], lines)}")
    parts.append(
        "Mean ± standard deviation over seeds, scored on the gated cells among those learned from. MMD² is eq. 14 in "
        f"Gretton's normalisation, with the median distance as bandwidth, of at most {FROM_EACH} cells of each gated "
        f"population of {_FEWEST} or more; the test is that of eqs. 15 and 16 with {_PERMUTATIONS} permutations at "
        f"{_SIGNIFICANT:.0%}: of halves of one population it should tell about that share apart."
    )
    return "\n\n".join(parts)


def _mean(finished: Sequence[Finished], part: str, method: str, dataset: str, measure: str) -> str:
    return str(over_seeds(finished, part=part, method=method, measure=measure, setting=dataset))


def _names(finished: Sequence[Finished], part: str, field: str) -> list[str]:
    """What stands in ``field`` of the lines of a part, in order of appearance."""
    lines = [line for each in finished for line in each.outcome.measurements if line.part == part]
    return list(dict.fromkeys(str(getattr(line, field)) for line in lines))


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """Figure A4: MMD² between populations in the code, with the similarity matrix and without, of each set's first
    seed.
    """
    from matplotlib.figure import Figure

    of_sets: dict[str, dict[str, NDArray[Any]]] = {}
    for each in finished:
        for name, matrix in each.outcome.arrays.items():
            dataset = next(line.setting for line in each.outcome.measurements if line.part == SEPARATION)
            of_sets.setdefault(dataset, {}).setdefault(name.removeprefix("mmd "), matrix)
    drawn: dict[str, Figure] = {}
    for dataset, matrices in of_sets.items():
        figure = Figure(figsize=(8, 4), layout="constrained")
        places = figure.subplots(1, 2)
        image = None
        highest = max(float(matrix.max()) for matrix in matrices.values())
        ordered = sorted(matrices, key=lambda name: name == NO_SIMILARITY)
        for axes, name in zip(places, ordered, strict=False):
            image = axes.imshow(matrices[name], vmin=0, vmax=highest)
            axes.set_title(name)
            axes.set_xlabel("gated population")
        if image is not None:
            figure.colorbar(image, ax=places, label="MMD²")
        figure.suptitle(dataset)
        drawn[f"a4_{dataset}.png"] = figure
    return drawn
