"""The settings and populations that both experiments on digits use."""

import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from cytovae.experiments.digits.idx import Images, read_images
from cytovae.experiments.digits.images import augment
from cytovae.experiments.digits.on_request import fit_classifier
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import build_network, train
from cytovae.populations.population_tree import population_tree
from cytovae.populations.similarity import Similarity
from cytovae.settings import PRESETS, Settings

DIGITS = 10
MICRO_CLUSTERS = 150  # as in the default for cells

# Differences from A.1.2: S from a partition, augmented images, and a shorter and faster schedule.
OUR_SETTINGS = replace(
    PRESETS["paper-mnist"],
    preset="mnist",
    umap_min_dist=0.0,
    similarity="partition",
    population_weight=0.0,
    depict_weight=0.005,
    depict_from=0.0,
    kl_weight=0.012,
    batch=256,
    steps=4_000,
    learning_rate=2e-3,
    schedule="one-cycle",
)

# Eq. 3 wants variance 1 for the codes of a cluster, but not for the posterior of an image, which would shrink to
# nothing; codes drawn between those of images would then decode poorly. The released code of the method fixes it at 1.
POSTERIOR_SD = 0.7

_NEIGHBORS = 15  # that decide which cluster a small population joins
_ROWS = 500  # of distances at a time
_CHUNK = 5_000  # images at a time


@dataclass(frozen=True, eq=False)
class Digits:
    """The images of an experiment.

    Attributes
    ----------
    data : Images
        All images; the classifier is trained on them.
    x : ndarray of float32, shape (n, 784)
        The images to cluster, in [0, 1].
    labels : ndarray, shape (n,)
        Their digits, for scores.
    content : int
        Checksum of ``data``.
    """

    data: Images
    x: NDArray[np.float32]
    labels: NDArray[np.int64]
    content: int


def read_digits(folder: Path, n_images: int = 0) -> Digits:
    """Read MNIST and draw ``n_images`` random images to cluster (0 = all).

    Raises :class:`InputError` as :func:`read_images` does.
    """
    data = read_images(folder)
    n = len(data.pixels)
    rows = np.arange(n)
    if 0 < n_images < n:
        rows = np.sort(np.random.default_rng(0).permutation(n)[:n_images])
    x = data.pixels[rows].astype(np.float32) / np.float32(255)
    content = zlib.crc32(data.labels.tobytes(), zlib.crc32(data.pixels.tobytes()))
    return Digits(data, x, data.labels[rows].astype(np.int64), content)


# --- populations ------------------------------------------------------------------------------------------------------


def digit_populations(
    values: NDArray[np.float32], coordinates: NDArray[np.float32], seed: int, clusters: int = DIGITS
) -> NDArray[np.int64]:
    """Partition images into ``clusters`` populations by density.

    The largest populations of the tree are the clusters. Each smaller population (another way of writing a digit)
    joins the cluster of most of the nearest neighbours of its images. If there are too few populations, the tree is cut
    at a lower level.

    Parameters
    ----------
    values : ndarray, shape (n, d)
        Features of the images, for distances.
    coordinates : ndarray, shape (n, 2)
        UMAP coordinates of the images.
    seed : int
        Seed of the tree.
    clusters : int
        Number of clusters.

    Returns
    -------
    ndarray, shape (n,)
        The cluster of each image, from 0.
    """
    settings = replace(Settings(), experts=MICRO_CLUSTERS, populations=clusters, views=0, support=0)
    tree = population_tree(values, coordinates, np.zeros(len(values), dtype=np.int32), settings, seed=seed)
    population = tree.landmark_population
    if population.max() + 1 < clusters:
        population = fcluster(tree.linkage, clusters, "maxclust")[tree.micro_cluster] - 1
    size = np.bincount(population)
    rank = np.empty(len(size), dtype=np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    label = rank[population]  # (n,), the largest population is 0
    core = np.flatnonzero(label < clusters)
    core_values = torch.from_numpy(values[core])
    joined = label.copy()
    for small in range(clusters, len(size)):
        members = np.flatnonzero(label == small)
        nearest = [
            torch.cdist(torch.from_numpy(values[rows]), core_values)
            .topk(min(_NEIGHBORS, len(core)), largest=False)
            .indices.numpy()
            for rows in np.array_split(members, max(1, len(members) // _ROWS))
        ]
        votes = label[core][np.concatenate(nearest).ravel()]
        joined[members] = np.bincount(votes, minlength=clusters).argmax()
    return joined


def gaussian_populations(coordinates: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Partition images (n,) with ten Gaussians fitted to their UMAP coordinates (n, 2)."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(DIGITS, n_init=3, random_state=seed)
    return np.asarray(mixture.fit_predict(coordinates.astype(np.float64)), dtype=np.int64)


# --- the network ------------------------------------------------------------------------------------------------------


def partition_similarity(population: NDArray[np.int64], settings: Settings, device: str) -> Similarity:
    """The similarity matrix in which images (n,) of the same population are similar."""
    unused = torch.zeros(len(population), 2, device=device)  # a partition needs no coordinates
    labels = torch.from_numpy(population).to(device)
    return Similarity("partition", unused, labels, settings.radius, settings.neighbors, weak=False)


def train_network(
    x: Tensor, similarity: Similarity, settings: Settings, seed: int, *, augmented: bool = True
) -> MoeSimVae:
    """Train a network on images ``x`` (n, 784), with posteriors of a fixed standard deviation."""
    network = build_network(x.shape[1], settings, seed).to(x.device)
    fix_posterior(network, POSTERIOR_SD)
    for _ in train(network, x, similarity, None, settings, seed, augment=augment if augmented else None):
        pass
    return network


def fix_posterior(network: MoeSimVae, sd: float) -> None:
    """Fix the standard deviation of every posterior at ``sd`` in all directions."""
    head = network.encoder.log_variance
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(2 * math.log(sd))
    head.requires_grad_(False)


def likely_clusters(network: MoeSimVae, x: Tensor) -> NDArray[np.int64]:
    """The most likely cluster (n,) of images ``x`` (n, m)."""
    with torch.inference_mode():
        return np.concatenate([network.assign(rows).argmax(1).cpu().numpy() for rows in torch.split(x, _CHUNK)])


# --- labels, for scores only ------------------------------------------------------------------------------------------


def contingency(cluster: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of images of each cluster and digit, (10, 10)."""
    counts = np.zeros((DIGITS, DIGITS), dtype=np.int64)
    np.add.at(counts, (cluster, labels), 1)
    return counts


def digits_of_clusters(cluster: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The digit of each cluster (10,), by the one-to-one matching with the most images."""
    return np.asarray(linear_sum_assignment(contingency(cluster, labels), maximize=True)[1], dtype=np.int64)


def fit_digit_classifier(data: Images, epochs: int, device: str) -> nn.Module:
    """Train the classifier of generated images on all training images and their labels."""
    pixels = torch.tensor(data.pixels[: data.n_train], device=device).float() / 255
    labels = torch.tensor(data.labels[: data.n_train].astype(np.int64), device=device)
    return fit_classifier(pixels, labels, 0, epochs=epochs)
