"""From cells to clusters on a mixture whose populations are known."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cytovae.cells import UNGATED, CellTable, GateLabels
from cytovae.errors import NumericalError, UsageError
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import Learning
from cytovae.metrics import score
from cytovae.settings import Settings, preset
from cytovae.study.train_model import learn, train_model

pytestmark = pytest.mark.slow  # each test trains a model

MARKERS = tuple(f"CD{index}" for index in range(8))
SIZES = (350, 200, 120, 80, 50)
SMALL = Settings(
    experts=20,
    code=4,
    encoder_depth=1,
    encoder_width=32,
    clustering_width=32,
    expert_width=8,
    batch=128,
    steps=300,
    umap_epochs=60,
    views=3,
    support=3,
)


def table(values: NDArray[np.float32]) -> CellTable:
    n = len(values)
    return CellTable(values, MARKERS, ("cells.fcs",), np.zeros(n, np.int32), np.arange(n))


def mixture(seed: int = 0) -> tuple[CellTable, GateLabels]:
    """Five populations of 350 to 50 cells in eight markers, in no order: 0.5 wide, their markers between 0 and 6."""
    rng = np.random.default_rng(seed)
    population = rng.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    centres = rng.uniform(0, 6, (len(SIZES), len(MARKERS)))
    values = np.maximum(centres[population] + rng.normal(0, 0.5, (len(population), len(MARKERS))), 0)
    return table(values.astype(np.float32)), GateLabels(population.astype(np.int32), tuple("abcde"))


@cache
def learned(steps: int = SMALL.steps, seed: int = 0) -> Learning:
    return train_model(mixture(seed)[0], replace(SMALL, steps=steps), seed=seed)


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_populations_are_found_by_training_and_not_without_it(seed: int) -> None:
    cells, gates = mixture(seed)
    untrained, trained = (score(assign(learned(steps, seed).model, cells.values).cluster, gates) for steps in (1, 300))
    # One cluster for all has 2 · 0.4375 / 1.4375 of the largest population, and little of the others: 0.43 in all.
    assert untrained.f_weighted < 0.6
    assert trained.f_weighted >= 0.95
    assert trained.f1_mean >= 0.95
    assert learned(300, seed).model.n_clusters == 5


def test_cells_never_seen_go_to_their_population() -> None:
    """Learnt from every other cell, scored on the others."""
    cells, gates = mixture()
    half = np.arange(len(cells)) % 2 == 0
    model = learn(cells.take(np.flatnonzero(half)), SMALL, seed=0)
    cluster = assign(model, cells.values[~half]).cluster
    assert score(cluster, GateLabels(gates.population[~half], gates.names)).f_weighted >= 0.95


def test_learning_from_some_cells_serves_all() -> None:
    cells, gates = mixture()
    result = train_model(cells, replace(SMALL, landmarks=400), seed=0)
    assert result.landmarks.shape == (400,)
    assert len(np.unique(result.landmarks)) == 400
    assert result.coordinates.shape == (400, 2)
    assert result.model.tree.cells.sum() == 400
    assert score(assign(result.model, cells.values).cluster, gates).f_weighted >= 0.95


def test_known_labels_overrule_what_the_markers_say() -> None:
    """Two populations told to be one by the labels of all their cells come out as one, the others as they are."""
    cells, gates = mixture()
    told = np.where(gates.population == 1, 0, gates.population).astype(np.int32)
    settings = replace(SMALL, resolution="experts", experts=8, steps=400)
    model = learn(cells, settings, seed=0, labels=GateLabels(told, gates.names))
    cluster = assign(model, cells.values).cluster
    assert score(cluster, GateLabels(told, gates.names)).f_weighted >= 0.95


def test_labels_may_be_known_for_a_few_cells_only() -> None:
    cells, gates = mixture()
    few = np.where(np.arange(len(cells)) % 10 == 0, gates.population, UNGATED).astype(np.int32)
    model = learn(cells, replace(SMALL, radius=4.0), seed=0, labels=GateLabels(few, gates.names))
    assert score(assign(model, cells.values).cluster, gates).f_weighted >= 0.95


# --- what comes back --------------------------------------------------------------------------------------------------


def test_what_learning_leaves_behind() -> None:
    cells, _ = mixture()
    result = learned()
    assert result.model.markers == MARKERS
    assert (result.landmarks == np.arange(len(cells))).all()
    assert result.coordinates.shape == (len(cells), 2)
    assert [record.step for record in result.history] == list(range(25, 301, 25))
    assert set(result.seconds) == {"landmarks", "neighbours", "umap", "training", "merging"}
    assert min(result.seconds.values()) >= 0
    assert not any(module.training for module in result.model.network.modules())
    assert {parameter.device.type for parameter in result.model.network.parameters()} == {"cpu"}


def test_progress_is_told_stage_by_stage() -> None:
    told: list[tuple[str, int, int]] = []
    learn(mixture()[0], replace(SMALL, steps=60), seed=0, progress=lambda *what: told.append(what))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["neighbours", "umap", "merging", "training"]
    assert [(done, total) for stage, done, total in told if stage == "training"] == [(25, 60), (50, 60), (60, 60)]


def test_a_seed_means_the_same_model_bit_for_bit() -> None:
    cells, _ = mixture()
    settings = replace(SMALL, steps=60)
    before = torch.get_rng_state()
    first, second, other = (train_model(cells, settings, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for left, right in zip(
        first.model.network.state_dict().values(), second.model.network.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right)
    assert first.history == second.history
    assert (first.coordinates == second.coordinates).all()
    assert (first.model.expert_clusters == second.model.expert_clusters).all()
    assert first.history != other.history


@pytest.mark.parametrize("n_clusters", [1, 7])
def test_the_number_of_clusters_may_be_asked_for(n_clusters: int) -> None:
    cells, _ = mixture()
    model = learn(cells, SMALL, seed=0, n_clusters=n_clusters)
    assert model.n_clusters == n_clusters
    assert sorted(np.unique(model.expert_clusters)) == list(range(1, n_clusters + 1))
    # The same network, whatever it is cut into.
    found = learned().model
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.network.state_dict().values(), found.network.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", ["paper-weber", "paper-bodenmiller"])
def test_the_paper_presets_run(name: str) -> None:
    """With their own similarity and their experts as clusters: every expert that has cells is one, and no other."""
    cells, _ = mixture()
    result = train_model(cells, replace(preset(name), steps=200, umap_epochs=60), seed=0)
    model = result.model
    used = model.tree.cells > 0
    assert model.n_clusters == used.sum()
    assert sorted(model.expert_clusters[used]) == list(range(1, model.n_clusters + 1))
    assert result.history[-1].similarity < result.history[0].similarity
    found = assign(model, cells.values)
    assert found.probabilities.shape == (len(cells), model.n_clusters)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_too_few_cells_are_refused() -> None:
    cells, _ = mixture()
    with pytest.raises(UsageError, match="at least 50 cells, there are 49"):
        learn(cells.take(np.arange(49)), SMALL, seed=0)


def test_fifty_cells_are_enough() -> None:
    cells, _ = mixture()
    model = learn(cells.take(np.arange(50)), replace(SMALL, steps=5), seed=0)
    assert 1 <= model.n_clusters <= SMALL.experts


@pytest.mark.parametrize("n_clusters", [0, 21])
def test_a_number_of_clusters_that_cannot_be_is_refused(n_clusters: int) -> None:
    with pytest.raises(UsageError, match=str(n_clusters)):
        learn(mixture()[0], replace(SMALL, steps=1), seed=0, n_clusters=n_clusters)


def test_divergence_is_a_numerical_failure() -> None:
    with pytest.raises(NumericalError, match="learning rate"):
        learn(mixture()[0], replace(SMALL, steps=100, learning_rate=1e30, schedule="constant"), seed=0)


def test_markers_that_never_vary_do_no_harm() -> None:
    cells, gates = mixture()
    values = cells.values.copy()
    values[:, 3] = 2.5
    values[:, 5] = 0
    model = learn(table(values), SMALL, seed=0)
    assert score(assign(model, values).cluster, gates).f_weighted >= 0.95
