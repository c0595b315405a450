"""Compare rules for cutting the tree of micro-clusters, on landmarks of the public data sets with gates, no network.

    python docs/measurements/cut.py --data ../shared/data --seeds 3

Labels are used for scores only. Takes ten minutes on one core.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from cytovae.benchmark.datasets import PUBLIC, load, read_table
from cytovae.cells import GateLabels
from cytovae.metrics import score
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import PopulationTree, population_tree
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Settings
from cytovae.study.sampling import choose_landmarks

SETS = ("bendall", "bodenmiller", "huimm", "hipc", "flowsom_ff", "multicenter")
SETTINGS = Settings()


def main() -> None:
    """Print a row for each rule: the means of three scores over the data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rules = [(valley, 0) for valley in (0.4, 0.45, 0.5, 0.6)] + [(0.45, least) for least in (10, 11, 12, 13)]
    results: dict[tuple[float, int], list[tuple[float, float, float]]] = defaultdict(list)
    for dataset in read_table(PUBLIC, arguments.data, SETS):
        gated = load(dataset)
        for seed in range(arguments.seeds):
            rows = choose_landmarks(len(gated.cells), SETTINGS.landmarks, seed)
            cells = gated.take(rows)
            values = cells.cells.values
            neighbors = nearest_neighbors(values, SETTINGS.umap_neighbors, SETTINGS.metric)
            plane = umap_projection(values, neighbors, SETTINGS, seed)
            for valley, least in rules:
                tree = population_tree(
                    values,
                    plane,
                    cells.cells.source,
                    n_micro_clusters=SETTINGS.experts,
                    valley=valley,
                    populations=least,
                    seed=seed,
                )
                results[valley, least].append(scores(tree, cells.gates))
    print("| valley | at least | F_weighted | F1_mean | ARI |\n|---|---|---|---|---|")
    for (valley, least), rows_of_rule in results.items():
        print(f"| {valley} | {least} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows_of_rule, 0)) + " |")


def scores(tree: PopulationTree, gates: GateLabels) -> tuple[float, float, float]:
    """F_weighted, F1_mean and ARI of the populations of a tree."""
    report = score(tree.landmark_population + 1, gates)
    return report.f_weighted, report.f1_mean, report.ari


if __name__ == "__main__":
    main()
