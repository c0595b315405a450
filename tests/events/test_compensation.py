"""Compensation, against values worked out by hand and FlowUtils."""

from pathlib import Path

import numpy as np
import pytest
from flowio import FlowData
from flowutils.compensate import compensate, get_spill

from cytovae.errors import InputError, UsageError
from cytovae.events.compensation import (
    CompensatedFile,
    Compensation,
    Spillover,
    compensated,
    identity_spillover,
    read_matrix,
    spillover_of,
)
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
