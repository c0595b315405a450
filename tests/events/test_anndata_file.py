"""AnnData as files of events: the values of anndata itself, dense or sparse, in memory or on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command

import cytovae as cv
from cytovae.errors import InputError, UsageError
from cytovae.events.anndata_file import anndata_files, open_h5ad
from cytovae.events.event_file import file_names, open_event_files

anndata = pytest.importorskip("anndata")
sparse = pytest.importorskip("scipy.sparse")

MARKERS = ["CD3", "CD4", "CD8a", "CD19"]


def make(n: int = 400, *, kind: str = "dense") -> Any:
    rng = np.random.default_rng(0)
    x = rng.poisson(0.7, (n, 4)).astype(np.float32)
    obs = pd.DataFrame(
        {"donor": pd.Categorical(rng.choice(["d2", "d1"], n)), "cluster": rng.integers(0, 9, n)},
        index=[f"cell{i}" for i in range(n)],
    )
    matrix = {"dense": lambda: x, "csr": lambda: sparse.csr_matrix(x), "csc": lambda: sparse.csc_matrix(x)}[kind]()
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=MARKERS), layers={"raw": x * 2})


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_values_are_those_of_anndata(kind: str, tmp_path: Path) -> None:
    adata = make(kind=kind)
    dense = make().X
    adata.write_h5ad(tmp_path / "x.h5ad")
    for (file,) in (open_h5ad(tmp_path / "x.h5ad"), anndata_files(adata)):
        assert [channel.name for channel in file.channels] == MARKERS  # no column of obs
        np.testing.assert_array_equal(file.read(), dense)
        np.testing.assert_array_equal(file.read([3, 0], 10, 50), dense[10:50][:, [3, 0]])
        np.testing.assert_array_equal(np.concatenate(list(file.chunks([1], 37))), dense[:, [1]])


def test_the_file_key_splits_and_the_layer_chooses(tmp_path: Path) -> None:
    adata = make(kind="csr")
    adata.write_h5ad(tmp_path / "x.h5ad")
    files = open_event_files([tmp_path / "x.h5ad"], layer="raw", file_key="donor")
    assert sorted(file_names(files)) == ["d1", "d2"]
    for file in files:
        rows = (adata.obs["donor"] == file.part).to_numpy()
        np.testing.assert_array_equal(file.read([2]), 2 * make().X[rows][:, [2]])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    adata = make()
    adata.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match=r"x\.h5ad.*'nope'.*raw"):
        open_h5ad(tmp_path / "x.h5ad", layer="nope")
    with pytest.raises(InputError, match=r"'sample'.*donor, cluster"):
        open_h5ad(tmp_path / "x.h5ad", file_key="sample")
    (tmp_path / "y.h5ad").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"y\.h5ad"):
        open_h5ad(tmp_path / "y.h5ad")
    with pytest.raises(UsageError, match=r"\.h5ad"):
        open_event_files([tmp_path / "z.fcs"], layer="raw")
    adata.obs["donor"] = adata.obs["donor"].where(adata.obs["donor"] == "d1")
    with pytest.raises(InputError, match="empty values"):
        anndata_files(adata, file_key="donor")


def test_nan_in_a_marker_is_refused() -> None:
    adata = make()
    adata.X[5, 2] = np.nan
    with pytest.raises(InputError, match="CD8a"):
        cv.read_cells(adata)


def test_assign_writes_into_the_anndata_in_its_order() -> None:
    adata = make(300)
    model = cv.train(adata, seed=0, settings={"steps": 60, "umap_epochs": 30, "experts": 8})
    whole = cv.assign(model, adata)
    expected = adata.obs["cytovae_cluster"].to_numpy()
    np.testing.assert_array_equal(whole.cluster, expected)
    assert adata.obsm["X_cytovae"].shape[0] == 300
    codes = adata.obsm["X_cytovae"].copy()
    cv.assign(model, adata, file_key="donor")  # file by file, then back into the order of the cells
    np.testing.assert_array_equal(adata.obs["cytovae_cluster"].to_numpy(), expected)
    np.testing.assert_allclose(adata.obsm["X_cytovae"], codes, atol=1e-5)
    np.testing.assert_allclose(adata.obs["cytovae_probability"], whole.probabilities.max(axis=1))


@pytest.mark.slow
def test_the_commands_read_h5ad(tmp_path: Path) -> None:
    adata = make(300, kind="csr")
    data, model, split = tmp_path / "x.h5ad", tmp_path / "model", ("--file-key", "donor")
    adata.write_h5ad(data)
    run = Command()
    run.done("inspect", data, *split)
    run.done("train", data, "-o", model, *split, "--steps", 40, "--experts", 8)
    run.done("assign", model, data, "-o", tmp_path / "all.csv", *split)
    run.done("assign", model, data, "-o", f"{tmp_path}/each/", "--format", "csv", *split)
    table = pd.read_csv(tmp_path / "all.csv")
    assert table["file"].value_counts().to_dict() == adata.obs["donor"].value_counts().to_dict()
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["d1.csv", "d2.csv"]
    assert "raw" in run.refused(InputError, "assign", model, data, "-o", tmp_path / "b.csv", "--layer", "none")
