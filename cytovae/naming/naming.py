"""The names that a model has learned: a population for each expert, and the evidence for it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN, ClusterNames
from cytovae.annotations.marker_table import PanelTypes
from cytovae.naming.evidence import Evidence


@dataclass(frozen=True, eq=False)
class Naming:
    """Names of the populations of a model with k experts and m markers.

    Attributes
    ----------
    of_expert : tuple of str
        The population of each expert; "unknown" for none.
    types : PanelTypes
        The marker table; without rows if all names come from labels.
    evidence : tuple of Evidence
        What speaks for each name.
    not_found : tuple of str
        Populations of the marker table that are not among the training cells.
    low, high : ndarray of float32, shape (m,)
        Transformed values of a low and a high level of each marker; NaN for markers that the table does not ask for.
    labelled : tuple of pairs
        Names that come from labels, and the number of labelled training cells of each.
    novelty_limit : float or None
        A cell with a novelty above this is unlike anything labelled, and its population unknown. None without labels.
    usual_novelty : float or None
        How novel the training cells of most populations with labels are. Files in which they are more novel differ in
        levels. None if it is not known.
    """

    of_expert: tuple[str, ...]
    types: PanelTypes
    evidence: tuple[Evidence, ...]
    not_found: tuple[str, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    labelled: tuple[tuple[str, int], ...] = ()
    novelty_limit: float | None = None
    usual_novelty: float | None = None

    def of_clusters(self, expert_clusters: NDArray[np.int32], cells: NDArray[np.int64]) -> ClusterNames:
        """The population of each cluster: the one with most of its training cells.

        Parameters
        ----------
        expert_clusters
            The cluster of each expert (k,), from 1.
        cells
            Number of training cells of each expert (k,).
        """
        names = []
        for cluster in range(1, int(expert_clusters.max()) + 1):
            members = np.flatnonzero(expert_clusters == cluster)
            count = dict.fromkeys([self.of_expert[e] for e in members], 0)
            for expert in members:
                count[self.of_expert[expert]] += int(cells[expert])
            names.append(max(count, key=lambda name: count[name]) if count else UNKNOWN)
        return ClusterNames(tuple(names))

    def known_below(self, names: ClusterNames) -> tuple[float, ...]:
        """The novelty above which a cell of each cluster is unknown; infinite where the name comes from no label.

        Empty in a model that learned no labels. ``names`` are those of the clusters.
        """
        if self.novelty_limit is None:
            return ()
        labelled = {name for name, _ in self.labelled}
        return tuple(self.novelty_limit if name in labelled else np.inf for name in names.of_cluster)

    def levels(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Where transformed values (…, m) lie between low (−1) and high (1); NaN for markers without levels."""
        return np.asarray(2 * (values - self.low) / (self.high - self.low) - 1, dtype=np.float32)


def naming_with_parts(
    outer: Naming | None, retired: NDArray[np.bool_], name: str, inner: Naming | None, n_inner: int
) -> Naming | None:
    """The names of a model whose clusters were replaced by those of another one; None if neither knows names.

    Parameters
    ----------
    outer
        The names of the k experts of the first model.
    retired
        Which experts (k,) belong to the replaced clusters.
    name
        The population of these clusters. Experts of the second model that have no name of their own keep it.
    inner, n_inner
        The names of the experts of the second model, and their number.
    """
    own = (name,) * n_inner
    if inner is not None:
        own = tuple(name if each == UNKNOWN else each for each in inner.of_expert)
    if outer is None:
        return None if inner is None else replace(inner, of_expert=(UNKNOWN,) * len(retired) + own, not_found=())
    both = replace(
        outer,
        of_expert=(*outer.of_expert, *own),
        not_found=tuple(each for each in outer.not_found if each not in own),
    )
    if inner is None:
        return both
    outside = {each for each, gone in zip(outer.of_expert, retired, strict=True) if not gone}
    evidence = [each for each in outer.evidence if each.name in outside]
    evidence += [each for each in inner.evidence if each.name not in outside]
    return replace(
        both,
        types=outer.types if outer.types.populations else inner.types,
        evidence=tuple(evidence),
        low=np.where(np.isnan(outer.low), inner.low, outer.low),
        high=np.where(np.isnan(outer.high), inner.high, outer.high),
    )
