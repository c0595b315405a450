"""Populations named by marker tables: scores of the names, of variants of the method, and with sets left out.

    python docs/measurements/marker_tables.py --data ../shared/data --cache /tmp/trees --seeds 2
    python docs/measurements/marker_tables.py --data ../shared/data --cache /tmp/trees --variants
    python docs/measurements/marker_tables.py --data ../shared/data --cache /tmp/trees --leave-out
    python docs/measurements/marker_tables.py --data ../shared/data --cache /tmp/trees --absent

Uses landmarks of public data sets with gates and tables (DATA/tables/NAME.types.csv), and no network. Labels are used
for scores only. The trees are kept in the folder --cache, because building them takes most of the time: half a minute
for each set and seed on one core. Clusters are populations; cells without a name keep the clusters of the default.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from cytovae.annotations.marker_table import PanelTypes, read_marker_table, types_of_panel
from cytovae.benchmark.datasets import PUBLIC, load, read_table
from cytovae.cells import GateLabels
from cytovae.metrics import score
from cytovae.naming import marker_levels, populations_by_table, tree_labels
from cytovae.naming.populations_by_table import NamedCells, name_populations
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import population_tree
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Settings
from cytovae.study.sampling import choose_landmarks

SETS = (
    *("bendall", "bodenmiller", "huimm", "hipc", "flowsom_ff", "levine32_balanced"),
    *("cytomem_pbmc", "hipc_ftv1", "nolanlab_gatingml"),
)
REPORTED_ONLY = ("gatemeclass_flow",)  # looks uncompensated
SETTINGS = Settings()
FEWEST = 30  # gated cells of a population in the macro-F1
Scores = NDArray[np.float64]
METRICS = ("F_weighted", "F1_mean", "ARI", "F1 by name")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of a data set with their tree, gates and marker table."""

    values: NDArray[np.float32]
    micro_cluster: NDArray[np.int64]
    linkage: NDArray[np.float64]
    cluster: NDArray[np.int64]
    gates: GateLabels
    large: tuple[str, ...]
    types: PanelTypes


def landmarks_of(name: str, data: Path, cache: Path, seed: int) -> Landmarks:
    """The landmarks of a set, from the cache if they are there."""
    path = cache / f"{name}-{seed}.npz"
    if not path.exists():
        gated = load(read_table(PUBLIC, data, (name,))[0])
        rows = choose_landmarks(len(gated.cells), SETTINGS.landmarks, seed)
        values, source = gated.cells.values[rows], gated.cells.source[rows]
        neighbors = nearest_neighbors(values, SETTINGS.umap_neighbors, SETTINGS.metric, "cpu")
        coordinates = umap_projection(values, neighbors, SETTINGS, seed)
        tree = population_tree(values, coordinates, source, SETTINGS, seed=seed)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            values=values,
            micro_cluster=tree.micro_cluster,
            linkage=tree.linkage,
            cluster=tree.landmark_population,
            gate=gated.gates.population[rows],
            sizes=np.bincount(gated.gates.population + 1, minlength=len(gated.gates.names) + 1)[1:],
            names=np.array(gated.gates.names),
            markers=np.array(gated.cells.markers),
        )
    with np.load(path) as kept:
        names = tuple(str(each) for each in kept["names"])
        table = data / "tables" / f"{name}.types.csv"
        types = types_of_panel(read_marker_table(table), [str(each) for each in kept["markers"]], table)
        large = tuple(each for each, size in zip(names, kept["sizes"], strict=True) if size >= FEWEST)
        gates = GateLabels(kept["gate"], names)
        return Landmarks(kept["values"], kept["micro_cluster"], kept["linkage"], kept["cluster"], gates, large, types)


