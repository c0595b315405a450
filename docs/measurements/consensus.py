"""Choose the rule that turns views into populations with each data set left out in turn, and measure support.

    python docs/measurements/consensus.py --data ../shared/data --seeds 3 --output docs/results/consensus.md

Views of the landmarks are computed once for each data set and seed and kept in ``--cache``; then every rule is tried on
them. No network is trained: clusters are those of the landmarks. A rule is chosen by the sum of the mean scores of the
other data sets (the two HIPC sets are left out together). Labels are used for scores only. Takes 20 minutes on two
cores.
"""

import argparse
import itertools
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cytovae.benchmark.datasets import PUBLIC, GatedCells, drop_small_populations, load, read_table
from cytovae.environment import loaded_versions, machine
from cytovae.metrics import score
from cytovae.populations import population_tree as trees
from cytovae.populations import views
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.partition import numbered_partition
from cytovae.populations.umap_projection import umap_projection
from cytovae.populations.views import View
from cytovae.settings import Settings
from cytovae.study.sampling import choose_landmarks

SETS = (
    "bendall", "bodenmiller", "huimm", "hipc", "flowsom_ff", "multicenter", "cytomem_pbmc", "gatemeclass_flow",
    "hipc_ftv1", "nolanlab_gatingml", "optimalflow_siteb",
)  # fmt: skip
TOGETHER = {"hipc": ("hipc", "hipc_ftv1"), "hipc_ftv1": ("hipc", "hipc_ftv1")}
SETTINGS = Settings()
MOST_CELLS = 200_000  # as training reads
FEWEST_SCORED = 30  # cells of a population
FEWEST_SUPPORTED = 50  # cells of a cluster


@dataclass(frozen=True)
class Rule:
    """A way from views to populations: the constants of :mod:`cytovae.populations` that it replaces."""

    agreement: float
    least_share: float
    populations: int
    n_views: int

    def __str__(self) -> str:
        return f"{self.agreement:g} | {self.least_share:g} | {self.populations} | {self.n_views}"


DEFAULT = Rule(trees.AGREEMENT, views.LEAST_SHARE, SETTINGS.populations, SETTINGS.views)
RULES = (
    *(Rule(*each, SETTINGS.views) for each in itertools.product((0.4, 0.5, 0.6), (0.0, 0.01, 0.02), (11, 12, 14, 16))),
    *(replace(DEFAULT, n_views=n) for n in (0, 2, 4, 8, 16)),
)
MOST_VIEWS = max(rule.n_views for rule in RULES)


@dataclass(frozen=True, eq=False)
class Study:
    """Landmarks of one data set and seed, with their micro-clusters and views."""

    cells: GatedCells
    micro_cluster: NDArray[np.int64]
    own: Sequence[View]
    small: Sequence[View]


def _scored(gated: GatedCells) -> GatedCells:
    return GatedCells(gated.cells, drop_small_populations(gated.gates, FEWEST_SCORED))


def study_of(name: str, gated: GatedCells, seed: int) -> Study:
    """Compute the views of one data set and seed as training does."""
    pool = gated.take(np.sort(choose_landmarks(len(gated.cells), MOST_CELLS, seed)))
    rows = choose_landmarks(len(pool.cells), SETTINGS.landmarks, seed)
    cells = pool.take(rows)
    values, source = cells.cells.values, cells.cells.source
    neighbors = nearest_neighbors(values, SETTINGS.umap_neighbors, SETTINGS.metric, workers=2)
    drawn = trees.Pool(pool.cells.values, pool.cells.source)
    wanted = replace(SETTINGS, views=MOST_VIEWS)
    with trees.small_views(values, source, wanted, seed=seed, pool=drawn, workers=2) as requested:
        plane = umap_projection(values, neighbors, SETTINGS, seed)
        own = [views.own_view(values, plane, source, SETTINGS, seed, index) for index in range(trees.OWN_VIEWS)]
        small = requested.results()
    print(f"{name}, seed {seed}", flush=True)
    return Study(cells, numbered_partition(plane, SETTINGS.experts, seed, trees.COMPARED), own, small)


def kept_studies(data: Path, cache: Path, seeds: int) -> Iterator[tuple[str, Study]]:
    """The name of each data set with its study for each seed; computed once and kept in ``cache``."""
    cache.mkdir(exist_ok=True, parents=True)
    for dataset in read_table(PUBLIC, data, SETS):
        gated = None
        for seed in range(seeds):
            kept = cache / f"{dataset.name}.{seed}.pickle"
            if not kept.exists():
                gated = _scored(load(dataset)) if gated is None else gated
                study = study_of(dataset.name, gated, seed)
                kept.write_bytes(pickle.dumps((study.cells, study.micro_cluster, study.own, study.small)))
            yield dataset.name, Study(*pickle.loads(kept.read_bytes()))


