"""Text tables: which delimiter they have, and what is refused."""

from pathlib import Path

import pytest

from cytovae.delimited import csv_line, delimiter_of, parse_table, read_text, split_lines
from cytovae.errors import GateError, InputError, PanelError


@pytest.mark.parametrize(
    ("first_line", "delimiter"),
    [("a,b", ","), ("a;b,c;d", ";"), ("a\tb", "\t"), ("one column", ","), ("", ","), ("a,b;c", ",")],
)
def test_the_most_frequent_delimiter_of_the_first_line_counts(first_line: str, delimiter: str) -> None:
    assert delimiter_of(first_line) == delimiter


def test_cells_are_trimmed_and_empty_rows_skipped() -> None:
    table = parse_table('a; b\n1;"x;y"\n;\n\n 2 ; z\n', Path("t.csv"))
    assert (table.first_line, table.header) == ("a; b", ("a", "b"))
    assert table.rows == ((2, ("1", "x;y")), (5, ("2", "z")))
    assert parse_table("", Path("t.csv")).header == ()


def test_rows_of_another_length_are_refused_by_line() -> None:
    with pytest.raises(InputError, match=r"t\.csv: line 3: found 3 cells, expected 2, as in the header"):
        parse_table("a,b\n1,2\n1,2,3\n", Path("t.csv"))


def test_a_line_that_cannot_be_parsed_is_refused() -> None:
    with pytest.raises(PanelError, match=r"t\.csv: line 2.*field larger"):
        split_lines("a,b\n" + "x" * 200_000 + ",1\n", Path("t.csv"), PanelError)


def test_text_is_utf_8_with_or_without_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffγ\r\n".encode())
    assert read_text(path, "table") == "γ\n"
    path.write_bytes(b"\xff")
    with pytest.raises(GateError, match=r"t\.csv: table: .*UTF-8"):
        read_text(path, "table", GateError)
    with pytest.raises(InputError, match=r"none\.csv: table: .*No such file"):
        read_text(tmp_path / "none.csv", "table")


def test_cells_of_csv_are_quoted_where_needed() -> None:
    assert csv_line(["a", "b,c", 'd"e']) == 'a,"b,c","d""e"\n'
