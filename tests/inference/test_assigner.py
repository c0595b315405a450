"""Clusters, probabilities and codes against computations in plain NumPy, and what must not change them."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cytovae.errors import UsageError
from cytovae.inference.assigner import Assigner, assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import build_network
from cytovae.populations.merge_tree import MergeTree
from cytovae.settings import Settings

MARKERS = ("CD3", "CD4", "CD8", "CD19", "CD45")
SETTINGS = Settings(experts=9, code=4, encoder_depth=1, encoder_width=16, clustering_width=16, expert_width=4)
LOW, HIGH = np.array([0, -1, 0, 0.5, 2], np.float32), np.array([5, 4, 6, 3, 8], np.float32)


def cells(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Values within and a little beyond the range of the scaling."""
    rng = np.random.default_rng(seed)
    return (LOW - 0.5 + rng.uniform(0, 1, (n, len(MARKERS))) * (HIGH - LOW + 1)).astype(np.float32)


def untrained_network(scaled: NDArray[np.float32]) -> MoeSimVae:
    """An untrained network that assigns its cells to several experts."""
    network = build_network(len(MARKERS), SETTINGS, 0)
    x = torch.from_numpy(scaled)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in network.clustering.parameters():
            parameter.normal_(0, 1.0 if parameter.ndim == 2 else 0.01, generator=generator)
        for _ in range(50):
            network(x)
    return network.eval()


def chain_of_merges(size: NDArray[np.int64]) -> MergeTree:
    """A tree that repeatedly merges the expert with the fewest cells into the next larger one."""
    order = np.argsort(size, kind="stable").astype(np.int32)
    return MergeTree(
        kept=order[1:],
        absorbed=order[:-1],
        level=np.ones(8, np.float32),
        n_same=4,
        cells=size,
        agreement=np.ones(1, np.float32),
    )


@cache
def the_model() -> TrainedModel:
    """Nine experts in five clusters, each with cells."""
    scaling = Scaling(LOW, HIGH)
    scaled = scaling.scale(cells(3000))
    network = untrained_network(scaled)
    with torch.inference_mode():
        expert = network.assign(torch.from_numpy(scaled)).argmax(1).numpy()
    assert len(np.unique(expert)) >= 5
    return TrainedModel(network, SETTINGS, MARKERS, scaling, chain_of_merges(np.bincount(expert, minlength=9)), 5)


