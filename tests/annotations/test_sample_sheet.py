"""The sample sheet: which row belongs to which file, and which sheets are refused."""

from pathlib import Path

import pytest

from cytovae.annotations.sample_sheet import NO_SAMPLES, parse_samples, read_study
from cytovae.errors import InputError

FILES = {"a.fcs": Path("run/a.fcs"), "b.fcs": Path("run/b.fcs")}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_are_found_by_path_name_and_stem(separator: str) -> None:
    lines = ["File,Sample,Time point", "run/b.fcs,two,", "a,one, 5 h", "other.fcs,three,x", ""]
    sheet = parse_samples("\n".join(lines).replace(",", separator), Path("run/sheet.csv"), FILES)
    assert sheet.columns == ("sample", "time_point")
    assert sheet.of("a.fcs") == ("one", "5 h")
    assert sheet.of("b.fcs") == ("two", "")
    assert NO_SAMPLES.of("anything") == ()


def test_a_path_may_be_relative_to_the_sheet(tmp_path: Path) -> None:
    files = {"1/x.fcs": tmp_path / "1" / "x.fcs", "2/x.fcs": tmp_path / "2" / "x.fcs"}
    sheet = parse_samples("file,batch\n2/x.fcs,B\n1/x.fcs,A\n", tmp_path / "sheet.csv", files)
    assert [sheet.of(name) for name in files] == [("A",), ("B",)]
    with pytest.raises(InputError, match=r"'x\.fcs', which fits .*1/x\.fcs and .*2/x\.fcs"):
        parse_samples("file,batch\nx.fcs,B\n", tmp_path / "sheet.csv", files)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,batch\na,1\n", "column file"),
        ("file\na.fcs\n", "others beside it"),
        ("file,sample,sample\n", "'sample' and 'sample', expected each column once"),
        ("file,Time point,time_point\n", "each once"),
        ("file,cluster\na.fcs,1\n", "taken"),
        ("file,sample\na.fcs,1\na,2\n", "line 3.*again"),
        ("file,sample\na.fcs,1,2\n", "line 2.*3 cells"),
        ("file,sample\na.fcs,1\n", r"no row for b\.fcs"),
    ],
)
def test_unusable_sheets_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_samples(text, Path("sheet.csv"), FILES)


# --- the files of a workflow ------------------------------------------------------------------------------------------


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    for name in ("plate1/A01.fcs", "plate2/A01.fcs", "plate2/B 02.fcs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def sheet(folder: Path, text: str) -> Path:
    path = folder / "samples.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_files_of_a_study_are_listed(plates: Path) -> None:
    text = (
        "\ufeffFile;condition; sample;note\nplate1/A01.fcs;stim;d1;x\n\nplate2/A01.fcs;;;\nplate2/B 02.fcs;none;d2;\n"
    )
    found = read_study(sheet(plates, text))
    assert [(s.name, s.path, s.sample, s.batch, s.condition) for s in found] == [
        ("plate1__A01", plates / "plate1" / "A01.fcs", "d1", "", "stim"),
        ("plate2__A01", plates / "plate2" / "A01.fcs", "plate2__A01", "", ""),
        ("B_02", plates / "plate2" / "B 02.fcs", "d2", "", "none"),
    ]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "header"),
        ("sample\nd1\n", "header"),
        ("file,file\na,b\n", "header"),
        ("file\n", "rows"),
        ("file,sample\nplate1/A01.fcs\n", "line 2"),
        ("file\nplate1/A01.fcs\nplate9/A01.fcs\n", "line 3, file"),
        ("file\nplate1/A01.fcs\nplate1/../plate1/A01.fcs\n", "line 3, file"),
        ("file,sample\n,d1\n", "line 2, file"),
    ],
)
def test_unusable_sheets_of_a_study_are_refused(plates: Path, text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_study(sheet(plates, text))
    assert caught.value.field == field


def test_files_without_distinct_names_are_refused(plates: Path) -> None:
    (plates / "plate2" / "B_02.fcs").touch()
    with pytest.raises(InputError, match="odd characters"):
        read_study(sheet(plates, "file\nplate2/B 02.fcs\nplate2/B_02.fcs\n"))


def test_a_column_that_anndata_reserves_is_refused(tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    with pytest.raises(InputError, match="column _index"):
        parse_samples("file,_index\na.fcs,1\n", sheet, {"a.fcs": tmp_path / "a.fcs"})
