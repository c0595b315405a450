"""Tables of assigned cells, read back with pandas; they appear whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.atomic import check_target
from cytovae.cells import Assignment
from cytovae.errors import NumericalError, OutputError
from cytovae.outputs.columns import Extras, TableFormat
from cytovae.outputs.tables import AssignmentWriter


def random_assignment(n_cells: int, n_clusters: int = 3, seed: int = 0) -> Assignment:
    p = np.random.default_rng(seed).dirichlet(np.ones(n_clusters), n_cells).astype(np.float32)
    return Assignment(p.argmax(1).astype(np.int32) + 1, p)


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_rows_are_in_the_order_of_the_events(tmp_path: Path, kind: TableFormat) -> None:
    path = tmp_path / f"x.{kind}"
    parts = [random_assignment(5), random_assignment(4, seed=1), random_assignment(2, seed=2)]
    with AssignmentWriter(path, kind, 3, 11) as writer:
        writer.write("a.fcs", 0, parts[0])
        writer.write("a.fcs", 5, parts[1])
        writer.write('b, "2".fcs', 0, parts[2])
        assert "x" not in [name.split(".")[0] for name in names_in(tmp_path)]  # not yet under its name
    assert names_in(tmp_path) == [path.name]
    table = read(path)
    assert list(table) == ["file", "event", "cluster", "probability", "p_1", "p_2", "p_3"]
    assert table["file"].tolist() == ["a.fcs"] * 9 + ['b, "2".fcs'] * 2
    assert pd.api.types.is_string_dtype(table["file"])
    assert table["event"].tolist() == [*range(9), 0, 1]
    assert np.array_equal(table["cluster"], np.concatenate([part.cluster for part in parts]))
    # CSV has the shortest text that reads back as the same float32.
    p = table[["p_1", "p_2", "p_3"]].to_numpy().astype(np.float32)
    assert np.array_equal(p, np.concatenate([part.probabilities for part in parts]))
    assert np.array_equal(table["probability"].to_numpy().astype(np.float32), p.max(axis=1))


def test_parquet_has_the_documented_types(tmp_path: Path) -> None:
    with AssignmentWriter(tmp_path / "x.parquet", "parquet", 2, 3) as writer:
        writer.write("a.fcs", 0, random_assignment(3, 2))
    kinds = pd.read_parquet(tmp_path / "x.parquet").dtypes.astype(str).to_dict()
    assert (kinds["event"], kinds["cluster"], kinds["probability"], kinds["p_2"]) == (
        *("int64", "int32", "float32", "float32"),
    )


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_without_events_gives_an_empty_table(tmp_path: Path, kind: TableFormat) -> None:
    with AssignmentWriter(tmp_path / f"x.{kind}", kind, 2, 0) as writer:
        writer.write("a.fcs", 0, random_assignment(0, 2))
    table = read(tmp_path / f"x.{kind}")
    assert list(table) == ["file", "event", "cluster", "probability", "p_1", "p_2"]
    assert len(table) == 0


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_stream_gets_the_same_bytes_and_stays_open(tmp_path: Path, kind: TableFormat) -> None:
    stream = io.BytesIO()
    for target in (stream, tmp_path / "x"):
        with AssignmentWriter(target, kind, 3, 7) as writer:
            writer.write("a.fcs", 0, random_assignment(7))
    assert stream.getvalue() == (tmp_path / "x").read_bytes()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interruption_keeps_the_existing_file(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("before")

    def interrupted() -> None:
        with AssignmentWriter(path, "parquet", 3, 10, force=True) as writer:
            writer.write("a.fcs", 0, random_assignment(5))
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert (names_in(tmp_path), path.read_text()) == (["x.parquet"], "before")


def test_a_table_with_missing_rows_is_not_written(tmp_path: Path) -> None:
    def short() -> None:
        with AssignmentWriter(tmp_path / "x.csv", "csv", 3, 10) as writer:
            writer.write("a.fcs", 0, random_assignment(9))

    with pytest.raises(OutputError, match="9 rows, but there are 10 cells"):
        short()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("cluster", "p"),
    [
        (1, [0.5, 0.4999]),
        (1, [np.nan, 0.5]),
        (1, [1.5, -0.5]),
        (0, [0.5, 0.5]),
        (3, [0.5, 0.5]),
    ],
)
def test_invalid_probabilities_raise_an_error(tmp_path: Path, cluster: int, p: list[float]) -> None:
    bad = Assignment(np.array([cluster], np.int32), np.array([p], np.float32))

    def write() -> None:
        with AssignmentWriter(tmp_path / "x.csv", "csv", 2, 1) as writer:
            writer.write("a.fcs", 0, bad)

    with pytest.raises(NumericalError, match=r"1 cells of a\.fcs"):
        write()
    assert names_in(tmp_path) == []


def test_sums_within_the_tolerance_are_accepted(tmp_path: Path) -> None:
    near = Assignment(np.array([1], np.int32), np.array([[0.6, 0.400008]], np.float32))
    with AssignmentWriter(tmp_path / "x.csv", "csv", 2, 1) as writer:
        writer.write("a.fcs", 0, near)
    assert len(read(tmp_path / "x.csv")) == 1


def test_forbidden_targets_raise_an_error(tmp_path: Path) -> None:
    existing = tmp_path / "x.csv"
    existing.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        check_target(existing)
    check_target(existing, force=True)
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path, force=True)
    with pytest.raises(OutputError, match="no folder"):
        check_target(tmp_path / "none" / "x.csv")
    with pytest.raises(OutputError, match="not a plain file"):
        check_target(Path(os.devnull), force=True)


def test_the_file_that_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with AssignmentWriter(tmp_path / "link.csv", "csv", 3, 2, force=True) as writer:
        writer.write("a.fcs", 0, random_assignment(2))
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read(tmp_path / "real.csv")) == 2


def test_clr_has_a_column_of_probabilities_per_class(tmp_path: Path) -> None:
    names = ("T cells", "B, naive", 'the "rest"')
    for path, populations in ((tmp_path / "x.clr", ()), (tmp_path / "named.clr", names)):
        with AssignmentWriter(path, "clr", 3, 9, extras=Extras(tuple(populations))) as writer:
            writer.write("a.fcs", 0, random_assignment(5))
            writer.write("a.fcs", 5, random_assignment(4, seed=1))
    table, named = pd.read_csv(tmp_path / "x.clr"), pd.read_csv(tmp_path / "named.clr")
    assert list(table) == ["cluster_1", "cluster_2", "cluster_3"]
    assert list(named) == [f"cluster_{number} {name}" for number, name in enumerate(names, start=1)]
    expected = np.concatenate([random_assignment(5).probabilities, random_assignment(4, seed=1).probabilities])
    for written in (table, named):
        assert np.array_equal(written.to_numpy().astype(np.float32), expected)


def test_flowjo_csv_has_one_column_of_cluster_numbers(tmp_path: Path) -> None:
    with AssignmentWriter(tmp_path / "x.csv", "flowjo-csv", 3, 5) as writer:
        writer.write("a.fcs", 0, random_assignment(5))
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines == ["cytovae_cluster", *map(str, random_assignment(5).cluster)]
