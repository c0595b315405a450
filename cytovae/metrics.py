"""Agreement of clusters with manual gates (F-measures, ARI, NMI, accuracy), and calibration of probabilities.

Every score of clusters follows from one contingency table of gated cells, populations by clusters. The references are
in :func:`score`. Conventions:

* Ungated cells are dropped first, as in Weber & Robinson (2016).
* Clusters are numbered from 1. A cell with a smaller number is unassigned: it lowers the recall of its population and
  the accuracy, but no precision. For ARI and NMI, which compare partitions, unassigned cells form one more group.
* F(c, p) = 2 |c ∩ p| / (|c| + |p|) is the harmonic mean of precision and recall of cluster c for population p
  (equation 13 of Kopf et al. 2021). Sizes count gated cells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from cytovae.cells import UNASSIGNED, UNGATED, GateLabels
from cytovae.errors import UsageError


@dataclass(frozen=True, eq=False)
class Contingency:
    """Counts of gated cells by population and cluster.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_populations, n_clusters)
        Cells of each population in each cluster. Clusters without gated cells have no column.
    unassigned : ndarray of int64, shape (n_populations,)
        Cells of each population in no cluster.
    names : tuple of str
        Names of the populations.
    clusters : ndarray of int64, shape (n_clusters,)
        Numbers of the clusters, ascending.
    n_cells, n_clusters_total : int
        All cells and clusters, including those without a gate.
    """

    counts: NDArray[np.int64]
    unassigned: NDArray[np.int64]
    names: tuple[str, ...]
    clusters: NDArray[np.int64]
    n_cells: int
    n_clusters_total: int

    @property
    def population_sizes(self) -> NDArray[np.int64]:
        """Gated cells of each population, unassigned ones included, shape (n_populations,)."""
        return np.asarray(self.counts.sum(axis=1) + self.unassigned)

    @property
    def cluster_sizes(self) -> NDArray[np.int64]:
        """Gated cells of each cluster, shape (n_clusters,)."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def n_gated(self) -> int:
        """Number of gated cells."""
        return int(self.population_sizes.sum())

    def f_measures(self) -> NDArray[np.float64]:
        """F(c, p) of every population (row) and cluster (column), in [0, 1]: equation 13 of Kopf et al. (2021)."""
        return 2.0 * self.counts / (self.population_sizes[:, None] + self.cluster_sizes[None, :])

    def partition(self) -> NDArray[np.int64]:
        """The counts, with unassigned cells as one more column if there are any."""
        return np.column_stack([self.counts, self.unassigned]) if self.unassigned.any() else self.counts


@dataclass(frozen=True)
class PopulationScore:
    """Scores of one population.

    Attributes
    ----------
    name, size : str, int
        The population and its number of gated cells.
    cluster : int
        Its cluster in the one-to-one matching of :func:`f1_mean`; 0 for none.
    precision, recall, f1 : float
        Of that cluster; 0 for none.
    best_cluster : int
        The cluster with the largest F-measure, even if another population is matched with it; 0 for none.
    best_f1 : float
        That F-measure: the score of a data set with one rare population.
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
    """Agreement of clusters with manual gates. Every score is at most 1, and 1 only for the same partition.

    The three F-measures answer different questions; do not compare one with another.

    Attributes
    ----------
    n_cells, n_gated, n_unassigned, n_clusters : int
        All cells, those in a gate, those in a gate but in no cluster, and the clusters of all cells.
    f_weighted, f_weighted_clusters, f1_mean : float
        F-measures, see the functions of these names.
    ari, nmi, accuracy : float
        See :func:`adjusted_rand_index`, :func:`normalized_mutual_information` and :func:`matched_accuracy`.
    populations : tuple of PopulationScore
        Scores of each population.
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


