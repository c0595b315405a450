"""How well clusters agree with manual gates: F-measures, ARI, NMI, accuracy; and MMD and calibration. Arrays in,
numbers out.

Everything about clusters follows from one table, populations × clusters, of counts of gated cells. Three conventions
hold throughout:

* Cells that no gate holds are dropped first, as Weber & Robinson (Cytometry A 2016) do: they are clustered, never
  scored.
* Cluster ids start at 1. A smaller id says that the method left the cell unassigned. Such a cell belongs to no
  cluster: its population has lost it (recall), no precision suffers from it, and it counts as wrong in the accuracy.
  For ARI and NMI, which compare two partitions, the unassigned cells form one group more.
* F(c, p) = 2 |c ∩ p| / (|c| + |p|), the harmonic mean of precision and recall (equation 13), with sizes counted in
  gated cells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import UsageError

UNASSIGNED = 0
"""The cluster of a cell that a method left out; also "no cluster" where a population has no match."""


@dataclass(frozen=True, eq=False)
class Contingency:
    """Gated cells counted by population and cluster.

    ``counts`` (n_populations, n_clusters) has a row for each name in ``names`` and a column for each id in
    ``clusters`` (ascending, from 1), none of them empty except rows whose cells are all ``unassigned``
    (n_populations,). ``n_cells`` and ``n_found`` are the cells and the clusters before ungated cells were dropped.
    """

    counts: NDArray[np.int64]
    unassigned: NDArray[np.int64]
    names: tuple[str, ...]
    clusters: NDArray[np.int64]
    n_cells: int
    n_found: int

    @property
    def population_sizes(self) -> NDArray[np.int64]:
        """Gated cells of each population, unassigned ones included."""
        sizes: NDArray[np.int64] = self.counts.sum(axis=1) + self.unassigned
        return sizes

    @property
    def cluster_sizes(self) -> NDArray[np.int64]:
        """Gated cells of each cluster."""
        sizes: NDArray[np.int64] = self.counts.sum(axis=0)
        return sizes

    @property
    def n_gated(self) -> int:
        """Gated cells in all."""
        return int(self.population_sizes.sum())

    def f_measures(self) -> NDArray[np.float64]:
        """Equation 13 for every population (row) and cluster (column), in [0, 1]."""
        return 2.0 * self.counts / (self.population_sizes[:, None] + self.cluster_sizes[None, :])

    def partition(self) -> NDArray[np.int64]:
        """The counts with the unassigned cells, if there are any, as one column more."""
        return np.column_stack([self.counts, self.unassigned]) if self.unassigned.any() else self.counts


@dataclass(frozen=True)
class PopulationScore:
    """One population and the clusters that come nearest to it.

    ``cluster`` is its partner in the one-to-one matching (0 = none), and ``precision``, ``recall`` and ``f1`` are
    that cluster's (0 without a partner). ``best_cluster`` and ``best_f1`` are the largest F-measure of any cluster,
    whoever else claims it: the score of a data set with one rare population. ``size`` counts gated cells.
    """

    name: str
    size: int
    cluster: int
    precision: float
    recall: float
    f1: float
    best_cluster: int
    best_f1: float


@dataclass(frozen=True)
class ScoreReport:
    """Agreement of a clustering with manual gates. Every score is at most 1, and 1 only for the same partition.

    ``f_weighted`` is equation 12 weighted by population, as Aghaeepour et al. (Nature Methods 2013) and the method's
    released code have it; ``f_weighted_clusters`` is equation 12 read literally, weighted by cluster; ``f1_mean`` is
    Weber & Robinson's (one-to-one, unweighted). They answer different questions and must not be compared with one
    another. ``n_clusters`` counts clusters over all cells, ``n_unassigned`` only the gated cells without a cluster.
    """

    n_cells: int
    n_gated: int
    n_unassigned: int
    n_clusters: int
    f_weighted: float
    f_weighted_clusters: float
    f1_mean: float
    ari: float
    nmi: float
    accuracy: float
    populations: tuple[PopulationScore, ...]


def contingency(cluster: NDArray[np.integer], gates: GateLabels) -> Contingency:
    """Count the gated cells of every population in every cluster.

    ``cluster`` is (n_cells,), row-aligned with ``gates``; ids from 1, smaller ones unassigned. Populations without a
    gated cell are left out. Raises :class:`UsageError` if the lengths differ, ids are not integers, or no cell is
    gated.
    """
    if cluster.ndim != 1 or cluster.dtype.kind not in "iu":
        raise UsageError(f"clusters must be a one-dimensional array of integers, not {cluster.dtype} {cluster.shape}")
    if len(cluster) != len(gates):
        raise UsageError(f"{len(cluster)} cluster labels do not fit {len(gates)} gate labels")
    gated = gates.population != UNGATED
    if not gated.any():
        raise UsageError(f"none of the {len(gates)} cells is gated: there is nothing to score")

    ids, column = _columns(cluster)
    pairs = gates.population[gated].astype(np.int64) * (len(ids) + 1) + column[gated]
    table = np.bincount(pairs, minlength=len(gates.names) * (len(ids) + 1)).reshape(len(gates.names), len(ids) + 1)
    kept = np.flatnonzero(table.any(axis=1))
    table = table[kept]
    counts = table[:, 1:]
    met = counts.any(axis=0)
    return Contingency(
        counts=counts[:, met],
        unassigned=table[:, 0],
        names=tuple(gates.names[row] for row in kept),
        clusters=ids[met],
        n_cells=len(cluster),
        n_found=len(ids),
    )


def score(cluster: NDArray[np.integer], gates: GateLabels) -> ScoreReport:
    """Compare clusters (n_cells,) with manual gates in every way this module knows. Raises what :func:`contingency`
    raises.
    """
    table = contingency(cluster, gates)
    partition = table.partition()
    return ScoreReport(
        n_cells=table.n_cells,
        n_gated=table.n_gated,
        n_unassigned=int(table.unassigned.sum()),
        n_clusters=table.n_found,
        f_weighted=f_weighted(table),
        f_weighted_clusters=f_weighted_clusters(table),
        f1_mean=f1_mean(table),
        ari=adjusted_rand_index(partition),
        nmi=normalized_mutual_information(partition),
        accuracy=matched_accuracy(table),
        populations=population_scores(table),
    )


def f_weighted(table: Contingency) -> float:
    """Equation 12 weighted by population: Σ_p |p|/N max_c F(c, p). Several populations may choose the same cluster."""
    return float(table.population_sizes @ table.f_measures().max(axis=1, initial=0.0) / table.n_gated)


def f_weighted_clusters(table: Contingency) -> float:
    """Equation 12 as printed, weighted by cluster: Σ_c |c|/N max_p F(c, p).

    N counts all gated cells, so a group of unassigned cells adds nothing: leaving cells out cannot raise the score
    for free.
    """
    return float(table.cluster_sizes @ table.f_measures().max(axis=0, initial=0.0) / table.n_gated)


def f1_mean(table: Contingency) -> float:
    """Weber & Robinson (2016): mean over populations of F(c, p) under the one-to-one matching with the largest total
    F.

    Unweighted, so a population of twenty cells counts as much as one of twenty thousand; unmatched ones count 0.
    """
    f_measures = table.f_measures()
    rows, columns = linear_sum_assignment(f_measures, maximize=True)
    return float(f_measures[rows, columns].sum() / len(table.names))


def matched_accuracy(table: Contingency) -> float:
    """Share of gated cells in the cluster that the one-to-one matching with the most such cells gives their
    population.
    """
    rows, columns = linear_sum_assignment(table.counts, maximize=True)
    return float(table.counts[rows, columns].sum() / table.n_gated)


def adjusted_rand_index(counts: NDArray[np.int64]) -> float:
    """Hubert & Arabie's adjusted Rand index of a contingency table: 1 for equal partitions, 0 expected by chance, at
    least −1.

    Worked in whole numbers of pairs, which stay exact for any number of cells.
    """
    together = _pairs(counts)
    rows, columns, everything = _pairs(counts.sum(axis=1)), _pairs(counts.sum(axis=0)), _pairs(counts.sum())
    largest = everything * (rows + columns) - 2 * rows * columns
    # Zero only where both sides are one group, or both all single cells: then they are equal.
    return 2 * (together * everything - rows * columns) / largest if largest else 1.0


def normalized_mutual_information(counts: NDArray[np.int64]) -> float:
    """Mutual information over the arithmetic mean of the entropies, natural logarithm, in [0, 1]; 1 for two single
    groups.
    """
    joint = counts / counts.sum()
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    mean_entropy = (_entropy(rows) + _entropy(columns)) / 2
    if np.count_nonzero(rows) == 1 and np.count_nonzero(columns) == 1:
        return 1.0
    information = _entropy(rows) + _entropy(columns) - _entropy(joint.ravel())
    return float(np.clip(information / mean_entropy, 0.0, 1.0))


def population_scores(table: Contingency) -> tuple[PopulationScore, ...]:
    """Each population with its partner in the matching of :func:`f1_mean` and its best cluster (the lower id on a
    tie).
    """
    f_measures = table.f_measures()
    sizes, cluster_sizes = table.population_sizes, table.cluster_sizes
    rows, columns = linear_sum_assignment(f_measures, maximize=True)
    # A partner that shares no cell is there only to fill the matching up.
    partner = {int(row): int(column) for row, column in zip(rows, columns, strict=True) if table.counts[row, column]}
    scores = []
    for row, name in enumerate(table.names):
        matched = partner.get(row)
        best = int(f_measures[row].argmax()) if f_measures[row].any() else None
        shared = 0 if matched is None else int(table.counts[row, matched])
        scores.append(
            PopulationScore(
                name=name,
                size=int(sizes[row]),
                cluster=UNASSIGNED if matched is None else int(table.clusters[matched]),
                precision=0.0 if matched is None else float(shared / cluster_sizes[matched]),
                recall=float(shared / sizes[row]),
                f1=0.0 if matched is None else float(f_measures[row, matched]),
                best_cluster=UNASSIGNED if best is None else int(table.clusters[best]),
                best_f1=0.0 if best is None else float(f_measures[row, best]),
            )
        )
    return tuple(scores)


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Mean gap, weighted by cells, between stated confidence and share of correct cells in equally wide bins (Guo et
    al. 2017).

    ``confidence`` (n_cells,) lies in [0, 1], ``correct`` (n_cells,) is boolean; the result is in [0, 1], 0 =
    calibrated. A bin holds its upper edge. Raises :class:`UsageError` for empty or unequal arrays, or a confidence
    outside [0, 1].
    """
    stated, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if stated.ndim != 1 or stated.shape != right.shape or not len(stated):
        raise UsageError(f"{stated.shape} confidences do not fit {right.shape} outcomes")
    if not ((stated >= 0) & (stated <= 1)).all():
        raise UsageError("confidences must lie in [0, 1]")
    if bins < 1:
        raise UsageError(f"at least one bin is needed, not {bins}")
    place = np.clip(np.ceil(stated * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - stated, minlength=bins)
    return float(np.abs(gaps).sum() / len(stated))


def _columns(cluster: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids from 1 that occur, ascending, and each cell's place among them: from 1; 0 where it is unassigned."""
    top = int(cluster.max())
    if top > max(1 << 20, 4 * len(cluster)):  # a table of all ids would be larger than the cells
        ids, place = np.unique(cluster, return_inverse=True)
        n_unassigned = int(np.count_nonzero(ids <= UNASSIGNED))
        return ids[n_unassigned:].astype(np.int64), np.maximum(place + 1 - n_unassigned, 0)
    assigned = np.maximum(cluster, UNASSIGNED).astype(np.int64, copy=False)
    occurs = np.bincount(assigned, minlength=1) > 0
    occurs[UNASSIGNED] = False
    return np.flatnonzero(occurs), np.cumsum(occurs)[assigned] * occurs[assigned]


def _pairs(sizes: NDArray[np.int64] | np.int64) -> int:
    """Number of pairs of cells within groups of these sizes."""
    return sum(size * (size - 1) // 2 for size in np.ravel(sizes).tolist())


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
