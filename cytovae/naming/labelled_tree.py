"""A merge tree that is cut between labelled populations; what cells without a label are.

Populations without labels are branches of the tree that have far fewer labelled cells than others of their size. Their
cells keep the populations that the data suggest. All other cells without a label get the name of the labelled cells
that are most like them, by three classifiers and the nearest cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.marker_table import PanelTypes
from cytovae.errors import UsageError
from cytovae.naming.named_tree import NamedTree, cut_between
from cytovae.naming.naming import Naming
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.population_tree import PopulationTree

Array = NDArray[np.float64]

# A branch holds populations without labels if it has at most this share of the labelled cells that are to be expected
# by its size, and so many are to be expected.
FEW_LABELS, EXPECTED = 0.1, 5.0

TREES, NEIGHBORS = 200, 15  # that help to name cells without a label

# The probability of a population without labels is divided by this, so that names are preferred.
DOUBT = 3.0

# A cell with a novelty above this is unlike anything labelled: its population is unknown.
NOVELTY_LIMIT = 0.3


@dataclass(frozen=True, eq=False)
class LabelledTree:
    """Landmarks with names, and the merge tree cut between them.

    Attributes
    ----------
    tree : PopulationTree
        Its micro-clusters do not mix populations.
    names : tuple of str
        The name of each of its populations; "unknown" for those without labels.
    population : ndarray of int64, shape (n,)
        Population of each landmark.
    labelled : dict of str to int
        Number of labelled landmarks of each name.
    table : NamedTree or None
        What a marker table says about the landmarks.
    """

    tree: PopulationTree
    names: tuple[str, ...]
    population: NDArray[np.int64]
    labelled: dict[str, int]
    table: NamedTree | None

    def owner(self, experts: int) -> list[int]:
        """The population of each expert (k,): an expert for each micro-cluster, the others for large populations.

        Raises :class:`UsageError` if there are more micro-clusters than experts.
        """
        own: list[int] = self.tree.population.tolist()
        if len(own) > experts:
            raise UsageError(f"{len(own)} populations need as many experts; use more --experts than {experts}")
        size = np.bincount(self.population).astype(np.float64)
        count = np.bincount(own, minlength=len(size))
        while len(own) < experts:
            most = int((size / count).argmax())
            own.append(most)
            count[most] += 1
        return own

    @property
    def prior(self) -> NDArray[np.float64]:
        """Frequency of each population, relative to how often it is drawn for training, shape (c,).

        Populations are drawn by the square root of their size, so that rare ones are learned. Without a correction,
        those without labels would be assigned cells of labelled ones. Their probabilities are therefore scaled to their
        size, and divided by ``DOUBT``.
        """
        size = np.bincount(self.population).astype(np.float64)
        labelled = np.array([name != UNKNOWN for name in self.names])
        if labelled.all() or not labelled.any():
            return np.ones(len(size))
        return np.where(labelled, 1.0, np.minimum(1.0, (size / size[labelled].mean()) ** 0.5) / DOUBT)

    def within(self, probabilities: NDArray[np.float32], owner: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities (n, k) of the experts for the landmarks, 0 for experts of other populations.

        Experts that are merged by these stay in their populations, also where the network mistakes a rare one.
        """
        return np.where(self.population[:, None] == np.asarray(owner), probabilities, np.float32(0))

    def naming(self, owner: Sequence[int], markers: tuple[str, ...]) -> Naming:
        """The names of the experts (k,), from their populations."""
        of_expert = tuple(self.names[population] for population in owner)
        nothing = np.full(len(markers), np.nan, dtype=np.float32)
        no_table = PanelTypes((), markers, np.full((0, len(markers)), np.nan, dtype=np.float32))
        found = tuple(each for each in (self.table.cells.evidence if self.table else ()) if each.name in of_expert)
        evident = {each.name for each in found}
        return Naming(
            of_expert,
            no_table if self.table is None else self.table.types,
            found,
            () if self.table is None else tuple(name for name in self.table.types.populations if name not in evident),
            nothing if self.table is None else self.table.cells.low,
            nothing if self.table is None else self.table.cells.high,
            tuple(self.labelled.items()),
            NOVELTY_LIMIT,
        )


