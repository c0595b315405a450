"""Labels of one file transferred to others: names, calibration, and populations that were left out.

    python docs/measurements/label_transfer.py --data ../shared/data --output label_transfer.md

Learns from the labels of one file, as `cytovae train --labels` does, and names the cells of another that nothing was
learned from. Scores are means of F1 by name over populations of at least 30 cells in both files. Beside it, on the same
cells: linear discriminant analysis and the 15 nearest neighbours of scikit-learn, on the same transformed markers.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from cytovae.annotations.known_labels import known_labels
from cytovae.benchmark.datasets import PUBLIC, DataSet, load, read_table
from cytovae.cells import CellTable, GateLabels
from cytovae.environment import machine, versions_of
from cytovae.inference.assigner import Assigner, assign_table
from cytovae.inference.trained_model import TrainedModel
from cytovae.settings import Settings
from cytovae.study.train_model import learn

Names = NDArray[np.str_]
Numbers = NDArray[np.float64]

# Data set, the file that teaches, and the files that are named, each tuple by itself. Sets on which constants were
# chosen stand first; Multicenter only decided that some shifts are large.
TRANSFERS = (
    ("hipc", "1228_1A", (("1369_1A",),)),
    ("hipc", "1369_1A", (("1228_1A",),)),
    ("bodenmiller", "H05", (("H08",), ("H01",), ("H12",))),
    ("multicenter", "1", (tuple(str(number) for number in range(9, 17)),)),
)
LEFT_OUT_OF = (TRANSFERS[0], TRANSFERS[2])  # into the first of their targets
MOST_CELLS = 60_000  # of a file that names are transferred to
FEWEST_CELLS, FEWEST_LEFT_OUT = 30, 500
BINS = 15
SMALL_VIEWS = replace(Settings(), views=0, support=0)  # the tree decides little where cells have labels


@dataclass(frozen=True)
class Cells:
    """Cells of some files of a set: values (n, m), and their populations (n,), "" where there is none."""

    table: CellTable
    population: Names

    def take(self, rows: NDArray[np.integer]) -> "Cells":
        """The cells at these rows."""
        return Cells(self.table.take(rows), self.population[rows])


@dataclass(frozen=True)
class Named:
    """The population of each cell, its probability, and its novelty, (n,) each."""

    population: Names
    probability: NDArray[np.float32]
    novelty: NDArray[np.float32]


def read(dataset: DataSet, stems: tuple[str, ...], most: int | None = None) -> Cells:
    """The cells of the files with these names, at most ``most``."""
    files = tuple(file for file in dataset.files if Path(file).stem in stems)
    gated = load(replace(dataset, files=files, train_files=()))
    cells = Cells(gated.cells, np.array((*gated.gates.names, ""))[gated.gates.population])
    if most is None or len(cells.population) <= most:
        return cells
    return cells.take(np.sort(np.random.default_rng(0).choice(len(cells.population), most, replace=False)))


def taught(cells: Cells, seed: int, settings: Settings = SMALL_VIEWS) -> TrainedModel:
    """The model of the cells and their labels."""
    names, index = np.unique(cells.population, return_inverse=True)
    known = names != ""
    number = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
    labels = known_labels(GateLabels(number[index], tuple(names[known].tolist())), "labels").labels
    return learn(cells.table, settings, seed=seed, labels=labels)


def named(model: TrainedModel, cells: Cells) -> Named:
    """The names that ``assign`` gives to cells."""
    names, assigned = model.cell_names, assign_table(Assigner(model), cells.table)
    assert names is not None
    assert assigned.novelty is not None
    number = names.numbers_of_cells(assigned.cluster, assigned.novelty)
    probability = names.probability(assigned.cluster, assigned.probabilities, number)
    return Named(np.array(("unknown", *names.populations))[number], probability, assigned.novelty)


def scored(learned: Cells, cells: Cells) -> list[str]:
    """Populations with at least 30 cells in both."""
    counts = [dict(zip(*np.unique(each.population, return_counts=True), strict=True)) for each in (learned, cells)]
    return [name for name in counts[0] if name and min(count.get(name, 0) for count in counts) >= FEWEST_CELLS]


def macro_f1(cells: Cells, population: Names, names: list[str]) -> float:
    """Mean F1 over ``names`` among cells that have a population."""
    known = cells.population != ""
    return float(f1_score(cells.population[known], population[known], labels=names, average="macro"))


def calibration_error(stated: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in bins of equal numbers of cells."""
    bins = np.array_split(np.argsort(stated, kind="stable"), BINS)
    return float(sum(len(rows) * abs(stated[rows].mean() - right[rows].mean()) for rows in bins) / len(stated))


