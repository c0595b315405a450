"""The transform against numpy's own functions in float64, its laws, and what is said of published files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from cytovae.errors import InputError, UsageError
from cytovae.events.panel import columns_of, resolve_panel
from cytovae.events.transform import Logicle, Transform, arcsinh, check_finite, sinh
from cytovae.events.value_scale import ValueScale, looks_transformed, suggested_cofactor, transform_warning, value_scale
from cytovae.fcs.file import open_fcs
from cytovae.network.scaling import Scaling, fit_scaling

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not on this machine")

raw_values = arrays(np.float32, (7, 3), elements=st.floats(-1e5, 1e6, width=32))


def test_arcsinh_of_known_values() -> None:
    # arcsinh(x) = ln(x + sqrt(x² + 1)), worked by hand: arcsinh(1) = ln(1 + √2), arcsinh(3/4) = ln 2.
    raw = np.array([[0.0, 150.0], [5.0, -150.0], [3.75, 112.5]])
    values = arcsinh(raw, [5.0, 150.0])
    assert values.dtype == np.float32
    root = np.log(1 + np.sqrt(2))
    np.testing.assert_allclose(values, [[0, root], [root, -root], [np.log(2), np.log(2)]], rtol=1e-6)


@given(raw_values)
def test_arcsinh_is_odd_increasing_and_undone_by_sinh(raw: np.ndarray) -> None:
    cofactors = np.array([5.0, 150.0, 1.0], dtype=np.float32)
    values = arcsinh(raw, cofactors)
    np.testing.assert_array_equal(arcsinh(-raw, cofactors), -values)
    assert (np.diff(arcsinh(np.sort(raw, axis=0), cofactors), axis=0) >= 0).all()
    # sinh multiplies the rounding of float32 values up to 14.5 by their size: 14.5 × 2⁻²⁴ ≈ 1e-6.
    np.testing.assert_allclose(sinh(values, cofactors), raw, rtol=4e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
def test_transform_gives_float32_whatever_the_file_holds(dtype: type) -> None:
    raw = np.array([[0, 10], [3, 7]], dtype=dtype)
    cofactors = np.array([5, 10], dtype=np.float32)
    for kind in ("arcsinh", "none"):
        transform = Transform(kind, cofactors)
        assert transform.apply(raw).dtype == np.float32
        np.testing.assert_allclose(transform.invert(transform.apply(raw)), raw, rtol=1e-6)
    np.testing.assert_array_equal(Transform("none", cofactors).apply(raw), raw)


def test_huge_values_stay_finite() -> None:
    assert np.isfinite(arcsinh(np.array([[3e38], [-3e38]], dtype=np.float32), [5.0])).all()


def test_a_transform_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="positive cofactor"):
        Transform("arcsinh", np.array([5, 0], dtype=np.float32))
    with pytest.raises(UsageError, match="2 cofactors"):
        Transform("arcsinh", np.array([5, 5], dtype=np.float32)).apply(np.zeros((4, 3)))
    with pytest.raises(UsageError, match="hyperlog"):
        Transform("hyperlog", np.array([5], dtype=np.float32))  # type: ignore[arg-type]


# --- scaling ---


def test_scaling_is_fitted_to_the_robust_quantiles() -> None:
    # 0 … 1000 in steps of 1: the 0.1 % quantile is 1, the 99.9 % quantile 999; one outlier hardly moves them.
    column = np.arange(1001, dtype=np.float32)
    scaling = fit_scaling(np.column_stack([column, np.where(column == 1000, 1e6, column)]))
    np.testing.assert_allclose(scaling.low, [1, 1], rtol=1e-6)
    np.testing.assert_allclose(scaling.high, [999, 999], rtol=1e-6)
    np.testing.assert_allclose(scaling.scale(np.array([[0, 500], [1e9, 999]])), [[0, 0.5], [1, 1]], atol=1e-6)


def test_constant_and_rare_markers_have_a_width() -> None:
    values = np.zeros((5000, 3), dtype=np.float32)
    values[:, 0] = 3.0
    values[:2, 1] = 4.0  # too rare to move the 99.9 % quantile
    values[:, 2] = 1e9  # float32 cannot tell this from itself plus 1
    scaling = fit_scaling(values)
    assert scaling.low[:2].tolist() == [3.0, 0.0]
    assert scaling.high[:2].tolist() == [4.0, 4.0]
    scaled = scaling.scale(values)
    assert scaled[:, 0].max() == 0
    assert scaled[0, 1] == 1
    assert np.isfinite(scaled).all()


@settings(max_examples=50)
@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-100, 100, width=32)))
def test_scaled_values_are_in_the_unit_interval_and_come_back(values: np.ndarray) -> None:
    scaling = fit_scaling(values)
    scaled = scaling.scale(values)
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    np.testing.assert_allclose(scaling.unscale(scaled), np.clip(values, scaling.low, scaling.high), atol=1e-4)


def test_a_scaling_has_cells_and_a_width() -> None:
    with pytest.raises(UsageError, match="cells"):
        fit_scaling(np.empty((0, 3)))
    with pytest.raises(UsageError, match="low < high"):
        Scaling(np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32))


# --- values that are not numbers ---


def test_values_that_are_not_finite_are_counted_by_marker() -> None:
    values = np.zeros((5, 3))
    check_finite(values, ("CD3", "CD4", "CD8"), "a.fcs")
    values[[0, 2], 1] = np.nan, np.inf
    values[4, 2] = -np.inf
    with pytest.raises(InputError, match=r"a\.fcs.*2 in CD4, 1 in CD8") as caught:
        check_finite(values, ("CD3", "CD4", "CD8"), "a.fcs")
    assert "CD3" not in str(caught.value)


# --- what kind of numbers ---


def counts(rng: np.random.Generator, n_cells: int = 2000) -> np.ndarray:
    bright = rng.random((n_cells, 6)) < 0.3
    return rng.poisson(np.where(bright, rng.lognormal(4.5, 0.6, bright.shape), 0.5)).astype(np.float32)


def test_raw_and_transformed_counts_are_told_apart() -> None:
    raw = counts(np.random.default_rng(0))
    names = tuple("abcdef")
    assert value_scale(raw) is ValueScale.COUNTS
    assert suggested_cofactor(raw) == 5
    assert transform_warning(raw, names, 5.0) is None
    assert "cofactor 150 is unusual" in str(transform_warning(raw, names, 150.0))
    assert "--cofactor 5" in str(transform_warning(raw, names, None))
    transformed = arcsinh(raw, 5.0)
    assert looks_transformed(transformed)
    assert suggested_cofactor(transformed) is None
    assert "already" in str(transform_warning(transformed, names, np.full(6, 5.0)))
    assert transform_warning(transformed, names, None) is None


def test_nothing_is_said_of_too_few_cells_or_markers() -> None:
    raw = arcsinh(counts(np.random.default_rng(0)), 5.0)
    for values in (raw[:50], raw[:, :2], raw[:0], np.zeros((500, 4))):
        assert value_scale(values) is ValueScale.UNKNOWN
        assert transform_warning(values, tuple("abcdef")[: values.shape[1]], 5.0) is None


def test_small_whole_numbers_are_counts_and_amplifier_values_are_not_called_transformed() -> None:
    rng = np.random.default_rng(0)
    assert value_scale(rng.poisson(1.0, (1000, 4)).astype(float)) is ValueScale.COUNTS
    assert not looks_transformed(10 ** rng.uniform(0, 1, (1000, 4)))


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bendall2011_marrow1.fcs", ValueScale.COUNTS),
        ("bodenmiller2012/H01.fcs", ValueScale.COUNTS),
        ("bodenmiller2012/H12.fcs", ValueScale.COUNTS),
        ("huimm_pbmc.fcs", ValueScale.COUNTS),
        ("multicenter/1.fcs", ValueScale.COUNTS),
        ("multicenter/9.fcs", ValueScale.COUNTS),
        ("levine32_balanced1500.fcs", ValueScale.COUNTS),
        ("nilsson_rare.fcs", ValueScale.FLUORESCENCE),
        ("flowsom_ff.fcs", ValueScale.TRANSFORMED),
        ("hipc_stanford/1228_1A.fcs", ValueScale.DISPLAY),
        ("hipc_stanford/1369_1A.fcs", ValueScale.DISPLAY),
        ("fcs_corpus/biosurf+cyCombine__test.fcs", ValueScale.TRANSFORMED),
        ("fcs_corpus/eyurtsev+fcsparser__fcs1_cleaned.lmd", ValueScale.UNKNOWN),
        ("fcs_corpus/cytoflow+cytoflow__Applied_Biosystems_-_Attune.fcs", ValueScale.WIDE_FLUORESCENCE),
        ("fcs_corpus/cytoflow+cytoflow__Cytek_NL-2000.fcs", ValueScale.WIDE_FLUORESCENCE),
        ("fcs_corpus/cytoflow+cytoflow__Miltenyi_Biotec_-_MACSQuant_Analyzer.fcs", ValueScale.FLUORESCENCE),
    ],
)
def test_scales_of_published_files(name: str, expected: ValueScale) -> None:
    """What the sources of these files say of their values."""
    file = open_fcs(SHARED / name)
    values = file.read(columns_of(resolve_panel(file), file).tolist())
    assert value_scale(values) is expected
    if expected is ValueScale.COUNTS:
        assert value_scale(arcsinh(values, 5.0)) is ValueScale.TRANSFORMED


# --- logicle ---


def test_logicle_is_that_of_parks_and_moore() -> None:
    """The scale is defined by its inverse, the biexponential of Moore & Parks 2012, worked here from the formulas."""
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
    assert abs(raw[2, 0]) < 1e-6  # zero lies at x1
    assert abs(raw[-1, 0] - t) < 1e-3  # the top of scale at 1
    found = Logicle(t, w, m, a).apply(raw)[:, 0]
    assert np.allclose(found[2:], scale[2:] * m, atol=1e-5)
    assert np.allclose(found[:2], scale[:2] * m, atol=0.02)  # FlowUtils is less exact at the lower end


def test_logicle_and_back() -> None:
    raw = np.array([[-500.0, 3], [0, 262_144], [12_345, -1]])
    scale = Transform("logicle", np.array([5, 5], dtype=np.float32), Logicle(262_144, 1, 4.5, 0.5))
    values = scale.apply(raw)
    assert values.dtype == np.float32
    assert np.allclose(scale.invert(values), raw, rtol=1e-4, atol=1e-2)
    assert raw[0, 0] == -500  # the input is not changed


@pytest.mark.parametrize("parameters", [(0, 0.5, 4.5, 0), (1e5, 3, 4.5, 0), (1e5, -1, 4.5, 0), (1e5, 1, 4.5, -2)])
def test_logicle_parameters_that_cannot_be(parameters: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="logicle needs"):
        Logicle(*parameters)


def test_logicle_of_counts_or_of_transformed_values_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.exponential(60, (500, 3))).astype(np.float32)
    assert "fluorescence" in str(transform_warning(counts, ("a", "b", "c"), 5.0, "logicle"))
    assert "second time" in str(transform_warning(np.arcsinh(counts), ("a", "b", "c"), 5.0, "logicle"))
    assert transform_warning(counts * 300, ("a", "b", "c"), 5.0, "logicle") is None
