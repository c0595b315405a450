"""Samples: files looked up in the sheet and joined."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.comparison.samples import read_design
from cytovae.errors import InputError, UsageError

FILES = [f"{name}.fcs" for name in "abcdef"]
ROWS = ["a,s1,x,d1", "b,s2,x,d2", "c,s3,x,d3", "d,s4,y,d1", "e,s5,y,d2", "f,s6,y,d3"]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    return write(tmp_path / "samples.csv", ROWS)


def write(path: Path, rows: list[str], header: str = "File,Sample,Group,Donor ID") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_columns_are_found_without_case_and_spaces(sheet: Path) -> None:
    samples = read_design(sheet, FILES, "group", block="donor id")
    assert samples.names == ("s1", "s2", "s3", "s4", "s5", "s6")
    assert samples.design.condition.values == tuple("xxxyyy")
    assert samples.design.others[0].values == ("d1", "d2", "d3") * 2
    assert samples.design.reference == "x"


def test_the_reference_can_be_named(sheet: Path) -> None:
    assert read_design(sheet, FILES, "group", reference="y").design.compared == ("x",)


def test_files_of_one_sample_are_joined(tmp_path: Path) -> None:
    sheet = write(tmp_path / "s.csv", [*ROWS, "g,s1,x,d1"])
    samples = read_design(sheet, [*FILES, "g.fcs"], "group")
    joined = samples.join(np.arange(14).reshape(7, 2))
    assert joined.tolist() == [[0 + 12, 1 + 13], *np.arange(2, 12).reshape(5, 2).tolist()]


def test_without_the_column_sample_every_file_is_one(tmp_path: Path) -> None:
    rows = [",".join((row.split(",")[0], row.split(",")[2])) for row in ROWS]
    sheet = write(tmp_path / "s.csv", rows, "file,group")
    assert read_design(sheet, FILES, "group").names == tuple(FILES)


def test_a_sheet_with_folders_and_other_suffixes_fits(tmp_path: Path) -> None:
    rows = [f"raw/2024/{row.replace(',', '.fcs,', 1)}" for row in ROWS]
    sheet = write(tmp_path / "s.csv", rows)
    assert read_design(sheet, FILES, "group").names[0] == "s1"
    assert read_design(sheet, [name.replace("fcs", "parquet") for name in FILES], "group").names[5] == "s6"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:-1], r"no row for f\.fcs"),
        ([*ROWS[:-1], "f,s6,,d3"], r"an empty cell for f\.fcs"),
        ([row.replace("y", "x") for row in ROWS], "'x' for every sample"),
        ([*ROWS[:-1], "f,s5,x,d3"], "'y' and 'x' for files of the sample s5"),
        ([*ROWS[:-1], "f,s5,y,d2"], "'y' has 2"),
    ],
)
def test_a_sheet_that_does_not_fit_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_design(write(tmp_path / "s.csv", rows), FILES, "group")


def test_a_missing_column_and_a_column_for_two_purposes_are_refused(sheet: Path) -> None:
    with pytest.raises(InputError, match="a column treatment"):
        read_design(sheet, FILES, "treatment")
    with pytest.raises(UsageError, match="different columns"):
        read_design(sheet, FILES, "group", block="Group")
