"""UMAP coordinates of new cells against means computed by hand."""

import numpy as np
import pytest

from cytovae.errors import UsageError
from cytovae.inference.umap_placement import Interpolator, LandmarkPositions

CODES = np.array([[0, 0], [3, 0], [0, 4], [50, 50], [51, 50], [50, 51]], dtype=np.float32)
COORDINATES = np.array([[0, 0], [10, 0], [0, 10], [90, 90], [91, 90], [90, 91]], dtype=np.float32)


def test_a_landmark_keeps_its_coordinates() -> None:
    assert np.allclose(Interpolator(LandmarkPositions(CODES, COORDINATES)).place(CODES), COORDINATES, atol=1e-4)


def test_weights_are_inverse_squared_distances() -> None:
    # All landmarks are among the five nearest here; squared distances of (3, 4) are 25, 16 and 9.
    three = LandmarkPositions(CODES[:3], COORDINATES[:3])
    weights = np.array([1 / 25, 1 / 16, 1 / 9])
    expected = weights @ COORDINATES[:3] / weights.sum()
    assert np.allclose(Interpolator(three).place(np.array([[3, 4]], np.float32)), [expected], atol=1e-5)


def test_the_order_of_cells_and_no_cells() -> None:
    interpolator = Interpolator(LandmarkPositions(CODES, COORDINATES))
    codes = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    assert np.array_equal(interpolator.place(codes)[::-1], interpolator.place(codes[::-1]))
    assert interpolator.place(np.empty((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("coordinates", [COORDINATES[:2], np.full_like(COORDINATES, np.nan)])
def test_codes_and_coordinates_that_do_not_fit_are_refused(coordinates: np.ndarray) -> None:
    with pytest.raises(UsageError):
        LandmarkPositions(CODES, coordinates)
