"""``cytovae benchmark score``: score cluster labels of any methods against manual gates."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from cytovae.cli import console, options

if TYPE_CHECKING:
    from rich.console import Console

    from cytovae.annotations.cluster_gates import ClusterGates
    from cytovae.annotations.cluster_names import ClusterNames
    from cytovae.cells import GateLabels
    from cytovae.metrics import PopulationScore, ScoreReport
    from cytovae.name_scores import NameScore

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Scored:
    """The scores of one set of labels: its title, and the names of its clusters 1, 2, …, if they have some.

    ``by_name`` is None if no name is that of a gate.
    """

    title: str
    report: "ScoreReport"
    names: tuple[str, ...] = ()
    by_name: "NameScore | None" = None


def score_cli(
    labels: Annotated[
        list[str],
        typer.Argument(
            metavar="LABELS...",
            help="Cluster labels, one row per event: Parquet, CSV or TSV, FCS or .h5ad, with a column or channel "
            "`cluster` or `cytovae_cluster`, or FILE:COLUMN. Several are shown side by side; FCS files with the same "
            "channel are one set of labels.",
            show_default=False,
        ),
    ],
    gates: Annotated[
        list[str],
        typer.Option(
            "--gates",
            metavar="GATES",
            help="Manual gates: a folder of NAME.gates.csv, `beside` (NAME.gates.csv beside the files that the labels "
            "name), a CSV or Parquet table, an FCS file with NAME.gates.csv beside it, FILE.fcs:CHANNEL, or "
            "FILE.h5ad:COLUMN. Repeat the option for several files, in the order of the labels.",
            show_default=False,
        ),
    ],
    channel: Annotated[
        str | None,
        typer.Option("--channel", metavar="NAME", help="Column or channel of LABELS, if not `cluster`."),
    ] = None,
    zero_ungated: options.ZeroUngated = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Score cluster labels, of cytovae or any other method, against manual gates.

    Ungated cells are not scored. Cells with the label 0, "unassigned" or an empty label have no cluster.

    F_weighted: each population with its best cluster, weighted by size; populations may share a cluster.

    F_weighted_clusters: each cluster with its best population, weighted by size.

    F1_mean: each population with a cluster of its own, unweighted.

    Labels that are names of gates (FILE:population) also have scores by name.

    Example: cytovae benchmark score cells.parquet other_tool.csv --gates sample_data/ --json
    """
    from cytovae.annotations.cluster_labels import align_labels, read_label_sets
    from cytovae.annotations.gated_files import read_gated_files
    from cytovae.metrics import score
    from cytovae.name_scores import score_names

    sets = read_label_sets(labels, channel)
    truth = read_gated_files(gates, sets[0][1], zero_is_ungated=zero_ungated)
    scored = []
    for title, read in sets:
        cluster = align_labels(read, truth.files, truth.sizes)
        about = f"{title}: " if len(sets) > 1 else ""
        if len(read) > len(cluster):
            console.say(
                f"{about}{len(read) - len(cluster)} labels belong to other files than the gates and are not scored"
            )
        if read.holds_zero:
            console.warn(
                f"{about}the label 0 means unassigned; if the method numbers clusters from 0, add 1 to its labels"
            )
        by_name = score_names(cluster, read.names, truth.gates)
        scored.append(Scored(title, score(cluster, truth.gates), read.names, by_name))
    if as_json:
        typer.echo(report_json(scored))
    else:
        console.results.print(report_table(scored))


def show_scores(
    shown: "Console",
    cluster: NDArray[np.int32],
    gates: "GateLabels",
    n_clusters: int,
    names: "ClusterNames | None" = None,
) -> None:
    """Print the scores of clusters of a model, the gates in each cluster and, with names, the scores of populations."""
    from cytovae.annotations.cluster_gates import gates_of_clusters
    from cytovae.metrics import score
    from cytovae.name_scores import score_names

    scored = [Scored("cluster", score(cluster, gates))]
    if names is not None and (number := names.numbers[cluster - 1]).any():
        by_name = score_names(number, names.populations, gates)
        scored.append(Scored("population", score(number, gates), names.populations, by_name))
    shown.print(report_table(scored))
    shown.print(cluster_table(gates_of_clusters(cluster, gates, n_clusters), names))


# --- tables -----------------------------------------------------------------------------------------------------------


def report_table(scored: Sequence[Scored]) -> Table:
    """All scores, the counts of cells, and a row for each population; several sets of labels have a column each."""
    several = len(scored) > 1
    summary = Table(box=box.SIMPLE_HEAD if several else None, show_header=several, padding=(0, 2, 0, 0))
    summary.add_column()
    for entry in scored:
        summary.add_column(Text(entry.title, overflow="fold"), justify="right", overflow="fold")
    metrics = [_metrics(entry) for entry in scored]
    for name in dict.fromkeys(name for values in metrics for name in values):
        summary.add_row(name, *(f"{values[name]:.4f}" if name in values else "–" for values in metrics))
    if several:
        summary.add_row("clusters", *(f"{entry.report.n_clusters:,}" for entry in scored))
        summary.add_row("gated but unassigned", *(f"{entry.report.n_unassigned:,}" for entry in scored))
    page = Table.grid()
    page.add_row(summary)
    page.add_row("")
    page.add_row(_counted(scored[0].report, several=several))
    page.add_row(_beside(scored) if several else _populations(scored[0]))
    return page


