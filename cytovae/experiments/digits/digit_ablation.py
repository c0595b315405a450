"""Ablation on handwritten digits, as in :mod:`cytovae.experiments.ablation` on cytometry data; and Figure A4 of digits.

The settings for digits with one part left out or replaced. Generated images show the effect on generation, too. Labels
are used for scores only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cytovae.benchmark.tables import markdown
from cytovae.cells import GateLabels
from cytovae.experiments import ablation
from cytovae.experiments.digits.images import COMPONENTS, edge_features, principal_components
from cytovae.experiments.digits.on_request import expert_source, request_images
from cytovae.experiments.digits.recipe import (
    DIGITS,
    OUR_SETTINGS,
    Digits,
    digit_populations,
    digits_of_clusters,
    fit_digit_classifier,
    gaussian_populations,
    likely_clusters,
    partition_similarity,
    read_digits,
    train_network,
)
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, distinct, over_seeds
from cytovae.metrics import score
from cytovae.network.model import MoeSimVae
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.similarity import make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

ABLATION, SET = "ablation of digits", "MNIST"
WHOLE, NO_SIMILARITY, NO_NETWORK = "the digits' settings", "no similarity matrix", "no network: the partition alone"
REQUESTED = "on request"
MEASURES = ("accuracy", "NMI", "ARI", "clusters", REQUESTED)

BLOCK = 4  # pixels; side of the blocks whose means are the features "blocks"

Features = Literal["edges", "pixels", "blocks"]
Clustering = Literal["density", "mixture"]


@dataclass(frozen=True)
class Variant:
    """The settings for digits with some ``changes``, as pairs of name and value, or without a network.

    ``features`` are the features for distances, ``clustering`` finds ten clusters in their UMAP, and ``augmented`` says
    whether images are augmented in training.
    """

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    features: Features = "edges"
    clustering: Clustering = "density"
    augmented: bool = True
    network: bool = True

    def settings(self, steps: int) -> Settings:
        """The settings to train with."""
        return replace(OUR_SETTINGS, steps=steps, **dict(self.changes))


VARIANTS = (
    Variant(WHOLE),
    Variant(NO_SIMILARITY, (("similarity_weight", 0.0),)),
    Variant("no DEPICT", (("depict_weight", 0.0),)),
    Variant("no KL term, no posterior noise", (("kl_weight", 0.0), ("posterior_noise", False))),
    Variant("no reconstruction", (("reconstruction_weight", 0.0),)),
    Variant("one decoder, as wide as an expert", (("decoder", "single"),)),
    Variant(
        "one decoder, as many weights as all experts",
        (("decoder", "single"), ("expert_width", DIGITS * OUR_SETTINGS.expert_width)),
    ),
    Variant("images not moved", augmented=False),
    Variant("S by distance threshold (radius 2)", (("similarity", "radius"),)),
    Variant("S by 10 nearest neighbours in the batch", (("similarity", "neighbors"),)),
    Variant("ten Gaussians in place of the density tree", clustering="mixture"),
    Variant("similarity of pixels in place of edges", features="pixels"),
    Variant("of blocks of pixels, Euclidean", features="blocks"),
    Variant("of blocks of pixels, correlation", (("metric", "correlation"),), features="blocks"),
    Variant("of blocks of pixels, Canberra", (("metric", "canberra"),), features="blocks"),
    Variant(NO_NETWORK, network=False),
    Variant("no network, similarity of pixels", features="pixels", network=False),
)


@dataclass(frozen=True)
class Design:
    """The size of the experiment: random ``images`` to learn and score, and ``requests`` generated for each digit."""

    images: int = 20_000
    steps: int = 2_000
    requests: int = 200
    classifier_epochs: int = 4
    variants: tuple[Variant, ...] = VARIANTS


QUICK = Design(5_000, 400, 100, 2)


def read(folder: Path, design: Design) -> Digits:
    """The images of the experiment. Raises :class:`InputError` as :func:`read_digits` does."""
    return read_digits(folder, design.images)


def pieces(digits: Digits, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each variant and seed."""
    shared = _Shared(digits, design, device)

    def plan(variant: Variant, seed: int) -> Piece:
        identity = ("digit ablation", digits.content, replace(design, variants=()), variant, seed)
        return Piece(f"{SET}, {variant.name}, seed {seed}", identity, lambda: shared.measure(variant, seed))

    return tuple(plan(variant, seed) for seed in range(seeds) for variant in design.variants)


