"""``cytovae benchmark score``: score cluster labels of any method against manual gates."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cytovae.cli import console, options

if TYPE_CHECKING:
    from cytovae.metrics import ScoreReport

SCHEMA_VERSION = 1


def score_cli(
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            help="Cluster labels, one row per event: Parquet, CSV or TSV with a column `cluster`, or FILE.fcs:CHANNEL.",
            show_default=False,
        ),
    ],
    gates: Annotated[
        list[str],
        typer.Option(
            "--gates",
            metavar="GATES",
            help="Manual gates: a CSV or Parquet table, an FCS file with NAME.gates.csv beside it, "
            "or FILE.fcs:CHANNEL. Repeat the option for several files, in the order of the labels.",
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

    Example: cytovae benchmark score cells.parquet --gates sample_data/donor1_baseline.fcs --json
    """
    from cytovae.annotations.cluster_labels import align_labels, read_gated_files, read_labels
    from cytovae.metrics import score

    read = read_labels(labels, channel)
    truth = read_gated_files(gates, zero_is_ungated=zero_ungated)
    cluster = align_labels(read, truth.files, truth.sizes)
    if len(read) > len(cluster):
        console.say(f"{len(read) - len(cluster)} labels belong to other files than the gates and are not scored")
    if read.holds_zero:
        console.warn("the label 0 means unassigned; if the method numbers clusters from 0, add 1 to its labels")
    report = score(cluster, truth.gates)
    if as_json:
        typer.echo(report_json(report, read.names))
    else:
        console.results.print(report_table(report, read.names))


def report_table(report: "ScoreReport", cluster_names: Sequence[str] = ()) -> Table:
    """All scores, the counts of cells, and a row for each population, with names of clusters if there are any."""
    summary = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    summary.add_column()
    summary.add_column(justify="right")
    for name, value in _metrics(report).items():
        summary.add_row(name, f"{value:.4f}")

    populations = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    populations.add_column("population", overflow="fold")
    for title in ("size", "cluster", "precision", "recall", "F1"):
        populations.add_column(title, justify="right", overflow="fold")
    for entry in report.populations:
        scores = [f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1)] if entry.cluster else ["–"] * 3
        name = _cluster_name(entry.cluster, cluster_names)
        populations.add_row(Text(entry.name), f"{entry.size:,}", Text(name), *scores)

    page = Table.grid()
    page.add_row(summary)
    page.add_row("")
    page.add_row(_counted(report))
    page.add_row(populations)
    return page


def report_json(report: "ScoreReport", cluster_names: Sequence[str] = ()) -> str:
    """The report as JSON: ``schema_version``, ``cells``, ``metrics``, ``populations``, and any ``cluster_names``."""
    content: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "cells": {
            "n_cells": report.n_cells,
            "n_gated": report.n_gated,
            "n_ungated": report.n_cells - report.n_gated,
            "n_unassigned": report.n_unassigned,
            "n_clusters": report.n_clusters,
        },
        "metrics": _metrics(report),
        "populations": [
            {
                "name": entry.name,
                "size": entry.size,
                "cluster": entry.cluster or None,
                "precision": entry.precision,
                "recall": entry.recall,
                "F1": entry.f1,
                "best_cluster": entry.best_cluster or None,
                "best_F1": entry.best_f1,
            }
            for entry in report.populations
        ],
    }
    if cluster_names:
        content["cluster_names"] = list(cluster_names)
    return json.dumps(content, indent=2, ensure_ascii=False)


def _metrics(report: "ScoreReport") -> dict[str, float]:
    """The scores with their names in all tables and files."""
    return {
        "F_weighted": report.f_weighted,
        "F_weighted_clusters": report.f_weighted_clusters,
        "F1_mean": report.f1_mean,
        "ARI": report.ari,
        "NMI": report.nmi,
        "accuracy": report.accuracy,
    }


def _counted(report: "ScoreReport") -> str:
    lines = [
        f"{report.n_cells:,} cells in {report.n_clusters:,} clusters, {report.n_gated:,} gated",
        f"{report.n_cells - report.n_gated:,} ungated, not scored",
        f"{report.n_unassigned:,} gated but unassigned",
    ]
    return "\n".join(lines if report.n_unassigned else lines[:2])


def _cluster_name(cluster: int, names: Sequence[str]) -> str:
    if not cluster:
        return "none"
    return names[cluster - 1] if cluster <= len(names) else str(cluster)
