"""Names of clusters: which clusters are merged, how populations are numbered, and which tables are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytovae.annotations.cluster_names import name_clusters, parse_names, read_names
from cytovae.cells import Assignment
from cytovae.errors import InputError, UsageError

SIZES = np.array([40, 30, 20, 15])


def test_clusters_with_the_same_name_are_merged() -> None:
    named = name_clusters({2: "T", 3: "T", 1: "B"}, SIZES)
    # Training cells: T has 50, B has 40, and cluster 4, without a name, has 15.
    assert named.populations == ("T", "B", "cluster 4")
    assert named.merged.tolist() == [2, 1, 1, 3]
    p = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], np.float32)
    found = named.apply(Assignment(np.array([1, 4], np.int32), p))
    # Cluster 1 is the most probable cluster of the first cell, but T is its most probable population.
    assert found.cluster.tolist() == [1, 3]
    assert np.allclose(found.probabilities, [[0.5, 0.4, 0.1], [0.2, 0.1, 0.7]], atol=1e-7)


def test_ties_are_numbered_by_their_lowest_cluster() -> None:
    named = name_clusters({1: "b", 2: "a"}, np.array([10, 20, 20, 10]))
    assert named.populations == ("a", "cluster 3", "b", "cluster 4")


@given(st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=6), st.integers(0, 99))
def test_merging_sums_probabilities(each: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(len(each)), 20).astype(np.float32)
    names = {number: name for number, name in enumerate(each, start=1) if name}
    named = name_clusters(names, rng.integers(0, 5, len(each)))
    found = named.apply(Assignment(p.argmax(1).astype(np.int32) + 1, p))
    for number, population in enumerate(named.populations, start=1):
        old = [i for i, name in enumerate(each) if (name or f"cluster {i + 1}") == population]
        assert np.allclose(found.probabilities[:, number - 1], p[:, old].sum(axis=1), atol=1e-6)
    assert np.array_equal(found.cluster, found.probabilities.argmax(axis=1) + 1)
    assert len(set(named.populations)) == len(named.populations)


def test_accepted_tables() -> None:
    path = Path("n.csv")
    expected = {1: "T cells", 3: "B, naive"}
    assert parse_names('cluster,name\n1,T cells\n3,"B, naive"\n', path, 3) == expected
    assert parse_names("Note;Population;Cluster\r\n;T  cells;1\r\n;B, naive ; 3\r\n;;2\r\n\r\n", path, 3) == expected
    assert parse_names("cluster\tname\n1\tT cells\n3\tB, naive", path, 3) == expected


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "header"),
        ("1,T\n", "header"),
        ("cluster,name\n1,T\n4,B\n", "line 3, cluster"),
        ("cluster,name\n0,T\n", "line 2, cluster"),
        ("cluster,name\nB,1\n", "line 2, cluster"),
        ("cluster,name\n1.5,B\n", "line 2, cluster"),
        ("cluster,name\n1,B\n1,T\n", "line 3, cluster"),
        ("cluster,name\n1,B, naive\n", "line 2"),
        ("cluster,name\n1\n", "line 2"),
    ],
)
def test_unusable_tables_are_refused(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_names(text, Path("n.csv"), 3)
    assert (caught.value.file, caught.value.field) == ("n.csv", field)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        read_names(tmp_path / "none.csv", 3)
    (tmp_path / "bytes.csv").write_bytes(b"cluster,name\n1,\xff\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_names(tmp_path / "bytes.csv", 3)
    (tmp_path / "bom.csv").write_text("cluster,name\n1,γδ T\n", encoding="utf-8-sig")
    assert read_names(tmp_path / "bom.csv", 3) == {1: "γδ T"}


def test_an_unknown_cluster_is_refused() -> None:
    with pytest.raises(UsageError, match="cluster 5"):
        name_clusters({5: "T"}, SIZES)