def scores_of(cells: Landmarks, named: NamedCells) -> Scores:
    """F_weighted, F1_mean, ARI and macro-F1 by name."""
    label = np.where(named.population >= 0, named.population, len(named.names) + cells.cluster) + 1
    agreement = score(label, cells.gates)
    gated = cells.gates.population >= 0
    by_name = []
    for name in cells.large:
        truth = cells.gates.population == cells.gates.names.index(name)
        found = np.zeros(len(truth), dtype=bool)
        if name in named.names:
            found = (named.population == named.names.index(name)) & gated
        if truth.any():
            by_name.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return np.array([agreement.f_weighted, agreement.f1_mean, agreement.ari, np.mean(by_name)])


def run(cells: Landmarks) -> Scores:
    """The scores of a set with its own table."""
    return scores_of(cells, name_populations(cells.values, cells.micro_cluster, cells.linkage, cells.types))


def default(cells: Landmarks) -> Scores:
    """The scores of the default cut, without a table."""
    agreement = score(cells.cluster + 1, cells.gates)
    return np.array([agreement.f_weighted, agreement.f1_mean, agreement.ari, np.nan])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)


def spelled(scores: Scores) -> str:
    """Scores with three decimals."""
    return " / ".join("–" if np.isnan(value) else f"{value:.3f}".removeprefix("0") for value in scores)


# --- variants ---------------------------------------------------------------------------------------------------------


