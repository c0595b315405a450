"""Lines that separate two sets, against numpy."""

import numpy as np
import pytest

from cytovae.populations.covariances import LEAST_SHRINKAGE, RIDGE, separating_line


@pytest.mark.parametrize(("n_markers", "n_a", "n_b"), [(1, 50, 60), (6, 400, 90), (40, 300, 45), (40, 500, 500)])
def test_a_line_is_half_way_between_fishers_discriminant_and_single_markers(n_markers: int, n_a: int, n_b: int) -> None:
    """Fisher's direction solves the whole covariance, single markers its diagonal: half of each entry between them."""
    rng = np.random.default_rng(n_markers)
    first, second = (np.cov(rng.normal(size=(n_markers, 80))).reshape(n_markers, n_markers) for _ in range(2))
    difference = rng.normal(size=n_markers)
    mean = (first + second) / 2
    shrinkage = min(max(LEAST_SHRINKAGE, n_markers / min(n_a, n_b) / 2), 1)
    pooled = (1 - shrinkage) * mean + np.eye(n_markers) * (shrinkage * np.trace(mean) / n_markers + RIDGE)
    expected = np.linalg.solve((pooled + np.diag(np.diag(pooled))) / 2, difference)
    np.testing.assert_allclose(
        separating_line((first, second), (float(n_a), float(n_b)), difference), expected, rtol=1e-8
    )


def test_a_line_of_sets_with_fewer_cells_than_half_of_the_markers_is_their_difference() -> None:
    rng = np.random.default_rng(0)
    difference = rng.normal(size=30)
    line = separating_line((np.cov(rng.normal(size=(30, 99))), np.eye(30)), (14.0, 200.0), difference)
    np.testing.assert_allclose(line / np.linalg.norm(line), difference / np.linalg.norm(difference), rtol=1e-12)