def score(cluster: NDArray[np.integer], gates: GateLabels) -> ScoreReport:
    """Compare clusters with manual gates.

    Parameters
    ----------
    cluster : ndarray of int, shape (n_cells,)
        The cluster of each cell, from 1. Smaller numbers mean unassigned.
    gates : GateLabels
        The gates of the same cells, in the same order. Ungated cells are not scored.

    Returns
    -------
    ScoreReport
        F-measures, ARI, NMI and accuracy, and the scores of each population.

    Raises
    ------
    UsageError
        If the lengths differ, ``cluster`` does not hold integers, or no cell is gated.

    Notes
    -----
    ``f_weighted`` is from Aghaeepour et al. [1]_, and so in the released code of the method; ``f_weighted_clusters`` is
    equation 12 of Kopf et al. [2]_ as printed; ``f1_mean`` is from Weber & Robinson [3]_.

    References
    ----------
    .. [1] Aghaeepour N, et al. (2013). Critical assessment of automated flow cytometry data analysis techniques. Nat
       Methods 10(3): 228-238.
    .. [2] Kopf A, Fortuin V, Somnath VR, Claassen M (2021). Mixture-of-Experts Variational Autoencoder for clustering
       and generating from similarity-based representations on single cell data. PLoS Comput Biol 17(6): e1009086.
    .. [3] Weber LM, Robinson MD (2016). Comparison of clustering methods for high-dimensional single-cell flow and mass
       cytometry data. Cytometry A 89(12): 1084-1096.

    Examples
    --------
    >>> import numpy as np
    >>> from cytovae.cells import GateLabels
    >>> from cytovae.metrics import score
    >>> population = np.array([0, 0, 0, 0, 1, 1, -1], dtype=np.int32)  # the last cell is ungated
    >>> gates = GateLabels(population, ("B cells", "T cells"))
    >>> report = score(np.array([1, 1, 1, 2, 2, 2, 2]), gates)
    >>> round(report.f_weighted, 3)
    0.838
    >>> [(each.name, each.cluster, each.recall) for each in report.populations]
    [('B cells', 1, 0.75), ('T cells', 2, 1.0)]
    """
    table = contingency(cluster, gates)
    partition = table.partition()
    return ScoreReport(
        n_cells=table.n_cells,
        n_gated=table.n_gated,
        n_unassigned=int(table.unassigned.sum()),
        n_clusters=table.n_clusters_total,
        f_weighted=f_weighted(table),
        f_weighted_clusters=f_weighted_clusters(table),
        f1_mean=f1_mean(table),
        ari=adjusted_rand_index(partition),
        nmi=normalized_mutual_information(partition),
        accuracy=matched_accuracy(table),
        populations=population_scores(table),
    )


def contingency(cluster: NDArray[np.integer], gates: GateLabels) -> Contingency:
    """Count the gated cells of every population in every cluster.

    Populations without a gated cell are left out. Parameters and errors are those of :func:`score`.
    """
    if cluster.ndim != 1 or cluster.dtype.kind not in "iu":
        raise UsageError(f"clusters must be a one-dimensional array of integers, not {cluster.dtype} {cluster.shape}")
    if len(cluster) != len(gates):
        raise UsageError(f"{len(cluster)} cluster labels do not fit {len(gates)} gate labels")
    gated = gates.population != UNGATED
    if not gated.any():
        raise UsageError(f"none of the {len(gates)} cells is gated, so there is nothing to score")

    ids, column = _columns(cluster)
    n_columns = len(ids) + 1  # column 0 counts unassigned cells
    pairs = gates.population[gated].astype(np.int64) * n_columns + column[gated]
    table = np.bincount(pairs, minlength=len(gates.names) * n_columns).reshape(len(gates.names), n_columns)
    populations = np.flatnonzero(table.any(axis=1))
    table = table[populations]
    counts = table[:, 1:]
    has_gated = counts.any(axis=0)
    return Contingency(
        counts=counts[:, has_gated],
        unassigned=table[:, 0],
        names=tuple(gates.names[row] for row in populations),
        clusters=ids[has_gated],
        n_cells=len(cluster),
        n_clusters_total=len(ids),
    )


def f_weighted(table: Contingency) -> float:
    """F-measure weighted by population: Σ_p |p|/N max_c F(c, p) (Aghaeepour et al. 2013).

    The released code of Kopf et al. (2021) computes their equation 12 in this form. Several populations may have the
    same best cluster.
    """
    return float(table.population_sizes @ table.f_measures().max(axis=1, initial=0.0) / table.n_gated)


def f_weighted_clusters(table: Contingency) -> float:
    """F-measure weighted by cluster: Σ_c |c|/N max_p F(c, p) (equation 12 of Kopf et al. 2021, as printed).

    N counts all gated cells and unassigned cells add nothing, so leaving cells out does not raise the score for free.
    """
    return float(table.cluster_sizes @ table.f_measures().max(axis=0, initial=0.0) / table.n_gated)


def f1_mean(table: Contingency) -> float:
    """Unweighted mean F-measure of a one-to-one matching (Weber & Robinson 2016).

    Populations and clusters are matched so that the total of F(c, p) is largest. Every population counts the same,
    whatever its size; one without a cluster counts 0.
    """
    f_measures = table.f_measures()
    rows, columns = linear_sum_assignment(f_measures, maximize=True)
    return float(f_measures[rows, columns].sum() / len(table.names))


def matched_accuracy(table: Contingency) -> float:
    """Share of gated cells in the cluster of their population, under the one-to-one matching with most such cells."""
    rows, columns = linear_sum_assignment(table.counts, maximize=True)
    return float(table.counts[rows, columns].sum() / table.n_gated)


