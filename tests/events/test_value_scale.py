"""The scale of marker values, and the warnings that follow."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.events.panel import columns_of, resolve_panel
from cytovae.events.transform import arcsinh
from cytovae.events.value_scale import ValueScale, looks_transformed, suggested_cofactor, transform_warning, value_scale
from cytovae.fcs.file import open_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data"


def counts(rng: np.random.Generator, n_cells: int = 2000) -> np.ndarray:
    bright = rng.random((n_cells, 6)) < 0.3
    return rng.poisson(np.where(bright, rng.lognormal(4.5, 0.6, bright.shape), 0.5)).astype(np.float32)


def test_raw_and_transformed_counts_are_distinguished() -> None:
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


def test_the_scale_of_few_cells_or_markers_is_unknown() -> None:
    raw = arcsinh(counts(np.random.default_rng(0)), 5.0)
    for values in (raw[:50], raw[:, :2], raw[:0], np.zeros((500, 4))):
        assert value_scale(values) is ValueScale.UNKNOWN
        assert transform_warning(values, tuple("abcdef")[: values.shape[1]], 5.0) is None


def test_small_whole_numbers_are_counts_and_amplifier_values_are_not_transformed() -> None:
    rng = np.random.default_rng(0)
    assert value_scale(rng.poisson(1.0, (1000, 4)).astype(float)) is ValueScale.COUNTS
    assert not looks_transformed(10 ** rng.uniform(0, 1, (1000, 4)))


@pytest.mark.corpus
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not available")
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
    """The expected scales are those that the sources of the files state."""
    file = open_fcs(SHARED / name)
    values = file.read(columns_of(resolve_panel(file), file).tolist())
    assert value_scale(values) is expected
    if expected is ValueScale.COUNTS:
        assert value_scale(arcsinh(values, 5.0)) is ValueScale.TRANSFORMED


def test_logicle_of_counts_or_transformed_values_gives_a_warning() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.exponential(60, (500, 3))).astype(np.float32)
    assert "fluorescence" in str(transform_warning(counts, ("a", "b", "c"), 5.0, "logicle"))
    assert "second time" in str(transform_warning(np.arcsinh(counts), ("a", "b", "c"), 5.0, "logicle"))
    assert transform_warning(counts * 300, ("a", "b", "c"), 5.0, "logicle") is None
