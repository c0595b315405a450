"""Measure how well two models of disjoint halves of the cells agree, beside FlowSOM.

    python docs/measurements/halves.py --data ../shared/data --output docs/results/halves.md

Both models assign all cells; their clusters are compared by the adjusted Rand index. No label is read.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from cytovae.benchmark.datasets import PUBLIC, load, read_table
from cytovae.benchmark.methods import Run, cluster
from cytovae.benchmark.tables import markdown
from cytovae.cells import CellTable
from cytovae.environment import machine, versions_of

METHODS = (Run("cytovae"), Run("flowsom", (10, 15, 20)))
HEAD = ("data set", "cytovae", "FlowSOM, K = 10", "K = 15", "K = 20")
PACKAGES = ("cytovae", "flowsom", "torch", "scikit-learn", "umap-learn")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for dataset in read_table(PUBLIC, arguments.data):
        if dataset.reported_only:
            continue
        rows.append((dataset.name, agreements(load(dataset).cells, zlib.crc32(dataset.name.encode()))))
        print(dataset.name, rows[-1][1].round(3), flush=True)
    values = np.array([each for _, each in rows])
    rows += [("mean", values.mean(axis=0)), ("lowest", values.min(axis=0))]
    table = markdown(HEAD, [[title, *(f"{value:.3f}" for value in each)] for title, each in rows])
    packages = ", ".join(f"{name} {version}" for name, version in versions_of(PACKAGES).items())
    text = PAGE.format(table, machine=machine(), versions=packages)
    arguments.output.write_text(text, encoding="utf-8")


def agreements(cells: CellTable, seed: int) -> NDArray[np.float64]:
    """Adjusted Rand index of all cells between the models of two random halves, for each method and number."""
    half = np.random.default_rng(seed).permutation(len(cells)) % 2 == 0
    found = []
    for run in METHODS:
        for one, other in zip(cluster(run, cells, half), cluster(run, cells, ~half), strict=True):
            found.append(adjusted_rand_score(one.cluster, other.cluster))
    return np.array(found)


PAGE = """# Two halves of the cells

Two models learn from disjoint random halves of the cells of a data set and assign all of them. Adjusted Rand index
between their clusters, one split:

{0}

Made by `python docs/measurements/halves.py --data ../shared/data --output docs/results/halves.md`. {machine};
{versions}.
"""


if __name__ == "__main__":
    main()
