"""Compare the network with the nearest landmarks on files that neither has seen.

    python docs/measurements/unseen_files.py --data ../shared/data --seeds 2 --output docs/results/unseen_files.md

A model learns clusters from some files of a study. The others are assigned by its network, and by a majority of the
15 nearest landmarks, which have the clusters that the network gave them. Labels are used for scores only.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from cytovae.benchmark.datasets import PUBLIC, GatedCells, load, read_table
from cytovae.benchmark.tables import markdown
from cytovae.environment import machine, versions_of
from cytovae.inference.assigner import Assigner
from cytovae.metrics import score
from cytovae.settings import Settings
from cytovae.study.train_model import train_model

MOST_CELLS = 100_000  # random cells of the unseen files
NEIGHBORS = 15
HEAD = (
    *("study", "F_weighted: network", "kNN", "F1_mean: network", "kNN", "ARI: network", "kNN"),
    "speed, network to kNN",
)
PACKAGES = ("cytovae", "torch", "scikit-learn", "umap-learn")


class Split(NamedTuple):
    """Files of a study that a model learns from, and files that it assigns, by their numbers in the study."""

    dataset: str
    learned: tuple[int, ...]
    unseen: tuple[int, ...]

    def __str__(self) -> str:
        spelled = [str(f[0] + 1) if len(f) == 1 else f"{f[0] + 1} to {f[-1] + 1}" for f in self[1:]]
        return f"{self.dataset}, file {spelled[1]}" + (f", from {spelled[0]}" if len(self.learned) > 2 else "")


SPLITS = (
    Split("multicenter", tuple(range(8)), tuple(range(8, 16))),
    Split("optimalflow_siteb", (1, 2), (0,)),
    Split("optimalflow_siteb", (0, 2), (1,)),
    Split("optimalflow_siteb", (0, 1), (2,)),
    Split("hipc", (0,), (1,)),
    Split("hipc", (1,), (0,)),
)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    sets = {dataset.name: dataset for dataset in read_table(PUBLIC, arguments.data)}
    lines, of_network, of_neighbors = [], [], []
    for split in SPLITS:
        gated = load(sets[split.dataset])
        found = np.array([list(measured(gated, split, seed)) for seed in range(arguments.seeds)])  # (seeds, 2, 4)
        network, neighbors = found.mean(axis=0)
        of_network.append(network)
        of_neighbors.append(neighbors)
        lines.append(cells_of(str(split), network, neighbors))
        print(*lines[-1], flush=True)
    lines.append(cells_of("mean", np.mean(of_network, axis=0), np.mean(of_neighbors, axis=0)))
    packages = ", ".join(f"{name} {version}" for name, version in versions_of(PACKAGES).items())
    text = PAGE.format(markdown(HEAD, lines), seeds=arguments.seeds, machine=machine(), versions=packages)
    arguments.output.write_text(text, encoding="utf-8")


def measured(gated: GatedCells, split: Split, seed: int) -> Iterator[list[float]]:
    """Scores and cells per second of the network, then of the nearest landmarks."""
    learned = gated.take(np.flatnonzero(np.isin(gated.cells.source, split.learned)))
    rows = np.flatnonzero(np.isin(gated.cells.source, split.unseen))
    unseen = gated.take(np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_CELLS]))
    learning = train_model(learned.cells, Settings(support=0), seed=seed)
    assigner = Assigner(replace(learning.model, novelty=None))
    landmarks = learned.cells.values[learning.landmarks]
    nearest = KNeighborsClassifier(NEIGHBORS).fit(landmarks, assigner.assign(landmarks).cluster)
    for assign in (lambda values: assigner.assign(values).cluster, nearest.predict):
        began = perf_counter()
        cluster: NDArray[np.int32] = assign(unseen.cells.values)
        seconds = perf_counter() - began
        report = score(cluster, unseen.gates)
        yield [report.f_weighted, report.f1_mean, report.ari, len(cluster) / seconds]


def cells_of(title: str, network: NDArray[np.float64], neighbors: NDArray[np.float64]) -> list[str]:
    """A row of the table."""
    scores = [f"{value:.3f}" for pair in zip(network[:3], neighbors[:3], strict=True) for value in pair]
    return [title, *scores, f"{network[3] / neighbors[3]:.0f} ×"]


PAGE = """# Files not seen in training

Is the network needed, once the landmarks have their clusters? Models learn from some files of a study and assign the
others: by the network, and by the 15 nearest landmarks (kNN, scikit-learn, in marker space). Both have the same
clusters. Means of {seeds} seed(s); at most 100,000 cells of the unseen files.

{0}

The settings of the network were chosen with most of these splits in sight ([Choices](../choices.md#depict-and-steps)).

Made by `python docs/measurements/unseen_files.py --data ../shared/data --seeds {seeds} --output
docs/results/unseen_files.md`. {machine}; {versions}.
"""


if __name__ == "__main__":
    main()
