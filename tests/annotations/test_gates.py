"""Gates in every supported form, and those of published data sets against independent counts."""

import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from cytovae.annotations.gates import gates_beside, read_gates, read_gates_of_files
from cytovae.annotations.label_tables import is_no_label
from cytovae.cells import GateLabels
from cytovae.errors import GateError
from cytovae.events.anndata_file import open_h5ad
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are missing")


def fcs(path: Path, events: object, names: str = "CD3 CD4 label") -> FcsFile:
    values = np.asarray(events, dtype=np.float32)
    channels = [Channel(index, name, "", 1024.0) for index, name in enumerate(names.split())]
    path.parent.mkdir(exist_ok=True)
    write_fcs(path, values, channels)
    return open_fcs(path)


@pytest.fixture
def file(tmp_path: Path) -> FcsFile:
    """Four events; the channel label holds 2, NaN, 1, 2."""
    return fcs(tmp_path / "a.fcs", [[1, 10, 2], [2, 20, np.nan], [3, 30, 1], [4, 40, 2]])


def names_of(gates: GateLabels) -> list[str]:
    return [gates.names[index] if index >= 0 else "" for index in gates.population]


# --- tables ---


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.csv", "population\nB\n\nA\nB\n"),
        ("g.csv", 'population\n"B"\n""\n"A"\n"B"\n'),
        ("g.csv", "population\r\nB\r\n\r\nA\r\nB\r\n\r\n\r\n"),
        ("g.csv", "\ufeffPopulation\nB\nNA\nA\nB"),
        ("g.csv", "population\nB\nunassigned\nA\nB\n"),
        ("g.csv", "population\nB\nNot gated\nA\nB\n"),
        ("g.csv", "whatever\nB\nNaN\nA\nB\n"),
        ("g.csv", "B\nungated\nA\nB\n"),  # no header, because there are as many lines as events
        ("g.csv", '"",population,cd3\n1,B,0.5\n2,,1\n3,A,2\n4,B,3\n'),
        ("g.csv", '"","x"\n"1","B"\n"2",""\n"3","A"\n"4","B"\n'),
        ("g.csv", "cluster;label\n9;B\n9;\n9;A\n9;B\n"),
        ("g.tsv", "label\tother\nB\t1\n\t1\nA\t1\nB\t1\n"),
        ("g.csv", "event,population\n3,B\n0,B\n2,A\n"),
        ("g.csv", "file,event,population\nb.fcs,1,C\na.fcs,3,B\na.fcs,0,B\na,2,A\n"),
        ("g.csv", "file,population\na.fcs,B\nb.fcs,C\na.fcs,\na.fcs,A\na.fcs,B\n"),
    ],
)
def test_tables_of_gates(tmp_path: Path, file: FcsFile, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    gates = read_gates(path, file)
    assert gates.names == ("A", "B")
    assert gates.population.dtype == np.int32
    assert gates.population.tolist() == [1, -1, 0, 1]
    assert read_gates(str(path), file).population.tolist() == [1, -1, 0, 1]


@pytest.mark.parametrize("kind", ["string", "category", "float", "Int64"])
def test_parquet_tables(tmp_path: Path, file: FcsFile, kind: str) -> None:
    numbers = kind in ("float", "Int64")
    column = pandas.Series([2, None, 1, 2] if numbers else ["B", None, "A", "B"], dtype=kind)
    path = tmp_path / "g.parquet"
    pandas.DataFrame({"population": column, "cd3": range(4)}).to_parquet(path)
    gates = read_gates(path, file)
    assert gates.names == (("1", "2") if numbers else ("A", "B"))
    assert gates.population.tolist() == [1, -1, 0, 1]


def test_numbers_are_sorted_by_size_and_zero_may_be_ungated(tmp_path: Path, file: FcsFile) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("x\n10\n0\n9\n10.0\n")
    assert read_gates(path, file).names == ("0", "9", "10")
    gates = read_gates(path, file, zero_is_ungated=True)
    assert gates.names == ("9", "10")
    assert gates.population.tolist() == [1, -1, 0, 1]


def test_numbers_get_the_names_of_a_names_file(tmp_path: Path, file: FcsFile) -> None:
    names = tmp_path / "population_names_a.txt"
    names.write_text("label\tpopulation\n1\tT cells\n2\tunassigned\n3\tB cells\n")
    assert names_of(read_gates("label", file, names=names)) == ["", "", "T cells", ""]
    names.write_text("1 T cells\n")
    with pytest.raises(GateError, match="line 1"):
        read_gates("label", file, names=names)


def test_a_wrong_number_of_rows_is_refused(tmp_path: Path, file: FcsFile) -> None:
    path = tmp_path / "g.csv"
    path.write_text("population\nA\nB\n")
    with pytest.raises(GateError, match=r"found 2 rows, expected 4.*a\.fcs") as caught:
        read_gates(path, file)
    assert caught.value.exit_code == 3
    path.write_text("population\n" + "A\n" * 6)
    with pytest.raises(GateError, match="found 6 rows, expected 4"):
        read_gates(path, file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,2\n1,2\n1,2\n", "columns a, b"),
        ("a,population\n1,A\n1\n1,A\n1,A\n", "line 3.*found 1 cells"),
        ("event,population\n0,A\n4,A\n", r"found '4', expected each of 0 … 3"),
        ("event,population\n0,A\n0,B\n", "'0' a second time"),
        ("event,population\nx,A\n", "'x'"),
        ("file,population\nb.fcs,A\n", r"no row for a\.fcs.*about b\.fcs"),
        ("file,population\na.fcs,A\n", r"1 rows for a\.fcs, expected 4"),
        ("", "empty file"),
        ("celltype\nA\nB\nA\n", "4 lines, of which the first is 'celltype'.*Name the column 'population'"),
        ("B\nB\nA\nB\nA\n", "5 lines, of which the first is 'B'"),
        ("population\nA\nB, naive\nA\nA\n", "line 3: found 2 cells, expected 1"),
        ("Population,population\nA,B\nA,B\nA,B\nA,B\n", "'Population' and 'population'"),
        ('event,population\n0,"A\n1,B\n2,A\n', "line 2.*quotation mark"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, file: FcsFile, text: str, message: str) -> None:
    path = tmp_path / "g.csv"
    path.write_text(text)
    with pytest.raises(GateError, match=message):
        read_gates(path, file)


def test_files_that_are_not_tables_are_refused(tmp_path: Path, file: FcsFile) -> None:
    with pytest.raises(GateError, match="no such file"):
        read_gates("nowhere.csv", file)
    with pytest.raises(GateError, match="no such file"):
        read_gates(tmp_path / "nowhere", file)
    broken = tmp_path / "g.parquet"
    broken.write_bytes(b"PAR1 but no more")
    with pytest.raises(GateError, match="readable Parquet"):
        read_gates(broken, file)
    binary = tmp_path / "g.csv"
    binary.write_bytes(b"population\n\xff\xfe\n")
    with pytest.raises(GateError, match="UTF-8"):
        read_gates(binary, file)


# --- a channel ---


def test_a_channel_of_labels(file: FcsFile) -> None:
    gates = read_gates("label", file)
    assert gates.names == ("1", "2")
    assert gates.population.tolist() == [1, -1, 0, 1]


def test_a_channel_of_measurements_is_refused(tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", [[1, 10, 0.5], [2, 20, 1]])
    with pytest.raises(GateError, match="measurements"):
        read_gates("label", file)


def test_an_unknown_channel_is_refused_with_the_nearest(file: FcsFile) -> None:
    with pytest.raises(GateError, match=r"'lable'.*Nearest: label"):
        read_gates("lable", file)


def test_a_column_of_obs(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    obs = pandas.DataFrame(
        {"gate": pandas.Categorical(["B", None, "A", "B"]), "number": [2.0, np.nan, 1.0, 2.0], "donor": list("xyxy")},
        index=list("abcd"),
    )
    anndata.AnnData(X=np.zeros((4, 2), np.float32), obs=obs).write_h5ad(tmp_path / "x.h5ad")
    (whole,) = open_h5ad(tmp_path / "x.h5ad")
    assert names_of(read_gates("gate", whole)) == ["B", "", "A", "B"]
    assert names_of(read_gates("number", whole)) == ["2", "", "1", "2"]
    parts = open_h5ad(tmp_path / "x.h5ad", file_key="donor")
    assert names_of(read_gates_of_files(parts, "gate")) == ["B", "A", "", "B"]
    with pytest.raises(GateError, match="columns gate, number, donor"):
        read_gates("gates", whole)


# --- a folder of populations ---

EVENTS = [[1, 10, 5], [2, 20, 5], [3, 30, 5], [1, 10, 5], [-0.0, 0, 5]]


def test_one_file_per_population(tmp_path: Path) -> None:
    whole = fcs(tmp_path / "whole.fcs", EVENTS)
    fcs(tmp_path / "gates" / "B cells.fcs", [[3, 30, 5], [1, 10, 5]])
    # Another order of channels, one more channel, and -0.0.
    fcs(tmp_path / "gates" / "T cells.fcs", [[7, 20, 2, 5], [7, 0, 0, 5]], "extra CD4 CD3 label")
    gates = read_gates(tmp_path / "gates", whole)
    # Events 0 and 3 are equal. The population contains one of them, so the first is labelled.
    assert names_of(gates) == ["B cells", "T cells", "B cells", "", "T cells"]


def test_equal_events_can_be_in_two_populations(tmp_path: Path) -> None:
    whole = fcs(tmp_path / "whole.fcs", EVENTS)
    fcs(tmp_path / "gates" / "A.fcs", [[1, 10, 5]])
    fcs(tmp_path / "gates" / "B.fcs", [[1, 10, 5]])
    assert names_of(read_gates(tmp_path / "gates", whole)) == ["A", "", "", "B", ""]


def test_foreign_events_are_refused(tmp_path: Path) -> None:
    whole = fcs(tmp_path / "whole.fcs", EVENTS)
    fcs(tmp_path / "gates" / "A.fcs", [[1, 10, 5], [9, 9, 9], [2, 20, 5.0001]])
    with pytest.raises(GateError, match=r"A\.fcs: events: found 2 of 3 that whole\.fcs does not hold"):
        read_gates(tmp_path / "gates", whole)


def test_parent_gates_are_refused(tmp_path: Path) -> None:
    whole = fcs(tmp_path / "whole.fcs", EVENTS)
    fcs(tmp_path / "gates" / "T.fcs", [[2, 20, 5], [3, 30, 5]])
    fcs(tmp_path / "gates" / "T CD4.fcs", [[3, 30, 5]])
    with pytest.raises(GateError, match=r"T\.fcs: events: found 1 that T CD4 holds, too"):
        read_gates(tmp_path / "gates", whole)


def test_a_folder_without_populations_is_refused(tmp_path: Path, file: FcsFile) -> None:
    (tmp_path / "gates").mkdir()
    with pytest.raises(GateError, match="no FCS file"):
        read_gates(tmp_path / "gates", file)
    fcs(tmp_path / "gates" / "A.fcs", [[1, 2]], "X Y")
    with pytest.raises(GateError, match="0 shared"):
        read_gates(tmp_path / "gates", file)


# --- several files ---


@pytest.fixture
def study(tmp_path: Path) -> list[FcsFile]:
    return [
        fcs(tmp_path / "a.fcs", [[1, 10, 2], [2, 20, np.nan]]),
        fcs(tmp_path / "b.fcs", [[3, 30, 1], [4, 40, 2], [5, 50, 3]]),
    ]


EXPECTED = ["T", "", "B", "T", "NK"]


def test_gates_beside_several_files(tmp_path: Path, study: list[FcsFile]) -> None:
    assert gates_beside(study[0].path) is None
    (tmp_path / "a.gates.csv").write_text("population\nT\n\n")
    with pytest.raises(GateError, match=r"b\.gates\.csv") as caught:
        read_gates_of_files(study)
    assert "a.gates.csv" not in str(caught.value)
    (tmp_path / "b.gates.csv").write_text("population\nB\nT\nNK\n")
    assert gates_beside(study[0].path) == tmp_path / "a.gates.csv"
    gates = read_gates_of_files(study)
    assert gates.names == ("B", "NK", "T")
    assert names_of(gates) == EXPECTED
    assert names_of(read_gates_of_files(study, tmp_path)) == EXPECTED  # a folder of NAME.gates.csv


def test_one_table_for_several_files(tmp_path: Path, study: list[FcsFile]) -> None:
    path = tmp_path / "all.csv"
    path.write_text("population\n" + "\n".join(EXPECTED))
    assert names_of(read_gates_of_files(study, path)) == EXPECTED
    path.write_text("file,event,population\nb.fcs,0,B\nb.fcs,1,T\nb.fcs,2,NK\na.fcs,0,T\n")
    assert names_of(read_gates_of_files(study, path)) == EXPECTED
    path.write_text("population\nT\n")
    with pytest.raises(GateError, match=r"found 1 rows, expected 5.*2 files together"):
        read_gates_of_files(study, path)


def test_rows_that_fit_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [fcs(tmp_path / folder / "a.fcs", [[1, 10, 2], [2, 20, 1]]) for folder in ("1", "2")]
    path = tmp_path / "all.csv"
    path.write_text("file,population\na.fcs,T\na.fcs,B\n")
    with pytest.raises(GateError, match=r"'a\.fcs', which fits .*1/a\.fcs and .*2/a\.fcs"):
        read_gates_of_files(files, path)
    path.write_text("file,population\n2/a.fcs,T\n2/a.fcs,B\n1/a.fcs,NK\n1/a.fcs,T\n")
    assert names_of(read_gates_of_files(files, path)) == ["NK", "T", "T", "B"]
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "a.gates.csv").write_text("population\nT\nB\n")
    with pytest.raises(GateError, match="several files called a"):
        read_gates_of_files(files, tmp_path / "gates")


def test_one_channel_in_several_files(study: list[FcsFile]) -> None:
    assert names_of(read_gates_of_files(study, "label")) == ["2", "", "1", "2", "3"]


def test_one_folder_of_populations_per_file(tmp_path: Path, study: list[FcsFile]) -> None:
    for name, events in {"a": [[1, 10, 2]], "b": [[4, 40, 2]]}.items():
        (tmp_path / "gates").mkdir(exist_ok=True)
        fcs(tmp_path / "gates" / name / "T.fcs", events)
    assert names_of(read_gates_of_files(study, tmp_path / "gates")) == ["T", "", "", "T", ""]
    with pytest.raises(GateError, match=r"neither a\.gates\.csv nor"):
        read_gates_of_files(study, tmp_path / "gates" / "b")


# --- published gates ---


@pytest.mark.corpus
@needs_shared_data
@pytest.mark.parametrize(
    ("name", "n_gated", "n_populations"),
    [
        ("bendall2011_marrow1", 102_987, 20),
        ("flowsom_ff", 13_671, 6),
        ("huimm_pbmc", 111_335, 18),
        ("levine32_balanced1500", 1_400, 14),
        ("nilsson_rare", 358, 1),
    ],
)
def test_published_gates(name: str, n_gated: int, n_populations: int) -> None:
    file = open_fcs(SHARED / f"{name}.fcs")
    gates = read_gates_of_files([file])
    assert len(gates) == file.n_events
    assert (gates.population >= 0).sum() == n_gated
    assert len(gates.names) == n_populations
    table = pandas.read_csv(SHARED / f"{name}.gates.csv", skip_blank_lines=False, keep_default_na=False)
    assert names_of(gates) == table["population"].tolist()


@pytest.mark.corpus
@needs_shared_data
def test_every_published_table_of_gates_is_read_as_it_is() -> None:
    tables = sorted(table for table in SHARED.rglob("*.gates.csv") if gates_beside(table) is None)
    files = [(table, table.with_name(table.name.replace(".gates.csv", ".fcs"))) for table in tables]
    for table, path in files:
        file = open_fcs(path)
        with table.open(encoding="utf-8", newline="") as stream:
            (header, *rows) = csv.reader(stream)
        assert header == ["population"]
        expected = [row[0] if row and not is_no_label(row[0]) else "" for row in rows]
        assert names_of(read_gates(table, file)) == expected, table.name
    assert len(files) > 30


@pytest.mark.corpus
@needs_shared_data
def test_gates_of_the_multicenter_study() -> None:
    files = [open_fcs(SHARED / "multicenter" / f"{number}.fcs") for number in range(1, 17)]
    gates = read_gates_of_files(files)
    assert len(gates) == 929_685
    assert (gates.population >= 0).sum() == 693_643
    assert len(gates.names) == 4


@pytest.mark.corpus
@needs_shared_data
def test_populations_of_a_real_file_are_matched_back(tmp_path: Path) -> None:
    file = open_fcs(SHARED / "levine32_balanced1500.fcs")
    gates = read_gates_of_files([file])
    events = file.read()
    for index, name in enumerate(gates.names):
        path = tmp_path / f"{name.replace('/', '-')}.fcs"
        write_fcs(path, events[gates.population == index][::-1], file.channels)
    matched = read_gates(tmp_path, file)
    expected = [name.replace("/", "-") for name in names_of(gates)]
    assert names_of(matched) == expected


# --- the converter of FlowJo workspaces (without FlowKit) ---


def deepest() -> Any:
    spec = spec_from_file_location("flowjo_gates", Path(__file__).parents[2] / "docs" / "flowjo_gates.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.deepest


def test_a_cell_gets_its_deepest_gate() -> None:
    inside = {
        ("T", "CD4"): [False, True, False, False],
        ("T",): [True, True, False, False],
        ("B",): [False] * 3 + [True],
    }
    assert deepest()(inside, 4) == ["T", "CD4", "", "B"]


def test_gates_that_share_cells_are_refused() -> None:
    with pytest.raises(ValueError, match=r"event 1 is in T and in B.*--only"):
        deepest()({("T",): [True, True], ("B",): [False, True]}, 2)