def adjusted_rand_index(counts: NDArray[np.int64]) -> float:
    """Adjusted Rand index of a contingency table (Hubert & Arabie 1985, J Classif 2: 193-218), in [-1, 1].

    1 for equal partitions, 0 expected by chance. Python integers keep the counts of pairs exact.
    """
    together = _pairs(counts)
    rows, columns, everything = _pairs(counts.sum(axis=1)), _pairs(counts.sum(axis=0)), _pairs(counts.sum())
    largest = everything * (rows + columns) - 2 * rows * columns
    # Zero only if both partitions have a single group, or single cells only: then they are equal.
    return 2 * (together * everything - rows * columns) / largest if largest else 1.0


def normalized_mutual_information(counts: NDArray[np.int64]) -> float:
    """Mutual information of a contingency table over the mean of both entropies, in [0, 1]; 1 for single groups."""
    joint = counts / counts.sum()
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    mean_entropy = (_entropy(rows) + _entropy(columns)) / 2
    if np.count_nonzero(rows) == 1 and np.count_nonzero(columns) == 1:
        return 1.0
    information = _entropy(rows) + _entropy(columns) - _entropy(joint.ravel())
    return float(np.clip(information / mean_entropy, 0.0, 1.0))


def population_scores(table: Contingency) -> tuple[PopulationScore, ...]:
    """Scores of each population with its matched and with its best cluster; the lower number on a tie."""
    rows, columns = linear_sum_assignment(table.f_measures(), maximize=True)
    # Column 0 is "no cluster".
    f_measures, counts = (np.pad(array, [(0, 0), (1, 0)]) for array in (table.f_measures(), table.counts))
    clusters, sizes = np.append(UNASSIGNED, table.clusters), np.append(1, table.cluster_sizes)
    matched = np.zeros(len(table.names), dtype=np.int64)
    matched[rows] = columns + 1
    # The matching is complete, so it also pairs populations with clusters that share no cell.
    matched[counts[np.arange(len(matched)), matched] == 0] = 0
    best = f_measures.argmax(axis=1)
    return tuple(
        PopulationScore(
            name=name,
            size=int(size),
            cluster=int(clusters[matched[row]]),
            precision=float(counts[row, matched[row]] / sizes[matched[row]]),
            recall=float(counts[row, matched[row]] / size),
            f1=float(f_measures[row, matched[row]]),
            best_cluster=int(clusters[best[row]]),
            best_f1=float(f_measures[row, best[row]]),
        )
        for row, (name, size) in enumerate(zip(table.names, table.population_sizes, strict=True))
    )


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, ICML): 0 for calibrated probabilities, at most 1.

    The mean difference between ``confidence`` (n_cells,), in [0, 1], and the share of ``correct`` (n_cells,) cells in
    bins of equal width, weighted by cells. A bin includes its upper edge. Raises :class:`UsageError` if the arrays are
    empty or do not fit, or a confidence is outside [0, 1].
    """
    stated, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if stated.ndim != 1 or stated.shape != right.shape or not len(stated):
        raise UsageError(f"{stated.shape} confidences do not fit {right.shape} outcomes")
    if not ((stated >= 0) & (stated <= 1)).all():
        raise UsageError("confidences must lie in [0, 1]")
    if bins < 1:
        raise UsageError(f"at least one bin is needed, not {bins}")
    bin_of_cell = np.clip(np.ceil(stated * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of_cell, weights=right - stated, minlength=bins)
    return float(np.abs(gaps).sum() / len(stated))


def _columns(cluster: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The clusters that occur, ascending, and the column of each cell among them: from 1; 0 if unassigned."""
    largest = int(cluster.max())
    if largest > max(1 << 20, 4 * len(cluster)):  # counting up to the largest number would need too much memory
        ids, column = np.unique(cluster, return_inverse=True)
        n_unassigned = int(np.count_nonzero(ids <= UNASSIGNED))
        return ids[n_unassigned:].astype(np.int64), np.maximum(column + 1 - n_unassigned, 0)
    assigned = np.maximum(cluster, UNASSIGNED).astype(np.int64, copy=False)
    occurs = np.bincount(assigned, minlength=1) > 0
    occurs[UNASSIGNED] = False
    return np.flatnonzero(occurs), np.cumsum(occurs)[assigned] * occurs[assigned]


def _pairs(sizes: NDArray[np.int64] | np.int64) -> int:
    """Number of pairs of cells within groups of these sizes."""
    return sum(size * (size - 1) // 2 for size in np.ravel(sizes).tolist())


def _entropy(shares: NDArray[np.float64]) -> float:
    """Entropy of a distribution, natural logarithm."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
