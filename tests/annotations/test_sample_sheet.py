"""The sample sheet: which row is about which file, what is refused, and that it reaches every output."""

from pathlib import Path

import pytest

from cytovae.annotations.sample_sheet import NO_SAMPLES, parse_samples
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


def test_a_path_may_start_at_the_sheet(tmp_path: Path) -> None:
    files = {"1/x.fcs": tmp_path / "1" / "x.fcs", "2/x.fcs": tmp_path / "2" / "x.fcs"}
    sheet = parse_samples("file,batch\n2/x.fcs,B\n1/x.fcs,A\n", tmp_path / "sheet.csv", files)
    assert [sheet.of(name) for name in files] == [("A",), ("B",)]
    with pytest.raises(InputError, match=r"no row for 1/x\.fcs"):  # a name that two files have is about neither
        parse_samples("file,batch\nx.fcs,B\n", tmp_path / "sheet.csv", files)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,batch\na,1\n", "column file"),
        ("file\na.fcs\n", "others beside it"),
        ("file,sample,sample\n", "each once"),
        ("file,cluster\na.fcs,1\n", "taken"),
        ("file,sample\na.fcs,1\na,2\n", "line 3.*again"),
        ("file,sample\na.fcs,1,2\n", "line 2.*3 cells"),
        ("file,sample\na.fcs,1\n", r"no row for b\.fcs"),
    ],
)
def test_sheets_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_samples(text, Path("sheet.csv"), FILES)
