"""A table beside the events that has been damaged is refused, or means the same: it never gives a wrong result.

Every kind of table is damaged in the same ways: a row dropped, a row or a column repeated, quotes removed, rows in
another order, two inputs of one name.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytovae.annotations.cluster_labels import align_labels, read_labels
from cytovae.annotations.cluster_names import read_names
from cytovae.annotations.gates import read_gates_of_files
from cytovae.annotations.sample_sheet import read_samples, read_study
from cytovae.errors import InputError
from cytovae.events.panel_table import read_panel
from cytovae.events.spillover import read_matrix
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

pytestmark = pytest.mark.slow

REFUSED = "refused"
SIZES = (5, 4)
LABELS = ["T", "B", "B, naive", "NK; bright", "ungated", ""]

Rows = list[list[str]]
Reader = Callable[[Path, Sequence[FcsFile]], Any]


@dataclass(frozen=True)
class Table:
    """A kind of table: its rows for given labels of events, and what the package reads from it."""

    name: str
    header: list[str]
    rows: Callable[[list[str]], Rows]
    read: Reader
    has_keys: bool  # rows say what they are about, so their order does not matter
    is_partial: bool = False  # a row may be missing: it concerns nothing but itself


def gates(path: Path, files: Sequence[FcsFile]) -> list[str]:
    read = read_gates_of_files(files, path)
    return [read.names[index] if index >= 0 else "" for index in read.population]


def labels(path: Path, files: Sequence[FcsFile]) -> list[str]:
    read = read_labels(path)
    clusters = align_labels(read, [str(file.path) for file in files], SIZES)
    return [(read.names[number - 1] if read.names else str(number)) if number else "" for number in clusters]


def samples(path: Path, files: Sequence[FcsFile]) -> Any:
    paths = {str(file.path): file.path for file in files}
    sheet = read_samples(path, paths)
    return [dict(zip(sheet.columns, sheet.of(name), strict=True)) for name in paths]


def study(path: Path, files: Sequence[FcsFile]) -> Any:
    return sorted((str(file.path), file.sample) for file in read_study(path))


def matrix(path: Path, files: Sequence[FcsFile]) -> Any:
    read = read_matrix(path)
    order = np.argsort(read.channels)
    return [read.channels[index] for index in order], read.values[np.ix_(order, order)].tolist()


EVENTS = [(file, event) for file, size in zip(("1/a.fcs", "2/b.fcs"), SIZES, strict=True) for event in range(size)]


def with_files(own: list[str]) -> Rows:
    return [[file, str(event), label] for (file, event), label in zip(EVENTS, own, strict=True)]


def of_files(own: list[str]) -> Rows:
    return [["1/a.fcs", own[0]], ["2/b.fcs", own[1] or "x"]]


def spillover(own: list[str]) -> Rows:
    return [["A", "1", "0.1", "0"], ["B", "0.2", "1", "0.3"], ["C", "0", "0.4", "1"]]


def column(own: list[str]) -> Rows:
    return [[label] for label in own]


def wide(own: list[str]) -> Rows:
    return [[str(index), label, "0.5"] for index, label in enumerate(own)]


TABLES = [
    Table("gates", ["population"], column, gates, False),
    Table("gates, unknown header", ["celltype"], column, gates, False),
    Table("gates, no header", [], column, gates, False),
    Table("gates of a wide table", ["cell", "Population", "CD3"], wide, gates, False),
    Table("gates of files", ["file", "event", "population"], with_files, gates, True, is_partial=True),
    Table("gates of files, any name", ["File", "Event", "celltype"], with_files, gates, True, is_partial=True),
    Table("labels", ["cluster"], column, labels, False),
    Table("labels, unknown header", ["celltype"], column, labels, False),
    Table("labels, no header", [], column, labels, False),
    Table("labels of a wide table", ["cell", "cluster", "CD3"], wide, labels, False),
    Table("labels of files", ["file", "event", "cluster"], with_files, labels, True),
    Table("labels of files, capitals", ["File", "Event", "cluster"], with_files, labels, True),
    Table("samples", ["file", "sample"], of_files, samples, True),
    Table("study", ["file", "sample"], of_files, study, True, is_partial=True),
    Table(
        "names",
        ["cluster", "name"],
        lambda own: [[str(number), name.replace("ungated", "")] for number, name in enumerate(own, start=1)],
        lambda path, files: read_names(path, len(EVENTS)),
        True,
        is_partial=True,
    ),
    Table(
        "panel",
        ["channel", "marker", "use"],
        lambda own: [[f"C{number}", name, "1"] for number, name in enumerate(own, start=1)],
        lambda path, files: sorted(read_panel(path), key=lambda row: row.channel),
        True,
        is_partial=True,
    ),
    Table("matrix", ["", "A", "B", "C"], spillover, matrix, True),
    Table("matrix without names", ["A", "B", "C"], lambda own: [row[1:] for row in spillover(own)], matrix, False),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FcsFile]:
    """The files 1/a.fcs, 2/b.fcs and 2/a.fcs."""
    folder = tmp_path_factory.mktemp("tables")
    channels = [Channel(0, "CD3", "", 1024.0), Channel(1, "CD4", "", 1024.0)]
    opened = []
    for name, size in (("1/a.fcs", SIZES[0]), ("2/b.fcs", SIZES[1]), ("2/a.fcs", SIZES[1])):
        (folder / name).parent.mkdir(exist_ok=True)
        write_fcs(folder / name, np.zeros((size, 2), np.float32), channels)
        opened.append(open_fcs(folder / name))
    return opened


def text_of(rows: Rows) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def outcome(table: Table, files: Sequence[FcsFile], text: str) -> Any:
    path = files[0].path.parents[1] / "table.csv"
    path.write_text(text, encoding="utf-8")
    try:
        return table.read(path, files)
    except InputError:
        return REFUSED


every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
own_labels = st.lists(st.sampled_from(LABELS), min_size=len(EVENTS), max_size=len(EVENTS))


def lines_of(table: Table, own: list[str]) -> Rows:
    return [table.header, *table.rows(own)] if table.header else table.rows(own)


@every_table
def test_an_intact_table_is_read(table: Table, files: list[FcsFile]) -> None:
    own = ["T", "B", "B, naive", "T", "NK; bright", "", "ungated", "B", "T"]
    found = outcome(table, files[:2], text_of(lines_of(table, own)))
    if table.read is gates or (table.read is labels and table.header):
        assert found == ["T", "B", "B, naive", "T", "NK; bright", "", "", "B", "T"]
    elif table.read is labels:
        assert found == REFUSED  # labels need a header
    else:
        assert found != REFUSED


@every_table
@settings(max_examples=25, deadline=None)
@given(own=own_labels, seed=st.integers(0, 10**6))
def test_a_dropped_row_is_noticed_or_changes_nothing_else(
    table: Table, files: list[FcsFile], own: list[str], seed: int
) -> None:
    lines = lines_of(table, own)
    truth = outcome(table, files[:2], text_of(lines))
    first = 1 if table.header else 0
    index = first + seed % (len(lines) - first)
    found = outcome(table, files[:2], text_of(lines[:index] + lines[index + 1 :]))
    if REFUSED in (truth, found) or not table.is_partial:
        assert found == REFUSED or truth == REFUSED
    elif isinstance(truth, dict):
        assert found == {key: name for key, name in truth.items() if key != index}
    elif table.read is gates:
        assert found == [*truth[: index - 1], "", *truth[index:]]
    else:
        assert len(found) == len(truth) - 1
        assert all(row in truth for row in found)


@every_table
@settings(max_examples=25, deadline=None)
@given(own=own_labels, seed=st.integers(0, 10**6))
def test_a_repeated_row_is_refused_or_changes_nothing(
    table: Table, files: list[FcsFile], own: list[str], seed: int
) -> None:
    lines = lines_of(table, own)
    truth = outcome(table, files[:2], text_of(lines))
    index = 1 + seed % (len(lines) - 1)
    found = outcome(table, files[:2], text_of(lines[: index + 1] + lines[index:]))
    if table.name == "panel":  # two rows for a channel are refused when channels are looked up
        assert {row.channel for row in found} == {row.channel for row in truth}
    elif truth != REFUSED:
        assert found in (REFUSED, truth)


@every_table
@settings(max_examples=25, deadline=None)
@given(own=own_labels, seed=st.integers(0, 10**6), spelling=st.sampled_from([str, str.upper, str.title, " {} ".format]))
def test_a_repeated_column_with_other_cells_is_refused_or_changes_nothing(
    table: Table, files: list[FcsFile], own: list[str], seed: int, spelling: Callable[[str], str]
) -> None:
    lines = lines_of(table, own)
    truth = outcome(table, files[:2], text_of(lines))
    index = seed % len(lines[0])
    moved = [lines[0], *lines[2:], lines[1]] if table.header else [*lines[1:], lines[0]]
    repeated = [
        [*line, spelling(other[index]) if row == 0 else other[index]]
        for row, (line, other) in enumerate(zip(lines, moved, strict=True))
    ]
    if truth != REFUSED:
        assert outcome(table, files[:2], text_of(repeated)) in (REFUSED, truth)


@every_table
@settings(max_examples=25, deadline=None)
@given(own=own_labels)
def test_a_table_without_its_quotes_is_refused_or_means_the_same(
    table: Table, files: list[FcsFile], own: list[str]
) -> None:
    text = text_of(lines_of(table, own))
    truth = outcome(table, files[:2], text)
    if truth != REFUSED:
        assert outcome(table, files[:2], text.replace('"', "")) in (REFUSED, truth)


@every_table
@settings(max_examples=25, deadline=None)
@given(own=own_labels, seed=st.integers(0, 10**6))
def test_an_unpaired_quote_is_refused_or_means_the_same(
    table: Table, files: list[FcsFile], own: list[str], seed: int
) -> None:
    lines = lines_of(table, own)
    truth = outcome(table, files[:2], text_of(lines))
    index = 1 + seed % (len(lines) - 1)
    *others, last = lines[index]
    damaged = text_of(lines[:index]) + ",".join([*others, f'"{last}']) + "\n" + text_of(lines[index + 1 :])
    found = outcome(table, files[:2], damaged)
    if truth != REFUSED and index < len(lines) - 1 and "," not in lines[index][-1]:
        assert found in (REFUSED, truth)


@pytest.mark.parametrize("table", [table for table in TABLES if table.has_keys], ids=lambda table: table.name)
@settings(max_examples=25, deadline=None)
@given(own=own_labels, data=st.data())
def test_rows_in_another_order_mean_the_same(
    table: Table, files: list[FcsFile], own: list[str], data: st.DataObject
) -> None:
    header, *rows = lines_of(table, own)
    truth = outcome(table, files[:2], text_of([header, *rows]))
    assert outcome(table, files[:2], text_of([header, *data.draw(st.permutations(rows))])) == truth


@pytest.mark.parametrize(
    "table", [table for table in TABLES if "file" in map(str.lower, table.header)], ids=lambda table: table.name
)
def test_files_of_one_name_are_told_apart_by_path(table: Table, files: list[FcsFile]) -> None:
    own = ["T", "B", "B, naive", "T", "NK", "NK", "", "B", "T"]
    text = text_of(lines_of(table, own))
    same_name = [files[0], files[2]]
    truth = outcome(table, files[:2], text)
    by_path = text.replace("b.fcs", "a.fcs")
    if table.read is study:
        assert outcome(table, same_name, text.replace("1/a.fcs", "a.fcs")) == REFUSED
    else:
        assert outcome(table, same_name, by_path) == truth != REFUSED
        folder = str(files[0].path.parents[1])
        assert outcome(table, same_name, by_path.replace("1/", f"{folder}/1/")) == truth
        for ambiguous in (by_path.replace("1/", "").replace("2/", ""), by_path.replace("2/", "")):
            assert outcome(table, same_name, ambiguous) == REFUSED


def test_events_of_several_files_need_the_column_file(files: list[FcsFile]) -> None:
    rows = [[str(event), "T" if event else "B"] for _, event in EVENTS]
    by_event = Table("", [], column, gates, False)
    assert outcome(by_event, files[:2], text_of([["event", "population"], *rows])) == ["B", *"TTTT", "B", *"TTT"]
    assert outcome(by_event, files[:2], text_of([["event", "population"], *rows[::-1]])) == REFUSED
