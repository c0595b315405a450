"""The figures of a report as tables: `metrics.csv`, one figure for each row, and `warnings.csv`. Opens no files."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.populations.merge_tree import MergeTree
from cytovae.report.cluster_table import cluster_rows
from cytovae.report.content import LOW_PROBABILITY, ReportContent

STUDY, FILE, CLUSTER = "study", "file", "cluster"


class _Metric(NamedTuple):
    """One figure: of the study, a file or a cluster, and of a marker where there is one."""

    level: str
    name: str
    metric: str
    marker: str | None
    value: float


def metrics_table(content: ReportContent) -> pa.Table:
    """The figures of the study, of each file and of each cluster.

    The columns are ``level`` (study, file or cluster), ``name`` (of the file, or number of the cluster), ``metric``,
    ``marker`` (empty unless the figure is about one) and ``value``. Figures that do not exist, such as the median of a
    cluster without cells, have no row.
    """
    metrics = [*_of_study(content), *_of_files(content), *_of_clusters(content)]
    known = [metric for metric in metrics if np.isfinite(metric.value)]
    fields = [("level", pa.string()), ("name", pa.string()), ("metric", pa.string()), ("marker", pa.string())]
    columns = [list(column) for column in zip(*known, strict=True)]
    return pa.table(columns, schema=pa.schema([*fields, ("value", pa.float64())]))


def warnings_table(content: ReportContent) -> pa.Table:
    """The warnings of the report and the advice for each: the columns ``warning`` and ``advice``."""
    schema = pa.schema([("warning", pa.string()), ("advice", pa.string())])
    return pa.table([[w.text for w in content.warnings], [w.advice for w in content.warnings]], schema=schema)


def separations(tree: MergeTree, n_clusters: int) -> NDArray[np.float64]:
    """How high in the tree each cluster joins another one, from 0 to 1, shape (n_clusters,); NaN if it never does.

    It is the share of divisions of the training cells that keep the cluster apart from its neighbour; in models of
    version 0.1.0, the depth of the density valley between them.
    """
    cluster_of = tree.cut(n_clusters)
    n_merges = tree.n_experts - n_clusters
    heights = np.maximum.accumulate(1 - tree.level.astype(np.float64))
    found = np.full(int(cluster_of.max()), np.nan)
    for merge in range(n_merges, len(tree.kept)):
        for expert in (tree.kept[merge], tree.absorbed[merge]):  # of a cluster of the cut, or of several that joined
            cluster = cluster_of[expert] - 1
            if np.isnan(found[cluster]):
                found[cluster] = heights[merge]
    return found


def _of_study(content: ReportContent) -> Iterator[_Metric]:
    values: dict[str, float] = {
        "cells": len(content.cluster),
        "clusters": content.saved.model.n_clusters,
        "clusters_with_cells": int((content.counts > 0).sum()),
        "mean_probability": float(content.probability.mean(dtype="float64")),
        "share_low_probability": float((content.probability < LOW_PROBABILITY).mean()),
    }
    if content.agreement is not None:
        scores = content.agreement.scores
        values |= {"f_weighted": scores.f_weighted, "f_weighted_clusters": scores.f_weighted_clusters}
        values |= {"f1_mean": scores.f1_mean, "ari": scores.ari, "nmi": scores.nmi, "accuracy": scores.accuracy}
    for metric, value in values.items():
        yield _Metric(STUDY, "", metric, None, value)


def _of_files(content: ReportContent) -> Iterator[_Metric]:
    for index, file in enumerate(content.files):
        values: dict[str, float] = {
            "cells": file.n_cells,
            "clusters_with_cells": int((file.counts > 0).sum()),
        }
        if file.n_cells:
            values["share_low_probability"] = file.n_low_probability / file.n_cells
            if content.novelty is not None:
                values["share_high_novelty"] = file.n_high_novelty / file.n_cells
        if content.differences is not None:
            values["abundance_distance"] = float(content.differences.distances[index])
        for metric, value in values.items():
            yield _Metric(FILE, file.name, metric, None, value)
        if content.differences is not None:
            for marker, shift in zip(content.markers, content.differences.of_markers[index].tolist(), strict=True):
                yield _Metric(FILE, file.name, "shift", marker, shift)


def _of_clusters(content: ReportContent) -> Iterator[_Metric]:
    apart = separations(content.saved.model.tree, content.saved.model.n_clusters)
    for row in cluster_rows(content):
        separation, medians = float(apart[row.cluster - 1]), content.medians[row.cluster - 1].tolist()
        values: dict[str, float] = {
            "cells": row.cells,
            "share": row.share,
            "mean_probability": row.mean_probability,
            "separation": separation,
        }
        if row.support is not None:
            values["support"] = row.support
        if row.cells:
            values["share_low_probability"] = row.n_low_probability / row.cells
            if content.novelty is not None:
                values["share_high_novelty"] = row.n_high_novelty / row.cells
            if row.gates is not None:
                values |= {"purity": row.gates.purity, "gated_share": row.gates.gated_share}
        for metric, value in values.items():
            yield _Metric(CLUSTER, str(row.cluster), metric, None, value)
        for marker, median in zip(content.markers, medians, strict=True):
            yield _Metric(CLUSTER, str(row.cluster), "median", marker, median)
