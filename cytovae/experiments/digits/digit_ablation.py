"""What each part is worth on handwritten digits, beside the cytometry sets of :mod:`cytovae.experiments.ablation`.

The digits' own settings with one part switched off or another in its place, and Figure A4 of the digits. Here the
experts can be asked for images, too, so that what they are worth in generating is seen. Labels are read for scores.
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

from cytovae.cells import GateLabels
from cytovae.experiments import ablation
from cytovae.experiments.digits import mnist
from cytovae.experiments.digits.images import COMPONENTS, components, described, moved
from cytovae.experiments.digits.mnist import read_digits
from cytovae.experiments.digits.on_request import ask, expert_source, fit_judge
from cytovae.experiments.digits.recipe import (
    DIGITS,
    OUR_SETTINGS,
    POSTERIOR_SD,
    Digits,
    assigned,
    digit_populations,
    hold_posterior,
    mixture_of,
    names,
)
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, markdown, over_seeds
from cytovae.metrics import score
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import build_network, train
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.similarity import Similarity, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

ABLATION, SET = "ablation of digits", "MNIST"


WHOLE, NO_SIMILARITY, NO_NETWORK = "the digits' settings", "no similarity matrix", "no network: the partition alone"


REQUESTED = "on request"


MEASURES = ("accuracy", "NMI", "ARI", "clusters", REQUESTED)


BLOCK = 4  # pixels; images as means of blocks, for metrics that go value by value


Likeness = Literal["edges", "pixels", "blocks"]


Found = Literal["density", "mixture"]


@dataclass(frozen=True)
class Variant:
    """The digits' settings with some ``changes`` (names and values), or without a network.

    ``likeness`` is what distances are taken of, ``found`` how ten clusters are found in their UMAP, and ``moving``
    whether images are moved while training.
    """

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    likeness: Likeness = "edges"
    found: Found = "density"
    moving: bool = True
    network: bool = True

    def settings(self, steps: int) -> Settings:
        """The settings it is trained with."""
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
    Variant("images not moved", moving=False),
    Variant("S by distance threshold (radius 2)", (("similarity", "radius"),)),
    Variant("S by 10 nearest neighbours in the batch", (("similarity", "neighbors"),)),
    Variant("ten Gaussians in place of the density tree", found="mixture"),
    Variant("similarity of pixels in place of edges", likeness="pixels"),
    Variant("of blocks of pixels, Euclidean", likeness="blocks"),
    Variant("of blocks of pixels, correlation", (("metric", "correlation"),), likeness="blocks"),
    Variant("of blocks of pixels, Canberra", (("metric", "canberra"),), likeness="blocks"),
    Variant(NO_NETWORK, network=False),
    Variant("no network, similarity of pixels", likeness="pixels", network=False),
)


@dataclass(frozen=True)
class Design:
    """So many ``images`` by chance, learned and scored; ``requests`` of each digit are generated."""

    images: int = 20_000
    steps: int = 2_000
    requests: int = 200
    judge_epochs: int = 4
    variants: tuple[Variant, ...] = VARIANTS


QUICK = Design(5_000, 400, 100, 2)


def read(folder: Path, design: Design) -> Digits:
    """The images that ``design`` asks for. Raises :class:`InputError` as :func:`read_digits` does."""
    return read_digits(folder, mnist.Design(images=design.images))


def pieces(digits: Digits, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """One piece for each variant and seed. ``digits`` are those that the design asks for."""
    shared = _Shared(digits, design, device)

    def plan(variant: Variant, seed: int) -> Piece:
        identity = ("digit ablation", digits.content, replace(design, variants=()), variant, seed)
        return Piece(f"{SET}, {variant.name}, seed {seed}", identity, lambda: shared.measure(variant, seed))

    return tuple(plan(variant, seed) for seed in range(seeds) for variant in design.variants)


class _Shared:
    """Maps and the classifier, made when first asked for."""

    def __init__(self, digits: Digits, design: Design, device: str) -> None:
        self.digits, self.design, self.device = digits, design, device
        self.x = torch.tensor(digits.x, device=device)
        self.truth = GateLabels(digits.labels.astype(np.int32), tuple(str(digit) for digit in range(DIGITS)))
        self.values = lru_cache(maxsize=3)(self._values)
        self.coordinates = lru_cache(maxsize=8)(self._coordinates)
        self.partition = lru_cache(maxsize=8)(self._partition)
        self.judge = lru_cache(maxsize=1)(self._judge)

    def measure(self, variant: Variant, seed: int) -> Outcome:
        """Scores of one variant, and of two of them how far apart digits lie in the code."""
        settings = variant.settings(self.design.steps)
        if not variant.network:
            part = self.partition(variant.likeness, settings.metric, variant.found, seed)
            return Outcome(self._scores(variant, part, seed))
        network = self._trained(variant, settings, seed)
        cluster = assigned(network, self.x)
        lines = self._scores(variant, cluster, seed)
        if settings.kl_weight > 0:  # codes are Gaussian only then
            lines += (self._line(variant, seed, REQUESTED, self._requested(network, cluster, seed)),)
        if variant.name not in (WHOLE, NO_SIMILARITY):
            return Outcome(lines)
        found, matrix = self._separation(network, seed)
        lines += tuple(Measurement(ablation.SEPARATION, variant.name, SET, seed, name, value) for name, value in found)
        return Outcome(lines, {f"mmd {variant.name}": matrix})

    def _values(self, likeness: Likeness) -> NDArray[np.float32]:
        if likeness == "edges":
            return described(self.digits.x, self.device)
        if likeness == "pixels":
            return components(self.x, COMPONENTS)
        side = round(self.x.shape[1] ** 0.5)
        blocks = nn.functional.avg_pool2d(self.x.view(-1, 1, side, side), BLOCK)
        return np.ascontiguousarray(blocks.flatten(1).cpu().numpy())

    def _coordinates(self, likeness: Likeness, metric: Metric, min_dist: float, seed: int) -> NDArray[np.float32]:
        values = self.values(likeness)
        settings = replace(OUR_SETTINGS, metric=metric, umap_min_dist=min_dist)
        neighbors = nearest_neighbors(values, settings.umap_neighbors, metric, self.device)
        return umap_projection(values, neighbors, settings, seed)

    def _partition(self, likeness: Likeness, metric: Metric, found: Found, seed: int) -> NDArray[np.int64]:
        coordinates = self.coordinates(likeness, metric, OUR_SETTINGS.umap_min_dist, seed)
        if found == "mixture":
            return mixture_of(coordinates, seed)
        return digit_populations(self.values(likeness), coordinates, seed)

    def _trained(self, variant: Variant, settings: Settings, seed: int) -> MoeSimVae:
        coordinates = self.coordinates(variant.likeness, settings.metric, settings.umap_min_dist, seed)
        if settings.similarity == "partition":
            labels = torch.from_numpy(self.partition(variant.likeness, settings.metric, variant.found, seed))
            places = torch.from_numpy(coordinates).to(self.device)
            similarity = Similarity(
                "partition", places, labels.to(self.device), settings.radius, settings.neighbors, weak=False
            )
        else:
            similarity = make_similarity(coordinates, settings, seed=seed, device=self.device)
        network = build_network(self.x.shape[1], settings, seed).to(self.device)
        hold_posterior(network, POSTERIOR_SD)
        for _ in train(network, self.x, similarity, None, settings, seed, moved=moved if variant.moving else None):
            pass
        return network

    def _scores(self, variant: Variant, cluster: NDArray[np.int64], seed: int) -> tuple[Measurement, ...]:
        report = score(cluster + 1, self.truth)
        values = (report.accuracy, report.nmi, report.ari, float(report.n_clusters))
        return tuple(self._line(variant, seed, name, value) for name, value in zip(MEASURES[:4], values, strict=True))

    def _line(self, variant: Variant, seed: int, measure: str, value: float | None) -> Measurement:
        return Measurement(ABLATION, variant.name, f"{len(self.x)} images", seed, measure, value)

    def _judge(self) -> nn.Module:
        data = self.digits.data
        pixels = torch.tensor(data.pixels[: data.n_train], device=self.device).float() / 255
        labels = torch.tensor(data.labels[: data.n_train].astype(np.int64), device=self.device)
        return fit_judge(pixels, labels, 0, epochs=self.design.judge_epochs)

    def _requested(self, network: MoeSimVae, cluster: NDArray[np.int64], seed: int) -> float | None:
        """Share of images drawn for each cluster, one run each, that show its digit to the classifier."""
        source = expert_source(network, self.x, cluster, seed)
        generator = torch.Generator(self.device).manual_seed(seed)
        answers = ask(source, DIGITS, self.design.requests, 0.0, self.judge(), generator)
        if answers is None:
            return None
        return float((answers.by_judge == names(cluster, self.digits.labels)[:, None]).mean())

    def _separation(self, network: MoeSimVae, seed: int) -> tuple[tuple[tuple[str, float], ...], NDArray[np.float64]]:
        """Of the codes of some images of each digit."""
        rng = np.random.default_rng(seed)
        codes = []
        for digit in range(DIGITS):
            rows = rng.permutation(np.flatnonzero(self.digits.labels == digit))[: ablation.FROM_EACH]
            with torch.inference_mode():
                codes.append(network.encoder(self.x[torch.from_numpy(rows).to(self.device)])[0].cpu().numpy())
        return ablation.separation(codes, rng, seed)


def tables(finished: Sequence[Finished]) -> str:
    """The ablations of the cytometry sets, and that of digits below, as Markdown."""
    own = [line for each in finished for line in each.outcome.measurements if line.part == ABLATION]
    lines = [
        [name, *(_found(finished, name, measure) for measure in MEASURES)]
        for name in dict.fromkeys(line.method for line in own)
    ]
    notes = f"""\
Handwritten digits, {own[0].setting if own else "none"} by chance, with the settings of `benchmark paper mnist` but
fewer steps; ten clusters, which is given. “{REQUESTED}”: images drawn from each cluster's Gaussian and decoded, one run
each, that show its digit to a classifier of real images (– without the KL term, which makes codes Gaussian). “Edges”
are those of upright images, blocks the means of {BLOCK} × {BLOCK} pixels."""
    return f"{ablation.tables(finished)}\n\n## {SET}\n\n{markdown(['', *MEASURES], lines)}\n\n{notes}"


def _found(finished: Sequence[Finished], method: str, measure: str) -> str:
    form = ".1f" if measure == "clusters" else ".4f"
    return over_seeds(finished, part=ABLATION, method=method, measure=measure).text(form)
