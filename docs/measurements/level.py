"""Cut the tree of micro-clusters by measures of clustering quality, and try other scalings of values for UMAP.

    python docs/measurements/level.py --data ../shared/data --seeds 3
    python docs/measurements/level.py --data ../shared/data --seeds 1 --values range

Uses landmarks of the public data sets with gates and no network. Labels are used for scores only, except in the row
"best by the labels". Takes ten minutes on two cores.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster
from scipy.sparse import csr_matrix
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from cytovae.benchmark.datasets import PUBLIC, load, read_table
from cytovae.metrics import score
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import population_tree, small_views
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Settings
from cytovae.study.sampling import choose_landmarks

SETS = ("bendall", "bodenmiller", "huimm", "hipc", "flowsom_ff", "multicenter")
SETTINGS = Settings()
LEVELS = np.arange(0.2, 0.91, 0.05)
SILHOUETTE_CELLS = 4_000
Values = NDArray[np.float32]


def as_they_are(x: Values, _source: NDArray[np.int32]) -> Values:
    """Values on the arcsinh scale."""
    return x


def spread(x: Values, low: float, high: float) -> tuple[Values, Values]:
    """The quantile ``low`` of each marker (m,), and the difference of the quantile ``high`` to it."""
    first, last = np.quantile(x, (low, high), axis=0)
    return first, np.maximum(last - first, 1e-9)


def by_range(x: Values, _source: NDArray[np.int32]) -> Values:
    """Every marker scaled to its 0.1 % and 99.9 % quantiles."""
    first, width = spread(x, 0.001, 0.999)
    return (x - first) / width


def by_root(x: Values, _source: NDArray[np.int32]) -> Values:
    """Every marker divided by the square root of that range."""
    first, width = spread(x, 0.001, 0.999)
    return (x - first) / np.sqrt(width)


def by_deviation(x: Values, _source: NDArray[np.int32]) -> Values:
    """Every marker with unit variance."""
    return (x - x.mean(0)) / x.std(0)


def by_components(x: Values, _source: NDArray[np.int32]) -> Values:
    """Principal components, each divided by the square root of its standard deviation."""
    _, singular, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return (x - x.mean(0)) @ axes.T / np.sqrt(singular / np.sqrt(len(x)))


def by_file(x: Values, source: NDArray[np.int32]) -> Values:
    """Values with the 5 % and 95 % quantiles of each file mapped to those of all files."""
    first, width = spread(x, 0.05, 0.95)
    aligned = x.copy()
    for file in np.unique(source):
        its_first, its_width = spread(x[source == file], 0.05, 0.95)
        aligned[source == file] = (x[source == file] - its_first) / its_width * width + first
    return aligned


VALUES: dict[str, Callable[[Values, NDArray[np.int32]], Values]] = {
    "as-they-are": as_they_are,
    "range": by_range,
    "root": by_root,
    "deviation": by_deviation,
    "components": by_components,
    "file": by_file,
}


def modularity(neighbors: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Newman's modularity of the undirected graph of nearest neighbours (n, k)."""
    n, k = neighbors.shape
    links = csr_matrix((np.ones(n * k), (np.repeat(np.arange(n), k), neighbors.ravel())), (n, n))
    member = csr_matrix((np.ones(n), (np.arange(n), label)))
    joined = (member.T @ (links + links.T) @ member).toarray()
    joined /= joined.sum()
    return float(np.trace(joined) - (joined.sum(0) ** 2).sum())


def likelihood(x: Values, label: NDArray[np.int64]) -> float:
    """Bayesian information criterion of full-covariance Gaussians, one for each cluster; larger is better."""
    n, m = x.shape
    total = 0.0
    for cluster in np.unique(label):
        own = x[label == cluster]
        covariance = (np.cov(own.T) if len(own) > m else np.eye(m)) + 1e-3 * np.eye(m)
        total += len(own) * (np.log(len(own) / n) - np.linalg.slogdet(covariance)[1] / 2)
    return float(total - len(np.unique(label)) * m * (m + 3) / 4 * np.log(n))


def measures(x: Values, plane: Values, neighbors: NDArray[np.int64], label: NDArray[np.int64]) -> dict[str, float]:
    """Measures of one clustering; larger is better for each."""
    if len(np.unique(label[:SILHOUETTE_CELLS])) < 2:
        return {}
    few = slice(SILHOUETTE_CELLS)
    return {
        "modularity": modularity(neighbors, label),
        "silhouette of markers": silhouette_score(x[few], label[few]),
        "silhouette on the UMAP": silhouette_score(plane[few], label[few]),
        "Calinski-Harabasz": calinski_harabasz_score(x, label),
        "Davies-Bouldin": -davies_bouldin_score(x, label),
        "BIC of Gaussians": likelihood(x, label),
    }


def main() -> None:
    """Print a row for each measure: the means of three scores over the data sets, cut where it is largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--values", choices=VALUES, default="as-they-are", help="the values for neighbours and UMAP")
    arguments = parser.parse_args()
    results: dict[str, list[Any]] = defaultdict(list)
    for dataset in read_table(PUBLIC, arguments.data, SETS):
        gated = load(dataset)
        for seed in range(arguments.seeds):
            # In random order, so that the first few are a random sample.
            rows = np.random.default_rng(seed).permutation(choose_landmarks(len(gated.cells), SETTINGS.landmarks, seed))
            cells = gated.take(rows)
            x, source = cells.cells.values, cells.cells.source
            seen = np.ascontiguousarray(VALUES[arguments.values](x, source), dtype=np.float32)
            neighbors = nearest_neighbors(seen, SETTINGS.umap_neighbors, SETTINGS.metric, workers=2)
            with small_views(x, source, SETTINGS, seed=seed, workers=2) as small:
                plane = umap_projection(seen, neighbors, SETTINGS, seed)
                tree = population_tree(x, plane, source, SETTINGS, seed=seed, small=small)
            ours = score(tree.landmark_population + 1, cells.gates)
            results["ours"].append((ours.f_weighted, ours.f1_mean, ours.ari))
            cuts = [fcluster(tree.linkage, 1 - level + 1e-6, "distance") for level in LEVELS.tolist()]
            labels = [cut.astype(np.int64)[tree.micro_cluster] - 1 for cut in cuts]
            scored = [score(label + 1, cells.gates) for label in labels]
            each = [(one.f_weighted, one.f1_mean, one.ari) for one in scored]
            results["best by the labels"].append(np.max(each, 0))
            measured = [measures(x, plane, neighbors.indices, label) for label in labels]
            for name in max(measured, key=len):
                best = max(range(len(labels)), key=lambda i: measured[i].get(name, -np.inf))
                results[name].append(each[best])
    print(f"values {arguments.values}\n\n| level by | F_weighted | F1_mean | ARI |\n|---|---|---|---|")
    for name, rows_of_it in results.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows_of_it, 0)) + " |")


if __name__ == "__main__":
    main()
