"""Marker tables: what they say, and what is refused with line and column."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.annotations.marker_table import parse_marker_table, read_marker_table, types_of_panel
from cytovae.errors import InputError

PATH = Path("types.csv")
TABLES = Path(__file__).parents[2] / ".." / "shared" / "data" / "tables"


def levels_of(text: str) -> list[list[float | None]]:
    rows = parse_marker_table(text, PATH).levels.tolist()
    return [[None if value != value else value for value in row] for row in rows]


def test_symbols_and_numbers() -> None:
    text = "population,CD3,CD4,CD8\na,+,-,\nb,\u2212,\u2013,~\nc,1,-0.5,0\n"
    assert levels_of(text) == [[1, -1, None], [-1, -1, 0], [1, -0.5, 0]]


def test_the_first_column_names_populations_whatever_it_is_called() -> None:
    table = parse_marker_table(";CD3;CD19\nT cells;+;-\nB  cells;-;+\n", PATH)
    assert (table.populations, table.markers) == (("T cells", "B cells"), ("CD3", "CD19"))


def test_a_child_has_the_levels_of_its_parents_where_its_own_are_empty() -> None:
    text = "population,parent,CD3,CD4,CD45RA\nT,,+,,\nCD4 T,T,,+,\nnaive,cd4 t,,~,+\n"
    assert levels_of(text) == [[1, None, None], [1, 1, None], [1, 0, 1]]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("population,CD3\na,x\n", "line 2, column CD3", "'x'"),
        ("population,CD3\na,+\n\nb,++\n", "line 4, column CD3", "'++'"),
        ("population,CD3\na,1.5\n", "line 2, column CD3", "'1.5'"),
        ("population,CD3\na,nan\n", "line 2, column CD3", "'nan'"),
        ("population,CD3,CD4\na,+,-\nA,-,+\n", "line 3, column population", "again (line 2)"),
        ("population,CCR7,CD197\na,+,-\n", "header, column 3", "'CCR7' and 'CD197'"),
        ("population,CD3,\na,+,-\n", "header, column 3", "an empty name"),
        ("population,CD3\na,\n", "line 2", "a row without levels"),
        ("population,CD3,CD4\na,+,-\nb,+,-\n", "line 3", "'b' with the levels of 'a' (line 2)"),
        ("population,parent,CD3\na,c,+\n", "line 2, column parent", "'c'"),
        ("population,parent,CD3\na,b,+\nb,a,-\n", "line 2, column parent", "a circle of parents"),
        ("population,CD3\nunknown,+\n", "line 2, column population", "reserved"),
        ("population,CD3\ncluster 2,+\n", "line 2, column population", "cluster 2"),
        ("population,CD3\n,+\n", "line 2, column population", "''"),
        ("population,CD3\n", "marker table", "no row"),
        ("population\na\n", "header", "'population'"),
        ("population,CD3\na,+,-\n", "line 2", "3 cells"),
    ],
)
def test_refusals_name_line_and_column(text: str, where: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_marker_table(text, PATH)
    assert caught.value.field == where
    assert what in str(caught.value)
    assert caught.value.exit_code == 3


def test_markers_are_found_by_any_name_of_their_antigen() -> None:
    table = parse_marker_table("population,CCR7,cd8,HLADR\na,+,-,+\n", PATH)
    types = types_of_panel(table, ("CD197", "HLA-DR", "CD8a"), PATH)
    assert types.levels.tolist() == [[1, 1, -1]]
    assert types.missing == ()


def test_markers_that_the_panel_lacks_join_rows_that_differ_only_there() -> None:
    table = parse_marker_table("population,CD3,CD19,CD27,CD4\nnaive,-,+,-,\nmemory,-,+,+,\nT,+,-,,+\nx,,,+,\n", PATH)
    types = types_of_panel(table, ("CD19", "CD3", "CD4", "CD8"), PATH)
    assert types.populations == ("naive / memory", "T")
    assert (types.missing, types.unusable) == (("CD27",), ("x",))
    assert np.array_equal(types.levels, [[1, -1, np.nan, np.nan], [-1, 1, 1, np.nan]], equal_nan=True)


def test_a_panel_with_fewer_than_half_of_the_markers_is_refused_with_the_nearest_names() -> None:
    table = parse_marker_table("population,CD3,CD19,CD27x\na,+,-,+\n", PATH)
    with pytest.raises(InputError, match=r"1 of its 3 markers.*CD27x: CD27") as caught:
        types_of_panel(table, ("CD3", "CD27", "Ki-67"), PATH)
    assert caught.value.exit_code == 3


@pytest.mark.corpus
@pytest.mark.skipif(not TABLES.is_dir(), reason="no tables in ../shared/data")
def test_the_shared_tables_are_read() -> None:
    tables = {path.name: read_marker_table(path) for path in TABLES.glob("*.types.csv")}
    assert len(tables["bendall.types.csv"].populations) == 20
    assert len(tables["huimm.types.csv"].markers) == 22
