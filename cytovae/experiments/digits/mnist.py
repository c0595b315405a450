"""Table 1 and Figures 2, A2, A5 and A6: handwritten digits clustered without labels, and images on request.

Labels are read for scores, and to name clusters by the one-to-one matching with the most images; the ten clusters of
the paper are given. What the paper leaves open, and where we depart from it, stands under the table
(``mnist_results``).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn

from cytovae.experiments.digits.idx import read_images
from cytovae.experiments.digits.images import COMPONENTS, components, described, moved
from cytovae.experiments.digits.on_request import Source, VadeSource, ask, expert_source, fit_judge, judged
from cytovae.experiments.digits.recipe import (
    DIGITS,
    OUR_SETTINGS,
    POSTERIOR_SD,
    Digits,
    assigned,
    contingency,
    digit_populations,
    hold_posterior,
    mixture_of,
    names,
)
from cytovae.experiments.experiment import Measurement, Outcome, Piece
from cytovae.experiments.vade import VadeSettings, encoded, fit_vade
from cytovae.metrics import adjusted_rand_index, normalized_mutual_information
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import build_network, train
from cytovae.populations.neighbors import Neighbors, nearest_neighbors
from cytovae.populations.similarity import Similarity, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import PRESETS, Settings

TABLE, REQUESTS, JUDGE = "Table 1", "A5", "classifier"


OURS, PIXELS, PAPER = "cytovae", "cytovae, similarity of pixels", "cytovae, settings A.1.2"


EDGES_TREE, EDGES_GMM, PIXELS_GMM = "UMAP of edges, density tree", "UMAP of edges, GMM", "UMAP of pixels, GMM"


VADE = "VaDE-style, own"


THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999)


VADE_SETTINGS = VadeSettings()


@dataclass(frozen=True)
class Design:
    """How much is run. ``images`` 0 = all, else so many by chance; ``others`` are the seeds of what ours is compared
    with; ``requests`` images of each digit are generated for each threshold.
    """

    images: int = 0
    ours: Settings = OUR_SETTINGS
    paper: Settings = PRESETS["paper-mnist"]
    vade: VadeSettings = VADE_SETTINGS
    others: int = 2
    vades: int = 1
    requests: int = 1_000
    judge_epochs: int = 8


QUICK = Design(
    images=10_000,
    ours=replace(OUR_SETTINGS, steps=1_500),
    paper=replace(PRESETS["paper-mnist"], steps=2_000),
    vade=VadeSettings(warm_steps=1_000, steps=1_000),
    others=1,
    requests=200,
    judge_epochs=4,
)


def read_digits(folder: Path, design: Design) -> Digits:
    """The images that ``design`` asks for. Raises :class:`InputError` as :func:`read_images` does."""
    data = read_images(folder)
    n = len(data.pixels)
    rows = np.arange(n)
    if 0 < design.images < n:
        rows = np.sort(np.random.default_rng(0).permutation(n)[: design.images])
    x = data.pixels[rows].astype(np.float32) / np.float32(255)
    content = zlib.crc32(data.labels.tobytes(), zlib.crc32(data.pixels.tobytes()))
    return Digits(data, x, data.labels[rows].astype(np.int64), content)


def pieces(digits: Digits, design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """All runs: ours with every seed first, then what it is compared with."""
    planned: list[Piece] = []

    def plan(title: str, method: str, seed: int, settings: object, do: Callable[[], Outcome]) -> None:
        identity = ("mnist", digits.content, design.images, design.requests, method, seed, settings)
        planned.append(Piece(title, identity, do))

    stages = _Stages(digits, design, device)
    for seed in range(seeds):
        plan(f"{OURS}, seed {seed}", OURS, seed, design.ours, partial(stages.ours, seed))
    for seed in range(min(seeds, design.vades)):
        plan(f"{VADE}, seed {seed}", VADE, seed, design.vade, partial(stages.vade, seed))
    for seed in range(min(seeds, design.others)):
        plan(f"{PIXELS}, seed {seed}", PIXELS, seed, design.ours, partial(stages.pixels, seed))
        plan(f"{PAPER}, seed {seed}", PAPER, seed, design.paper, partial(stages.paper, seed))
    return tuple(planned)


class _Stages:
    """The runs, and what they share: neighbours, and the classifier, which are made when first asked for."""

    def __init__(self, digits: Digits, design: Design, device: str) -> None:
        self.digits, self.design, self.device = digits, design, device
        self.x = torch.tensor(digits.x, device=device)
        self.judge = lru_cache(maxsize=1)(self._judge)
        self.neighbours = lru_cache(maxsize=2)(self._neighbours)

    def _judge(self) -> tuple[nn.Module, float]:
        """The classifier, and its accuracy on the test images. It learns from all training images and labels."""
        data = self.digits.data
        pixels = torch.tensor(data.pixels, device=self.device).float() / 255
        labels = torch.tensor(data.labels.astype(np.int64), device=self.device)
        judge = fit_judge(pixels[: data.n_train], labels[: data.n_train], 0, epochs=self.design.judge_epochs)
        right = judged(judge, pixels[data.n_train :]) == data.labels[data.n_train :]
        return judge, float(right.mean())

    def _neighbours(self, of_edges: bool) -> tuple[NDArray[np.float32], Neighbors]:
        """Values (n, d) whose distances count, and the nearest of each: of edges, or principal components of pixels."""
        values = described(self.digits.x, self.device) if of_edges else components(self.x, COMPONENTS)
        return values, nearest_neighbors(values, OUR_SETTINGS.umap_neighbors, "euclidean", self.device)

    def ours(self, seed: int) -> Outcome:
        """Similarity of edges; and images on request from the model of it."""
        values, neighbors = self.neighbours(True)
        coordinates = umap_projection(values, neighbors, self.design.ours, seed)
        part = digit_populations(values, coordinates, seed)
        network, cluster = self._learn(part, seed)
        lines = self._scores(OURS, cluster, seed) + self._scores(EDGES_TREE, part, seed)
        lines += self._scores(EDGES_GMM, mixture_of(coordinates, seed), seed)
        source = expert_source(network, self.x, cluster, seed)
        digit = names(cluster, self.digits.labels)
        requests, arrays = self._requests(OURS, source, digit, seed)
        arrays |= {"confusion": contingency(cluster, self.digits.labels)[np.argsort(digit)]}
        if seed == 0:
            arrays |= self._map(network, source.means.cpu().numpy()[np.argsort(digit)])
        return Outcome(lines + requests, arrays)

    def pixels(self, seed: int) -> Outcome:
        """The same with the similarity of plain pixels."""
        values, neighbors = self.neighbours(False)
        coordinates = umap_projection(values, neighbors, self.design.ours, seed)
        _, cluster = self._learn(digit_populations(values, coordinates, seed), seed)
        return Outcome(
            self._scores(PIXELS, cluster, seed) + self._scores(PIXELS_GMM, mixture_of(coordinates, seed), seed)
        )

    def paper(self, seed: int) -> Outcome:
        """What A.1.2 prints: S from the neighbours within a batch on the UMAP of pixels."""
        values, neighbors = self.neighbours(False)
        settings = self.design.paper
        coordinates = umap_projection(values, neighbors, settings, seed)
        similarity = make_similarity(coordinates, settings, seed=seed, device=self.device)
        network = build_network(self.x.shape[1], settings, seed).to(self.device)
        for _ in train(network, self.x, similarity, None, settings, seed):
            pass
        return Outcome(self._scores(PAPER, assigned(network, self.x), seed))

    def vade(self, seed: int) -> Outcome:
        """The single decoder."""
        model = fit_vade(self.x, self.design.vade, seed)
        codes = torch.tensor(encoded(model, self.x), device=self.device)
        with torch.inference_mode():
            cluster = np.concatenate([model.posterior(z).argmax(1).cpu().numpy() for z in torch.split(codes, 5_000)])
        requests, arrays = self._requests(VADE, VadeSource(model), names(cluster, self.digits.labels), seed)
        return Outcome(self._scores(VADE, cluster, seed) + requests, arrays)

    def _learn(self, part: NDArray[np.int64], seed: int) -> tuple[MoeSimVae, NDArray[np.int64]]:
        settings = self.design.ours
        nowhere = torch.zeros(len(part), 2, device=self.device)  # a partition is not asked for coordinates
        labels = torch.from_numpy(part).to(self.device)
        similarity = Similarity("partition", nowhere, labels, settings.radius, settings.neighbors, weak=False)
        network = build_network(self.x.shape[1], settings, seed).to(self.device)
        hold_posterior(network, POSTERIOR_SD)
        for _ in train(network, self.x, similarity, None, settings, seed, moved=moved):
            pass
        return network, assigned(network, self.x)

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
        """Accuracy of requested digits at every threshold. ``digit`` (k,) is what each cluster is named."""
        judge, accuracy = self.judge()
        lines = [Measurement(JUDGE, JUDGE, "test images", seed, "accuracy", accuracy)]
        arrays: dict[str, NDArray[np.generic]] = {}
        generator = torch.Generator(self.device).manual_seed(seed)
        for threshold in THRESHOLDS:
            answers = ask(source, DIGITS, self.design.requests, threshold, judge, generator)
            values: dict[str, float | None] = {"by the model": None, "by the classifier": None, "runs": None}
            if answers is not None:
                wanted = np.arange(DIGITS)[:, None]
                values = {
                    "by the model": float((answers.by_model == wanted).mean()),
                    "by the classifier": float((answers.by_judge == digit[:, None]).mean()),
                    "runs": answers.runs / (DIGITS * self.design.requests),
                }
            lines += [
                Measurement(REQUESTS, method, f"{threshold:g}", seed, name, value) for name, value in values.items()
            ]
            if answers is not None and threshold == 0:
                order = np.argsort(digit)
                arrays["made"] = (answers.images[order, :10] * 255).round().astype(np.uint8)
                arrays["requested"] = np.stack([np.bincount(row, minlength=DIGITS) for row in answers.by_judge[order]])
                arrays["by_model"] = np.stack(
                    [np.bincount(digit[row], minlength=DIGITS) for row in answers.by_model[order]]
                )
        return tuple(lines), arrays

    def _map(self, network: MoeSimVae, centres: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """UMAP of codes of some images and of the centres of the clusters, which come last."""
        rows = np.random.default_rng(0).permutation(len(self.x))[:4_000]
        with torch.inference_mode():
            codes, _ = network.encoder(self.x[torch.from_numpy(rows).to(self.device)])
        values = np.concatenate([codes.cpu().numpy(), centres])
        neighbors = nearest_neighbors(values, min(15, len(values)), "euclidean", self.device)
        return {
            "map": umap_projection(values, neighbors, self.design.ours, 0),
            "map_digit": self.digits.labels[rows].astype(np.uint8),
        }
