"""A rare population: F1 of its best cluster after `cytovae refine`, and of its name by a marker table.

Haematopoietic stem cells of Nilsson (2013), 358 of 44,140. The cluster to refine is chosen by the textbook signature of
these cells (CD34+ CD90+, CD38- CD45RA- and no lineage marker), not by the gates: of the clusters with at least 500
cells, the one whose medians fit it best. The marker table is that of the data set bendall, unchanged; it names cells in
`train --types` and in `refine --types`. The gates only score:

    python docs/measurements/refine_rare.py --data ../shared/data --seeds 2
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import cytovae as cv
from cytovae.annotations.marker_table import PanelTypes, parse_marker_table, types_of_panel
from cytovae.inference.assigner import assign
from cytovae.inference.refined import refined
from cytovae.inference.trained_model import TrainedModel
from cytovae.settings import preset
from cytovae.study.name_clusters import cells_around
from cytovae.study.refine_study import FEWEST_CELLS, settings_of_parts
from cytovae.study.train_model import learn

MARKERS = [
    *("CD38", "CD34", "CD123", "CD19", "CD10", "CD110", "CD45", "CD3", "CD45RA", "CD11b", "CD4", "CD49fpur", "CD90bio"),
]
POSITIVE, NEGATIVE = ("CD34", "CD90bio"), ("CD38", "CD45RA", "CD3", "CD10", "CD11b", "CD19")
PARTS = (2, 5, 10, 20, 40)
TABLE, NAME = "bendall.types.csv", "HSC"


def f1_of_best(cluster: NDArray[np.int32], rare: NDArray[np.bool_]) -> tuple[float, int]:
    """The best F1 of any cluster with the rare population, and the number of cells of that cluster."""
    sizes, hits = np.bincount(cluster), np.bincount(cluster[rare], minlength=int(cluster.max()) + 1)
    f1 = 2 * hits / (sizes + rare.sum())
    return float(f1.max()), int(sizes[f1.argmax()])


def by_signature(model: TrainedModel, values: NDArray[np.float32], cluster: NDArray[np.int32]) -> int:
    """The cluster, from 1, whose medians fit the signature best."""
    scaled = model.scaling.scale(values)
    sign = np.array([(name in POSITIVE) / len(POSITIVE) - (name in NEGATIVE) / len(NEGATIVE) for name in MARKERS])
    fit = {
        number: float(np.median(scaled[cluster == number], axis=0) @ sign)
        for number in range(1, model.n_clusters + 1)
        if (cluster == number).sum() >= FEWEST_CELLS
    }
    return max(fit, key=lambda number: fit[number])


def best_threshold(values: NDArray[np.float32], rare: NDArray[np.bool_], n_rare: int) -> float:
    """The best F1 of a linear discriminant fitted to the gates, over all thresholds; ``n_rare`` is of all cells."""
    score = LinearDiscriminantAnalysis().fit(values, rare).decision_function(values)
    hits = np.cumsum(rare[np.argsort(-score)])
    return float((2 * hits / (np.arange(1, len(hits) + 1) + n_rare)).max())


def marker_table(data: Path) -> PanelTypes:
    """The table of bendall for these markers."""
    path = data / "tables" / TABLE
    table = parse_marker_table(path.read_text(encoding="utf-8").replace(",CD90,", ",CD90bio,", 1), path)
    return types_of_panel(table, MARKERS, path)


def f1_of_name(model: TrainedModel, values: NDArray[np.float32], rare: NDArray[np.bool_]) -> tuple[float, int]:
    """F1 of the population :data:`NAME`, and its number of cells."""
    assert model.names is not None
    found = np.array(model.names.of_cluster)[assign(model, values).cluster - 1] == NAME
    return 2 * float((found & rare).sum()) / float(found.sum() + rare.sum()), int(found.sum())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--no-parts", dest="parts", action="store_false", help="names by the marker table only")
    arguments = parser.parse_args()
    data: Path = arguments.data
    cells = cv.read_cells(data / "nilsson_rare.fcs", markers=MARKERS, transform="arcsinh", cofactor=150.0, at_most=None)
    table = cells.table
    lines = (data / "nilsson_rare.gates.csv").read_text(encoding="utf-8").splitlines()[1:]
    rare = np.array([line.strip('"') != "" for line in lines])  # no name: ungated
    assert len(rare) == len(table)
    types = marker_table(data)
    print("| seed | cluster | its cells | parts | F1 | cells of the best cluster |\n|---|---|---|---|---|---|")
    for seed in range(arguments.seeds):
        model = learn(table, preset("default"), seed=seed)
        cluster = assign(model, table.values).cluster
        chosen = by_signature(model, table.values, cluster)
        rows = np.flatnonzero(cluster == chosen)
        f1, size = f1_of_best(cluster, rare)
        print(f"| {seed} | {chosen} | {len(rows):,} | not refined | {f1:.3f} | {size:,} |", flush=True)
        known = best_threshold(table.values[rows], rare[rows], int(rare.sum()))
        print(f"| {seed} | {chosen} | {len(rows):,} | linear classifier, given the gates | {known:.3f} | |", flush=True)
        settings = settings_of_parts(preset("default"))
        around = cells_around(model, (chosen,), table.values, 1 - len(rows) / len(table))
        named = learn(table, preset("default"), seed=seed, types=types)
        inner = learn(table.take(rows), settings, seed=seed, types=types, around=around)
        for title, one in (("train --types", named), ("refine --types", refined(model, (chosen,), inner))):
            f1, size = f1_of_name(one, table.values, rare)
            print(f"| {seed} | {chosen} | {len(rows):,} | {title} | {f1:.3f} | {size:,} |", flush=True)
        if not arguments.parts:
            continue
        inner = learn(table.take(rows), settings, seed=seed)
        for n_parts in dict.fromkeys((inner.n_clusters, *PARTS)):
            parts = refined(model, (chosen,), inner.with_clusters(n_parts)) if n_parts > 1 else model
            f1, size = f1_of_best(assign(parts, table.values).cluster, rare)
            name = f"auto: {n_parts}" if n_parts == inner.n_clusters else f"{n_parts}"
            print(f"| {seed} | {chosen} | {len(rows):,} | {name} | {f1:.3f} | {size:,} |", flush=True)


if __name__ == "__main__":
    main()
