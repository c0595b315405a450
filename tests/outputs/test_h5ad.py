"""The AnnData file, read back with anndata."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cytovae.cells import Assignment
from cytovae.errors import OutputError, UsageError
from cytovae.events.panel import Marker, Panel
from cytovae.outputs.columns import Extras
from cytovae.outputs.formats import output_format
from cytovae.outputs.h5ad import H5adWriter

anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")

PANEL = Panel((Marker("CD3", "Y89Di", 5.0, "89Y_CD3"), Marker("CD19", "Nd142Di", 6.0)))
VALUES = {"a.fcs": np.arange(14, dtype=np.float32).reshape(7, 2), "b.fcs": -np.ones((4, 2), np.float32)}


def some(n_cells: int, seed: int = 0) -> Assignment:
    p = np.random.default_rng(seed).dirichlet(np.ones(3), n_cells).astype(np.float32)
    return Assignment(p.argmax(1).astype(np.int32) + 1, p)


def read(file: str, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Values, and three numbers made of them as codes."""
    values = VALUES[file][first:stop]
    return values, np.repeat(values.sum(axis=1, keepdims=True), 3, axis=1)


def write(path: Path, populations: tuple[str, ...] = (), last: int = 4, force: bool = False) -> None:
    about = {"version": "1", "settings": {"seed": 3, "radius": None, "metric": "canberra"}}
    with H5adWriter(path, PANEL, 3, 11, read, about=about, extras=Extras(tuple(populations)), force=force) as writer:
        writer.write("a.fcs", 0, some(5))
        writer.write("a.fcs", 5, some(2, seed=1))
        writer.write("b.fcs", 0, some(last, seed=2))


def test_anndata_reads_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "x.h5ad", ("T", "B", "NK"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5ad"]
    found = anndata.read_h5ad(tmp_path / "x.h5ad")
    parts = [some(5), some(2, seed=1), some(4, seed=2)]
    cluster = np.concatenate([part.cluster for part in parts])
    p = np.concatenate([part.probabilities for part in parts])
    values = np.concatenate(list(VALUES.values()))
    assert np.array_equal(found.X, values)
    assert found.X.dtype == np.float32
    assert found.var_names.tolist() == ["CD3", "CD19"]
    assert found.var["channel"].tolist() == ["Y89Di", "Nd142Di"]
    assert found.var["cofactor"].tolist() == [5.0, 6.0]
    assert found.obs["file"].tolist() == ["a.fcs"] * 7 + ["b.fcs"] * 4
    assert found.obs["event"].tolist() == [*range(7), *range(4)]
    assert found.obs["cluster"].tolist() == [str(number) for number in cluster]
    assert found.obs["cluster"].cat.categories.tolist() == ["1", "2", "3"]
    assert found.obs["population"].tolist() == [("T", "B", "NK")[number - 1] for number in cluster]
    assert np.array_equal(found.obs["probability"], p.max(axis=1))
    assert np.array_equal(found.obsm["p"], p)
    assert np.array_equal(found.obsm["z"], np.repeat(values.sum(axis=1, keepdims=True), 3, axis=1))
    assert found.obs_names.is_unique
    about = found.uns["cytovae"]
    assert (about["version"], {**about["settings"]}) == ("1", {"seed": 3, "metric": "canberra"})


def test_the_same_cells_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "population" not in anndata.read_h5ad(tmp_path / "a").obs


def test_no_cells_make_an_empty_file(tmp_path: Path) -> None:
    with H5adWriter(tmp_path / "x.h5ad", PANEL, 3, 0, read):
        pass
    found = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert (found.shape, list(found.obs)) == ((0, 2), ["file", "event", "cluster", "probability"])


def test_it_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.h5ad"
    with pytest.raises(OutputError, match="10 of 11"):
        write(path, last=3)
    with monkeypatch.context() as patched:
        patched.setattr("anndata.io.write_elem", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        write(path)
    assert path.read_text() == "mine"
    write(path, force=True)
    assert anndata.read_h5ad(path).n_obs == 11


def test_without_anndata_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output_format("x.h5ad") == "h5ad"
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(UsageError, match=r"cytovae\[h5ad\]"):
        output_format("x.h5ad")
