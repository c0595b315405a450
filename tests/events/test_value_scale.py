"""The scale of marker values, and the transform and warnings that follow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cytovae.errors import UsageError
from cytovae.events.array_file import array_file
from cytovae.events.channel_use import channel_uses
from cytovae.events.panel import columns_of, resolve_panel
from cytovae.events.transform import arcsinh
from cytovae.events.value_scale import (
    FileScale,
    ValueScale,
    choose_transform,
    file_scale,
    scale_of,
    scale_warning,
    value_scale,
)
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = ("a", "b", "c", "d", "e", "f")


def counts(rng: np.random.Generator, n_cells: int = 2000) -> np.ndarray:
    bright = rng.random((n_cells, 6)) < 0.3
    return rng.poisson(np.where(bright, rng.lognormal(4.5, 0.6, bright.shape), 0.5)).astype(np.float32)


def scale(values: np.ndarray) -> FileScale:
    return scale_of(values, ["m"] * values.shape[1])


def warning(values: np.ndarray, cofactor: float | np.ndarray | None, kind: str = "arcsinh") -> str | None:
    return scale_warning(scale(values), cofactor, kind)  # type: ignore[arg-type]


def test_raw_and_transformed_counts_are_distinguished() -> None:
    raw = counts(np.random.default_rng(0))
    assert value_scale(raw) is ValueScale.COUNTS
    assert scale(raw).cofactor == 5
    assert warning(raw, 5.0) is None
    assert "cofactor 150 is unusual" in str(warning(raw, 150.0))
    assert "--cofactor 5" in str(warning(raw, None))
    transformed = arcsinh(raw, 5.0)
    assert scale(transformed).is_transformed
    assert scale(transformed).cofactor is None
    assert "already" in str(warning(transformed, np.full(6, 5.0)))
    assert warning(transformed, None) is None


def test_the_scale_of_few_cells_or_markers_is_unknown() -> None:
    raw = arcsinh(counts(np.random.default_rng(0)), 5.0)
    for values in (raw[:50], raw[:, :2], raw[:0], np.zeros((500, 4))):
        assert value_scale(values) is ValueScale.UNKNOWN
        assert warning(values, 5.0) is None


def test_small_whole_numbers_are_counts_and_amplifier_values_are_not_transformed() -> None:
    rng = np.random.default_rng(0)
    assert value_scale(rng.poisson(1.0, (1000, 4)).astype(float)) is ValueScale.COUNTS
    assert not scale(10 ** rng.uniform(0, 1, (1000, 4))).is_transformed


# --- the instrument ---


def fcs(path: Path, values: np.ndarray, names: tuple[str, ...], instrument: str, top: float, scatter: bool) -> FcsFile:
    """A file of markers CD1, CD2, … on channels of the given names."""
    channels = [Channel(i, name, f"CD{i + 1}", top) for i, name in enumerate(names)]
    if scatter:
        channels.append(Channel(len(names), "FSC-A", "", top))
        values = np.column_stack([values, np.full(len(values), 5e4)])
    write_fcs(path, values, channels, {"$CYT": instrument} if instrument else {})
    return open_fcs(path)


OPTICAL = ("FITC-A", "PE-A", "APC-A", "BV421-A", "BV510-A", "BV605-A")
METALS = ("Nd142Di", "Nd143Di", "Nd144Di", "Nd145Di", "Nd146Di", "Sm147Di")
MADE_UP = ("X1", "X2", "X3", "X4", "X5", "X6")


@pytest.mark.parametrize(
    ("names", "instrument", "top", "scatter", "cofactor"),
    [
        (OPTICAL, "LSRFortessa", 2**18, True, 150),
        (MADE_UP, "", 2**18, True, 150),
        (OPTICAL, "", 2**18, False, 150),
        (MADE_UP, "FACSCanto II", 2**18, False, 150),
        (OPTICAL, "Navios", 2**20, True, 150),
        (MADE_UP, "Aurora", 2**22, True, 3000),
        (MADE_UP, "Northern Lights", 2**22, False, 3000),
        (OPTICAL, "NL-3000", 2**22, True, 3000),
        (OPTICAL, "ID7000", 2**20, True, 3000),
        (OPTICAL, "", 2**22, True, 3000),
        (OPTICAL, "CytoFLEX", 2**24, True, 3000),
        (METALS, "", 2**18, False, 5),
        (METALS, "", 2**32, False, 5),
        (MADE_UP, "DVSSCIENCES-CYTOF-6.5.358", 4000, False, 5),
        (METALS, "Helios", 4000, True, 5),
        (MADE_UP, "", 2**18, False, 5),
    ],
)
def test_the_cofactor_follows_the_instrument(
    names: tuple[str, ...], instrument: str, top: float, scatter: bool, cofactor: float, tmp_path: Path
) -> None:
    """The values of all files are alike: dim fluorescence that could be ion counts."""
    file = fcs(tmp_path / "a.fcs", counts(np.random.default_rng(0)) + 0.5, names, instrument, top, scatter)
    found = file_scale(file, range(6))
    assert found.cofactor == cofactor
    assert (found.scale is ValueScale.COUNTS) == (cofactor == 5)
    assert scale_warning(found, cofactor) is None


@pytest.mark.parametrize("instrument", ["Aurora", "LSRFortessa", "Helios", ""])
def test_transformed_values_are_recognised_whatever_the_instrument(instrument: str, tmp_path: Path) -> None:
    values = arcsinh(counts(np.random.default_rng(0)), 5.0)
    file = fcs(tmp_path / "a.fcs", values, OPTICAL, instrument, 2**18, instrument != "Helios")
    assert file_scale(file, range(6)).is_transformed
    assert file_scale(file, [0]).is_transformed  # one chosen marker; the others count, too


def test_the_top_of_a_logarithmic_amplifier_is_not_its_range(tmp_path: Path) -> None:
    # FACSCalibur: 10 bits and four decades, so values reach 10⁴ though $PnR is 1024.
    file = fcs(tmp_path / "a.fcs", counts(np.random.default_rng(0)) + 0.5, OPTICAL, "FACSCalibur", 2**18, True)
    small = replace(file, channels=tuple(replace(channel, range=1024.0) for channel in file.channels))
    assert file_scale(small, range(6)).cofactor == 0.6  # a scale of 10 bits, linear
    decades = {**file.keywords, "$DATATYPE": "I"} | {f"$P{n}E": "4,1" for n in range(1, 7)}
    assert file_scale(replace(small, keywords=decades), range(6)).cofactor == 150


# --- a study ---


def of(kind: ValueScale, cofactor: float | None, *, instrument: bool = True) -> FileScale:
    return FileScale(kind, "evidence", instrument, cofactor, 0.0, 1000.0)


COUNTS = of(ValueScale.COUNTS, 5)
FLOW = of(ValueScale.FLUORESCENCE, 150)
WIDE = of(ValueScale.WIDE_FLUORESCENCE, 3000)
DONE = of(ValueScale.TRANSFORMED, None, instrument=False)
UNKNOWN = FileScale(ValueScale.UNKNOWN, "", False, None)
DIM, BRIGHT = of(ValueScale.COUNTS, 5, instrument=False), of(ValueScale.FLUORESCENCE, 150, instrument=False)


@pytest.mark.parametrize(
    ("scales", "kind", "cofactor"),
    [
        ([FLOW, FLOW], "arcsinh", 150),
        ([COUNTS, UNKNOWN], "arcsinh", 5),
        ([WIDE, DIM], "arcsinh", 3000),
        ([DIM, BRIGHT], "arcsinh", 150),
        ([DONE, UNKNOWN], "none", 5),
        ([UNKNOWN], "arcsinh", 5),
    ],
)
def test_one_transform_for_all_files(scales: list[FileScale], kind: str, cofactor: float) -> None:
    for ordered in (scales, scales[::-1]):
        choice = choose_transform([(f"{number}.fcs", scale) for number, scale in enumerate(ordered)])
        assert (choice.kind, choice.cofactor) == (kind, cofactor)
        assert choice.reason


@pytest.mark.parametrize(
    ("scales", "option"),
    [
        ([DONE, FLOW], "--transform none or --cofactor 150"),
        ([FLOW, WIDE], "--cofactor 150 or --cofactor 3000"),
        ([COUNTS, FLOW], "--cofactor 5 or --cofactor 150"),
        ([COUNTS, BRIGHT], "--cofactor 5 or --cofactor 150"),
    ],
)
def test_files_that_disagree_are_named_with_the_options(scales: list[FileScale], option: str) -> None:
    with pytest.raises(UsageError, match="do not agree") as caught:
        choose_transform([("x.fcs", scales[0]), ("y.fcs", scales[1])])
    assert option in str(caught.value)
    assert "x.fcs" in str(caught.value)
    assert "y.fcs" in str(caught.value)


def test_arrays_are_judged_by_their_values() -> None:
    raw = counts(np.random.default_rng(0))
    assert file_scale(array_file(raw * 300, NAMES), range(6)).cofactor == 150
    assert file_scale(array_file(raw * 9000, NAMES), range(6)).cofactor == 3000
    assert file_scale(array_file(raw, NAMES), range(6)).cofactor == 5


# --- published and reported files ---


@pytest.mark.corpus
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not available")
@pytest.mark.parametrize(
    ("name", "cofactor"),
    [
        ("field_cases/aurora_cofactor/dim.fcs", 3000),
        ("field_cases/aurora_cofactor/bright.fcs", 3000),
        ("field_cases/cofactor_matters/aurora.fcs", 3000),
        ("field_cases/cofactor_matters/fortessa.fcs", 150),
        ("field_cases/facsdiscover_s8/s8.fcs", 3000),
        ("field_cases/double_compensation/raw.fcs", 150),
        ("field_cases/viability_and_autofluorescence/cytof.fcs", 5),
        ("fcs_corpus/simo1c+GateMeClass__C1_monocytes.fcs", 150),
        ("fcs_corpus/cytoflow+cytoflow__Accuri_-_C6.fcs", 3000),
        ("fcs_corpus/taborlab+FlowCal__Data001.fcs", 150),
        ("fcs_corpus/phipsonlab+SuperCellCyto__Data23_Panel3_base_NR4_Patient9.fcs", 5),
        ("nilsson_rare.fcs", 150),
        ("bendall2011_marrow1.fcs", 5),
    ],
)
def test_cofactors_of_files(name: str, cofactor: float) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the file is not available")
    file = open_fcs(SHARED / name)
    markers = [use.channel.index for use in channel_uses(file.channels) if use.used]
    assert file_scale(file, markers).cofactor == cofactor


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
    detectors = ("B1-A", "B2-A", "B3-A", "B4-A") if "NL-2000" in name else ()  # the file is not unmixed
    values = file.read(columns_of(resolve_panel(file, markers=detectors), file).tolist())
    assert value_scale(values) is expected
    if expected is ValueScale.COUNTS:
        assert value_scale(arcsinh(values, 5.0)) is ValueScale.TRANSFORMED


def test_logicle_of_counts_or_transformed_values_gives_a_warning() -> None:
    rng = np.random.default_rng(0)
    raw = rng.poisson(rng.exponential(60, (500, 3))).astype(np.float32)
    assert "fluorescence" in str(warning(raw, 5.0, "logicle"))
    assert "second time" in str(warning(np.arcsinh(raw), 5.0, "logicle"))
    assert warning(raw * 300, 5.0, "logicle") is None
