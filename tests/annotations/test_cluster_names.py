"""Names of clusters: which clusters share a population, its probability, and which tables are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytovae.annotations.cluster_names import name_clusters, parse_names, read_names
from cytovae.errors import InputError, UsageError

CELLS = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], np.float32)


def test_clusters_share_a_name_and_keep_their_numbers() -> None:
    named = name_clusters({2: "T", 3: "T", 1: "B"}, 4)
    assert named.of_cluster == ("B", "T", "T", "unknown")
    assert named.populations == ("B", "T")
    assert named.numbers.tolist() == [1, 2, 2, 0]
    # T has a larger sum than B in the first cell, but the population is that of the cluster.
    assert np.allclose(named.probability(np.array([1, 4], np.int32), CELLS), [0.4, 0.7], atol=1e-7)
    assert np.allclose(named.probability(np.array([3, 2], np.int32), CELLS), [0.5, 0.2], atol=1e-7)


@given(st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=6), st.integers(0, 99))
def test_the_probability_of_a_population_is_the_sum_over_its_clusters(each: list[str], seed: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(len(each)), 20).astype(np.float32)
    named = name_clusters({number: name for number, name in enumerate(each, start=1) if name}, len(each))
    cluster = p.argmax(axis=1).astype(np.int32) + 1
    found = named.probability(cluster, p)
    assert found.dtype == np.float32
    for cell, number in enumerate(cluster):
        same = [column for column, name in enumerate(each) if name == each[number - 1]]
        assert found[cell] == pytest.approx(p[cell, same].sum(), abs=1e-6)
    assert (found >= p.max(axis=1)).all()
    assert (found <= 1).all()


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


def test_a_cluster_without_a_name_is_unknown() -> None:
    text = "cluster,name\n1,Unknown\n2,NA\n3,\n4,T\n"
    assert parse_names(text, Path("n.csv"), 5) == {4: "T"}
    assert name_clusters({4: "T"}, 5).of_cluster == ("unknown", "unknown", "unknown", "T", "unknown")


@pytest.mark.parametrize("name", ["cluster 2", "Cluster_2", "cluster-02", "2", "ungated", "Unassigned"])
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="line 2, name"):
        parse_names(f"cluster,name\n1,{name}\n", Path("n.csv"), 3)
    with pytest.raises(UsageError, match="cannot be called"):
        name_clusters({1: name}, 3)


def test_a_cluster_may_have_its_own_default_name() -> None:
    assert parse_names("cluster,name\n2,cluster 2\n", Path("n.csv"), 3) == {2: "cluster 2"}
    assert parse_names("cluster,name\n2,cluster of 3\n", Path("n.csv"), 3) == {2: "cluster of 3"}


def test_an_absent_cluster_is_refused() -> None:
    with pytest.raises(UsageError, match="cluster 5"):
        name_clusters({5: "T"}, 4)
