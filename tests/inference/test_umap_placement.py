"""Places on the UMAP against means worked by hand."""

import numpy as np
import pytest

from cytovae.errors import UsageError
from cytovae.inference.umap_placement import Interpolator, LandmarkPlaces

CODES = np.array([[0, 0], [3, 0], [0, 4], [50, 50], [51, 50], [50, 51]], dtype=np.float32)
PLACES = np.array([[0, 0], [10, 0], [0, 10], [90, 90], [91, 90], [90, 91]], dtype=np.float32)


def test_a_landmark_keeps_its_place() -> None:
    assert np.allclose(Interpolator(LandmarkPlaces(CODES, PLACES)).place(CODES), PLACES, atol=1e-4)


def test_weights_are_inverse_squared_distances() -> None:
    # All landmarks are among the five nearest here; squared distances of (3, 4) are 25, 16 and 9.
    three = LandmarkPlaces(CODES[:3], PLACES[:3])
    weights = np.array([1 / 25, 1 / 16, 1 / 9])
    expected = weights @ PLACES[:3] / weights.sum()
    assert np.allclose(Interpolator(three).place(np.array([[3, 4]], np.float32)), [expected], atol=1e-5)


def test_order_and_no_cells() -> None:
    made = Interpolator(LandmarkPlaces(CODES, PLACES))
    codes = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    assert np.array_equal(made.place(codes)[::-1], made.place(codes[::-1]))
    assert made.place(np.empty((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("places", [PLACES[:2], np.full_like(PLACES, np.nan)])
def test_what_does_not_fit_is_refused(places: np.ndarray) -> None:
    with pytest.raises(UsageError):
        LandmarkPlaces(CODES, places)
