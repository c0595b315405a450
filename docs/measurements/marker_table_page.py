"""The page of results of marker tables.

    python docs/measurements/marker_table_page.py --data ../shared/data --cache /tmp/trees --output marker_tables.md

Trains on public data sets with gates and tables and assigns all their cells, as ``cytovae benchmark run --methods
cytovae:types`` does, in the folder CACHE/runs. scyan is run where it is installed; rows of it that another environment
left there count, too. Scores without a table, and those of FlowSOM, are read from docs/results/benchmark.md. Sets are
left out, and gates joined, on the landmarks of ``marker_tables.py``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
from marker_tables import REPORTED_ONLY, SETS, Landmarks, landmarks_of, left_out, scores_of, spelled, table

from cytovae.benchmark.datasets import PUBLIC, read_table
from cytovae.benchmark.job import NAME_METRICS, Protocol, Row
from cytovae.benchmark.named_methods import MOST_CELLS_OF_SCYAN
from cytovae.benchmark.runner import plan, prepare, read_rows, row_file, run_jobs
from cytovae.cells import GateLabels
from cytovae.naming.populations_by_table import name_populations

ALL, FEW = Protocol(), Protocol(max_events=MOST_CELLS_OF_SCYAN)
BEHIND = 0.01
"""A score counts as reached if it is at most this far below FlowSOM's best K by the labels."""
SCORES = Path(__file__).parents[1] / "results" / "benchmark.md"
DEFAULT, TABLE, BOUND = "cytovae", "cytovae:types", "FlowSOM *oracle* (best K by labels)"
COMPARED = ("f_weighted", "f1_mean", "ari")
JOINED = {"bendall": ("CMP", "MEP"), "bodenmiller": ("nk", "cd14-surf-")}


def run_benchmark(data: Path, folder: Path, seeds: int, at_once: int) -> tuple[Row, ...]:
    """All rows of the runs in ``folder``, after the jobs that are not there yet."""
    prepare(folder)
    sets = read_table(PUBLIC, data, (*SETS, *REPORTED_ONLY))
    jobs = plan(sets, [DEFAULT], 1, ALL) + plan(sets, [TABLE, "scyan"], seeds, ALL)
    if not find_spec("scyan"):
        there = {job.dataset.name for job in jobs if job.run.method == "scyan" and row_file(folder, job).exists()}
        jobs = tuple(job for job in jobs if job.protocol == ALL or job.dataset.name in there)
        jobs = tuple(job for job in jobs if job.run.method != "scyan")
    for job, rows in run_jobs(jobs, folder, at_once=at_once):
        print(f"{job.title}: {rows[0].reason or rows[0].status}", flush=True)
    return read_rows(folder)


