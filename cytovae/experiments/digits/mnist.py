"""Table 1 and Figures 2, A2, A5 and A6: handwritten digits clustered without labels, and images generated on request.

Labels are used for scores, and to name clusters by the one-to-one matching with the most images. The number of
clusters, ten, is given as in the paper. The notes in ``mnist_tables`` list the differences from the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn

from cytovae.experiments.digits.images import COMPONENTS, edge_features, principal_components
from cytovae.experiments.digits.on_request import Source, VadeSource, classify, expert_source, request_images
from cytovae.experiments.digits.recipe import (
    DIGITS,
    OUR_SETTINGS,
    Digits,
    contingency,
    digit_populations,
    digits_of_clusters,
    fit_digit_classifier,
    gaussian_populations,
    likely_clusters,
    partition_similarity,
    train_network,
)
from cytovae.experiments.experiment import Measurement, Outcome, Piece
from cytovae.experiments.vade import VadeSettings, encoded, fit_vade
from cytovae.metrics import adjusted_rand_index, normalized_mutual_information
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import build_network, train
from cytovae.populations.neighbors import Neighbors, nearest_neighbors
from cytovae.populations.similarity import make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import PRESETS, Settings

TABLE, REQUESTS, CLASSIFIER = "Table 1", "A5", "classifier"

OURS, PIXELS, PAPER = "cytovae", "cytovae, similarity of pixels", "cytovae, settings A.1.2"
EDGES_TREE, EDGES_GMM, PIXELS_GMM = "UMAP of edges, density tree", "UMAP of edges, GMM", "UMAP of pixels, GMM"
VADE = "VaDE-style, own"

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999)


@dataclass(frozen=True)
class Design:
    """The size and settings of the experiment.

    ``images`` random images (0 = all); at most ``others`` seeds of the methods that ours is compared with, and
    ``vades`` of VaDE; ``requests`` generated images of each digit and threshold.
    """

    images: int = 0
    ours: Settings = OUR_SETTINGS
    paper: Settings = PRESETS["paper-mnist"]
    vade: VadeSettings = field(default_factory=VadeSettings)
    others: int = 2
    vades: int = 1
    requests: int = 1_000
    classifier_epochs: int = 8


QUICK = Design(
    images=10_000,
    ours=replace(OUR_SETTINGS, steps=1_500),
    paper=replace(PRESETS["paper-mnist"], steps=2_000),
    vade=VadeSettings(warm_steps=1_000, steps=1_000),
    others=1,
    requests=200,
    classifier_epochs=4,
)


def pieces(digits: Digits, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """All runs: first ours with every seed, then the methods that it is compared with."""
    planned: list[Piece] = []

    def plan(title: str, method: str, seed: int, settings: object, do: Callable[[], Outcome]) -> None:
        identity = ("mnist", digits.content, design.images, design.requests, method, seed, settings)
        planned.append(Piece(title, identity, do))

    runs = _Runs(digits, design, device)
    for seed in range(seeds):
        plan(f"{OURS}, seed {seed}", OURS, seed, design.ours, partial(runs.ours, seed))
    for seed in range(min(seeds, design.vades)):
        plan(f"{VADE}, seed {seed}", VADE, seed, design.vade, partial(runs.vade, seed))
    for seed in range(min(seeds, design.others)):
        plan(f"{PIXELS}, seed {seed}", PIXELS, seed, design.ours, partial(runs.pixels, seed))
        plan(f"{PAPER}, seed {seed}", PAPER, seed, design.paper, partial(runs.paper, seed))
    return tuple(planned)


class _Runs:
    """The runs of the experiment, with the neighbours and the classifier that they share, computed on first use."""

    def __init__(self, digits: Digits, design: Design, device: str) -> None:
        self.digits, self.design, self.device = digits, design, device
        self.x = torch.tensor(digits.x, device=device)
        self.classifier = lru_cache(maxsize=1)(self._classifier)
        self.neighbors = lru_cache(maxsize=2)(self._neighbors)

    def _classifier(self) -> tuple[nn.Module, float]:
        """The classifier of generated images, and its accuracy on the real test images."""
        data = self.digits.data
        classifier = fit_digit_classifier(data, self.design.classifier_epochs, self.device)
        pixels = torch.tensor(data.pixels[data.n_train :], device=self.device).float() / 255
        correct = classify(classifier, pixels) == data.labels[data.n_train :]
        return classifier, float(correct.mean())

    def _neighbors(self, of_edges: bool) -> tuple[NDArray[np.float32], Neighbors]:
        """Features (n, d) of edges or of plain pixels, and the nearest neighbours by their distances."""
        values = edge_features(self.digits.x, self.device) if of_edges else principal_components(self.x, COMPONENTS)
        return values, nearest_neighbors(values, OUR_SETTINGS.umap_neighbors, "euclidean", self.device)

    def ours(self, seed: int) -> Outcome:
        """Our method with the similarity of edges, and images on request from its model."""
        values, neighbors = self.neighbors(True)
        coordinates = umap_projection(values, neighbors, self.design.ours, seed)
        population = digit_populations(values, coordinates, seed)
        network, cluster = self._learn(population, seed)
        scores = self._scores(OURS, cluster, seed) + self._scores(EDGES_TREE, population, seed)
        scores += self._scores(EDGES_GMM, gaussian_populations(coordinates, seed), seed)
        source = expert_source(network, self.x, cluster, seed)
        digit = digits_of_clusters(cluster, self.digits.labels)
        requests, arrays = self._requests(OURS, source, digit, seed)
        arrays |= {"confusion": contingency(cluster, self.digits.labels)[np.argsort(digit)]}
        if seed == 0:
            arrays |= self._map(network, source.means.cpu().numpy()[np.argsort(digit)])
        return Outcome(scores + requests, arrays)

    def pixels(self, seed: int) -> Outcome:
        """Our method with the similarity of plain pixels."""
        values, neighbors = self.neighbors(False)
        coordinates = umap_projection(values, neighbors, self.design.ours, seed)
        _, cluster = self._learn(digit_populations(values, coordinates, seed), seed)
        of_mixture = gaussian_populations(coordinates, seed)
        return Outcome(self._scores(PIXELS, cluster, seed) + self._scores(PIXELS_GMM, of_mixture, seed))

    def paper(self, seed: int) -> Outcome:
        """The settings of A.1.2: S from the nearest neighbours within a batch on the UMAP of pixels."""
        values, neighbors = self.neighbors(False)
        settings = self.design.paper
        coordinates = umap_projection(values, neighbors, settings, seed)
        similarity = make_similarity(coordinates, settings, seed=seed, device=self.device)
        network = build_network(self.x.shape[1], settings, seed).to(self.device)
        for _ in train(network, self.x, similarity, None, settings, seed):
            pass
        return Outcome(self._scores(PAPER, likely_clusters(network, self.x), seed))

    def vade(self, seed: int) -> Outcome:
        """VaDE, a single decoder, and images on request from it."""
        model = fit_vade(self.x, self.design.vade, seed)
        codes = torch.tensor(encoded(model, self.x), device=self.device)
        with torch.inference_mode():
            cluster = np.concatenate([model.posterior(z).argmax(1).cpu().numpy() for z in torch.split(codes, 5_000)])
        digit = digits_of_clusters(cluster, self.digits.labels)
        requests, arrays = self._requests(VADE, VadeSource(model), digit, seed)
        return Outcome(self._scores(VADE, cluster, seed) + requests, arrays)

    def _learn(self, population: NDArray[np.int64], seed: int) -> tuple[MoeSimVae, NDArray[np.int64]]:
        settings = self.design.ours
        similarity = partition_similarity(population, settings, self.device)
        network = train_network(self.x, similarity, settings, seed)
        return network, likely_clusters(network, self.x)

    def _scores(self, method: str, cluster: NDArray[np.int64], seed: int) -> tuple[Measurement, ...]:
        counts = contingency(cluster, self.digits.labels)
        rows, columns = linear_sum_assignment(counts, maximize=True)
        values = {
            "NMI": normalized_mutual_information(counts),
            "accuracy": float(counts[rows, columns].sum() / counts.sum()),
            "ARI": adjusted_rand_index(counts),
        }
        setting = f"{len(cluster)} images"
        return tuple(Measurement(TABLE, method, setting, seed, name, value) for name, value in values.items())

    def _requests(
        self, method: str, source: Source, digit: NDArray[np.int64], seed: int
    ) -> tuple[tuple[Measurement, ...], dict[str, NDArray[np.generic]]]:
        """Accuracy of requested digits at every threshold, with the ``digit`` of each cluster, (k,)."""
        classifier, accuracy = self.classifier()
        measurements = [Measurement(CLASSIFIER, CLASSIFIER, "test images", seed, "accuracy", accuracy)]
        arrays: dict[str, NDArray[np.generic]] = {}
        generator = torch.Generator(self.device).manual_seed(seed)
        for threshold in THRESHOLDS:
            generated = request_images(source, DIGITS, self.design.requests, threshold, classifier, generator)
            values: dict[str, float | None] = {"by the model": None, "by the classifier": None, "runs": None}
            if generated is not None:
                requested = np.arange(DIGITS)[:, None]
                values = {
                    "by the model": float((generated.by_model == requested).mean()),
                    "by the classifier": float((generated.by_classifier == digit[:, None]).mean()),
                    "runs": generated.runs / (DIGITS * self.design.requests),
                }
            measurements += [
                Measurement(REQUESTS, method, f"{threshold:g}", seed, name, value) for name, value in values.items()
            ]
            if generated is not None and threshold == 0:
                order = np.argsort(digit)
                arrays["made"] = (generated.images[order, :10] * 255).round().astype(np.uint8)
                arrays["requested"] = np.stack(
                    [np.bincount(row, minlength=DIGITS) for row in generated.by_classifier[order]]
                )
                arrays["by_model"] = np.stack(
                    [np.bincount(digit[row], minlength=DIGITS) for row in generated.by_model[order]]
                )
        return tuple(measurements), arrays

    def _map(self, network: MoeSimVae, centres: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """UMAP of the codes of 4,000 random images and of the cluster ``centres`` (k, d), which come last."""
        rows = np.random.default_rng(0).permutation(len(self.x))[:4_000]
        with torch.inference_mode():
            codes, _ = network.encoder(self.x[torch.from_numpy(rows).to(self.device)])
        values = np.concatenate([codes.cpu().numpy(), centres])
        neighbors = nearest_neighbors(values, min(15, len(values)), "euclidean", self.device)
        return {
            "map": umap_projection(values, neighbors, self.design.ours, 0),
            "map_digit": self.digits.labels[rows].astype(np.uint8),
        }
