"""Refined models: the laws of probability, and the numbers of clusters."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_model import tiny_model
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.annotations.marker_table import PanelTypes
from cytovae.errors import UsageError
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import fit_distribution
from cytovae.inference.generation import events_of_clusters, generate
from cytovae.inference.refined import refined
from cytovae.inference.trained_model import TrainedModel
from cytovae.naming.evidence import Evidence
from cytovae.naming.naming import Naming

MODEL = tiny_model(0).model  # clusters 1, 2, 3
INNER = tiny_model(1).model  # three parts
MARKERS = MODEL.markers
TOLERANCE = 1e-6  # of float32 probabilities


@pytest.fixture(scope="module")
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 7, (500, 3)).astype(np.float32)


def p_of(model: TrainedModel, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return Assigner(model).assign(values).probabilities


def test_parts_have_the_probability_of_their_cluster_times_that_of_the_second_model(
    values: NDArray[np.float32],
) -> None:
    whole, parts, both = p_of(MODEL, values), p_of(INNER, values), p_of(refined(MODEL, (2,), INNER), values)
    assert both.shape == (500, 6)
    np.testing.assert_allclose(both.sum(1), 1, atol=TOLERANCE)
    np.testing.assert_allclose(both[:, 3:], whole[:, 1:2] * parts, atol=TOLERANCE)
    np.testing.assert_allclose(both[:, [0, 2]], whole[:, [0, 2]], atol=TOLERANCE)
    assert (both[:, 1] == 0).all()


def test_parts_have_their_own_names_or_that_of_their_cluster() -> None:
    def with_names(model: TrainedModel, names: tuple[str, ...], level: float) -> TrainedModel:
        levels = np.full(3, level, np.float32)
        types = PanelTypes(("T", "CD4 T"), MARKERS, np.zeros((2, 3), np.float32), (), ())
        evidence = tuple(Evidence(name, int(level), (), (), (), 1.0) for name in names)
        of_expert = tuple(names[cluster - 1] for cluster in model.expert_clusters.tolist())
        return replace(model, naming=Naming(of_expert, types, evidence, ("CD4 T", "NK"), levels, levels))

    outer = with_names(MODEL, ("B", "T", "Monocytes"), 1.0)
    inner = with_names(INNER, ("CD4 T", UNKNOWN, "B"), 2.0)
    both = refined(outer, (2,), inner)
    assert both.names is not None
    assert both.names.of_cluster[3:] == ("CD4 T", "T", "B")
    assert both.naming is not None
    assert both.naming.not_found == ("NK",)
    # Of the outer model where the name is outside, too; T has no cell of its own there any more.
    found = {each.name: each.cells for each in both.naming.evidence}
    assert found == {"B": 1, "Monocytes": 1, "CD4 T": 2, UNKNOWN: 2}
    assert (both.naming.low == 1).all()

    unnamed = refined(MODEL, (2,), inner)
    assert unnamed.names is not None
    assert unnamed.names.of_cluster == (UNKNOWN, UNKNOWN, UNKNOWN, "CD4 T", UNKNOWN, "B")


def test_a_part_can_be_refined_again(values: NDArray[np.float32]) -> None:
    once = refined(MODEL, (2,), INNER)
    twice = refined(once, (5,), tiny_model(2).model)
    before, after = p_of(once, values), p_of(twice, values)
    assert twice.retired_clusters == (2, 5)
    assert (twice.n_clusters, twice.highest_cluster) == (7, 9)
    np.testing.assert_allclose(after[:, 6:].sum(1), before[:, 4], atol=TOLERANCE)
    np.testing.assert_allclose(np.delete(after[:, :6], 4, 1), np.delete(before, 4, 1), atol=TOLERANCE)


def test_the_clusters_of_a_population_are_refined_together(values: NDArray[np.float32]) -> None:
    whole, both = p_of(MODEL, values), p_of(refined(MODEL, (1, 3), INNER), values)
    np.testing.assert_allclose(both[:, 3:].sum(1), whole[:, 0] + whole[:, 2], atol=TOLERANCE)


def test_a_coarser_cut_is_contiguous(values: NDArray[np.float32]) -> None:
    model = refined(MODEL, (2,), INNER)
    assert p_of(model.with_clusters(3), values).shape == (500, 3)
    assert model.with_clusters(3).retired_clusters == ()


def test_a_retired_number_is_refused_with_the_numbers_of_its_parts() -> None:
    model = refined(MODEL, (2,), INNER)
    with pytest.raises(UsageError, match="no cluster 2 any more: it was refined into 4, 5, 6"):
        refined(model, (2,), INNER)
    with pytest.raises(UsageError, match="no cluster 7; this model has the clusters 1 … 6 except 2"):
        refined(model, (7,), INNER)
    with pytest.raises(UsageError, match="must have the markers"):
        refined(MODEL, (1,), replace(INNER, markers=("a", "b", "c")))


def test_cells_of_a_part_are_those_of_the_second_model(values: NDArray[np.float32]) -> None:
    def with_distribution(model: TrainedModel) -> TrainedModel:
        return replace(model, distribution=fit_distribution(model.network, model.scaling, values))

    inner = with_distribution(INNER)
    model = refined(with_distribution(MODEL), (2,), inner)
    assert list(events_of_clusters(model, "all", 5, 0)) == [1, 3, 4, 5, 6]
    assert set(events_of_clusters(model, "proportional", 1000, 0)) <= {1, 3, 4, 5, 6}
    of_part, alone = generate(model, {5: 200}, seed=0), generate(inner, {2: 200}, seed=0)
    assert of_part.values.shape == (200, 3)
    # The same experts of the same distribution: means of 200 cells agree within four standard errors.
    spread = alone.values.std(0) + 1e-3
    assert (np.abs(of_part.values.mean(0) - alone.values.mean(0)) < 4 * spread / np.sqrt(100)).all()
    with pytest.raises(UsageError, match="refined into 4, 5, 6"):
        generate(model, {2: 1}, seed=0)
