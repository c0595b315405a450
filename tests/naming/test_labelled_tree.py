"""Which cells have populations without labels: cases worked by hand."""

import numpy as np
import pytest

from cytovae.errors import UsageError
from cytovae.naming.labelled_tree import DOUBT, LabelledTree, label_tree, without_labels
from cytovae.populations.population_tree import PopulationTree

SIZES = (100, 100, 100, 4)


def tree() -> PopulationTree:
    """Micro-clusters of 100, 100, 100 and 4 cells; 0 and 1 join first, then 2, then 3."""
    linkage = np.array([[0, 1, 0.1, 0], [4, 2, 0.6, 0], [5, 3, 0.8, 0]], dtype=np.float64)
    micro_cluster = np.repeat(np.arange(4), SIZES)
    return PopulationTree(micro_cluster, linkage, 0.5, np.array([0, 0, 1, 2]), np.zeros(9, dtype=np.float32))


def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    centre = np.array([[0, 0], [4, 0], [0, 4], [4, 4]])[tree().micro_cluster]
    return (centre + rng.normal(0, 0.3, centre.shape)).astype(np.float32)


def labels(*known: int) -> np.ndarray:
    """So many labelled cells of each micro-cluster, with its number as label."""
    first = np.cumsum((0, *SIZES))
    told = np.full(sum(SIZES), -1, dtype=np.int64)
    for index, count in enumerate(known):
        told[first[index] : first[index] + count] = index
    return told


def test_a_branch_with_far_fewer_labels_than_others_has_a_population_of_its_own() -> None:
    """All cells of 0 and 1 are labelled, one of 2; of the four cells of 3 too few would be expected to tell."""
    strange = without_labels(tree(), labels(100, 100, 1, 0) >= 0)
    assert strange.tolist() == (tree().micro_cluster == 2).tolist()


def test_few_labels_everywhere_are_no_sign_of_other_populations() -> None:
    assert not without_labels(tree(), labels(5, 0, 5, 0) >= 0).any()


def labelled() -> LabelledTree:
    return label_tree(tree(), values(), labels(90, 90, 0, 0), ("A", "B"), 12)


def test_cells_have_their_label_or_that_of_cells_like_them_or_none() -> None:
    found = labelled()
    names = np.array(found.names)[found.population]
    assert [set(names[tree().micro_cluster == index]) for index in range(3)] == [{"A"}, {"B"}, {"unknown"}]
    of_landmark = found.tree.landmark_population
    assert (of_landmark == found.population).all()
    assert found.labelled == {"A": 90, "B": 90}


def test_populations_without_labels_are_as_frequent_as_they_are() -> None:
    """Four cells beside a hundred labelled ones have the square root of 0.04, divided by the doubt."""
    assert labelled().prior.tolist() == pytest.approx([1, 1, 1 / DOUBT], abs=0.01)
    few = LabelledTree(tree(), ("A", "unknown"), np.repeat([0, 1], (100, 4)), {"A": 100}, None)
    assert few.prior.tolist() == pytest.approx([1, 0.2 / DOUBT])


def test_every_population_has_an_expert() -> None:
    found = labelled()
    assert set(found.owner(12)) == set(found.population.tolist())
    with pytest.raises(UsageError, match="--experts"):
        found.owner(2)
