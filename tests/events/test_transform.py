"""The transforms: values worked out by hand, properties, and the published formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from cytovae.errors import InputError, UsageError
from cytovae.events.transform import Logicle, Transform, arcsinh, check_finite, sinh

raw_values = arrays(np.float32, (7, 3), elements=st.floats(-1e5, 1e6, width=32))


def test_arcsinh_of_known_values() -> None:
    # arcsinh(x) = ln(x + sqrt(x² + 1)): arcsinh(1) = ln(1 + √2), arcsinh(3/4) = ln 2.
    raw = np.array([[0.0, 150.0], [5.0, -150.0], [3.75, 112.5]])
    values = arcsinh(raw, [5.0, 150.0])
    assert values.dtype == np.float32
    root = np.log(1 + np.sqrt(2))
    np.testing.assert_allclose(values, [[0, root], [root, -root], [np.log(2), np.log(2)]], rtol=1e-6)


@given(raw_values)
def test_arcsinh_is_odd_and_increasing_and_sinh_is_its_inverse(raw: np.ndarray) -> None:
    cofactors = np.array([5.0, 150.0, 1.0], dtype=np.float32)
    values = arcsinh(raw, cofactors)
    np.testing.assert_array_equal(arcsinh(-raw, cofactors), -values)
    assert (np.diff(arcsinh(np.sort(raw, axis=0), cofactors), axis=0) >= 0).all()
    # sinh multiplies the relative rounding error of float32 by the value, up to 14.5: 14.5 × 2⁻²⁴ ≈ 1e-6.
    np.testing.assert_allclose(sinh(values, cofactors), raw, rtol=4e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
def test_a_transform_gives_float32_for_every_type(dtype: type) -> None:
    raw = np.array([[0, 10], [3, 7]], dtype=dtype)
    cofactors = np.array([5, 10], dtype=np.float32)
    for kind in ("arcsinh", "none"):
        transform = Transform(kind, cofactors)
        assert transform.apply(raw).dtype == np.float32
        np.testing.assert_allclose(transform.invert(transform.apply(raw)), raw, rtol=1e-6)
    np.testing.assert_array_equal(Transform("none", cofactors).apply(raw), raw)


def test_huge_values_stay_finite() -> None:
    assert np.isfinite(arcsinh(np.array([[3e38], [-3e38]], dtype=np.float32), [5.0])).all()


def test_a_transform_rejects_bad_cofactors_shapes_and_kinds() -> None:
    with pytest.raises(UsageError, match="positive cofactor"):
        Transform("arcsinh", np.array([5, 0], dtype=np.float32))
    with pytest.raises(UsageError, match="2 cofactors"):
        Transform("arcsinh", np.array([5, 5], dtype=np.float32)).apply(np.zeros((4, 3)))
    with pytest.raises(UsageError, match="hyperlog"):
        Transform("hyperlog", np.array([5], dtype=np.float32))  # type: ignore[arg-type]


def test_logicle_equals_the_published_formula() -> None:
    """Moore & Parks 2012 define the scale by its inverse, the biexponential, which is computed here."""
    t, w, m, a = 262_144.0, 0.5, 4.5, 0.0
    w_, x2, x1, x0 = w / (m + a), a / (m + a), (a + w) / (m + a), (a + 2 * w) / (m + a)
    b = (m + a) * np.log(10)
    d = brentq(lambda d: 2 * (np.log(d) - np.log(b)) + w_ * (b + d), 1e-12, b)
    c_a = np.exp(x0 * (b + d))
    mf_a = np.exp(b * x1) - c_a / np.exp(d * x1)
    big_a = t / ((np.exp(b) - mf_a) - c_a / np.exp(d))

    def biexponential(x: float) -> float:
        return float(big_a * np.exp(b * x) - big_a * c_a * np.exp(-d * x) - big_a * mf_a)

    scale = np.array([0.0, x2, x1, 0.2, 0.5, 0.9, 1.0])
    raw = np.array([[biexponential(x)] for x in scale])
    assert abs(raw[2, 0]) < 1e-6  # zero is at x1
    assert abs(raw[-1, 0] - t) < 1e-3  # the top of the scale is at 1
    values = Logicle(t, w, m, a).apply(raw)[:, 0]
    assert np.allclose(values[2:], scale[2:] * m, atol=1e-5)
    assert np.allclose(values[:2], scale[:2] * m, atol=0.02)  # FlowUtils is less accurate at the lower end


def test_logicle_can_be_inverted() -> None:
    raw = np.array([[-500.0, 3], [0, 262_144], [12_345, -1]])
    scale = Transform("logicle", np.array([5, 5], dtype=np.float32), Logicle(262_144, 1, 4.5, 0.5))
    values = scale.apply(raw)
    assert values.dtype == np.float32
    assert np.allclose(scale.invert(values), raw, rtol=1e-4, atol=1e-2)
    assert raw[0, 0] == -500  # the input is unchanged


@pytest.mark.parametrize("parameters", [(0, 0.5, 4.5, 0), (1e5, 3, 4.5, 0), (1e5, -1, 4.5, 0), (1e5, 1, 4.5, -2)])
def test_invalid_logicle_parameters_are_rejected(parameters: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="logicle needs"):
        Logicle(*parameters)


def test_values_that_are_not_finite_are_counted_by_marker() -> None:
    values = np.zeros((5, 3))
    check_finite(values, ("CD3", "CD4", "CD8"), "a.fcs")
    values[[0, 2], 1] = np.nan, np.inf
    values[4, 2] = -np.inf
    with pytest.raises(InputError, match=r"a\.fcs.*2 in CD4, 1 in CD8") as caught:
        check_finite(values, ("CD3", "CD4", "CD8"), "a.fcs")
    assert "CD3" not in str(caught.value)
