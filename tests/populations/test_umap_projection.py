"""UMAP, judged by scikit-learn's trustworthiness."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Metric, Settings

METRICS: tuple[Metric, ...] = get_args(Metric)
QUICK = Settings(umap_epochs=60)


def blobs(centers: int, each: int, markers: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(centers), each)
    return (rng.normal(0, 8, (centers, markers))[label] + rng.normal(0, 1, (len(label), markers))).astype(
        np.float32
    ), label


@pytest.mark.parametrize("metric", METRICS)
def test_close_cells_stay_close(metric: Metric) -> None:
    x, label = blobs(4, 60, 10)
    if metric == "canberra":
        x = np.abs(x)
    coordinates = umap_projection(x, nearest_neighbors(x, 15, metric), replace(QUICK, metric=metric), seed=0)
    assert coordinates.shape == (240, 2)
    assert coordinates.dtype == np.float32
    assert trustworthiness(x, coordinates, n_neighbors=10, metric=metric) > 0.9
    # For all but a few cells, the nearest cell on the UMAP is from the same blob.
    nearest = nearest_neighbors(coordinates, 2, "euclidean").indices[:, 1]
    assert (label[nearest] == label).mean() > 0.97


def test_a_seed_reproduces_the_projection_and_the_global_generator_does_not_change() -> None:
    x, _ = blobs(3, 50, 6)
    neighbors = nearest_neighbors(x, 15, "euclidean")
    state = np.random.get_state(legacy=True)  # noqa: NPY002
    first = umap_projection(x, neighbors, QUICK, seed=1)
    assert (umap_projection(x, neighbors, QUICK, seed=1) == first).all()
    assert (umap_projection(x, neighbors, QUICK, seed=2) != first).any()
    assert str(state) == str(np.random.get_state(legacy=True))  # noqa: NPY002


def test_the_number_of_threads_does_not_change() -> None:
    """Numba and torch share one OpenMP, so numba could change the setting of torch."""
    x, _ = blobs(2, 40, 4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        umap_projection(x, nearest_neighbors(x, 15, "euclidean"), QUICK, seed=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_fewer_cells_than_neighbors() -> None:
    """Of fifty cells with sixty neighbors, all cells are neighbors, and there is no warning."""
    x, _ = blobs(2, 25, 4)
    neighbors = nearest_neighbors(x, 50, "euclidean")
    coordinates = umap_projection(x, neighbors, replace(QUICK, umap_neighbors=60), seed=0)
    assert np.isfinite(coordinates).all()
