"""Tables and a figure of results: mean and standard deviation over seeds for each data set and method.

Each column is one score; scores of different columns are not comparable. No result is printed in bold. Rows marked
*oracle* choose the number of clusters with the labels.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from cytovae.atomic import whole_file, write_whole
from cytovae.benchmark.job import METRICS, NAME_METRICS, Row
from cytovae.benchmark.methods import LABELS, METHODS, NEEDS_NUMBER
from cytovae.benchmark.over_seeds import Spread, chosen_by_labels, oracle, spread
from cytovae.benchmark.runner import read_rows
from cytovae.benchmark.side_by_side import SCORES, Line, SideBySide, side_by_side

TITLES = {
    "f_weighted": "F_weighted", "f_weighted_clusters": "F_weighted_clusters", "f1_mean": "F1_mean", "ari": "ARI",
    "nmi": "NMI", "accuracy": "accuracy", "rare_f1": "rare_f1",
    "accuracy_by_name": "accuracy by name", "macro_f1_by_name": "macro-F1 by name",
}  # fmt: skip

OUTPUTS = ("results.parquet", "results.json", "table.md", "scores.png")

Key = TypeVar("Key")

_METHOD_TITLES = {
    "flowsom": "FlowSOM", "phenograph": "PhenoGraph", "kmeans": "k-means", "gmm": "Gaussian mixture",
    "umap+hdbscan": "UMAP + HDBSCAN", "lda": "linear discriminants", "knn": "15 neighbours",
}  # fmt: skip


def method_title(method: str, number: int = 0) -> str:
    """The title of a method in tables, with the number of clusters if it was given one."""
    tool = method.removeprefix(f"{LABELS}:")
    title = _METHOD_TITLES.get(method, method) if tool == method else f"{tool} (labels from a file)"
    return f"{title} K={number}" if number else title


def oracle_title(method: str) -> str:
    """The title of an oracle row in tables."""
    return f"{method_title(method)} *oracle* (best K by labels)"


def write_tables(folder: Path) -> tuple[Path, ...]:
    """Write ``results.parquet``, ``results.json``, ``table.md`` and ``scores.png`` from the rows of a folder.

    ``scores.png`` needs matplotlib and at least one score.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    InputError
        If there are no rows.
    OutputError
        If a file cannot be written.
    """
    rows = read_rows(folder)
    parquet, text, markdown, picture = (folder / name for name in OUTPUTS)
    _write_parquet(rows, parquet)
    write_whole(text, json.dumps([asdict(row) for row in rows], indent=1))
    write_whole(markdown, markdown_tables(rows))
    return (parquet, text, markdown, picture) if draw_scores(rows, picture) else (parquet, text, markdown)


_COLUMN_TYPES: dict[str, pa.DataType] = {
    **{
        name: pa.string()
        for name in ("dataset", "protocol", "method", "status", "reason", "versions", "machine", "group")
    },
    "reported_only": pa.bool_(),
    **{name: pa.int64() for name in ("number", "seed", "n_cells", "n_learned", "n_gated", "n_unassigned")},
    **{name: pa.int64() for name in ("n_populations", "n_clusters", "threads")},
}


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    plain = [{name: value for name, value in asdict(row).items() if name != "populations"} for row in rows]
    schema = pa.schema([(name, _COLUMN_TYPES.get(name, pa.float64())) for name in plain[0]])
    with whole_file(path, force=True) as partial:
        pq.write_table(pa.Table.from_pylist(plain, schema=schema), partial)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_tables(rows: Sequence[Row]) -> str:
    """One Markdown table for each data set and protocol, cytovae beside FlowSOM, failed jobs, machine and versions."""
    parts = ["# Scores against manual gates"]
    for (dataset, protocol), group in _groups(rows, lambda row: (row.dataset, row.protocol)):
        parts.append(f"## {dataset}\n\n{_counts(group, protocol)}\n\n{_table(group)}")
    parts.extend(part for part in (markdown_side_by_side(rows), _legend(rows)) if part)
    failures = _failures(rows)
    if failures:
        parts.append(failures)
    parts.append(_provenance(rows))
    return "\n\n".join(parts) + "\n"


def _groups(rows: Sequence[Row], key: Callable[[Row], Key]) -> Iterator[tuple[Key, list[Row]]]:
    """Rows with equal keys, in order of first appearance."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    yield from groups.items()


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table whose first ``left`` columns are aligned left, the others right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines))


