"""What a page shows of a comparison of groups: its differences, with the clusters of the report that they are about."""

from dataclasses import dataclass

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.comparison.stored import StoredComparison, StoredDifference
from cytovae.report.content import ReportContent

MOST_ROWS = 500
"""Of each table of the page; the folder of the comparison has all."""


@dataclass(frozen=True)
class ComparisonView:
    """A comparison for a page.

    Attributes
    ----------
    stored : StoredComparison
        The comparison.
    abundance, levels : tuple of StoredDifference
        The differences that the page lists, the smallest p value first.
    clusters : dict
        The clusters of each population, as words of ``data-clusters``. Empty if the comparison is about other cells.
    """

    stored: StoredComparison
    abundance: tuple[StoredDifference, ...]
    levels: tuple[StoredDifference, ...]
    clusters: dict[str, str]


def comparison_view(content: ReportContent, stored: StoredComparison) -> ComparisonView:
    """Prepare a comparison for the page about ``content``."""
    clusters = _clusters_of(content, stored)
    return ComparisonView(stored, stored.abundance[:MOST_ROWS], stored.levels[:MOST_ROWS], clusters)


def _clusters_of(content: ReportContent, stored: StoredComparison) -> dict[str, str]:
    """The clusters of each population, if all have the same names and numbers of cells as in the report."""
    named = content.names.of_cluster if content.names is not None else (UNKNOWN,) * content.n_clusters
    members: dict[str, list[int]] = {}
    for cluster, name in enumerate(named, 1):
        members.setdefault(f"cluster {cluster}" if name == UNKNOWN else name, []).append(cluster)
    counts = content.counts.tolist()
    same = all(
        difference.population in members
        and difference.cells == sum(counts[cluster - 1] for cluster in members[difference.population])
        for difference in stored.abundance
    )
    return {name: " ".join(map(str, clusters)) for name, clusters in members.items()} if same else {}
