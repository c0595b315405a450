"""Scaling of marker values to [0, 1]."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytovae.errors import UsageError
from cytovae.network.scaling import Scaling, fit_scaling


def test_a_scaling_is_fitted_to_robust_quantiles() -> None:
    # 0 … 1000 in steps of 1: the 0.1 % quantile is 1, the 99.9 % quantile 999; one outlier hardly changes them.
    column = np.arange(1001, dtype=np.float32)
    scaling = fit_scaling(np.column_stack([column, np.where(column == 1000, 1e6, column)]))
    np.testing.assert_allclose(scaling.low, [1, 1], rtol=1e-6)
    np.testing.assert_allclose(scaling.high, [999, 999], rtol=1e-6)
    np.testing.assert_allclose(scaling.scale(np.array([[0, 500], [1e9, 999]])), [[0, 0.5], [1, 1]], atol=1e-6)


def test_constant_and_rare_markers_have_a_range() -> None:
    values = np.zeros((5000, 3), dtype=np.float32)
    values[:, 0] = 3.0
    values[:2, 1] = 4.0  # too rare to change the 99.9 % quantile
    values[:, 2] = 1e9  # in float32, adding 1 does not change this value
    scaling = fit_scaling(values)
    assert scaling.low[:2].tolist() == [3.0, 0.0]
    assert scaling.high[:2].tolist() == [4.0, 4.0]
    scaled = scaling.scale(values)
    assert scaled[:, 0].max() == 0
    assert scaled[0, 1] == 1
    assert np.isfinite(scaled).all()


@settings(max_examples=50)
@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-100, 100, width=32)))
def test_scaled_values_are_in_the_unit_interval_and_can_be_unscaled(values: np.ndarray) -> None:
    scaling = fit_scaling(values)
    scaled = scaling.scale(values)
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    np.testing.assert_allclose(scaling.unscale(scaled), np.clip(values, scaling.low, scaling.high), atol=1e-4)


def test_a_scaling_needs_cells_and_a_range() -> None:
    with pytest.raises(UsageError, match="cells"):
        fit_scaling(np.empty((0, 3)))
    with pytest.raises(UsageError, match="low < high"):
        Scaling(np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32))