def _counts(rows: Sequence[Row], protocol: str) -> str:
    done = [row for row in rows if row.status == "ok"]
    if not done:
        return f"Protocol: {protocol}."
    cells = sorted({row.n_cells for row in done if row.n_cells is not None})
    gated = sorted({row.n_gated for row in done if row.n_gated is not None})
    populations = sorted({row.n_populations for row in done if row.n_populations is not None})
    return (
        f"Protocol: {protocol}. Cells: {_range(cells)}; scored: {_range(gated)}, in {_range(populations)} populations."
    )


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "unknown"
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def _table(rows: Sequence[Row]) -> str:
    metrics = [name for name in METRICS if any(getattr(row, name) is not None for row in rows)]
    metrics = metrics or [name for name in METRICS if name != "rare_f1"]
    metrics += [name for name in NAME_METRICS if any(getattr(row, name) is not None for row in rows)]
    head = ["method", *(TITLES[name] for name in metrics), "clusters", "seconds", "CPU seconds", "memory, GB", "runs"]
    lines = []
    for method, of_method in _groups(sorted(rows, key=_order), lambda row: row.method):
        for number, of_number in _groups(of_method, lambda row: row.number):
            lines.append(_line(method_title(method, number), of_number, metrics))
        if method in NEEDS_NUMBER and chosen_by_labels(of_method):
            best = {each.metric: each for each in oracle(of_method)}
            cells = [f"{best[name].score} (K={best[name].number})" if name in best else "–" for name in metrics]
            lines.append([oracle_title(method), *cells, "", "", "", "", ""])
    return markdown(head, lines)


def _order(row: Row) -> tuple[int, str, int, int]:
    base = row.method.partition(":")[0]
    return (METHODS.index(base) if base in METHODS else len(METHODS), row.method, row.number, row.seed)