def by_scikit_learn(method: Callable[[], object], learned: Cells, cells: Cells) -> Names:
    """The names that a classifier of scikit-learn gives."""
    known = learned.population != ""
    classifier = method()
    classifier.fit(learned.table.values[known], learned.population[known])  # type: ignore[attr-defined]
    return np.asarray(classifier.predict(cells.table.values))  # type: ignore[attr-defined]


def thinned(cells: Cells, seed: int) -> Cells:
    """One label in a hundred of each population, at least five; the other cells have none."""
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(cells.population), dtype=np.bool_)
    for name in np.unique(cells.population[cells.population != ""]):
        rows = np.flatnonzero(cells.population == name)
        kept[rng.choice(rows, min(len(rows), max(5, round(len(rows) / 100))), replace=False)] = True
    return Cells(cells.table, np.where(kept, cells.population, ""))


def transfer(learned_from: tuple[DataSet, str], targets: tuple[tuple[str, ...], ...], seed: int) -> list[Numbers]:
    """The scores of the page for each target, from one seed."""
    dataset, source = learned_from
    learned = read(dataset, (source,))
    few_labels = thinned(learned, seed)
    models = taught(learned, seed), taught(few_labels, seed)
    scores = []
    for target in targets:
        cells = read(dataset, target, MOST_CELLS)
        common = scored(learned, cells)
        lda, few_lda = (
            macro_f1(cells, by_scikit_learn(LinearDiscriminantAnalysis, each, cells), common)
            for each in (learned, few_labels)
        )
        knn = macro_f1(cells, by_scikit_learn(lambda: KNeighborsClassifier(15), learned, cells), common)
        full, few = (named(model, cells) for model in models)
        labelled = np.isin(cells.population, np.unique(learned.population[learned.population != ""]))
        right = (full.population == cells.population)[labelled]
        error = calibration_error(full.probability[labelled], right)
        unknown = (full.population[labelled] == "unknown").mean()
        ours = [macro_f1(cells, one.population, common) for one in (full, few)]
        scores.append(np.array((ours[0], lda, knn, ours[1], few_lda, error, unknown)))
        print(spelled(f"{title_of(dataset.name, source, target)}, seed {seed}", scores[-1]), flush=True)
    return scores


def title_of(name: str, source: str, target: tuple[str, ...]) -> str:
    """The title of the row of a transfer."""
    return f"{name} {source} → {target[0] if len(target) == 1 else f'{target[0]} to {target[-1]}'}"


def transfers(sets: dict[str, DataSet], seeds: int, pool: Executor) -> str:
    """Scores of every pair, means over seeds, and their means."""
    running = [
        (each, [pool.submit(transfer, (sets[each[0]], each[1]), each[2], seed) for seed in range(seeds)])
        for each in TRANSFERS
        if each[0] in sets
    ]
    rows: list[tuple[str, Numbers]] = []
    for (name, source, targets), futures in running:
        scores = np.mean([future.result() for future in futures], axis=0)  # (targets, columns)
        rows += [(title_of(name, source, target), of) for target, of in zip(targets, scores, strict=True)]
    rows.append(("mean", np.mean([values for _, values in rows], axis=0)))
    head = (
        "labels of → named",
        "cytovae",
        "LDA",
        "15 neighbours",
        "1 % of labels",
        "LDA of these",
        "calibration error",
    )
    return table((*head, "unknown"), [spelled(*row) for row in rows])