def published(name: str) -> dict[str, list[float]]:
    """F_weighted, F1_mean and ARI of a set in docs/results/benchmark.md, by the title of the row.

    A score that is missing is NaN.
    """
    section = SCORES.read_text("utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    columns = [lines[0].index(title) for title in ("F_weighted", "F1_mean", "ARI")]
    return {
        line[0]: [float(line[column].split(" ")[0]) if line[column] else float("nan") for column in columns]
        for line in lines[2:]
        if line[0] in (DEFAULT, BOUND)
    }


def mean_of(rows: Sequence[Row], metric: str) -> float:
    """The mean of a score over seeds; NaN without a result."""
    values = [value for row in rows if (value := getattr(row, metric)) is not None]
    return fmean(values) if values else float("nan")


def page_of_runs(rows: Sequence[Row]) -> str:
    """The table of all sets."""
    lines, scores, reached = [], [], 0
    for name in (*SETS, *REPORTED_ONLY):
        other = published(name)
        done = [row for row in rows if (row.dataset, row.protocol, row.status) == (name, str(ALL), "ok")]
        types = [row for row in done if row.method == TABLE]
        of_set = [np.array(other[DEFAULT]), np.array([mean_of(types, m) for m in COMPARED])]
        of_set += [np.array(other[BOUND]), np.array([mean_of(types, m) for m in NAME_METRICS])]
        enough = int((of_set[1] >= of_set[2] - BEHIND).sum())
        if name in SETS:
            scores.append(of_set)
            reached += enough == len(COMPARED)
        spent = [mean_of([row for row in done if row.method == m], "cluster_cpu_seconds") for m in (DEFAULT, TABLE)]
        seconds = f"{spent[1]:.0f} / {spent[0]:.0f} = {spent[1] / spent[0]:.2f}"
        lines.append((name, *map(spelled, of_set), f"{enough} of 3", seconds))
    means = [np.mean([of_set[column] for of_set in scores], axis=0) for column in range(4)]
    lines.append(("mean of the nine", *map(spelled, means), f"all 3 on {reached} of 9", ""))
    head = ("set", "without a table", "with its table", "FlowSOM, best K by the labels", "accuracy / macro-F1 by name")
    return table((*head, "reached", "CPU seconds, with / without"), lines)


def page_of_scyan(rows: Sequence[Row]) -> str:
    """The table of scyan beside cytovae, with the same marker tables on the same cells."""
    done = [row for row in rows if row.status == "ok" and row.dataset in SETS]
    lines, scores = [], []
    for name in dict.fromkeys(row.dataset for row in done if row.method == "scyan"):
        theirs = [row for row in done if (row.dataset, row.method) == (name, "scyan")]
        ours = [row for row in done if (row.dataset, row.method) == (name, TABLE)]
        # Where a set has no more cells than scyan gets, all cells are the same cells.
        same = [row for row in ours if row.protocol == str(FEW) or row.n_cells == theirs[0].n_cells]
        both = [same or ours, theirs]
        of_set = [np.array([mean_of(each, m) for m in (*COMPARED, *NAME_METRICS)]) for each in both]
        scores.append(of_set)
        seconds = " / ".join(f"{mean_of(each, 'cluster_cpu_seconds'):.0f}" for each in both)
        lines.append((name if same else f"{name} (cytovae: all cells)", *map(spelled, of_set), seconds))
    if not lines:
        return "scyan was not run.\n"
    means = [np.mean([of_set[column] for of_set in scores], axis=0) for column in range(2)]
    lines.append(("mean", *map(spelled, means), ""))
    return table(("set", "cytovae:types", "scyan", "CPU seconds"), lines)


def joined(sets: dict[str, list[Landmarks]]) -> str:
    """Macro-F1 by name of the sets in which two gates look swapped or nearly the same, with the two as one."""
    lines = []
    for name, (kept, other) in JOINED.items():
        found = []
        for cells in sets[name]:
            named = name_populations(cells.values, cells.micro_cluster, cells.linkage, cells.types)
            of_gate = [cells.gates.names.index(each) for each in (kept, other)]
            gate = np.where(cells.gates.population == of_gate[1], of_gate[0], cells.gates.population).astype(np.int32)
            one = replace(cells, gates=GateLabels(gate, cells.gates.names), large=tuple(set(cells.large) - {other}))
            of_name = [named.names.index(each) if each in named.names else -2 for each in (kept, other)]
            population = np.where(named.population == of_name[1], of_name[0], named.population)
            found.append((scores_of(cells, named)[3], scores_of(one, replace(named, population=population))[3]))
        lines.append((f"{name}: {kept} and {other}", *(f"{value:.3f}"[1:] for value in np.mean(found, axis=0))))
    return table(("gates", "two populations", "one"), lines)


PAGE = """# Marker tables

Populations named by marker tables. `make bench-names` writes this page ({seeds} seed(s), one thread).
[Populations by name](../naming.md) says how the method works and what is wrong with some gates.

## All cells

`cytovae benchmark run --datasets public --methods cytovae:types`: the network's clusters of all cells of each set.
F_weighted / F1_mean / ARI, and scores by name over populations of at least 30 cells. The columns without a table and of
FlowSOM are those of [Scores against gates](benchmark.md), five seeds. FlowSOM's K is chosen by the labels, for each
score by itself: a bound. *Reached*: how many of the three scores are at least FlowSOM's minus .01. CPU seconds with and
without a table, in the same run.

{0}
`gatemeclass_flow` looks uncompensated and is not in the mean.

## Beside scyan

The same tables, 20,000 cells of each set, and the same cells for both: F_weighted / F1_mean / ARI / accuracy by name /
macro-F1 by name. scyan has its defaults, but batches of 1,024 cells: with its own of 8,192, which are made for more
cells, it is worse (macro-F1 .629 in place of .749 on hipc, .810 in place of .944 on flowsom_ff).

{1}
{2}
Machine: {machines}. Versions: {versions}.
"""

NO_LANDMARKS = """Sets left out were not measured for this page: [Populations by name](../naming.md#how-well-it-works).
"""
LANDMARKS = """## Sets left out

Four constants (spread of micro-clusters, advantage of the branch, price per cell, width of a context) chosen from 108
settings without the set that is scored. 20,000 landmarks of each set, {2} seed(s), no network; the last score is
macro-F1 by name.

{0}
## Two gates as one

Macro-F1 by name on landmarks, where two gates of the source look swapped or are nearly the same on all markers.

{1}"""


def main() -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--landmark-seeds", type=int, default=1, help="seeds of the landmarks of sets left out")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--no-left-out", action="store_true", help="all cells and scyan only, no landmarks")
    asked = parser.parse_args()
    rows = run_benchmark(asked.data, asked.cache / "runs", asked.seeds, asked.jobs)
    names = () if asked.no_left_out else SETS
    seeds = range(asked.landmark_seeds)
    sets = {name: [landmarks_of(name, asked.data, asked.cache, seed) for seed in seeds] for name in names}
    parts = [
        page_of_runs(rows),
        page_of_scyan(rows),
        LANDMARKS.format(left_out(sets), joined(sets), len(seeds)) if sets else NO_LANDMARKS,
    ]
    machines = " / ".join(sorted({row.machine for row in rows if row.machine}))
    versions = ", ".join(sorted({part for row in rows for part in row.versions.split(", ") if part}))
    page = PAGE.format(*parts, seeds=asked.seeds, machines=machines, versions=versions)
    asked.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
