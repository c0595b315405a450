"""The AnnData file, read back with anndata."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.cells import Assignment, GateLabels
from cytovae.errors import OutputError, UsageError
from cytovae.events.marker_file import MarkerFile
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs, write_fcs_chunks
from cytovae.outputs.columns import Extras
from cytovae.outputs.h5ad import H5adWriter

anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")

PANEL = Panel((Marker("CD3", "Y89Di", 5.0, "89Y_CD3"), Marker("CD19", "Nd142Di", 6.0)))
VALUES = {"a.fcs": np.arange(14, dtype=np.float32).reshape(7, 2), "b.fcs": -np.ones((4, 2), np.float32)}


def random_assignment(n_cells: int, seed: int = 0) -> Assignment:
    p = np.random.default_rng(seed).dirichlet(np.ones(3), n_cells).astype(np.float32)
    return Assignment(p.argmax(1).astype(np.int32) + 1, p)


def marker_files(folder: Path, values: dict[str, np.ndarray] = VALUES) -> list[MarkerFile]:
    """FCS files of ``values``, which are not transformed."""
    folder.mkdir(exist_ok=True)
    channels = [Channel(index, marker.channel, marker.label, 100.0) for index, marker in enumerate(PANEL.markers)]
    for name, events in values.items():
        write_fcs(folder / name, events, channels, force=True)
    transform = Transform("none", PANEL.cofactors)
    return [MarkerFile(open_fcs(folder / name), PANEL, transform, (0, 1), name) for name in values]


def encode(values: np.ndarray) -> np.ndarray:
    """Codes of three equal numbers."""
    return np.repeat(values.sum(axis=1, keepdims=True), 3, axis=1)


def write(path: Path, populations: tuple[str, ...] = (), last: int = 4, force: bool = False) -> None:
    about = {"version": "1", "settings": {"seed": 3, "radius": None, "metric": "canberra"}}
    files = marker_files(path.parent / "events")
    with H5adWriter(path, files, 3, encode, about=about, extras=Extras(populations), force=force) as writer:
        writer.write("a.fcs", 0, random_assignment(5))
        writer.write("a.fcs", 5, random_assignment(2, seed=1))
        writer.write("b.fcs", 0, random_assignment(last, seed=2))


def test_anndata_reads_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "x.h5ad", ("T", "B", "NK"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "x.h5ad"]
    written = anndata.read_h5ad(tmp_path / "x.h5ad")
    chunks = [random_assignment(5), random_assignment(2, seed=1), random_assignment(4, seed=2)]
    cluster = np.concatenate([chunk.cluster for chunk in chunks])
    p = np.concatenate([chunk.probabilities for chunk in chunks])
    values = np.concatenate(list(VALUES.values()))
    assert np.array_equal(written.X, values)
    assert written.X.dtype == np.float32
    assert written.var_names.tolist() == ["CD3", "CD19"]
    assert written.var["channel"].tolist() == ["Y89Di", "Nd142Di"]
    assert written.var["cofactor"].tolist() == [5.0, 6.0]
    assert written.obs["file"].tolist() == ["a.fcs"] * 7 + ["b.fcs"] * 4
    assert written.obs["event"].tolist() == [*range(7), *range(4)]
    assert written.obs["cluster"].tolist() == [str(number) for number in cluster]
    assert written.obs["cluster"].cat.categories.tolist() == ["1", "2", "3"]
    assert written.obs["population"].tolist() == [("T", "B", "NK")[number - 1] for number in cluster]
    assert np.array_equal(written.obs["probability"], p.max(axis=1))
    assert np.array_equal(written.obsm["p"], p)
    assert np.array_equal(written.obsm["z"], np.repeat(values.sum(axis=1, keepdims=True), 3, axis=1))
    assert written.obs_names.tolist() == [f"a.fcs:{event}" for event in range(7)] + [
        f"b.fcs:{event}" for event in range(4)
    ]
    assert np.array_equal(written.layers["raw"], values)
    assert "other_channels" not in written.obsm
    about = written.uns["cytovae"]
    assert (about["version"], {**about["settings"]}) == ("1", {"seed": 3, "metric": "canberra"})


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "population" not in anndata.read_h5ad(tmp_path / "a").obs


def test_a_file_that_was_read_can_be_written_again(tmp_path: Path) -> None:
    write(tmp_path / "x.h5ad", ("T", "B", "NK"))
    written = anndata.read_h5ad(tmp_path / "x.h5ad")
    written.write_h5ad(tmp_path / "y.h5ad")
    again = anndata.read_h5ad(tmp_path / "y.h5ad")
    pd.testing.assert_frame_equal(again.obs, written.obs)
    pd.testing.assert_frame_equal(again.var, written.var)
    assert np.array_equal(again.X, written.X)


def test_it_holds_raw_values_other_channels_and_gates(tmp_path: Path) -> None:
    """Files that differ in the order of channels, and in which channels they have."""
    names = {"a.fcs": ("Y89Di", "Time", "Nd142Di", "DNA"), "b.fcs": ("Length", "Nd142Di", "Y89Di", "Time")}
    rng = np.random.default_rng(0)
    values = {"a.fcs": rng.uniform(0, 9, (3, 4)), "b.fcs": rng.uniform(0, 9, (2, 4))}
    values = {name: events.astype(np.float32).astype(np.float64) for name, events in values.items()}
    values["b.fcs"][1, 3] = 2**30 + 1  # float32 does not hold it
    transform, files = Transform("arcsinh", PANEL.cofactors), []
    for name, channels in names.items():
        table = [Channel(index, channel, f"label of {channel}", 9.0) for index, channel in enumerate(channels)]
        write_fcs_chunks(tmp_path / name, lambda name=name: (values[name],), table)
        columns = tuple(channels.index(marker.channel) for marker in PANEL.markers)
        files.append(MarkerFile(open_fcs(tmp_path / name), PANEL, transform, columns, name))
    gates = GateLabels(np.array([0, -1, 1, 1, 0], np.int32), ("T cells", "B cells"))
    with H5adWriter(tmp_path / "x.h5ad", files, 3, encode, gates=gates) as writer:
        writer.write("a.fcs", 0, random_assignment(3))
        for event in range(2):
            writer.write("b.fcs", event, random_assignment(1))
    written = anndata.read_h5ad(tmp_path / "x.h5ad")

    raw = np.vstack([values["a.fcs"][:, [0, 2]], values["b.fcs"][:, [2, 1]]])
    assert np.array_equal(written.layers["raw"], raw.astype(np.float32))
    assert np.allclose(written.X, np.arcsinh(raw / np.array(PANEL.cofactors)), atol=1e-6)
    assert written.uns["cytovae"]["other_channels"].tolist() == ["Time", "DNA", "Length"]
    assert written.uns["cytovae"]["other_labels"].tolist() == ["label of Time", "label of DNA", "label of Length"]
    none = np.full(3, np.nan)
    others = [
        np.column_stack([values["a.fcs"][:, [1, 3]], none]),
        np.column_stack([values["b.fcs"][:, 3], none[:2], values["b.fcs"][:, 0]]),
    ]
    np.testing.assert_array_equal(written.obsm["other_channels"], np.vstack(others))
    assert written.obs["gate"].cat.categories.tolist() == ["T cells", "B cells"]
    assert written.obs["gate"].tolist() == ["T cells", np.nan, "B cells", "B cells", "T cells"]
    with pytest.raises(UsageError, match="5 events do not fit 3"):
        H5adWriter(tmp_path / "y.h5ad", files[:1], 3, encode, gates=gates)


def test_a_file_without_events_gives_an_empty_file(tmp_path: Path) -> None:
    files = marker_files(tmp_path, {"a.fcs": np.empty((0, 2), np.float32)})
    with H5adWriter(tmp_path / "x.h5ad", files, 3, encode):
        pass
    written = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert (written.shape, list(written.obs)) == ((0, 2), ["file", "event", "cluster", "probability"])


def test_it_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.h5ad"
    with pytest.raises(OutputError, match="10 of 11"):
        write(path, last=3)
    with monkeypatch.context() as patch:
        patch.setattr("anndata.io.write_elem", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["events"]
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        write(path)
    assert path.read_text() == "mine"
    write(path, force=True)
    assert anndata.read_h5ad(path).n_obs == 11
