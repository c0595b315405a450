"""Abundance and medians against pandas on the same cells, and their bound on memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.cells import Assignment
from cytovae.errors import NumericalError, OutputError
from cytovae.events.marker_file import MarkerFile
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.outputs.cluster_summary import ClusterSummary
from cytovae.outputs.tables import write_table


def fcs(path: Path, table: pd.DataFrame, marker: str = "A") -> MarkerFile:
    """An FCS file with the columns of ``table`` as channels, one of which is a marker."""
    write_fcs(path, table.to_numpy(), [Channel(i, str(name), "", 1.0) for i, name in enumerate(table)])
    panel = Panel((Marker(marker, marker, 5.0),))
    return MarkerFile(
        open_fcs(path), panel, Transform("none", panel.cofactors), (list(table).index(marker),), path.name
    )


def assigned(cluster: np.ndarray, n_clusters: int) -> Assignment:
    return Assignment(cluster.astype(np.int32), np.eye(n_clusters, dtype=np.float32)[cluster - 1])


def write_all(summary: ClusterSummary, clusters: dict[str, np.ndarray], chunk: int = 50) -> ClusterSummary:
    for file, cluster in clusters.items():
        for first in range(0, len(cluster), chunk):
            summary.write(file, first, assigned(cluster[first : first + chunk], summary.n_clusters))
    return summary


def two_files(folder: Path) -> tuple[list[MarkerFile], dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """The marker CD3 is another channel in the second file; DNA is in the first file only, Time in both."""
    rng = np.random.default_rng(1)
    tables = {
        "a.fcs": pd.DataFrame(rng.normal(size=(301, 3)).astype("f4"), columns=["Time", "CD3", "DNA"]),
        "b.fcs": pd.DataFrame(rng.normal(size=(120, 2)).astype("f4"), columns=["CD3", "Time"]),
    }
    tables["a.fcs"].loc[::7, "DNA"] = np.nan
    clusters = {name: rng.choice([1, 2, 4], len(table)) for name, table in tables.items()}
    return [fcs(folder / name, table, "CD3") for name, table in tables.items()], tables, clusters


def test_cells_unlike_anything_labelled_are_counted_beside_their_clusters(tmp_path: Path) -> None:
    """Cluster 1 has a name from labels, cluster 2 one from a table, and cluster 3 none."""
    file = fcs(tmp_path / "a.fcs", pd.DataFrame({"A": np.zeros(6, "f4")}))
    summary = ClusterSummary([file], 3, populations=("T", "B", "unknown"), known_below=(0.7, np.inf, np.inf))
    cells = assigned(np.array([1, 1, 1, 2, 3, 1]), 3)
    novelty, qc = np.array([0.1, 0.9, 0.8, 0.9, 0.2, 0.9], "f4"), np.array([0, 0, 0, 0, 0, 1], "u1")
    summary.write("a.fcs", 0, Assignment(cells.cluster, cells.probabilities, novelty, qc=qc))
    table = summary.clusters().to_pydict()
    assert (table["cells"], table["cells_unknown"]) == ([3, 1, 1], [2, 0, 1])
    assert summary.abundance().to_pydict()["cells_unknown"] == [2, 0, 1]


def test_both_tables_equal_those_of_pandas(tmp_path: Path) -> None:
    files, tables, clusters = two_files(tmp_path)
    summary = ClusterSummary(files, 4, populations=("T", "T", "empty", "NK, b"))
    write_all(summary, clusters)
    for name, table in (("abundance", summary.abundance()), ("medians", summary.medians())):
        write_table(tmp_path / f"{name}.csv", table)
    cells = pd.concat([tables[name].assign(file=name, cluster=clusters[name]) for name in tables], ignore_index=True)

    abundance = pd.read_csv(tmp_path / "abundance.csv")
    assert list(abundance) == ["file", "cluster", "population", "cells", "fraction"]
    counts = pd.crosstab(cells["file"], cells["cluster"]).reindex(columns=[1, 2, 3, 4], fill_value=0)
    assert abundance["cells"].tolist() == counts.to_numpy().ravel().tolist()
    assert np.allclose(abundance["fraction"], (counts.T / counts.sum(axis=1)).T.to_numpy().ravel(), rtol=1e-12)
    assert abundance["population"].tolist() == ["T", "T", "empty", "NK, b"] * 2

    medians = pd.read_csv(tmp_path / "medians.csv")
    assert list(medians)[:4] == ["cluster", "population", "channel", "marker"]
    assert medians["channel"].tolist() == ["Time", "CD3", "DNA"] * 4
    assert medians["used_for_clustering"].tolist() == [False, True, False] * 4
    for row in medians.itertuples():
        chosen = cells[cells["cluster"] == row.cluster]
        values = chosen[row.channel].dropna()
        assert row.n_values == len(values)
        assert row.n_cells == (len(chosen) if row.channel != "DNA" else (chosen["file"] == "a.fcs").sum())
        # The text of a float32 is exact to its last digit.
        assert np.isnan(row.median) if row.cluster == 3 else np.float32(row.median) == np.float32(values.median())


def test_clusters_have_their_cells_and_their_support(tmp_path: Path) -> None:
    files, _, clusters = two_files(tmp_path)
    summary = write_all(ClusterSummary(files, 4, populations=("T", "T", "empty", "NK, b")), clusters)
    cells = np.bincount(np.concatenate(list(clusters.values())), minlength=5)[1:]
    support = np.array([0.9, 0.5, np.nan, 1], dtype=np.float32)
    table = summary.clusters(support).to_pandas()
    assert table["cluster"].tolist() == [1, 2, 3, 4]
    assert table["population"].tolist() == ["T", "T", "empty", "NK, b"]
    assert table["cells"].tolist() == cells.tolist()
    np.testing.assert_allclose(table["fraction"], cells / cells.sum())
    np.testing.assert_allclose(table["support"], support)
    assert summary.clusters().to_pandas()["support"].isna().all()


def test_medians_use_a_sample_of_large_clusters_and_all_cells_of_small_ones(tmp_path: Path) -> None:
    n_cells = 20_000
    values = pd.DataFrame({"A": np.random.default_rng(0).permutation(n_cells).astype("f4")})
    cluster = np.where(np.arange(n_cells) % 100 == 0, 2, 1)
    file = fcs(tmp_path / "a.fcs", values)
    medians = []
    for chunk in (4_096, 777):
        summary = ClusterSummary([file], 2, at_most=4_000, seed=3)
        write_all(summary, {"a.fcs": cluster}, chunk)
        assert max(sum(map(len, sample._rows)) for sample in summary._samples) <= 2 * 2_000
        medians.append(summary.medians().to_pandas())
    large, small = medians[0].to_dict("records")
    assert (large["n_values"], large["n_cells"]) == (2_000, 19_800)
    # The values are 0 … 19,999, so the median of 2,000 of them has a standard error of about 20,000 / (2 · √2,000).
    assert abs(large["median"] - n_cells / 2) < 5 * n_cells / (2 * 2_000**0.5)
    assert (small["n_values"], small["n_cells"]) == (200, 200)
    assert small["median"] == np.median(values["A"][cluster == 2])
    pd.testing.assert_frame_equal(*medians)  # the sample does not depend on the size of chunks


def test_files_without_events(tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", pd.DataFrame({"A": np.empty(0)}))
    summary = ClusterSummary([file], 2)
    abundance, medians = summary.abundance().to_pandas(), summary.medians().to_pandas()
    assert abundance["cells"].tolist() == [0, 0]
    assert abundance["fraction"].isna().all()
    assert (medians["n_cells"].tolist(), medians["median"].isna().all()) == ([0, 0], True)


def test_wrong_counts_raise_an_error(tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", pd.DataFrame({"A": np.arange(10.0)}))
    summary = ClusterSummary([file], 2)
    summary.write("a.fcs", 0, assigned(np.ones(9, dtype=np.int32), 2))
    with pytest.raises(NumericalError, match=r"a\.fcs: 9 cells were counted of 10 events"):
        summary.abundance()


def test_tables_do_not_replace_an_existing_file(tmp_path: Path) -> None:
    file = fcs(tmp_path / "a.fcs", pd.DataFrame({"A": np.empty(0)}))
    table = ClusterSummary([file], 2).abundance()
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        write_table(tmp_path / "x.csv", table)
    assert (tmp_path / "x.csv").read_text() == "mine"
    write_table(tmp_path / "x.csv", table, force=True)
    assert (tmp_path / "x.csv").read_text().splitlines() == [
        "file,cluster,cells,fraction",
        '"a.fcs",1,0,',
        '"a.fcs",2,0,',
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fcs", "x.csv"]
