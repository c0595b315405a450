"""The table of clusters: gates, size, probability and distinctive markers of each."""

import numpy as np

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.naming.evidence import signature
from cytovae.report.content import (
    FAIR_PROBABILITY,
    HIGH_NOVELTY,
    LOW_PROBABILITY,
    ClusterRow,
    ReportContent,
)

_MOST_DISTINCTIVE = 4  # markers per cluster and direction
_LEAST_CONTRAST = 0.1  # of the marker's range in training


def cluster_rows(content: ReportContent) -> tuple[ClusterRow, ...]:
    """A row for each cluster whose number is in use, in the order of their numbers."""
    n_bins = content.n_clusters + 1
    cluster, probability = content.cluster, content.probability
    total = np.bincount(cluster, weights=probability, minlength=n_bins)[1:]
    low = np.bincount(cluster[probability < LOW_PROBABILITY], minlength=n_bins)[1:]
    fair = np.bincount(cluster[probability < FAIR_PROBABILITY], minlength=n_bins)[1:]
    novel = np.zeros(content.n_clusters, dtype=np.int64)
    if content.novelty is not None:
        novel = np.bincount(cluster[content.novelty >= HIGH_NOVELTY], minlength=n_bins)[1:]
    scaled = content.scaled(content.medians)  # (n_clusters, n_markers)
    support = content.saved.model.tree.cluster_support(content.saved.model.n_clusters)  # (n_clusters,)
    signatures = _signatures(content)
    present = np.flatnonzero(np.isfinite(scaled).all(axis=1))
    contrast = scaled - scaled[present].mean(axis=0)
    rows = []
    retired = content.saved.model.retired_clusters
    for index, count in enumerate(content.counts.tolist()):
        if index + 1 in retired:
            continue
        order = np.argsort(contrast[index]) if index in present else np.empty(0, dtype=np.int64)
        highest, lowest = order[::-1][:_MOST_DISTINCTIVE], order[:_MOST_DISTINCTIVE]
        rows.append(
            ClusterRow(
                cluster=index + 1,
                cells=count,
                share=count / len(cluster),
                mean_probability=float(total[index] / count) if count else float("nan"),
                n_low_probability=int(low[index]),
                n_fair_probability=int(fair[index]),
                high=tuple(content.markers[m] for m in highest if contrast[index, m] > _LEAST_CONTRAST),
                low=tuple(content.markers[m] for m in lowest if contrast[index, m] < -_LEAST_CONTRAST),
                gates=content.gates_of_clusters[index] if content.gates_of_clusters else None,
                n_high_novelty=int(novel[index]),
                support=None if support is None else float(support[index]),
                signature=signatures[index],
            )
        )
    return tuple(rows)


def _signatures(content: ReportContent) -> tuple[str, ...]:
    """The levels of each cluster's markers, such as "CD3+ CD4-", if it has no name; empty without a marker table."""
    naming = content.saved.model.naming
    names = content.names.of_cluster if content.names is not None else (UNKNOWN,) * content.n_clusters
    if naming is None:
        return ("",) * content.n_clusters
    levels = naming.levels(content.medians)  # (n_clusters, n_markers)
    return tuple(
        signature(row, content.markers) if name == UNKNOWN else "" for name, row in zip(names, levels, strict=True)
    )