def _populations(scored: Scored) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("population", overflow="fold")
    for title in ("size", "cluster", "precision", "recall", "F1"):
        table.add_column(title, justify="right", overflow="fold")
    for entry in scored.report.populations:
        scores = [f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1)] if entry.cluster else ["–"] * 3
        name = _cluster_name(entry.cluster, scored.names)
        table.add_row(Text(entry.name), f"{entry.size:,}", Text(name), *scores)
    return table


def _beside(scored: Sequence[Scored]) -> Table:
    """F1 of each population for each set of labels, with the cluster that it is matched with."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), caption="F1 (cluster)", caption_justify="left")
    table.add_column("population", overflow="fold")
    table.add_column("size", justify="right", overflow="fold")
    for entry in scored:
        table.add_column(Text(entry.title, overflow="fold"), justify="right", overflow="fold")
    for index, population in enumerate(scored[0].report.populations):
        cells = []
        for entry in scored:
            of_labels = entry.report.populations[index]
            name = _cluster_name(of_labels.cluster, entry.names)
            cells.append(Text(f"{of_labels.f1:.3f} ({name})" if of_labels.cluster else "–"))
        table.add_row(Text(population.name), f"{population.size:,}", *cells)
    return table


def cluster_table(clusters: "Sequence[ClusterGates]", names: "ClusterNames | None" = None) -> Table:
    """A row for each cluster: its name, if names are given, and the gates of its cells."""
    from cytovae.annotations.cluster_gates import percent

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("cluster", justify="right")
    if names is not None:
        table.add_column("name", overflow="fold")
    table.add_column("gate of at least half of its cells", overflow="fold")
    for title in ("purity", "gated", "cells"):
        table.add_column(title, justify="right")
    for entry in clusters:
        shares = [percent(entry.purity), percent(entry.gated_share)] if entry.cells else ["–", "–"]
        name = [Text(names.of_cluster[entry.cluster - 1])] if names is not None else []
        table.add_row(str(entry.cluster), *name, Text(entry.label), *shares, f"{entry.cells:,}")
    return table


def _counted(report: "ScoreReport", *, several: bool = False) -> str:
    clusters = "" if several else f" in {report.n_clusters:,} clusters"
    lines = [
        f"{report.n_cells:,} cells{clusters}, {report.n_gated:,} gated",
        f"{report.n_cells - report.n_gated:,} ungated, not scored",
        f"{report.n_unassigned:,} gated but unassigned",
    ]
    return "\n".join(lines if report.n_unassigned and not several else lines[:2])


def _cluster_name(cluster: int, names: Sequence[str]) -> str:
    if not cluster:
        return "none"
    return names[cluster - 1] if cluster <= len(names) else str(cluster)


# --- JSON -------------------------------------------------------------------------------------------------------------


def report_json(scored: Sequence[Scored]) -> str:
    """The reports as JSON.

    One set of labels: ``schema_version``, ``cells``, ``metrics``, ``populations``, and any ``cluster_names``. Several:
    ``schema_version`` and ``labels``, a list of such objects, each with its title as ``labels``.
    """
    if len(scored) == 1:
        content = {"schema_version": SCHEMA_VERSION, **_content(scored[0])}
    else:
        content = {
            "schema_version": SCHEMA_VERSION,
            "labels": [{"labels": entry.title, **_content(entry)} for entry in scored],
        }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _content(scored: Scored) -> dict[str, object]:
    report = scored.report
    content: dict[str, object] = {
        "cells": {
            "n_cells": report.n_cells,
            "n_gated": report.n_gated,
            "n_ungated": report.n_cells - report.n_gated,
            "n_unassigned": report.n_unassigned,
            "n_clusters": report.n_clusters,
        },
        "metrics": _metrics(scored),
        "populations": [_population(entry) for entry in report.populations],
    }
    if scored.names:
        content["cluster_names"] = list(scored.names)
    return content


def _population(entry: "PopulationScore") -> dict[str, object]:
    return {
        "name": entry.name,
        "size": entry.size,
        "cluster": entry.cluster or None,
        "precision": entry.precision,
        "recall": entry.recall,
        "F1": entry.f1,
        "best_cluster": entry.best_cluster or None,
        "best_F1": entry.best_f1,
    }


def _metrics(scored: Scored) -> dict[str, float]:
    """The scores with their names in all tables and files."""
    report = scored.report
    metrics = {
        "F_weighted": report.f_weighted,
        "F_weighted_clusters": report.f_weighted_clusters,
        "F1_mean": report.f1_mean,
        "ARI": report.ari,
        "NMI": report.nmi,
        "accuracy": report.accuracy,
    }
    if scored.by_name is not None:
        metrics |= {"accuracy_by_name": scored.by_name.accuracy, "macro_F1_by_name": scored.by_name.macro_f1}
    return metrics
