"""How much noise `cytovae refine` needs: parts of clusters in files that were not seen in training.

    python docs/measurements/refine_noise.py --data ../shared/data --seeds 2

A model learns from some files of a study, and its two largest clusters are refined without a table. The parts of the
other files' cells, by the network, are compared with the gates, and so are those of the 15 nearest cells that were
learned from. Clusters that do not split with some amount of noise are left out. Labels are used for scores only. Takes
half an hour on one core.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from unseen_files import NEIGHBORS, SPLITS, Split

from cytovae.benchmark.datasets import PUBLIC, GatedCells, load, read_table
from cytovae.inference.assigner import assign
from cytovae.metrics import score
from cytovae.settings import Settings
from cytovae.study.refine_study import FEWEST_CELLS, MOST_CELLS, settings_of_parts
from cytovae.study.train_model import learn

MOST_UNSEEN = 60_000  # random cells of the unseen files
CLUSTERS = (1, 2)
RELATIVE = (1.0, 0.7, 0.5, 0.3, 0.0)


def cells_of_clusters(gated: GatedCells, split: Split, seed: int) -> Iterator[tuple[GatedCells, GatedCells]]:
    """The cells of each large cluster: at most as many as `refine` learns from, and those of the unseen files."""
    rows = np.flatnonzero(np.isin(gated.cells.source, split.unseen))
    unseen = gated.take(np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_UNSEEN]))
    learned = gated.take(np.flatnonzero(np.isin(gated.cells.source, split.learned)))
    model = learn(learned.cells, Settings(support=0), seed=seed)
    of_learned, of_unseen = (assign(model, each.cells.values).cluster for each in (learned, unseen))
    for cluster in CLUSTERS:
        inside, other = np.flatnonzero(of_learned == cluster), np.flatnonzero(of_unseen == cluster)
        if min(len(inside), len(other)) >= FEWEST_CELLS:
            drawn = np.random.default_rng(seed).permutation(inside)[:MOST_CELLS]
            yield learned.take(np.sort(drawn)), unseen.take(other)


def scores_of_parts(learned: GatedCells, unseen: GatedCells, noise: float, seed: int) -> list[float] | None:
    """Scores of the unseen cells' parts: by the network, then by the nearest cells; None if there is one part."""
    settings = replace(settings_of_parts(Settings(support=0)), input_noise=noise)
    model = learn(learned.cells, settings, seed=seed)
    if model.n_clusters == 1:
        return None
    of_learned, of_unseen = (assign(model, each.cells.values).cluster for each in (learned, unseen))
    nearest = KNeighborsClassifier(NEIGHBORS).fit(learned.cells.values, of_learned)
    reports = (score(of_unseen, unseen.gates), score(nearest.predict(unseen.cells.values), unseen.gates))
    return [value for report in reports for value in (report.f_weighted, report.f1_mean, report.ari)]


def main() -> None:
    """Print a row for each amount of noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    sets = {dataset.name: dataset for dataset in read_table(PUBLIC, arguments.data)}
    found: list[list[list[float]]] = []  # of each refined cluster, the scores with each amount of noise
    for split in SPLITS:
        gated = load(sets[split.dataset])
        for seed in range(arguments.seeds):
            for learned, unseen in cells_of_clusters(gated, split, seed):
                noises = [relative * Settings().input_noise for relative in RELATIVE]
                scores = [each for noise in noises if (each := scores_of_parts(learned, unseen, noise, seed))]
                if len(scores) == len(RELATIVE):
                    found.append(scores)
    print(f"{len(found)} refined clusters.\n")
    print("| noise, relative to the model's | F_weighted / F1_mean / ARI | 15 nearest |\n|---|---|---|")
    for relative, mean in zip(RELATIVE, np.mean(found, axis=0), strict=True):
        spelled = [f"{value:.3f}" for value in mean]
        print(f"| {relative:g} | {' / '.join(spelled[:3])} | {' / '.join(spelled[3:])} |")


if __name__ == "__main__":
    main()
