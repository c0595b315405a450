"""Measure the novelty of populations left out of training and the calibration of probabilities, on public data sets.

    python docs/measurements/novelty.py --data ../shared/data

Labels are used to leave out cells and for scores, never for training.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from cytovae.benchmark.datasets import PUBLIC, GatedCells, load, read_table
from cytovae.inference.assigner import assign
from cytovae.metrics import expected_calibration_error
from cytovae.settings import Settings
from cytovae.study.train_model import learn

LEFT_OUT = (
    ("bendall", "Mature CD4+ T"),
    ("bendall", "NK"),
    ("huimm", "naive b cells"),
    ("hipc", "CD8 Naive"),
    ("flowsom_ff", "B cells"),
)
CALIBRATED = ("flowsom_ff", "multicenter")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = {dataset.name: dataset for dataset in read_table(PUBLIC, arguments.data)}
    print("| data set | left out | AUC of novelty | above 0.5, left out | above 0.5, others |\n|---|---|---|---|---|")
    for name, population in LEFT_OUT:
        gated = load(sets[name])
        out = gated.gates.population == gated.gates.names.index(population)
        novelty = assign(
            learn(gated.cells.take(np.flatnonzero(~out)), Settings(), seed=arguments.seed), gated.cells.values
        ).novelty
        assert novelty is not None
        scored = gated.gates.population >= 0
        area = roc_auc_score(out[scored], novelty[scored])
        shares = " | ".join(f"{(novelty[rows] > 0.5).mean():.3f}" for rows in (out, ~out))
        print(f"| {name} | {population} | {area:.3f} | {shares} |", flush=True)
    print("\n| data set | expected calibration error |\n|---|---|")
    for name in CALIBRATED:
        print(f"| {name} | {calibration(load(sets[name]), arguments.seed):.4f} |", flush=True)


def calibration(gated: GatedCells, seed: int) -> float:
    """Expected calibration error of cluster probabilities.

    A cell is correct if most gated cells of its cluster have its gate.
    """
    assignment = assign(learn(gated.cells, Settings(), seed=seed), gated.cells.values)
    scored = gated.gates.population >= 0
    cluster, population = assignment.cluster[scored] - 1, gated.gates.population[scored]
    shape = (assignment.probabilities.shape[1], len(gated.gates.names))
    counts = np.bincount(cluster * shape[1] + population, minlength=shape[0] * shape[1]).reshape(shape)
    stated = np.clip(assignment.probabilities.max(1)[scored], 0, 1)
    return expected_calibration_error(stated, counts.argmax(1)[cluster] == population)


if __name__ == "__main__":
    main()