def label_tree(
    tree: PopulationTree,
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    most: int,
    table: NamedTree | None = None,
) -> LabelledTree:
    """Give every landmark a population, and cut the tree between them.

    Parameters
    ----------
    tree
        Micro-clusters of the landmarks, as the data suggest them.
    values
        Marker values (n, m) of the landmarks.
    labels, names
        Known labels (n,) of the landmarks, as an index into names; −1 = not labelled.
    most
        The largest number of micro-clusters, the number of experts.
    table
        The names of a marker table. They hold where there is no label.
    """
    known = labels >= 0
    every = list(names)
    population = np.where(known, labels, -1)
    if table is not None:
        index = {name.casefold(): position for position, name in enumerate(names)}
        for number, name in enumerate(table.names):
            if name == UNKNOWN:
                continue
            if name.casefold() not in index:
                index[name.casefold()] = len(every)
                every.append(name)
            population[~known & (table.tree.landmark_population == number)] = index[name.casefold()]
    other = population < 0
    strange = other & without_labels(tree, known)
    population[strange] = len(every) + tree.landmark_population[strange]
    near = other & ~strange
    if near.any():
        population[near] = like_labelled(values, labels, near)
    kept, population = np.unique(population, return_inverse=True)
    of_population = tuple(every[old] if old < len(every) else UNKNOWN for old in kept)
    counts = np.bincount(labels[known], minlength=len(names)).tolist()
    labelled = {name: count for name, count in zip(names, counts, strict=True) if count}
    return LabelledTree(cut_between(tree, values, population, most), of_population, population, labelled, table)


def names_by_majority(
    probabilities: NDArray[np.float32], labels: NDArray[np.integer], names: tuple[str, ...], markers: tuple[str, ...]
) -> Naming:
    """The names of experts in a model without a tree: that of most labelled landmarks of each.

    ``probabilities`` (n, k) and ``labels`` (n,), −1 = none, are of the landmarks.
    """
    known = labels >= 0
    votes = np.zeros((probabilities.shape[1], len(names)), dtype=np.int64)
    np.add.at(votes, (probabilities[known].argmax(1), labels[known]), 1)
    of_expert = tuple(names[int(row.argmax())] if row.any() else UNKNOWN for row in votes)
    nothing = np.full(len(markers), np.nan, dtype=np.float32)
    no_table = PanelTypes((), markers, np.full((0, len(markers)), np.nan, dtype=np.float32))
    return Naming(of_expert, no_table, (), (), nothing, nothing)


def without_labels(tree: PopulationTree, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which landmarks (n,) are in branches without labels, given which are labelled (n,)."""
    u = len(tree.population)
    size = np.zeros(2 * u - 1)
    labelled = np.zeros(2 * u - 1)
    size[:u] = np.bincount(tree.micro_cluster, minlength=u)
    labelled[:u] = np.bincount(tree.micro_cluster, weights=known, minlength=u)
    for branch, (left, right, *_) in enumerate(tree.linkage, start=u):
        size[branch] = size[int(left)] + size[int(right)]
        labelled[branch] = labelled[int(left)] + labelled[int(right)]
    expected = size * known.mean()
    few = (expected >= EXPECTED) & (labelled <= FEW_LABELS * expected)
    for branch in range(2 * u - 2, u - 1, -1):  # the parts of such a branch belong to it
        if few[branch]:
            few[tree.linkage[branch - u, :2].astype(int)] = True
    return np.asarray(few[tree.micro_cluster])


def like_labelled(values: NDArray[np.float32], labels: NDArray[np.int64], rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The label that cells most likely have: by the mean of three classifiers, and that of the nearest cells.

    ``values`` (n, m) and ``labels`` (n,), −1 = none, are of all landmarks; ``rows`` (n,) tells which ones to label.
    """
    # These take a third of a second to import, which training without labels does not need.
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = labels >= 0
    classifiers = (
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    )
    exact = values.astype(np.float64)
    names, own = np.unique(labels[known], return_inverse=True)
    if len(names) == 1:
        return np.full(int(rows.sum()), names[0])
    p = np.mean([each.fit(exact[known], own).predict_proba(exact) for each in classifiers], axis=0)  # (n, c)
    p[known] = np.eye(len(names))[own]
    near = nearest_neighbors(values, min(NEIGHBORS + 1, len(values)), "euclidean").indices[rows, 1:]
    votes = sum((p[each] for each in near.T), np.zeros((len(near), len(names))))
    return np.asarray(names[(p[rows] + votes / near.shape[1]).argmax(1)], dtype=np.int64)
