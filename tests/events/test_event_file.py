"""Tables of cells and compensated files, against the same values read by pandas, by hand and by FlowUtils."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from flowio import FlowData
from flowutils.compensate import compensate, get_spill
from pyarrow import parquet

from cytovae.errors import InputError, UsageError
from cytovae.events.compensation import CompensatedFile, Compensation, Spillover, compensated, read_matrix, spillover_of
from cytovae.events.event_file import open_events
from cytovae.events.marker_file import files_for_model
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data" / "fcs_corpus"
NAMES = ["FITC-A", "PE-A", "Time"]
RAW = np.array([[110.0, 30, 1], [10, 201, 2], [-5, 7, 3]], dtype=np.float32)


def fcs(path: Path, spillover: str | None = None) -> FcsFile:
    channels = [Channel(place, name, "", 1024.0) for place, name in enumerate(NAMES)]
    write_fcs(path, RAW, channels, {} if spillover is None else {"$SPILLOVER": spillover})
    return open_fcs(path)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(50, 20, (1_000, 3)), columns=["CD3", "141Pr_CD45", "CD19"])
    return frame.assign(population=rng.choice(["T", "B"], 1_000))


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "semicolon.csv", "x.parquet"])
def test_a_table_is_read_as_pandas_reads_it(tmp_path: Path, table: pd.DataFrame, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        table.to_parquet(path, row_group_size=300, index=False)
    else:
        table.to_csv(path, index=False, sep={"x.csv": ",", "x.tsv": "\t"}.get(name, ";"))
    file = open_events(path)
    numbers = table.drop(columns="population").to_numpy()
    assert (file.n_events, [channel.name for channel in file.channels]) == (1_000, list(table)[:3])
    assert "population" in file.notes[0]
    assert np.array_equal(file.read(), numbers)
    assert np.array_equal(file.read([2, 0], 290, 910), numbers[290:910][:, [2, 0]])
    assert np.array_equal(np.concatenate(list(file.chunks([1], 333))), numbers[:, [1]])
    assert file.read([0], 999, 5_000).shape == (1, 1)
    assert resolve_panel(file).names == ("CD3", "CD45", "CD19")  # names are understood as in an FCS file


def test_float32_stays_float32_and_missing_is_nan(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"CD3": pa.array([1.5, None], pa.float32())}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("CD3,CD4\n1,\n2,3\n")
    narrow, text = open_events(tmp_path / "x.parquet"), open_events(tmp_path / "x.csv")
    assert narrow.read().dtype == np.float32
    assert np.array_equal(narrow.read(), [[1.5], [np.nan]], equal_nan=True)
    assert np.array_equal(text.read(), [[1, np.nan], [2, 3]], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty line"),
        ("1.5,2\n3,4\n", "names of the channels"),
        ("CD3,CD3\n1,2\n", "twice"),
        ("CD3,CD4\n1,2\n3\n", "readable|header|columns"),
        ("name\nT\n", "none of numbers"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_events(tmp_path / "x.csv")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("CD3\n1\n")
    with pytest.raises(InputError, match="Parquet"):
        open_events(tmp_path / "x.parquet")


# --- compensation -----------------------------------------------------------------------------------------------------


def test_compensation_undoes_the_spill_by_hand(tmp_path: Path) -> None:
    # Dye 1 gives a tenth of its light to PE, dye 2 five per cent to FITC: 100 and 20 are measured as 101 and 30.
    values = np.array([[1, 0.1], [0.05, 1]])
    raw = np.array([[100, 20]]) @ values
    assert raw.tolist() == [[101, 30]]
    channels = [Channel(0, "FITC-A", "", 1024.0), Channel(1, "PE-A", "", 1024.0)]
    write_fcs(tmp_path / "x.fcs", raw, channels, {"$SPILLOVER": "2,FITC-A,PE-A,1,0.1,0.05,1"})
    file = Compensation("file").of(open_fcs(tmp_path / "x.fcs"))
    assert np.allclose(file.read(), [[100, 20]], rtol=1e-6)
    assert np.allclose(file.read([1]), [[20]], rtol=1e-6)


def test_columns_may_be_asked_for_in_any_order(tmp_path: Path) -> None:
    file = fcs(tmp_path / "x.fcs")
    done = compensated(file, Spillover(("PE-A", "FITC-A"), np.array([[1, 0.2], [0.1, 1]])))
    expected = RAW.astype(np.float64)
    expected[:, [1, 0]] = RAW[:, [1, 0]] @ np.linalg.inv([[1, 0.2], [0.1, 1]])
    assert np.allclose(done.read(), expected, rtol=1e-5)
    assert np.allclose(done.read([2, 0, 1], 1, 3), expected[1:3][:, [2, 0, 1]], rtol=1e-5)
    assert np.allclose(np.concatenate(list(done.chunks([1, 2], 2))), expected[:, [1, 2]], rtol=1e-5)
    assert np.array_equal(done.read([2]), RAW[:, [2]])
    assert done.read().dtype == np.float32


@pytest.mark.filterwarnings("ignore:FCS file")  # FlowIO finds DATA's end one byte late
def test_real_files_are_compensated_as_flowutils_does() -> None:
    path = SHARED / "whitews+FlowKit__test_comp_example.fcs"
    if not path.is_file():
        pytest.skip("the corpus of FCS files is not here")
    file = open_fcs(path)
    keyword = next(value for name, value in file.keywords.items() if name.lstrip("$") in ("SPILLOVER", "SPILL"))
    identity, names = get_spill(keyword)
    assert np.array_equal(spillover_of(file).values, identity)  # type: ignore[union-attr]
    matrix = identity + np.random.default_rng(0).uniform(0, 0.1, identity.shape) * (1 - identity)
    with path.open("rb") as stream:
        raw = FlowData(stream, ignore_offset_error=True).as_array(preprocess=False)
    columns = [[channel.name for channel in file.channels].index(name) for name in names]
    expected = compensate(raw, matrix, columns)
    found = compensated(file, Spillover(tuple(names), matrix)).read()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-2)  # float32 of values up to 200,000
    assert np.abs(found - raw).max() > 100


@pytest.mark.parametrize(
    "text",
    [
        "FITC-A,PE-A\n1,0.2\n0.1,1\n",
        "FITC-A;PE-A\n1;0.2\n0.1;1\n",
        ",FITC-A,PE-A\nPE-A,0.1,1\nFITC-A,1,0.2\n",
        "Comp-FITC-A :: CD3\tComp-PE-A :: CD4\n1\t0.2\n0.1\t1\n",
    ],
)
def test_a_matrix_is_read_from_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    found = read_matrix(tmp_path / "m.csv")
    assert found.channels == ("FITC-A", "PE-A")
    assert found.values.tolist() == [[1, 0.2], [0.1, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A,B\n1,1\n1,1\n", "singular"),
        ("A,B\n100,2\n1,100\n", "per cent"),
        ("A,B\n1,0\n", "1 lines for 2 channels"),
        ("A,B\n1,x\n0,1\n", "line 2"),
        ("A,A\n1,0\n0,1\n", "named twice"),
        (",A,B\nA,1,0\nC,0,1\n", "not alike"),
        ("A,B\n1,nan\n0,1\n", "not finite"),
        ("", "0 lines"),
    ],
)
def test_matrices_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
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
def test_matrices_of_files_that_are_refused(tmp_path: Path, keyword: str, message: str) -> None:
    file = fcs(tmp_path / "x.fcs", keyword)
    with pytest.raises(InputError, match=message):
        Compensation("file").of(file)


def test_a_file_without_a_matrix_is_refused_and_one_for_all_is_not(tmp_path: Path) -> None:
    file = fcs(tmp_path / "x.fcs")
    assert spillover_of(file) is None
    assert Compensation().of(file) is file
    with pytest.raises(InputError, match=r"--compensate MATRIX\.csv"):
        Compensation("file").of(file)
    given = Spillover(("FITC-A", "PE-A"), np.array([[1, 0.2], [0.1, 1]]))
    assert isinstance(Compensation("matrix", given).of(file), CompensatedFile)
    with pytest.raises(UsageError):
        Compensation("matrix")


def test_a_spillover_that_is_not_used_is_warned_of(tmp_path: Path) -> None:
    file = fcs(tmp_path / "x.fcs", "2,FITC-A,PE-A,1,0.1,0,1")
    panel = resolve_panel(file, markers=["FITC-A", "PE-A"])
    transform = Transform("arcsinh", panel.cofactors)
    plain, compensated = files_for_model([file, Compensation("file").of(file)], panel, transform)
    assert any("spillover" in warning for warning in plain.warnings())
    assert not any("spillover" in warning for warning in compensated.warnings())