@contextmanager
def changed(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Constants or functions of modules, changed for a while."""
    before = [getattr(module, name) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(changes, before, strict=True):
            setattr(module, name, value)


def mixture_scale(mean: Scores, share: Scores) -> marker_levels.Scale:
    """Low and high level of each marker by a mixture of two normal distributions over all micro-clusters."""
    rng = np.random.default_rng(0)
    rows = rng.choice(len(mean), 5_000, p=share / share.sum())
    jitter = rng.normal(0, 1e-3, len(rows))[:, None]
    fitted = [GaussianMixture(2, random_state=0).fit(mean[rows, j : j + 1] + jitter) for j in range(mean.shape[1])]
    low, high = np.array([np.sort(one.means_.ravel()) for one in fitted]).T
    return marker_levels.Scale(low, np.maximum(high - low, 1e-9))


P, L, T = populations_by_table, marker_levels, tree_labels
VARIANTS: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "as released": (),
    "levels by a two-component mixture over all cells, once": ((P, "first_scale", mixture_scale), (P, "ROUNDS", 1)),
    "levels from the lowest and highest micro-clusters, once": ((P, "ROUNDS", 1),),
    "levels from the named populations, the same for all": ((L, "CONTEXT_GAP", np.inf),),
    "levels within a context only": ((L, "CONTEXT_WEIGHT", 1.0),),
    "branches only, no cell leaves its branch": ((P, "ADVANTAGE", 1e6), (P, "LEAST_FIT_OF_CELL", np.inf)),
    "cells only, the branch has no advantage": ((P, "ADVANTAGE", 0.0),),
    "a cut costs nothing": ((T, "PRICE_PER_CELL", 0.0), (T, "PRICE", 0.0)),
    "a cut costs the same at every level": ((T, "POWER", 0),),
}


def variants(sets: dict[str, list[Landmarks]]) -> str:
    """Means over the nine sets for each variant of the method."""
    rows = []
    for name, changes in VARIANTS.items():
        with changed(*changes):
            rows.append((name, spelled(np.mean([run(one) for each in SETS for one in sets[each]], axis=0))))
    return table(("method", " / ".join(METRICS)), rows)


GRID = {
    (P, "SPREAD_OF_MICRO_CLUSTERS"): (0.15, 0.2, 0.25),
    (P, "ADVANTAGE"): (1.0, 2.0, 4.0),
    (T, "PRICE_PER_CELL"): (2.0, 4.0, 8.0),
    (L, "CONTEXT_WIDTH"): (0.2, 0.4, 0.6, 0.9),
}


def left_out(sets: dict[str, list[Landmarks]]) -> str:
    """Each set with the constants that are best on the eight others."""
    found = []
    for values in itertools.product(*GRID.values()):
        with changed(*((module, name, value) for (module, name), value in zip(GRID, values, strict=True))):
            found.append([np.mean([run(one) for one in sets[name]], axis=0) for name in SETS])
    scores = np.array(found)  # (settings, sets, metrics)
    rows, chosen = [], []
    for index, name in enumerate(SETS):
        others = np.delete(scores, index, axis=1).mean(axis=(1, 2))
        best = int(others.argmax())
        chosen.append(scores[best, index])
        constants = ", ".join(f"{value:g}" for value in list(itertools.product(*GRID.values()))[best])
        rows.append((name, constants, spelled(scores[best, index])))
    constants = ", ".join(name for _, name in GRID)
    return table(
        ("set left out", constants, " / ".join(METRICS)), [*rows, ("mean", "", spelled(np.mean(chosen, axis=0)))]
    )


# --- populations that are not there -----------------------------------------------------------------------------------


def with_absent(cells: Landmarks, conflicts: int, seed: int, n: int = 10) -> Landmarks:
    """The same with ``n`` rows of random levels that contradict every row of the table in ``conflicts`` markers."""
    rng = np.random.default_rng(seed)
    levels = cells.types.levels
    used = np.flatnonzero((~np.isnan(levels)).any(0))
    rows: list[NDArray[np.float32]] = []
    while len(rows) < n:
        row = np.full(levels.shape[1], np.nan, dtype=np.float32)
        asked = rng.choice(used, min(len(used), int(rng.integers(4, 9))), replace=False)
        row[asked] = rng.choice([-1.0, 1.0], len(asked))
        differ = np.abs(np.nan_to_num(levels) - np.nan_to_num(row)) * ~np.isnan(levels) * ~np.isnan(row)
        if ((differ > 0).sum(1) >= conflicts).all():
            rows.append(row)
    names = tuple(f"absent {number}" for number in range(n))
    more = replace(cells.types, populations=(*cells.types.populations, *names), levels=np.vstack([levels, *rows]))
    return replace(cells, types=more)


def absent(sets: dict[str, list[Landmarks]]) -> str:
    """Means over the nine sets with rows of populations that are not there."""
    rows = [("none", spelled(np.mean([run(one) for name in SETS for one in sets[name]], axis=0)))]
    for conflicts in (1, 2):
        each = [run(with_absent(one, conflicts, seed)) for name in SETS for one in sets[name] for seed in range(3)]
        rows.append((f"ten, each contradicts every other row in {conflicts} or more", spelled(np.mean(each, axis=0))))
    return table(("rows of absent populations", " / ".join(METRICS)), rows)


def by_set(sets: dict[str, list[Landmarks]]) -> str:
    """Means over seeds of each set, without and with its table."""
    rows = []
    for name, each in sets.items():
        named = np.array([run(one) for one in each])
        without = np.mean([default(one) for one in each], axis=0)
        rows.append((name, spelled(without[:3]), spelled(named.mean(0)), spelled(named.std(0))))
    mean = [np.mean([function(one) for name in SETS for one in sets[name]], axis=0) for function in (default, run)]
    rows.append(("mean of the nine", spelled(mean[0][:3]), spelled(mean[1]), ""))
    return table(("set", "without a table", " / ".join(METRICS), "standard deviation over seeds"), rows)


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    jobs: dict[str, Callable[[dict[str, list[Landmarks]]], str]] = {
        "variants": variants, "leave-out": left_out, "absent": absent,
    }  # fmt: skip
    for job in jobs:
        parser.add_argument(f"--{job}", action="store_true")
    asked = vars(parser.parse_args())
    sets = {
        name: [landmarks_of(name, asked["data"], asked["cache"], seed) for seed in range(asked["seeds"])]
        for name in (*SETS, *REPORTED_ONLY)
    }
    chosen = [job for name, job in jobs.items() if asked[name.replace("-", "_")]]
    for job in chosen or [by_set]:
        print(job(sets), flush=True)


if __name__ == "__main__":
    main()