def without(dataset: DataSet, source: str, target: tuple[str, ...], population: str) -> Numbers:
    """AUC of novelty of a population that was left out of training, and the shares of unknown cells."""
    learned, cells = read(dataset, (source,)), read(dataset, target, MOST_CELLS)
    known = np.unique(learned.population[learned.population != ""])
    found = named(taught(learned.take(np.flatnonzero(learned.population != population)), 0), cells)
    out = cells.population == population
    others = np.isin(cells.population, known) & ~out
    area = roc_auc_score(out[out | others], found.novelty[out | others])
    shares = [(found.population[each] == "unknown").mean() for each in (out, others)]
    values = np.array([area, *shares])
    print(spelled(f"{title_of(dataset.name, source, target)}: {population}", values), flush=True)
    return values


def left_out(sets: dict[str, DataSet], pool: Executor) -> str:
    """Each population of at least 500 cells left out of training: how many of its cells are unknown in another file."""
    running: list[tuple[str, Future[Numbers]]] = []
    for name, source, targets in LEFT_OUT_OF:
        if name not in sets:
            continue
        populations, sizes = np.unique(read(sets[name], (source,)).population, return_counts=True)
        for population in populations[(sizes >= FEWEST_LEFT_OUT) & (populations != "")].tolist():
            title = f"{title_of(name, source, targets[0])}: {population}"
            running.append((title, pool.submit(without, sets[name], source, targets[0], population)))
    rows = [(title, future.result()) for title, future in running]
    values = np.array([each for _, each in rows])
    rows.append(("median", np.median(values, axis=0)))
    rows.append(("mean", values.mean(axis=0)))
    head = ("left out", "AUC of novelty", "unknown, of the population", "unknown, of the others")
    return table(head, [spelled(*row) for row in rows])


def spelled(title: str, values: Numbers) -> str:
    """A row of a table."""
    return f"| {title} | {' | '.join(f'{value:.3f}'.replace('0.', '.', 1) for value in values)} |"


def table(head: tuple[str, ...], rows: list[str]) -> str:
    """A table in Markdown."""
    return "\n".join([f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}", *rows])


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1, help="scores are means over so many seeds; each is printed")
    parser.add_argument("--sets", default="hipc,bodenmiller,multicenter", help="data sets to measure")
    parser.add_argument("--no-left-out", action="store_true", help="transfer only, no populations left out")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    arguments = parser.parse_args()
    asked = arguments.sets.split(",")
    sets = {dataset.name: dataset for dataset in read_table(PUBLIC, arguments.data, asked)}
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        parts = [transfers(sets, arguments.seeds, pool)]
        parts.append("(not run)" if arguments.no_left_out else left_out(sets, pool))
    packages = versions_of(("cytovae", "torch", "scikit-learn"))
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    arguments.output.write_text(
        PAGE.format(*parts, seeds=arguments.seeds, machine=machine(), versions=versions), encoding="utf-8"
    )


PAGE = """# Label transfer

The labels of one file name the cells of another. `make bench-names` writes this page ({seeds} seed(s), left-out
populations one; {machine}; {versions}). [Naming populations](../naming.md) says how the method works.

Mean F1 by name over populations of at least 30 cells in both files; the same with one label in a hundred of each
population, at least five; calibration error of the population probabilities in 15 bins of equal size, over cells of
labelled populations; and the share of these cells that are `unknown`.

{0}

Constants were chosen on `hipc` and `bodenmiller` H05 → H08. All six pairs were in sight: that some markers shift a lot
was seen on `multicenter`, as was that novelty must be relative to the file; how much less likely populations without
labels are was chosen there. Models have no small views (`views` and `support` are 0), which matter for cells without a
label only. Other data are the better judge. [Choices](../choices.md#labels) has what was tried.

Each population of at least 500 cells left out of training, cells and all. In the other file its cells should be
`unknown`, and no others. In `bodenmiller`, `nk` and `cd14-surf-` are nearly the same on all ten markers, so that either
hides in the other.

{1}
"""


if __name__ == "__main__":
    main()
