"""Measure how well two models of disjoint halves of the cells agree, beside FlowSOM.

    python docs/measurements/halves.py --data ../shared/data --output docs/results/halves.md

Both models assign all cells; their clusters are compared by the adjusted Rand index. No label is read. With
``--earlier FOLDER``, an earlier version of the package is measured, too, by its command line: the folder holds its
``cytovae/``, with its ``cli/`` in it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet
from sklearn.metrics import adjusted_rand_score

from cytovae.benchmark.datasets import PUBLIC, load, read_table
from cytovae.benchmark.methods import Run, cluster
from cytovae.benchmark.tables import markdown
from cytovae.cells import CellTable
from cytovae.environment import machine, versions_of
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs

METHODS = (Run("cytovae"), Run("flowsom", (10, 15, 20)))
HEAD = ("data set", "cytovae", "FlowSOM, K = 10", "K = 15", "K = 20")
EARLIER = "cytovae 0.1.0"
PACKAGES = ("cytovae", "flowsom", "torch", "scikit-learn", "umap-learn")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--earlier", type=Path, help=f"folder of the package of {EARLIER}")
    arguments = parser.parse_args()
    rows = []
    for dataset in read_table(PUBLIC, arguments.data):
        if dataset.reported_only:
            continue
        cells, seed = load(dataset).cells, zlib.crc32(dataset.name.encode())
        half = np.random.default_rng(seed).permutation(len(cells)) % 2 == 0
        found = agreements(cells, half)
        if arguments.earlier:
            found = np.append(found, agreement_of_earlier(arguments.earlier.resolve(), cells, half))
        rows.append((dataset.name, found))
        print(dataset.name, rows[-1][1].round(3), flush=True)
    values = np.array([each for _, each in rows])
    rows += [("mean", values.mean(axis=0)), ("lowest", values.min(axis=0))]
    head = (*HEAD, EARLIER) if arguments.earlier else HEAD
    table = markdown(head, [[title, *(f"{value:.3f}" for value in each)] for title, each in rows])
    packages = ", ".join(f"{name} {version}" for name, version in versions_of(PACKAGES).items())
    text = PAGE.format(table, machine=machine(), versions=packages)
    arguments.output.write_text(text, encoding="utf-8")


def agreements(cells: CellTable, half: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Adjusted Rand index of all cells between the models of two halves, for each method and number."""
    found = []
    for run in METHODS:
        for one, other in zip(cluster(run, cells, half), cluster(run, cells, ~half), strict=True):
            found.append(adjusted_rand_score(one.cluster, other.cluster))
    return np.array(found)


def agreement_of_earlier(package: Path, cells: CellTable, half: NDArray[np.bool_]) -> float:
    """The same for an earlier version, from FCS files of the transformed markers."""
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    quiet = ("--device", "cpu", "--threads", "1", "--quiet", "--force")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        every = written(folder / "all", cells)
        found = []
        for number, rows in enumerate((half, ~half)):
            model, output = folder / f"model{number}", folder / f"{number}.parquet"
            files = written(folder / str(number), cells.take(np.flatnonzero(rows)))
            train = ("train", *files, "-o", model, "--markers", ",".join(cells.markers), "--transform", "none")
            for command in (train, ("assign", model, *every, "-o", output)):
                call = [sys.executable, "-m", "cytovae", *map(str, command), *quiet]
                subprocess.run(call, env=environment, cwd=folder, check=True)
            found.append(parquet.read_table(output, columns=["cluster"])["cluster"].to_numpy())
    return float(adjusted_rand_score(*found))


def written(folder: Path, cells: CellTable) -> list[Path]:
    """FCS files of the cells, one for each file that they come from."""
    folder.mkdir()
    channels = [Channel(index, marker, "", 1e6) for index, marker in enumerate(cells.markers)]
    paths = []
    for source in np.unique(cells.source).tolist():
        paths.append(folder / f"{source:03}.fcs")
        write_fcs(paths[-1], cells.values[cells.source == source], channels)
    return paths


PAGE = """# Two halves of the cells

Two models learn from disjoint random halves of the cells of a data set and assign all of them. Adjusted Rand index
between their clusters, one split:

{0}

Made by `python docs/measurements/halves.py --data ../shared/data --output docs/results/halves.md`; an earlier version
is measured with `--earlier`. {machine}; {versions}.
"""


if __name__ == "__main__":
    main()
