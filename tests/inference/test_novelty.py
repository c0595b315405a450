"""Novelty: low in samples of the same populations, high in unknown ones, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from cytovae.cells import CellTable
from cytovae.inference.assigner import Assigner, assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.settings import Settings
from cytovae.study.train_model import learn

pytestmark = pytest.mark.slow

SMALL = Settings(
    experts=20, batch=128, steps=300, umap_epochs=80, encoder_width=32, clustering_width=32, views=2, support=2
)
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
    measured = assign(model, values).novelty
    assert measured is not None
    assert measured.shape == (len(values),)
    assert measured.dtype == np.float32
    assert ((measured >= 0) & (measured <= 1)).all()
    return measured


def test_few_cells_of_known_populations_are_novel(model: TrainedModel) -> None:
    """One landmark in a hundred lies beyond each of two limits, so at most about one in fifty lies beyond either.

    A new sample, whose extremes the experts have not seen, may have some more.
    """
    assert (novelty(model, cells(300, 0)) > 0.5).mean() <= 0.03
    assert (novelty(model, cells(2000, 1)) > 0.5).mean() <= 0.08


@pytest.mark.parametrize("mean", [[5, 5, 5, 5], [1, 1, 1, 1], [12, 1, 1, 5], [-6, 5, 1, 1]])
def test_an_unknown_population_is_novel(model: TrainedModel, mean: list[float]) -> None:
    """Also if a marker lies outside the training range, to which assigning clips it."""
    rng = np.random.default_rng(2)
    new = (np.array(mean) + rng.normal(0, 0.4, (200, 4))).astype(np.float32)
    assert (novelty(model, new) > 0.5).mean() >= 0.95


def test_novelty_grows_with_distance(model: TrainedModel) -> None:
    away = CENTRES[0] + np.linspace(0, 40, 30, dtype=np.float32)[:, None] * np.array([0, 1, 0, 0], np.float32)
    measured = novelty(model, away)
    assert (np.diff(measured[5:]) >= 0).all()
    assert measured[-1] > 0.99


def test_neither_the_cut_nor_the_chunks_matter(model: TrainedModel) -> None:
    values = cells(50, 3)
    whole = novelty(model, values)
    np.testing.assert_array_equal(novelty(model.with_clusters(1), values), whole)
    np.testing.assert_allclose(np.concatenate([novelty(model, part) for part in np.split(values, 3)]), whole, atol=1e-5)


def test_a_model_without_a_scale_gives_no_novelty(model: TrainedModel) -> None:
    without = replace(model, novelty=None)
    assert assign(without, cells(5, 0)).novelty is None
    assert Assigner(model).has_novelty
    assert not Assigner(without).has_novelty