def _line(title: str, rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    done = [row for row in rows if row.status == "ok"]
    runs = f"{len(done)}" if len(done) == len(rows) else f"{len(done)} of {len(rows)}"
    scores = [str(spread(getattr(row, name) for row in done)) if done else "failed" for name in metrics]
    memory = spread(None if row.peak_memory_mb is None else row.peak_memory_mb / 1024 for row in done).mean
    return [
        title,
        *scores,
        spread(row.n_clusters for row in done).text(".1f"),
        spread(row.cluster_wall_seconds for row in done).text(".1f"),
        spread(row.cluster_cpu_seconds for row in done).text(".1f"),
        "–" if memory is None else f"{memory:.2f}",
        runs,
    ]


def _legend(rows: Sequence[Row]) -> str:
    lines = [
        "Mean ± standard deviation over seeds. Each column is one score; scores of different columns are not "
        "comparable. F_weighted: equation 12 weighted by population; F_weighted_clusters: the same weighted by "
        "cluster; F1_mean: Weber & Robinson's, one-to-one and unweighted. Ungated cells are clustered but not scored. "
        "Seconds are those of the clustering alone; memory is the peak of its process.",
    ]
    if any(row.method in NEEDS_NUMBER for row in rows):
        lines.append(
            "*oracle*: not a method but an upper bound. For each score by itself, the labels choose the K with the "
            "best mean over seeds; in practice there are no labels."
        )
    if any(row.rare_f1 is not None for row in rows):
        lines.append(
            "rare_f1: F1 of the one gated population with its best cluster; all other cells count as one population."
        )
    if any(row.macro_f1_by_name is not None for row in rows):
        lines.append(
            "By name: a cell is right if its name is that of its gate. Populations of at least 30 cells count; where "
            "labels of some files name the others, of at least 30 cells on both sides."
        )
    return "\n\n".join(lines)


def _failures(rows: Sequence[Row]) -> str:
    failed = [row for row in rows if row.status != "ok"]
    lines = []
    for (dataset, method, number, reason), group in _groups(
        failed, lambda row: (row.dataset, row.method, row.number, row.reason)
    ):
        seeds = ", ".join(str(row.seed) for row in group)
        lines.append(f"- {dataset}, {method_title(method, number)}, seed {seeds}: {reason}")
    return "Failed:\n\n" + "\n".join(lines) if lines else ""


def _provenance(rows: Sequence[Row]) -> str:
    machines = sorted({f"{row.machine}; {row.threads} thread(s) per job" for row in rows if row.machine})
    versions = sorted({part for row in rows for part in row.versions.split(", ") if part})
    return f"Machine: {' / '.join(machines) or 'unknown'}.\n\nVersions: {', '.join(versions) or 'unknown'}."


# --- cytovae beside FlowSOM -------------------------------------------------------------------------------------------


def markdown_side_by_side(rows: Sequence[Row]) -> str:
    """Means of cytovae and FlowSOM over data sets, see :func:`side_by_side`; "" for a run without such means."""
    return "\n\n".join(_side_by_side(compared) for compared in side_by_side(rows))


def _side_by_side(compared: SideBySide) -> str:
    head = ["mean over data sets", *(TITLES[metric] for metric in SCORES)]
    lines = []
    for line in compared.lines:
        means = [compared.mean(line, metric) for metric in SCORES]
        lines.append([_line_title(line), *("–" if mean is None else f"{mean:.3f}" for mean in means)])
    parts = [
        f"## Side by side: {len(compared.datasets)} data sets, {compared.protocol}",
        markdown(head, lines),
        *_deviations(compared),
        "K by the other data sets: for each data set, the K with the largest sum of mean scores on the data sets of "
        "other donors. " + " ".join(_choices(line) for line in compared.lines if line.numbers),
        "*oracle*: a bound. The labels choose K for each data set and score by itself, from the same K for both "
        "methods. A dash: a data set has no such result.",
        f"Data sets: {', '.join(compared.datasets)}. Not in the means: {', '.join(compared.left_out) or 'none'}.",
    ]
    return "\n\n".join(parts)


def _line_title(line: Line) -> str:
    if line.how == "other sets":
        return f"{method_title(line.method)}, K by the other data sets"
    return oracle_title(line.method) if line.how == "labels" else method_title(line.method, line.number)


def _choices(line: Line) -> str:
    chosen = ", ".join(f"{name} {number}" for name, number in line.numbers.items())
    return f"{method_title(line.method)}: {chosen}."


def _deviations(compared: SideBySide) -> Iterator[str]:
    """The table of standard deviations over seeds; none with one seed."""
    lines = []
    for line in compared.lines:
        of_scores = [compared.deviations(line, metric) for metric in SCORES]
        if (line.method, line.how) in (("cytovae", "default"), ("flowsom", "other sets")) and all(of_scores):
            worst = [max(sds.items(), key=itemgetter(1)) for sds in of_scores]
            lines.append([f"{_line_title(line)}: mean", *(f"{fmean(sds.values()):.3f}" for sds in of_scores)])
            lines.append([f"{_line_title(line)}: largest", *(f"{sd:.3f} ({name})" for name, sd in worst)])
    if lines:
        yield markdown(["standard deviation over seeds", *(TITLES[metric] for metric in SCORES)], lines)


# --- the figure -------------------------------------------------------------------------------------------------------


def can_draw() -> bool:
    """Whether matplotlib, which figures need, is installed."""
    return find_spec("matplotlib") is not None


def draw_scores(rows: Sequence[Row], path: Path) -> bool:
    """Draw one panel for each score: data sets on the x axis, one marker for each method, hollow for oracles.

    Returns False, without a figure, if matplotlib is missing or no row has a score.
    """
    shown = [name for name in ("f_weighted", "f1_mean", "ari", "rare_f1") if _any_score(rows, name)]
    if not shown or not can_draw():
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(shown), 4.5), layout="constrained")
    methods = list(dict.fromkeys(row.method for row in sorted(rows, key=_order)))
    for axes, metric in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        scored = [row for row in rows if getattr(row, metric) is not None]
        groups = list(_groups(scored, lambda row: (row.dataset, row.protocol)))
        for index, method in enumerate(methods):
            offset = (index - (len(methods) - 1) / 2) * 0.7 / len(methods)
            heights = [_height(group, method, metric) for _, group in groups]
            is_oracle = method in NEEDS_NUMBER and chosen_by_labels([row for row in rows if row.method == method])
            axes.errorbar(
                [x + offset for x, height in enumerate(heights) if height.mean is not None],
                [height.mean for height in heights if height.mean is not None],
                yerr=[height.sd or 0.0 for height in heights if height.mean is not None],
                fmt="o",
                color=f"C{index % 10}",
                markerfacecolor="none" if is_oracle else f"C{index % 10}",
                label=f"{method_title(method)} oracle" if is_oracle else method_title(method),
            )
        axes.set_title(TITLES[metric])
        axes.set_ylim(-0.05, 1.02)
        several = len({protocol for (_, protocol), _ in groups}) > 1
        names = [f"{dataset}\n{protocol}" if several else dataset for (dataset, protocol), _ in groups]
        axes.set_xticks(range(len(groups)), names, rotation=30, ha="right")
        axes.grid(axis="y", alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with whole_file(path, force=True) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": ""})
    return True


def _any_score(rows: Sequence[Row], metric: str) -> bool:
    return any(getattr(row, metric) is not None for row in rows)


def _height(rows: Sequence[Row], method: str, metric: str) -> Spread:
    of_method = [row for row in rows if row.method == method]
    if method in NEEDS_NUMBER:
        return next((best.score for best in oracle(of_method) if best.metric == metric), Spread(None, None, 0))
    return spread(getattr(row, metric) for row in of_method if row.number == 0)  # not cuts of cytovae's tree
