"""Compensation, against values worked out by hand and FlowUtils."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flowio import FlowData
from flowutils.compensate import compensate, get_spill

from cytovae.errors import InputError, UsageError
from cytovae.events.compensation import (
    CompensatedFile,
    Compensation,
    CompensationState,
    compensated,
    compensation_state,
)
from cytovae.events.spillover import Spillover, file_spillover, identity_spillover, read_matrix, spillover_of
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data" / "fcs_corpus"
NAMES = ["FITC-A", "PE-A", "Time"]
RAW = np.array([[110.0, 30, 1], [10, 201, 2], [-5, 7, 3]], dtype=np.float32)


def fcs(path: Path, spillover: str | None = None) -> FcsFile:
    channels = [Channel(index, name, "", 1024.0) for index, name in enumerate(NAMES)]
    write_fcs(path, RAW, channels, {} if spillover is None else {"$SPILLOVER": spillover})
    return open_fcs(path)


def test_compensation_removes_spillover(tmp_path: Path) -> None:
    # 10 % of dye 1 spills into PE, 5 % of dye 2 into FITC: signals of 100 and 20 are measured as 101 and 30.
    values = np.array([[1, 0.1], [0.05, 1]])
    raw = np.array([[100, 20]]) @ values
    assert raw.tolist() == [[101, 30]]
    channels = [Channel(0, "FITC-A", "", 1024.0), Channel(1, "PE-A", "", 1024.0)]
    write_fcs(tmp_path / "x.fcs", raw, channels, {"$SPILLOVER": "2,FITC-A,PE-A,1,0.1,0.05,1"})
    file = Compensation("file").of(open_fcs(tmp_path / "x.fcs"))
    assert np.allclose(file.read(), [[100, 20]], rtol=1e-6)
    assert np.allclose(file.read([1]), [[20]], rtol=1e-6)


def test_columns_are_read_in_any_order(tmp_path: Path) -> None:
    file = fcs(tmp_path / "x.fcs")
    result = compensated(file, Spillover(("PE-A", "FITC-A"), np.array([[1, 0.2], [0.1, 1]])))
    expected = RAW.astype(np.float64)
    expected[:, [1, 0]] = RAW[:, [1, 0]] @ np.linalg.inv([[1, 0.2], [0.1, 1]])
    assert np.allclose(result.read(), expected, rtol=1e-5)
    assert np.allclose(result.read([2, 0, 1], 1, 3), expected[1:3][:, [2, 0, 1]], rtol=1e-5)
    assert np.allclose(np.concatenate(list(result.chunks([1, 2], 2))), expected[:, [1, 2]], rtol=1e-5)
    assert np.array_equal(result.read([2]), RAW[:, [2]])
    assert result.read().dtype == np.float32


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore:FCS file")  # FlowIO warns about an end of DATA that is one byte late
def test_a_published_file_equals_flowutils() -> None:
    path = SHARED / "whitews+FlowKit__test_comp_example.fcs"
    if not path.is_file():
        pytest.skip("the shared FCS corpus is not available")
    file = open_fcs(path)
    keyword = next(value for name, value in file.keywords.items() if name.lstrip("$") in ("SPILLOVER", "SPILL"))
    identity, names = get_spill(keyword)
    assert np.array_equal(spillover_of(file).values, identity)  # type: ignore[union-attr]
    matrix = identity + np.random.default_rng(0).uniform(0, 0.1, identity.shape) * (1 - identity)
    with path.open("rb") as stream:
        raw = FlowData(stream, ignore_offset_error=True).as_array(preprocess=False)
    columns = [[channel.name for channel in file.channels].index(name) for name in names]
    expected = compensate(raw, matrix, columns)
    values = compensated(file, Spillover(tuple(names), matrix)).read()
    assert np.allclose(values, expected, rtol=1e-4, atol=1e-2)  # float32 values up to 200,000
    assert np.abs(values - raw).max() > 100


@pytest.mark.parametrize(
    "text",
    [
        "FITC-A,PE-A\n1,0.2\n0.1,1\n",
        "FITC-A;PE-A\n1;0.2\n0.1;1\n",
        ",FITC-A,PE-A\nPE-A,0.1,1\nFITC-A,1,0.2\n",
        "Comp-FITC-A :: CD3\tComp-PE-A :: CD4\n1\t0.2\n0.1\t1\n",
    ],
)
def test_matrices_are_read_from_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    spillover = read_matrix(tmp_path / "m.csv")
    assert spillover.channels == ("FITC-A", "PE-A")
    assert spillover.values.tolist() == [[1, 0.2], [0.1, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A,B\n1,1\n1,1\n", "singular"),
        ("A,B\n100,2\n1,100\n", "per cent"),
        ("A,B\n1,0\n", "1 lines for 2 channels"),
        ("A,B\n1,x\n0,1\n", "line 2"),
        ("A,A\n1,0\n0,1\n", "named twice"),
        (",A,B\nA,1,0\nC,0,1\n", "'B', which differs between lines and columns"),
        ("A,B\n1,nan\n0,1\n", "not finite"),
        ("", "0 lines"),
    ],
)
def test_malformed_matrices_are_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_matrix(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("2,FITC-A,PE-A,1,0,0", "2 channels"),
        ("two,FITC-A,PE-A,1,0,0,1", "n, n names"),
        ("2,FITC-A,PE-A,1,1,1,1", "singular"),
        ("2,FITC-A,APC-A,1,0,0,1", "APC-A"),
    ],
)
def test_malformed_matrices_of_files_are_rejected(tmp_path: Path, keyword: str, message: str) -> None:
    file = fcs(tmp_path / "x.fcs", keyword)
    with pytest.raises(InputError, match=message):
        Compensation("file").of(file)


def test_a_file_without_a_matrix_needs_one_for_all_files(tmp_path: Path) -> None:
    file = fcs(tmp_path / "x.fcs")
    assert spillover_of(file) is None
    assert Compensation().of(file) is file
    with pytest.raises(InputError, match=r"--compensate MATRIX\.csv"):
        Compensation("file").of(file)
    for_all = Spillover(("FITC-A", "PE-A"), np.array([[1, 0.2], [0.1, 1]]))
    assert isinstance(Compensation("matrix", for_all).of(file), CompensatedFile)
    with pytest.raises(UsageError):
        Compensation("matrix")


def test_an_identity_matrix_marks_values_as_compensated(tmp_path: Path) -> None:
    keyword = identity_spillover(["FITC-A", "PE-A"])
    write_fcs(tmp_path / "x.fcs", RAW, [Channel(i, name, "", 1024.0) for i, name in enumerate(NAMES)], keyword)
    spillover = spillover_of(open_fcs(tmp_path / "x.fcs"))
    assert spillover is not None
    assert spillover.channels == ("FITC-A", "PE-A")
    assert spillover.values.tolist() == [[1, 0], [0, 1]]


# --- matrices in other forms ---


def named(path: Path, names: list[str], keywords: dict[str, str], labels: list[str] | None = None) -> FcsFile:
    channels = [Channel(i, name, (labels or [""] * len(names))[i], 1024.0) for i, name in enumerate(names)]
    write_fcs(path, np.zeros((3, len(names))), channels)
    file = open_fcs(path)
    return replace(file, keywords={**file.keywords, **keywords})


MATRIX = "1,0.2,0.1,1"


def test_of_two_matrices_the_one_that_is_not_the_identity_is_used(tmp_path: Path) -> None:
    identity = "2,FITC-A,PE-A,1,0,0,1"
    file = named(tmp_path / "a.fcs", NAMES, {"$SPILLOVER": identity, "SPILL": f"2,FITC-A,PE-A,{MATRIX}"})
    found = file_spillover(file)
    assert found is not None
    assert found.keyword == "SPILL"
    assert found.spillover.values.tolist() == [[1, 0.2], [0.1, 1]]
    assert "SPILL is used, because the other is the identity" in found.note
    assert found.note in Compensation("file").of(file).notes


def test_of_two_matrices_the_standard_keyword_comes_first(tmp_path: Path) -> None:
    file = named(
        tmp_path / "a.fcs", NAMES, {"SPILL": "2,FITC-A,PE-A,1,0.5,0,1", "$SPILLOVER": f"2,FITC-A,PE-A,{MATRIX}"}
    )
    found = file_spillover(file)
    assert found is not None
    assert (found.keyword, found.spillover.values[0, 1]) == ("$SPILLOVER", 0.2)
    assert "$SPILLOVER is used, because it is the first" in found.note
    # The same matrix in another order is no difference.
    same = named(
        tmp_path / "b.fcs", NAMES, {"SPILL": "2,PE-A,FITC-A,1,0.1,0.2,1", "$SPILLOVER": f"2,FITC-A,PE-A,{MATRIX}"}
    )
    assert file_spillover(same).note == ""  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["0", " 0 ", "", " "])
def test_a_matrix_of_no_channels_is_none(value: str, tmp_path: Path) -> None:
    file = named(tmp_path / "a.fcs", NAMES, {"$SPILLOVER": value})
    assert spillover_of(file) is None
    assert compensation_state(file, [0, 1]) is CompensationState.NONE


@pytest.mark.parametrize("name", ["FITC-A :: CD3", "FITC-A::CD3", "Comp-FITC-A", "Comp-FITC-A :: CD3"])
def test_names_with_stains_and_prefixes_find_their_channel(name: str, tmp_path: Path) -> None:
    file = named(tmp_path / "a.fcs", NAMES, {"SPILL": f"2,{name},PE-A,{MATRIX}"})
    result = Compensation("file").of(file)
    assert isinstance(result, CompensatedFile)
    assert result.columns == (0, 1)


def test_comp_of_fcs_3_0_names_no_channels(tmp_path: Path) -> None:
    names = ["FSC-A", "FITC-A", "PE-A", "Time"]
    result = Compensation("file").of(named(tmp_path / "a.fcs", names, {"$COMP": f"2,{MATRIX}"}))
    assert isinstance(result, CompensatedFile)
    assert result.columns == (1, 2)
    whole = ["4", *(f"{value:g}" for value in np.eye(4).ravel())]
    assert spillover_of(named(tmp_path / "b.fcs", names, {"$COMP": ",".join(whole)})).channels == tuple(names)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="3 channels without names, and 2 fluorescence channels"):
        spillover_of(named(tmp_path / "c.fcs", names, {"$COMP": "3,1,0,0,0,1,0,0,0,1"}))


@pytest.mark.parametrize("prefix", ["Comp-", "FJComp-"])
def test_compensated_channels_are_not_compensated_again(prefix: str, tmp_path: Path) -> None:
    names = [f"{prefix}FITC-A", f"{prefix}PE-A", "Time"]
    spill = {"$SPILLOVER": f"2,{names[0]},{names[1]},{MATRIX}"}
    file = named(tmp_path / "a.fcs", names, spill)
    with pytest.raises(InputError, match="compensated already"):
        Compensation("file").of(file)
    with pytest.raises(InputError, match="compensated already"):
        Compensation("matrix", Spillover((names[0], names[1]), np.array([[1, 0.2], [0.1, 1]]))).of(file)
    assert compensation_state(file, [0, 1]) is CompensationState.COMPENSATED
    both = named(tmp_path / "b.fcs", ["FITC-A", "PE-A", *names], {"$SPILLOVER": f"2,FITC-A,PE-A,{MATRIX}"})
    with pytest.raises(InputError, match="compensated already"):
        Compensation("file").of(both)
    assert compensation_state(both, [2, 3]) is CompensationState.COMPENSATED
    assert compensation_state(both, [0, 1]) is CompensationState.NOT_COMPENSATED
    bare = named(tmp_path / "c.fcs", names, {})
    assert compensation_state(bare, [0, 1]) is CompensationState.COMPENSATED
    with pytest.raises(InputError, match="compensated already"):
        Compensation("file").of(bare)


@pytest.mark.parametrize(("element", "state"), [("1e-06", "IDENTITY"), ("0", "IDENTITY"), ("0.01", "NOT_COMPENSATED")])
def test_a_matrix_that_is_nearly_the_identity_takes_nothing_off(element: str, state: str, tmp_path: Path) -> None:
    file = named(tmp_path / "a.fcs", NAMES, {"$SPILLOVER": f"2,FITC-A,PE-A,1,{element},0,1"})
    assert compensation_state(file, [0, 1]) is CompensationState[state]


XML = """<?xml version="1.0" encoding="UTF-8"?>
<gating:gatingML xmlns:transforms="t" xmlns:data-type="d" xmlns:gating="g"><transforms:spilloverMatrix prefix="Comp-">
<transforms:spillover data-type:parameter="FITC-A">
<transforms:coefficient data-type:parameter="PE-A" transforms:value="0.2"/>
<transforms:coefficient data-type:parameter="FITC-A" transforms:value="1"/></transforms:spillover>
<transforms:spillover data-type:parameter="PE-A">
<transforms:coefficient data-type:parameter="FITC-A" transforms:value="0.1"/>
<transforms:coefficient data-type:parameter="PE-A" transforms:value="1"/></transforms:spillover>
</transforms:spilloverMatrix></gating:gatingML>
"""


def test_the_xml_of_flowjo_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.mtx").write_text(XML)
    spillover = read_matrix(tmp_path / "m.mtx")
    assert spillover.channels == ("FITC-A", "PE-A")
    assert spillover.values.tolist() == [[1, 0.2], [0.1, 1]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<gating:", '<!DOCTYPE x [<!ENTITY a "aaaa">]><gating:', "document type"),
        ("</gating:gatingML>", "", "cannot be parsed"),
        ('transforms:value="0.2"', "", "without"),
        ('transforms:value="0.2"', 'transforms:value="none"', "none"),
        ("spilloverMatrix", "other", "0 elements spilloverMatrix"),
        ('"PE-A" transforms:value="0.2"', '"APC-A" transforms:value="0.2"', "'APC-A', which differs"),
    ],
)
def test_xml_that_is_no_matrix_is_rejected(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in XML
    (tmp_path / "m.mtx").write_text(XML.replace(old, new, 1 if old.startswith("<gating") else -1))
    with pytest.raises(InputError, match=message):
        read_matrix(tmp_path / "m.mtx")


# --- files that users reported ---

CASES = Path(__file__).parents[3] / "shared" / "data" / "field_cases"
reported = pytest.mark.skipif(not CASES.is_dir(), reason="the shared data sets are not available")
MARKERS = range(2, 7)


@pytest.mark.corpus
@reported
def test_raw_files_are_compensated_once_and_to_the_true_values() -> None:
    truth = np.loadtxt(CASES / "double_compensation" / "truth.csv", delimiter=",", skiprows=1)
    raw = open_fcs(CASES / "double_compensation" / "raw.fcs")
    assert compensation_state(raw, MARKERS) is CompensationState.NOT_COMPENSATED
    assert np.allclose(Compensation("file").of(raw).read(MARKERS), truth, atol=1e-2)
    done = open_fcs(CASES / "double_compensation" / "compensated.fcs")
    assert compensation_state(done, MARKERS) is CompensationState.COMPENSATED
    assert np.allclose(done.read(MARKERS), truth, atol=1e-2)
    with pytest.raises(InputError, match="compensated already"):
        Compensation("file").of(done)


@pytest.mark.corpus
@reported
@pytest.mark.parametrize("name", ["aurora.fcs", "identity.fcs"])
def test_the_matrix_of_spectroflo_is_an_identity(name: str) -> None:
    file = open_fcs(CASES / "spectroflo_identity" / name)
    assert compensation_state(file, MARKERS) is CompensationState.IDENTITY


@pytest.mark.corpus
@reported
@pytest.mark.parametrize("name", ["two_matrices.fcs", "pnn_pns_names.fcs", "comp_fcs30.fcs"])
def test_all_forms_of_one_matrix_are_equal_to_that_of_flowjo(name: str) -> None:
    matrix = read_matrix(CASES / "matrices" / "flowjo.mtx")
    file = open_fcs(CASES / "matrices" / name)
    expected = file.read(MARKERS).astype(np.float64) @ np.linalg.inv(matrix.values)
    for compensation in (Compensation("file"), Compensation("matrix", matrix)):
        assert np.allclose(compensation.of(file).read(MARKERS), expected, rtol=1e-5, atol=1e-2)