def expert_probabilities(model: TrainedModel, values: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.inference_mode():
        p: NDArray[np.float64] = model.network.assign(torch.from_numpy(model.scaling.scale(values))).double().numpy()
    return p


# --- assignment -------------------------------------------------------------------------------------------------------


def test_a_clusters_probability_is_the_sum_of_its_experts() -> None:
    model, values = the_model(), cells(400, seed=1)
    experts = expert_probabilities(model, values)
    expected = np.zeros((400, 5))
    for expert, cluster in enumerate(model.expert_clusters):
        expected[:, cluster - 1] += experts[:, expert]
    assigned = assign(model, values)
    assert assigned.probabilities.dtype == np.float32
    np.testing.assert_allclose(assigned.probabilities, expected, atol=1e-6)


def test_probabilities_sum_to_one_and_the_cluster_is_the_largest() -> None:
    assigned = assign(the_model(), cells(2000, seed=2))
    np.testing.assert_allclose(assigned.probabilities.sum(1), 1, atol=1e-5)
    assert (assigned.probabilities >= 0).all()
    assert assigned.cluster.dtype == np.int32
    assert (assigned.cluster == assigned.probabilities.argmax(1) + 1).all()
    assert len(np.unique(assigned.cluster)) > 2  # otherwise the test says nothing


def test_a_coarser_cut_adds_probabilities() -> None:
    model, values = the_model(), cells(300, seed=3)
    fine, coarse = model.with_clusters(5), model.with_clusters(3)
    expected = np.zeros((300, 3))
    parents = dict(zip(fine.expert_clusters, coarse.expert_clusters, strict=True))
    for cluster, parent in parents.items():
        expected[:, parent - 1] += assign(fine, values).probabilities[:, cluster - 1]
    np.testing.assert_allclose(assign(coarse, values).probabilities, expected, atol=1e-6)


def test_further_cuts_have_the_clusters_that_they_have_alone() -> None:
    model, values = the_model(), cells(400, seed=4)
    alone, both = assign(model, values), Assigner(model, further=(3, 1, 2)).assign(values)
    np.testing.assert_array_equal(both.probabilities, alone.probabilities)
    assert both.further is not None
    assert both.further.dtype == np.int32
    assert alone.further is None
    # The sums of expert probabilities, in double precision.
    experts = expert_probabilities(model, values)
    for column, number in enumerate((3, 1, 2)):
        clusters = model.with_clusters(number).expert_clusters
        expected = np.stack([experts[:, clusters == each].sum(1) for each in range(1, number + 1)], 1).argmax(1) + 1
        np.testing.assert_array_equal(both.further[:, column], expected)
    assert len(np.unique(both.further[:, 0])) == 3  # otherwise the test says nothing


def test_further_cuts_of_no_cells_have_their_columns() -> None:
    none = Assigner(the_model(), further=(3, 2)).assign(cells(0))
    assert none.further is not None
    assert none.further.shape == (0, 2)


def test_an_impossible_further_cut_is_refused_with_the_range() -> None:
    with pytest.raises(UsageError, match=r"cut into 10 clusters; choose a number in 1 … "):
        Assigner(the_model(), further=(3, 10))


def test_one_cluster_takes_every_cell() -> None:
    assigned = assign(the_model().with_clusters(1), cells(50))
    assert (assigned.cluster == 1).all()
    np.testing.assert_allclose(assigned.probabilities, 1, atol=1e-6)


# --- invariances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 100, 101])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    values = cells(100, seed=4)
    whole = assign(the_model(), values)
    monkeypatch.setattr("cytovae.network.device.ENCODER_CHUNK", chunk)
    assigned = assign(the_model(), values)
    np.testing.assert_allclose(assigned.probabilities, whole.probabilities, atol=1e-6)
    assert (assigned.cluster == whole.cluster).all()


def test_assigning_again_gives_the_same_bits() -> None:
    values = cells(500, seed=5)
    first, second = assign(the_model(), values), assign(the_model(), values)
    assert (first.probabilities == second.probabilities).all()


def test_the_other_cells_do_not_matter() -> None:
    values = cells(200, seed=6)
    order = np.random.default_rng(0).permutation(200)
    assigned, permuted = assign(the_model(), values), assign(the_model(), values[order])
    np.testing.assert_allclose(permuted.probabilities, assigned.probabilities[order], atol=1e-6)


def test_values_outside_the_training_range_are_clipped() -> None:
    values = np.stack([LOW, LOW - 100, HIGH, HIGH + 1e6]).astype(np.float32)
    p = assign(the_model(), values).probabilities
    np.testing.assert_allclose(p[1], p[0], atol=1e-6)
    np.testing.assert_allclose(p[3], p[2], atol=1e-6)


def test_the_layout_of_the_values_in_memory_does_not_matter() -> None:
    values = cells(64, seed=7)
    before = values.copy()
    expected = assign(the_model(), values)
    wide = np.repeat(values, 2, axis=1)
    for other in (np.asfortranarray(values), wide[:, ::2]):
        np.testing.assert_allclose(assign(the_model(), other).probabilities, expected.probabilities, atol=1e-6)
    assert (values == before).all()


def test_read_only_values_are_accepted() -> None:
    """As they come from pandas and memory maps."""
    values = cells(64, seed=8)
    expected = assign(the_model(), values)
    values.setflags(write=False)
    assert (assign(the_model(), values).cluster == expected.cluster).all()


# --- codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 500])
def test_codes_are_the_means_of_the_posterior(n: int) -> None:
    model, values = the_model(), cells(n, seed=10)
    codes = Assigner(model).codes(values)
    assert codes.dtype == np.float32
    assert codes.shape == (n, SETTINGS.code)
    with torch.inference_mode():
        mean, _ = model.network.encoder(torch.from_numpy(model.scaling.scale(values)))
    np.testing.assert_allclose(codes, mean.numpy(), atol=1e-6)


# --- edges ------------------------------------------------------------------------------------------------------------


def test_no_cells_give_an_empty_assignment() -> None:
    assigned = assign(the_model(), np.zeros((0, 5), np.float32))
    assert assigned.cluster.shape == (0,)
    assert assigned.probabilities.shape == (0, 5)
    assert assigned.cluster.dtype == np.int32


@pytest.mark.parametrize("shape", [(3, 4), (3, 6), (5,)])
def test_values_of_other_markers_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="5 markers"):
        assign(the_model(), np.zeros(shape, np.float32))
    with pytest.raises(UsageError, match="5 markers"):
        Assigner(the_model()).codes(np.zeros(shape, np.float32))


def test_an_assigner_can_be_used_repeatedly() -> None:
    values = cells(90, seed=9)
    assigner = Assigner(the_model())
    parts = [assigner.assign(values[start : start + 40]) for start in (0, 40, 80)]
    np.testing.assert_allclose(
        np.concatenate([part.probabilities for part in parts]), assign(the_model(), values).probabilities, atol=1e-6
    )


# --- the model --------------------------------------------------------------------------------------------------------


def test_cells_of_a_cluster_are_those_of_its_experts() -> None:
    model = the_model()
    for cluster in range(1, 6):
        assert model.cluster_cells[cluster - 1] == model.tree.cells[model.expert_clusters == cluster].sum()
    assert model.cluster_cells.sum() == 3000
    assert (np.diff(model.cluster_cells) <= 0).all()


@pytest.mark.parametrize("n_clusters", [0, 10])
def test_an_impossible_number_of_clusters_is_refused(n_clusters: int) -> None:
    with pytest.raises(UsageError, match=f"{n_clusters} clusters"):
        the_model().with_clusters(n_clusters)


def test_cutting_a_model_does_not_change_it() -> None:
    model = the_model()
    other = model.with_clusters(2)
    assert (model.n_clusters, other.n_clusters) == (5, 2)
    assert other.network is model.network


def test_a_scaling_of_other_markers_is_refused() -> None:
    model = the_model()
    with pytest.raises(UsageError, match="5 markers does not fit 4"):
        TrainedModel(model.network, SETTINGS, MARKERS[:4], model.scaling, model.tree, 5)
