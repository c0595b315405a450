"""The heads of text tables as other programs write them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.errors import InputError
from cytovae.events.array_file import frame_file
from cytovae.events.panel import columns_of, resolve_panel
from cytovae.events.table_file import open_table
from cytovae.events.table_header import is_row_index, split_name
from cytovae.fcs.file import open_fcs

CASES = Path(__file__).parents[3] / "shared" / "data" / "field_cases" / "flowjo_csv"
VALUES = np.array([[1.5, -200.25], [3.0, 40.5], [0.0, 7.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Comp-FITC-A :: CD3", ("Comp-FITC-A", "CD3")),
        ("FITC-A::CD3", ("FITC-A", "CD3")),
        ("FSC-A :: ", ("FSC-A", "")),
        ("<PE-A (CD4)>", ("PE-A", "CD4")),
        ("<Time>", ("Time", "")),
        ("<Viability Dye (L/D)>", ("Viability Dye", "L/D")),
        ("BV421-A (CD19)", ("BV421-A", "CD19")),
        ("CD19 (BV421-A)", ("BV421-A", "CD19")),
        ("Nd142Di (CD4 (RPA-T4))", ("Nd142Di", "CD4 (RPA-T4)")),
        ("Ki67 (FITC-A)", ("FITC-A", "Ki67")),
        ("CD45(In115)Dd", ("CD45(In115)Dd", "")),
        ("CD45 (clone 2D1)", ("CD45 (clone 2D1)", "")),
        ("SSC (Violet)-A", ("SSC (Violet)-A", "")),
        ("141Pr_CD45", ("141Pr_CD45", "")),
    ],
)
def test_names_are_split_into_channel_and_label(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_row_numbers_without_a_name_are_recognised() -> None:
    assert all(map(is_row_index, ["", " ", "Unnamed: 0", "Unnamed: 0.1", "...1", "__index_level_0__"]))
    assert not any(map(is_row_index, ["CD3", "Unnamed", "0"]))


@pytest.mark.parametrize(
    ("above", "lines"), [("File: x.fcs\n", "one line"), ("File: x.fcs\t\n\nexported\n", "3 lines")]
)
def test_a_line_above_the_header_is_skipped(above: str, lines: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(above + "CD3\tCD4\n" + "".join(f"{a}\t{b}\n" for a, b in VALUES))
    file = open_table(path)
    assert [channel.name for channel in file.channels] == ["CD3", "CD4"]
    assert np.array_equal(file.read(), VALUES)
    assert lines in file.notes[0]


def test_a_table_of_text_and_numbers_keeps_its_first_row_as_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sample,well,CD3\na,b,1\nc,d,2\n")
    file = open_table(path)
    assert [channel.name for channel in file.channels] == ["CD3"]
    assert file.n_events == 2


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = "".join(f"{a}{delimiter}{b}\n".replace(".", ",") for a, b in VALUES)
    path.write_text(f"CD3{delimiter}CD4\n{rows}")
    file = open_table(path)
    assert np.array_equal(file.read(), VALUES)
    assert file.notes == ("numbers have decimal commas.",)


def test_numbers_with_thousands_separators_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('CD3,CD4\n"1,234.5","12,345.0"\n"2,234.5","1,345.0"\n')
    with pytest.raises(InputError, match=r"'1,234\.5'.*decimal"):
        open_table(path)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_indices_of_pandas_and_r_are_not_channels(separator: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(VALUES, columns=["CD3", "CD4"])
    path = tmp_path / "x.csv"
    frame.to_csv(path, sep=separator)  # the header begins with an empty cell
    assert np.array_equal(open_table(path).read(), VALUES)
    frame.reset_index().rename(columns={"index": "Unnamed: 0"}).to_csv(
        tmp_path / "again.csv", sep=separator, index=False
    )
    file = open_table(tmp_path / "again.csv")
    assert [channel.name for channel in file.channels] == ["CD3", "CD4"]
    assert "Unnamed: 0" in file.notes[0]
    path = tmp_path / "r.txt"  # R's write.table: the header lacks the name of the first column
    path.write_text(separator.join(["CD3", "CD4"]) + "\n" + frame.to_csv(sep=separator, header=False))
    assert np.array_equal(open_table(path).read(), VALUES)


def test_parquet_and_data_frames_with_names_of_exports(tmp_path: Path) -> None:
    frame = pd.DataFrame(VALUES, columns=["Comp-FITC-A :: CD3", "<PE-A (CD4)>"]).reset_index(names="Unnamed: 0")
    frame.to_parquet(tmp_path / "x.parquet")
    for file in (open_table(tmp_path / "x.parquet"), frame_file(frame)):
        assert [(channel.name, channel.label) for channel in file.channels] == [("Comp-FITC-A", "CD3"), ("PE-A", "CD4")]
        assert np.array_equal(file.read([1, 0]), VALUES[:, ::-1])


@pytest.mark.corpus
@pytest.mark.skipif(not CASES.is_dir(), reason="the shared data sets are not available")
@pytest.mark.parametrize("name", ["flowjo.csv", "cellengine.csv", "cytobank.txt", "europe.csv", "pandas.csv"])
def test_exports_hold_the_same_markers_and_values_as_the_fcs_file(name: str) -> None:
    original, export = open_fcs(CASES / "same.fcs"), open_table(CASES / name)
    markers = ("CD3", "CD4", "CD8", "CD19", "CD45")
    expected = original.read(columns_of(resolve_panel(original, markers=markers), original).tolist())
    panel = resolve_panel(original, markers=markers)
    assert np.allclose(export.read(columns_of(panel, export).tolist()), expected, atol=1e-3)
    assert set(resolve_panel(export).names) - {"AF-A", "Comp-AF-A", "Viability"} == set(markers)
