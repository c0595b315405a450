"""Novelty: what is expected of a sample, what of cells that no sample held, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from cytovae.cells import CellTable
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.settings import Settings
from cytovae.study.train_model import learn

SMALL = Settings(experts=20, batch=128, steps=300, umap_epochs=80, encoder_width=32, clustering_width=32)
CENTRES = np.array([[1, 1, 5, 5], [5, 1, 1, 5], [1, 5, 1, 1]], np.float32)


def cells(n: int, seed: int) -> np.ndarray:
    """Three populations of n cells, 0.4 wide, in four markers."""
    rng = np.random.default_rng(seed)
    return (np.repeat(CENTRES, n, 0) + rng.normal(0, 0.4, (3 * n, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    values = cells(300, 0)
    table = CellTable(values, ("a", "b", "c", "d"), ("f",), np.zeros(900, np.int32), np.arange(900))
    return learn(table, SMALL, seed=0)


def novelty(model: TrainedModel, values: np.ndarray) -> np.ndarray:
    found = assign(model, values).novelty
    assert found is not None
    assert found.shape == (len(values),)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    return found


def test_few_cells_of_the_same_populations_are_new(model: TrainedModel) -> None:
    """One landmark in a hundred lies beyond each of two limits, so at most about one in fifty; a fresh sample, of which
    experts have not seen the extremes, may have some more.
    """
    assert (novelty(model, cells(300, 0)) > 0.5).mean() <= 0.03
    assert (novelty(model, cells(2000, 1)) > 0.5).mean() <= 0.08


@pytest.mark.parametrize("place", [[5, 5, 5, 5], [1, 1, 1, 1], [12, 1, 1, 5], [-6, 5, 1, 1]])
def test_a_population_that_was_not_there_is_new(model: TrainedModel, place: list[float]) -> None:
    """Also where a marker lies beyond the range of training, to which assigning clips it."""
    rng = np.random.default_rng(2)
    new = (np.array(place) + rng.normal(0, 0.4, (200, 4))).astype(np.float32)
    assert (novelty(model, new) > 0.5).mean() >= 0.95


def test_the_further_the_newer(model: TrainedModel) -> None:
    away = CENTRES[0] + np.linspace(0, 40, 30, dtype=np.float32)[:, None] * np.array([0, 1, 0, 0], np.float32)
    found = novelty(model, away)
    assert (np.diff(found[5:]) >= 0).all()
    assert found[-1] > 0.99


def test_where_the_tree_is_cut_and_the_chunks_do_not_matter(model: TrainedModel) -> None:
    values = cells(50, 3)
    whole = novelty(model, values)
    np.testing.assert_array_equal(novelty(model.with_clusters(1), values), whole)
    np.testing.assert_allclose(np.concatenate([novelty(model, part) for part in np.split(values, 3)]), whole, atol=1e-5)


def test_a_model_without_a_scale_tells_none(model: TrainedModel) -> None:
    assert assign(replace(model, novelty=None), cells(5, 0)).novelty is None
