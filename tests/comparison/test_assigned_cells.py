"""Assigned cells of every format: the same counts, and what cannot be counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.comparison.assigned_cells import AssignedCells, read_assigned
from cytovae.errors import InputError
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs

TABLE = pd.DataFrame(
    {
        "file": ["a.fcs"] * 4 + ["b.fcs"] * 3,
        "event": [0, 1, 2, 3, 0, 1, 2],
        "cluster": [2, 10, 2, 1, 10, 1, 1],
        "population": ["T", "unknown", "T", "T", "unknown", "T", "T"],
        "p_1": 0.5,
    }
)


def counts(assigned: AssignedCells) -> dict[str, dict[str, int]]:
    return {
        file: dict(zip(assigned.populations, map(int, row), strict=True))
        for file, row in zip(assigned.files, assigned.counts, strict=True)
    }


EXPECTED = {"a.fcs": {"T": 3, "cluster 10": 1}, "b.fcs": {"T": 2, "cluster 10": 1}}


def test_named_clusters_are_joined_and_others_kept_apart(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "cells.parquet")
    assert counts(read_assigned([tmp_path / "cells.parquet"])) == EXPECTED


@pytest.mark.parametrize(("name", "separator"), [("cells.csv", ","), ("cells.tsv", "\t"), ("cells.csv.gz", ";")])
def test_text_tables_have_the_same_counts(tmp_path: Path, name: str, separator: str) -> None:
    TABLE.to_csv(tmp_path / name, sep=separator, index=False)
    assert counts(read_assigned([tmp_path / name])) == EXPECTED


def test_clusters_without_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    TABLE.drop(columns="population").to_parquet(tmp_path / "cells.parquet")
    assert read_assigned([tmp_path / "cells.parquet"]).populations == ("cluster 1", "cluster 2", "cluster 10")


def test_fcs_copies_have_their_names_in_keywords(tmp_path: Path) -> None:
    channels = (Channel(0, "X", "", 100.0), Channel(1, "cytovae_cluster", "", 12.0))
    names = {"CYTOVAE_CLUSTER_1": "T", "CYTOVAE_CLUSTER_2": "T", "CYTOVAE_CLUSTER_10": "unknown"}
    for file, rows in TABLE.groupby("file"):
        values = np.column_stack([np.zeros(len(rows)), rows["cluster"]]).astype(np.float32)
        write_fcs(tmp_path / str(file), values, channels, names)
    assert counts(read_assigned([tmp_path / "a.fcs", tmp_path / "b.fcs"])) == EXPECTED


def test_observations_of_anndata_have_the_same_counts(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    obs = TABLE.drop(columns="p_1").astype({"cluster": str, "file": "category", "population": "category"})
    obs.index = obs.index.astype(str)
    anndata.AnnData(X=np.zeros((len(obs), 1), np.float32), obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    assert counts(read_assigned([tmp_path / "cells.h5ad"])) == EXPECTED


def test_a_table_without_files_is_a_file(tmp_path: Path) -> None:
    pd.DataFrame({"cytovae_cluster": [1, 1, 2]}).to_csv(tmp_path / "donor.csv", index=False)
    assert counts(read_assigned([tmp_path / "donor.csv"])) == {"donor.csv": {"cluster 1": 2, "cluster 2": 1}}


def test_unassigned_cells_and_cells_that_failed_quality_control_are_not_counted(tmp_path: Path) -> None:
    table = pd.DataFrame({"cluster": [1, 0, None, 2, 1], "qc": [None, None, None, "doublet", ""]})
    table.to_parquet(tmp_path / "cells.parquet")
    assigned = read_assigned([tmp_path / "cells.parquet"])
    assert counts(assigned) == {"cells.parquet": {"cluster 1": 2, "cluster 2": 0}}
    assert (assigned.n_unassigned, assigned.n_failed) == (2, 1)


def test_the_population_of_every_event_follows_the_numbers_of_events(tmp_path: Path) -> None:
    TABLE.sample(frac=1, random_state=0).query("not (file == 'a.fcs' and event == 2)").to_parquet(
        tmp_path / "c.parquet"
    )
    assigned = read_assigned([tmp_path / "c.parquet"], with_codes=True)
    of_file = dict(zip(assigned.files, assigned.codes, strict=True))
    assert of_file["a.fcs"].tolist() == [0, 1, -1, 0]
    assert of_file["b.fcs"].tolist() == [1, 0, 0]


def test_a_file_in_two_tables_is_refused(tmp_path: Path) -> None:
    for name in ("one.parquet", "two.parquet"):
        TABLE.to_parquet(tmp_path / name)
    with pytest.raises(InputError, match=r"a\.fcs, which is also in .*one\.parquet"):
        read_assigned([tmp_path / "one.parquet", tmp_path / "two.parquet"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cells.csv", "file,marker\na,1\n", "a column cluster or population"),
        ("cells.csv", "", "a readable table"),
        ("cells.csv", "cluster\n0\n", "no assigned cell"),
        ("cells.parquet", "no parquet", "a readable Parquet file"),
        ("cells.xlsx", "x", "a file ending in"),
    ],
)
def test_what_cannot_be_counted_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_assigned([tmp_path / name])


def test_a_missing_file_and_repeated_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_assigned([tmp_path / "absent.parquet"])
    TABLE.assign(event=0).to_parquet(tmp_path / "cells.parquet")
    with pytest.raises(InputError, match=r"repeated events of a\.fcs"):
        read_assigned([tmp_path / "cells.parquet"], with_codes=True)