def tree_of(study: Study, rule: Rule) -> trees.PopulationTree:
    """The tree of a study by a rule."""
    views.LEAST_SHARE, trees.AGREEMENT = rule.least_share, rule.agreement
    settings = replace(SETTINGS, populations=rule.populations, views=rule.n_views)
    return trees.tree_of_views(study.micro_cluster, study.own, study.small, settings)


def scores(study: Study, tree: trees.PopulationTree) -> tuple[float, float, float]:
    """F_weighted, F1_mean and ARI on the landmarks."""
    report = score(tree.landmark_population + 1, study.cells.gates)
    return report.f_weighted, report.f1_mean, report.ari


def support_and_match(study: Study, tree: trees.PopulationTree) -> list[tuple[float, float]]:
    """Support of each cluster of some size, and its F1 with the gate that it matches best."""
    population, gate = tree.landmark_population, study.cells.gates.population
    pairs = []
    for index in range(int(tree.population.max()) + 1):
        members = population == index
        if members.sum() < FEWEST_SUPPORTED or tree.support is None:
            continue
        gated = gate[members & (gate >= 0)]
        if not len(gated):
            continue
        common = np.bincount(gated, minlength=int(gate.max()) + 1)
        totals = np.bincount(gate[gate >= 0], minlength=len(common))
        micro = np.flatnonzero(tree.population == index)
        pairs.append((float(tree.support[_branch(tree, micro)]), float((2 * common / (members.sum() + totals)).max())))
    return pairs


def _branch(tree: trees.PopulationTree, micro_clusters: NDArray[np.int64]) -> int:
    """The node of the linkage that joins exactly these micro-clusters."""
    members = [frozenset([index]) for index in range(len(tree.population))]
    for left, right, *_ in tree.linkage:
        members.append(members[int(left)] | members[int(right)])
    return members.index(frozenset(micro_clusters.tolist()))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("consensus.cache"))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results: dict[Rule, dict[str, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    pairs: list[tuple[float, float]] = []
    for name, study in kept_studies(arguments.data, arguments.cache, arguments.seeds):
        for rule in RULES:
            tree = tree_of(study, rule)
            results[rule][name].append(scores(study, tree))
            if rule == DEFAULT:
                pairs += support_and_match(study, tree)
    text = tables(results, pairs, arguments.seeds)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


def tables(
    results: dict[Rule, dict[str, list[tuple[float, float, float]]]], pairs: list[tuple[float, float]], seeds: int
) -> str:
    """The rules, the rule chosen without each set, and support."""
    mean = {rule: {name: np.mean(each, 0) for name, each in of.items()} for rule, of in results.items()}
    names = list(mean[DEFAULT])
    lines = [
        "# How views become populations",
        "",
        f"Landmarks of {len(names)} gated data sets, {seeds} seeds, no network.",
        f"Machine: {machine()}; {loaded_versions()}.",
        "",
        "## Each rule",
        "",
        "| agreement | least share | populations | small views | F_weighted | F1_mean | ARI | SD over seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in mean:
        values = np.mean([mean[rule][name] for name in names], 0)
        spread = np.mean([_spread(results[rule][name]) for name in names], 0)
        mark = " (default)" if rule == DEFAULT else ""
        lines.append(f"| {rule}{mark} | {_triple(values, ' | ')} | {_triple(spread)} |")
    lines += [
        "",
        "## The rule that is best on the other sets",
        "",
        "| set | agreement | least share | populations | small views | F_weighted | F1_mean | ARI | default | its SD |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    left_out = []
    for name in names:
        others = [other for other in names if other not in TOGETHER.get(name, (name,))]
        best = max(mean, key=lambda rule: sum(mean[rule][other].sum() for other in others))
        left_out.append(mean[best][name])
        lines.append(
            f"| {name} | {best} | {_triple(mean[best][name], ' | ')} "
            f"| {_triple(mean[DEFAULT][name])} | {_triple(_spread(results[DEFAULT][name]))} |"
        )
    lines.append(
        f"| mean | | | | | {_triple(np.mean(left_out, 0), ' | ')} | "
        f"{_triple(np.mean([mean[DEFAULT][name] for name in names], 0))} | |"
    )
    support, match = zip(*pairs, strict=True)
    low = [f for s, f in pairs if s < 0.75]
    high = [f for s, f in pairs if s >= 0.75]
    lines += [
        "",
        "## Support",
        "",
        f"{len(pairs)} clusters of at least {FEWEST_SUPPORTED} landmarks. Spearman correlation of support with F1 of",
        f"the best-matching gate: {spearmanr(support, match).statistic:.2f}. Mean F1 of the {len(high)} clusters with",
        f"support 0.75 or more: {fmean(high or [0]):.2f}; of the {len(low)} others: {fmean(low or [0]):.2f}.",
        "",
    ]
    return "\n".join(lines)


def _spread(seeds: Sequence[tuple[float, float, float]]) -> list[float]:
    """The standard deviation of each score over seeds; NaN with one seed."""
    return [stdev(column) if len(seeds) > 1 else float("nan") for column in zip(*seeds, strict=True)]


def _triple(values: Sequence[float], separator: str = " / ") -> str:
    return separator.join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