class _Shared:
    """The features, coordinates, partitions and classifier that variants share, computed on first use."""

    def __init__(self, digits: Digits, design: Design, device: str) -> None:
        self.digits, self.design, self.device = digits, design, device
        self.x = torch.tensor(digits.x, device=device)
        self.truth = GateLabels(digits.labels.astype(np.int32), tuple(str(digit) for digit in range(DIGITS)))
        self.features = lru_cache(maxsize=3)(self._features)
        self.coordinates = lru_cache(maxsize=8)(self._coordinates)
        self.partition = lru_cache(maxsize=8)(self._partition)
        self.classifier = lru_cache(maxsize=1)(self._classifier)

    def measure(self, variant: Variant, seed: int) -> Outcome:
        """Scores of one variant, and for two variants the separation of digits in the code."""
        settings = variant.settings(self.design.steps)
        if not variant.network:
            population = self.partition(variant.features, settings.metric, variant.clustering, seed)
            return Outcome(self._scores(variant, population, seed))
        network = self._trained(variant, settings, seed)
        cluster = likely_clusters(network, self.x)
        measurements = self._scores(variant, cluster, seed)
        if settings.kl_weight > 0:  # otherwise codes are not Gaussian
            measurements += (self._measurement(variant, seed, REQUESTED, self._requested(network, cluster, seed)),)
        if variant.name not in (WHOLE, NO_SIMILARITY):
            return Outcome(measurements)
        values, matrix = self._separation(network, seed)
        measurements += tuple(
            Measurement(ablation.SEPARATION, variant.name, SET, seed, name, value) for name, value in values
        )
        return Outcome(measurements, {f"mmd {variant.name}": matrix})

    def _features(self, features: Features) -> NDArray[np.float32]:
        if features == "edges":
            return edge_features(self.digits.x, self.device)
        if features == "pixels":
            return principal_components(self.x, COMPONENTS)
        side = round(self.x.shape[1] ** 0.5)
        blocks = nn.functional.avg_pool2d(self.x.view(-1, 1, side, side), BLOCK)
        return np.ascontiguousarray(blocks.flatten(1).cpu().numpy())

    def _coordinates(self, features: Features, metric: Metric, min_dist: float, seed: int) -> NDArray[np.float32]:
        values = self.features(features)
        settings = replace(OUR_SETTINGS, metric=metric, umap_min_dist=min_dist)
        neighbors = nearest_neighbors(values, settings.umap_neighbors, metric, self.device)
        return umap_projection(values, neighbors, settings, seed)

    def _partition(self, features: Features, metric: Metric, clustering: Clustering, seed: int) -> NDArray[np.int64]:
        coordinates = self.coordinates(features, metric, OUR_SETTINGS.umap_min_dist, seed)
        if clustering == "mixture":
            return gaussian_populations(coordinates, seed)
        return digit_populations(self.features(features), coordinates, seed)

    def _trained(self, variant: Variant, settings: Settings, seed: int) -> MoeSimVae:
        if settings.similarity == "partition":
            population = self.partition(variant.features, settings.metric, variant.clustering, seed)
            similarity = partition_similarity(population, settings, self.device)
        else:
            coordinates = self.coordinates(variant.features, settings.metric, settings.umap_min_dist, seed)
            similarity = make_similarity(coordinates, settings, seed=seed, device=self.device)
        return train_network(self.x, similarity, settings, seed, augmented=variant.augmented)

    def _scores(self, variant: Variant, cluster: NDArray[np.int64], seed: int) -> tuple[Measurement, ...]:
        report = score(cluster + 1, self.truth)
        values = (report.accuracy, report.nmi, report.ari, float(report.n_clusters))
        return tuple(
            self._measurement(variant, seed, name, value) for name, value in zip(MEASURES[:4], values, strict=True)
        )

    def _measurement(self, variant: Variant, seed: int, measure: str, value: float | None) -> Measurement:
        return Measurement(ABLATION, variant.name, f"{len(self.x)} images", seed, measure, value)

    def _classifier(self) -> nn.Module:
        return fit_digit_classifier(self.digits.data, self.design.classifier_epochs, self.device)

    def _requested(self, network: MoeSimVae, cluster: NDArray[np.int64], seed: int) -> float | None:
        """Share of the images generated for a cluster, one run each, in which the classifier sees its digit."""
        source = expert_source(network, self.x, cluster, seed)
        generator = torch.Generator(self.device).manual_seed(seed)
        generated = request_images(source, DIGITS, self.design.requests, 0.0, self.classifier(), generator)
        if generated is None:
            return None
        digit = digits_of_clusters(cluster, self.digits.labels)
        return float((generated.by_classifier == digit[:, None]).mean())

    def _separation(self, network: MoeSimVae, seed: int) -> tuple[tuple[tuple[str, float], ...], NDArray[np.float64]]:
        """The separation of the codes of some images of each digit, see :func:`ablation.separation`."""
        rng = np.random.default_rng(seed)
        codes = []
        for digit in range(DIGITS):
            rows = rng.permutation(np.flatnonzero(self.digits.labels == digit))[: ablation.CELLS_COMPARED]
            with torch.inference_mode():
                codes.append(network.encoder(self.x[torch.from_numpy(rows).to(self.device)])[0].cpu().numpy())
        return ablation.separation(codes, rng, seed)


def tables(finished: Sequence[Finished]) -> str:
    """The ablations of the cytometry sets and, below, of digits, as Markdown."""
    settings = distinct(finished, ABLATION, "setting")
    lines = [
        [name, *(_cell(finished, name, measure) for measure in MEASURES)]
        for name in distinct(finished, ABLATION, "method")
    ]
    notes = f"""\
Random handwritten digits ({settings[0] if settings else "none"}), with the settings of `benchmark paper mnist` but
fewer steps, in ten clusters; this number is given. “{REQUESTED}”: the share of images, drawn from a cluster's Gaussian
and decoded, one run each, in which a classifier of real images sees the cluster's digit (– without the KL term, which
makes codes Gaussian). “Edges” are those of upright images, blocks the means of {BLOCK} × {BLOCK} pixels."""
    return f"{ablation.tables(finished)}\n\n## {SET}\n\n{markdown(['', *MEASURES], lines)}\n\n{notes}"


def _cell(finished: Sequence[Finished], method: str, measure: str) -> str:
    number_format = ".1f" if measure == "clusters" else ".4f"
    return over_seeds(finished, part=ABLATION, method=method, measure=measure).text(number_format)
