"""Cluster labels in files of every format, as other programs write them, and their alignment with events."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from flowio import create_fcs
from pyarrow import parquet

from cytovae.annotations.cluster_labels import align_labels, read_label_sets, read_labels
from cytovae.errors import InputError

Writer = Callable[[Path, pd.DataFrame], Path]


def write_csv(folder: Path, table: pd.DataFrame) -> Path:
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def write_gzip(folder: Path, table: pd.DataFrame) -> Path:
    table.to_csv(folder / "labels.csv.gz", index=False)
    return folder / "labels.csv.gz"


def write_tsv(folder: Path, table: pd.DataFrame) -> Path:
    table.to_csv(folder / "labels.tsv", sep="\t", index=False)
    return folder / "labels.tsv"


def write_parquet(folder: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(folder / "labels.parquet", index=False)
    return folder / "labels.parquet"


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_fcs(path: Path, **channels: list[float]) -> Path:
    with path.open("wb") as handle:
        create_fcs(handle, np.column_stack(list(channels.values())).ravel().tolist(), list(channels))
    return path


writers = pytest.mark.parametrize("write", [write_csv, write_gzip, write_tsv, write_parquet])


# --- reading ---


@writers
def test_numbers_are_kept_and_gaps_are_unassigned(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, pd.DataFrame({"x": [0.5] * 6, "cluster": [3, 1, None, 0, -1, 40]}))
    labels = read_labels(path)
    assert labels.cluster.dtype == np.int32
    assert labels.cluster.tolist() == [3, 1, 0, 0, 0, 40]
    assert (labels.names, labels.file, labels.event, labels.holds_zero) == ((), None, None, True)
    assert read_labels(str(path)).cluster.tolist() == labels.cluster.tolist()


@writers
def test_names_are_numbered_in_sorted_order(tmp_path: Path, write: Writer) -> None:
    table = pd.DataFrame({"cluster": ["T cell", "B cell", "unassigned", "NK", "Unassigned", None, " T cell "]})
    labels = read_labels(write(tmp_path, table))
    assert labels.names == ("B cell", "NK", "T cell")
    assert labels.cluster.tolist() == [3, 1, 0, 2, 0, 0, 3]
    assert not labels.holds_zero


@writers
def test_numbers_beside_words_for_unassigned_stay_numbers(tmp_path: Path, write: Writer) -> None:
    labels = read_labels(write(tmp_path, pd.DataFrame({"cluster": ["7", "unassigned", "2", None]})))
    assert (labels.cluster.tolist(), labels.names) == ([7, 0, 2, 0], ())


@writers
def test_numbers_beside_names_are_names(tmp_path: Path, write: Writer) -> None:
    labels = read_labels(write(tmp_path, pd.DataFrame({"cluster": ["7", "B", "7"]})))
    assert (labels.cluster.tolist(), labels.names) == ([1, 2, 1], ("7", "B"))


@writers
def test_the_only_column_needs_no_name(tmp_path: Path, write: Writer) -> None:
    assert read_labels(write(tmp_path, pd.DataFrame({"metacluster": [2, 1]}))).cluster.tolist() == [2, 1]


@writers
def test_a_column_can_be_chosen(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, pd.DataFrame({"cluster": [1, 1], "leiden": [2, 3]}))
    assert read_labels(path, "leiden").cluster.tolist() == [2, 3]


@writers
def test_file_and_event_are_read_with_the_labels(tmp_path: Path, write: Writer) -> None:
    path = write(
        tmp_path, pd.DataFrame({"file": ["b.fcs", "a.fcs", "b.fcs"], "event": [1, 0, 0], "cluster": [5, 6, 7]})
    )
    labels = read_labels(path)
    assert labels.file is not None
    assert labels.event is not None
    assert [labels.files[index] for index in labels.file] == ["b.fcs", "a.fcs", "b.fcs"]
    assert labels.event.tolist() == [1, 0, 0]


def test_parquet_types_that_pandas_does_not_write(tmp_path: Path) -> None:
    columns = {
        "int8": pa.array([1, None, 3], pa.int8()),
        "uint64": pa.array([1, None, 3], pa.uint64()),
        "dictionary": pa.array(["1", None, "3"]).dictionary_encode(),
        "large": pa.array(["1", "", "3"], pa.large_string()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    for column in columns:
        assert read_labels(tmp_path / "x.parquet", column).cluster.tolist() == [1, 0, 3], column


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "cluster;CD4\n1;0,5\n2;0,25\n"),
        ("x.csv", "cluster\tCD4\n1\t0.5\n2\t0.25\n"),
        ("x.txt", "CD4,cluster\n0.5,1\n0.25,2\n"),
        ("x.tsv", "CD4, raw, ungated\tcluster\n0.5\t1\n0.25\t2\n"),  # a tab in .tsv counts most
        ("x.csv", "k=5; seed 1; batch 2\n1\n2\n"),  # one column
        ("x.tsv", "cluster\n1\n2\n"),
    ],
)
def test_the_delimiter_may_differ_from_that_of_the_suffix(tmp_path: Path, name: str, text: str) -> None:
    assert read_labels(write_text(tmp_path / name, text)).cluster.tolist() == [1, 2]


def test_names_of_clusters_may_contain_a_delimiter(tmp_path: Path) -> None:
    assert read_labels(write_text(tmp_path / "x.tsv", "name\nB, naive\nT\n")).names == ("B, naive", "T")


def test_blank_lines_of_a_csv_are_unassigned_cells(tmp_path: Path) -> None:
    assert read_labels(write_text(tmp_path / "x.csv", "cluster\n1\n\n2\n")).cluster.tolist() == [1, 0, 2]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfcluster\r\n1\r\n\r\n2\r\n")
    assert read_labels(path).cluster.tolist() == [1, 0, 2]


def test_a_channel_of_an_fcs_file(tmp_path: Path) -> None:
    path = write_fcs(tmp_path / "cells.fcs", CD4=[0.5, 0.25, 8.0], cluster=[2.0, 0.0, 1.0], meta=[1.0, 1.0, 9.0])
    assert read_labels(path).cluster.tolist() == [2, 0, 1]
    assert read_labels(f"{path}:meta").cluster.tolist() == [1, 1, 9]
    assert read_labels(path, "meta").cluster.tolist() == [1, 1, 9]


@pytest.mark.parametrize(
    ("name", "text", "field", "message"),
    [
        ("x.csv", "a,b\n1,2\n", "columns", "'a', 'b'"),
        ("x.csv", "1\n2\n2\n", "first line", "Add a header line"),
        ("x.csv", "T\nB\nT\n", "first line", "Add a header line"),
        ("x.csv", "cluster\nB, naive\n", "line 2", "2 cells"),
        ("x.csv", "cluster,x\n1,2\n1\n", "line 3", "1 cells"),
        ("x.csv", "Cluster,cluster\n1,2\n", "header", "'Cluster' and 'cluster'"),
        ("x.csv", "cluster\n0.25\n1\n", "cluster", "0.25"),
        ("x.csv", "cluster\n99999999999\n", "cluster", "1e+11"),
        ("x.csv", "", "labels", "readable table"),
        ("x.csv", "cluster\n\x00\xff\n", "labels", ""),
        ("x.xlsx", "cluster\n1\n", "labels", "'.xlsx'"),
        ("x.parquet", "cluster\n1\n", "labels", "readable table"),
        ("x.csv", "file,cluster\na,1\n,2\n", "file", "1 rows without a file"),
        ("x.csv", "event,cluster\n0,1\n0.5,2\n", "event", "whole numbers from 0"),
    ],
)
def test_unusable_labels_are_refused(tmp_path: Path, name: str, text: str, field: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as refused:
        read_labels(path)
    assert (refused.value.file, refused.value.field) == (str(path), field)
    assert message in str(refused.value)


def test_measurements_in_a_channel_are_refused(tmp_path: Path) -> None:
    path = write_fcs(tmp_path / "cells.fcs", CD4=[0.5, 0.25], cluster=[1.0, 2.0])
    with pytest.raises(InputError, match="measurements are not labels"):
        read_labels(f"{path}:CD4")
    with pytest.raises(InputError, match="CD19"):
        read_labels(f"{path}:CD19")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv.*no such file"):
        read_labels(tmp_path / "nothing.csv")


def test_the_channel_that_cytovae_adds_is_found(tmp_path: Path) -> None:
    both = write_fcs(tmp_path / "both.fcs", cytovae_cluster=[1.0, 2.0], cluster=[3.0, 4.0])
    own = write_fcs(tmp_path / "own.fcs", CD4=[0.5, 0.25], cytovae_cluster=[2.0, 1.0])
    assert read_labels(both).cluster.tolist() == [3, 4]
    assert read_labels(own).cluster.tolist() == [2, 1]
    assert read_labels(f"{both}:cytovae_cluster", "CD4").cluster.tolist() == [1, 2]


def test_a_column_may_follow_the_name_of_any_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, pd.DataFrame({"cluster": [1, 1], "leiden": [2, 3]}))
    assert read_labels(f"{path}:leiden").cluster.tolist() == [2, 3]


def test_clusters_without_a_name_are_unassigned_in_the_column_of_populations(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, pd.DataFrame({"cluster": [1, 2, 3], "population": ["T", "unknown", "B"]}))
    assert read_labels(f"{path}:population").cluster.tolist() == [2, 0, 1]
    other = write_csv(tmp_path, pd.DataFrame({"cluster": ["T", "unknown", "B"]}))
    assert read_labels(other).names == ("B", "T", "unknown")


def test_columns_of_obs_are_labels(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    obs = pd.DataFrame(
        {"file": pd.Categorical(["b", "a", "b"]), "event": [1, 0, 0], "cluster": pd.Categorical(["10", "2", "10"])},
        index=list("xyz"),
    ).assign(leiden=["x", "y", "x"])
    anndata.AnnData(X=np.zeros((3, 1), np.float32), obs=obs).write_h5ad(tmp_path / "x.h5ad")
    labels = read_labels(tmp_path / "x.h5ad")
    assert (labels.cluster.tolist(), labels.names) == ([10, 2, 10], ())
    assert align_labels(labels, ["a.fcs", "b.fcs"], [1, 2]).tolist() == [2, 10, 10]
    assert read_labels(f"{tmp_path}/x.h5ad:leiden").names == ("x", "y")
    with pytest.raises(InputError, match="columns file, event, cluster, leiden"):
        read_labels(f"{tmp_path}/x.h5ad:louvain")


def test_fcs_files_with_the_same_channel_are_one_set_of_labels(tmp_path: Path) -> None:
    a = write_fcs(tmp_path / "a.fcs", cytovae_cluster=[1.0, 2.0], flowsom=[1.0, 1.0])
    b = write_fcs(tmp_path / "b.fcs", cytovae_cluster=[3.0], flowsom=[2.0])
    table = write_parquet(tmp_path, pd.DataFrame({"cluster": [1, 2, 3]}))
    sets = dict(read_label_sets([a, table, b, f"{a}:flowsom", f"{b}:flowsom"]))
    assert list(sets) == ["cytovae_cluster", "labels.parquet", "flowsom"]
    assert align_labels(sets["cytovae_cluster"], ["b.fcs", "a.fcs"], [1, 2]).tolist() == [3, 1, 2]
    assert align_labels(sets["flowsom"], ["a.fcs", "b.fcs"], [2, 1]).tolist() == [1, 1, 2]
    with pytest.raises(InputError, match="named twice"):
        read_label_sets([a, a])


def test_titles_of_label_files_of_the_same_name_are_different(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(write_parquet(tmp_path / folder, pd.DataFrame({"cluster": [1]})))
    assert [title for title, _ in read_label_sets(paths)] == ["one/labels.parquet", "two/labels.parquet"]


# --- aligning ---


def labels_of(tmp_path: Path, **columns: list[object]) -> Path:
    return write_parquet(tmp_path, pd.DataFrame(columns))


def test_rows_without_a_file_are_in_the_order_of_the_files(tmp_path: Path) -> None:
    labels = read_labels(labels_of(tmp_path, cluster=[1, 2, 3, 4, 5]))
    assert align_labels(labels, ["a.fcs", "b.fcs"], [2, 3]).tolist() == [1, 2, 3, 4, 5]


def test_a_wrong_number_of_rows_is_refused(tmp_path: Path) -> None:
    labels = read_labels(labels_of(tmp_path, cluster=[1, 2, 3]))
    with pytest.raises(InputError, match=r"3 labels, expected 5, one for each event of a\.fcs, b\.fcs"):
        align_labels(labels, ["a.fcs", "b.fcs"], [2, 3])


def test_rows_are_aligned_by_file_and_event(tmp_path: Path) -> None:
    path = labels_of(
        tmp_path,
        file=["b.fcs", "a.fcs", "c.fcs", "a.fcs", "b.fcs", "b.fcs"],
        event=[2, 1, 0, 0, 0, 1],
        cluster=[12, 21, 99, 20, 10, 11],
    )
    labels = read_labels(path)
    assert align_labels(labels, ["/data/a.fcs", "/data/b.fcs"], [2, 3]).tolist() == [20, 21, 10, 11, 12]
    assert align_labels(labels, ["b.gates.csv"], [3]).tolist() == [10, 11, 12]


def test_rows_of_a_file_keep_their_order_without_events(tmp_path: Path) -> None:
    labels = read_labels(labels_of(tmp_path, file=["a", "b", "a"], cluster=[1, 2, 3]))
    assert align_labels(labels, ["b", "a"], [1, 2]).tolist() == [2, 1, 3]


def test_the_name_of_a_single_file_need_not_match(tmp_path: Path) -> None:
    labels = read_labels(labels_of(tmp_path, file=["old.fcs", "old.fcs"], event=[1, 0], cluster=[1, 2]))
    assert align_labels(labels, ["renamed.fcs"], [2]).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("columns", "files", "sizes", "message"),
    [
        ({"file": ["a", "a", "b"], "cluster": [1, 2, 3]}, ["a", "b"], [2, 2], "1 labels, expected 2"),
        ({"file": ["a", "a", "b"], "cluster": [1, 2, 3]}, ["a", "c"], [2, 1], "expected rows of c"),
        ({"file": ["1/a.fcs", "2/a.fcs"], "cluster": [1, 2]}, ["a.fcs"], [1], "several files like a.fcs"),
        ({"file": ["a.fcs", "b"], "cluster": [1, 2]}, ["1/a.fcs", "2/a.fcs"], [1, 1], "fits 1/a.fcs and 2/a.fcs"),
        ({"event": [0, 0, 2], "cluster": [1, 2, 3]}, ["a"], [3], "twice or out of range"),
        ({"event": [1, 2, 3], "cluster": [1, 2, 3]}, ["a"], [3], "twice or out of range"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    tmp_path: Path, columns: dict[str, list[object]], files: list[str], sizes: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        align_labels(read_labels(labels_of(tmp_path, **columns)), files, sizes)
