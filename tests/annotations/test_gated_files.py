"""Gates that labels are scored against: of tables, channels, folders and AnnData."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flowio import create_fcs

from cytovae.annotations.cluster_labels import read_labels
from cytovae.annotations.gated_files import GatedFiles, join_gates, read_gated_files
from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import GateError, InputError


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_fcs(path: Path, **channels: list[float]) -> Path:
    with path.open("wb") as handle:
        create_fcs(handle, np.column_stack(list(channels.values())).ravel().tolist(), list(channels))
    return path


def names_of(truth: GatedFiles) -> list[str]:
    return [truth.gates.names[index] if index >= 0 else "" for index in truth.gates.population]


def test_gates_are_joined_by_name() -> None:
    first = GateLabels(np.array([0, 1, UNGATED], dtype=np.int32), ("B", "T"))
    second = GateLabels(np.array([0, 1, 0], dtype=np.int32), ("T", "NK"))
    empty = GateLabels(np.array([UNGATED], dtype=np.int32), ())
    joined = join_gates([first, empty, second])
    assert joined.names == ("B", "T", "NK")
    assert joined.population.tolist() == [0, 1, UNGATED, UNGATED, 1, 2, 1]


def test_gates_of_a_table_alone(tmp_path: Path) -> None:
    path = write_text(tmp_path / "sample.gates.csv", "population\nT\n\nB\nungated\nT\n")
    truth = read_gated_files([path])
    assert names_of(truth) == ["T", "", "B", "", "T"]
    assert (truth.files, truth.sizes) == ((str(path),), (5,))


def test_gates_beside_a_file_and_in_a_channel(tmp_path: Path) -> None:
    first = write_fcs(tmp_path / "a.fcs", CD4=[1.0, 2.0, 3.0], CD8=[1.0, 2.0, 3.0])
    beside = write_text(tmp_path / "a.gates.csv", "population\n1\n\n2\n")
    second = write_fcs(tmp_path / "b.fcs", CD4=[1.0, 2.0], label=[2.0, float("nan")])
    for spec in (first, beside):
        truth = read_gated_files([spec, f"{second}:label"])
        assert truth.sizes == (3, 2)
        assert names_of(truth) == ["1", "", "2", "2", ""]


def test_gates_that_do_not_fit_the_file_beside_them_are_refused(tmp_path: Path) -> None:
    write_fcs(tmp_path / "a.fcs", CD4=[1.0, 2.0, 3.0], CD8=[1.0, 2.0, 3.0])
    beside = write_text(tmp_path / "a.gates.csv", "population\nB\nT\n")
    with pytest.raises(GateError, match="2 rows"):
        read_gated_files([beside])


def test_a_lone_table_of_several_files_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "all.csv", "file,population\na,B\nb,T\n")
    with pytest.raises(GateError, match="Name the FCS file instead"):
        read_gated_files([path])


# --- several files at once ---


def two_gated_files(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_text(folder / "a.gates.csv", "population\nB\nT\n")
    write_text(folder / "b.gates.csv", "population\nT\n\nB\n")
    write_text(folder / "c.gates.csv", "population\nNK\n")
    return folder


def labels_of(path: Path, files: list[str]) -> Path:
    pd.DataFrame({"file": files, "cluster": 1}).to_csv(path, index=False)
    return path


def test_a_folder_means_the_gates_of_the_files_of_the_labels(tmp_path: Path) -> None:
    folder = two_gated_files(tmp_path / "gates")
    labels = read_labels(labels_of(tmp_path / "labels.csv", ["b.fcs"] * 3 + ["a.fcs"] * 2))
    truth = read_gated_files([folder], labels)
    assert [Path(file).name for file in truth.files] == ["b.gates.csv", "a.gates.csv"]
    assert (truth.sizes, names_of(truth)) == ((3, 2), ["T", "", "B", "B", "T"])
    assert read_gated_files([str(folder)]).sizes == (2, 3, 1)  # labels without files: all gates, by name
    with pytest.raises(GateError, match=r"found gates of a, b, c, expected of x\.fcs"):
        read_gated_files([folder], read_labels(labels_of(tmp_path / "other.csv", ["x.fcs"])))
    same = read_labels(labels_of(tmp_path / "same.csv", ["1/a.fcs"] * 2 + ["2/a.fcs"] * 2))
    with pytest.raises(GateError, match=r"a\.gates\.csv, which fits 1/a\.fcs and 2/a\.fcs"):
        read_gated_files([folder], same)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GateError, match="no table"):
        read_gated_files([tmp_path / "empty"])


def test_beside_means_the_gates_beside_the_files_of_the_labels(tmp_path: Path) -> None:
    folder = two_gated_files(tmp_path / "study")
    for labels in (
        labels_of(tmp_path / "x.csv", [str(folder / "b.fcs")] * 3 + [str(folder / "a.fcs")] * 2),
        labels_of(folder / "x.csv", ["b.fcs"] * 3 + ["a.fcs"] * 2),
    ):
        assert names_of(read_gated_files(["beside"], read_labels(labels))) == ["T", "", "B", "B", "T"]
    fcs = write_fcs(folder / "a.fcs", CD4=[1.0, 2.0], cluster=[1.0, 2.0])
    assert names_of(read_gated_files(["beside"], read_labels(fcs))) == ["B", "T"]
    with pytest.raises(GateError, match="--gates DIR"):
        read_gated_files(["beside"], read_labels(labels_of(tmp_path / "y.csv", ["a.fcs"] * 2)))


def test_a_column_of_obs_holds_gates(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    obs = pd.DataFrame(
        {"file": ["b", "a", "b", "a"], "event": [1, 0, 0, 1], "gate": ["T", "B", None, "ungated"]},
        index=list("wxyz"),
    )
    anndata.AnnData(X=np.zeros((4, 1), np.float32), obs=obs).write_h5ad(tmp_path / "x.h5ad")
    truth = read_gated_files([f"{tmp_path}/x.h5ad:gate"])
    assert (truth.files, truth.sizes, names_of(truth)) == (("b", "a"), (2, 2), ["", "T", "B", ""])
    assert names_of(read_gated_files([tmp_path / "x.h5ad"])) == ["", "T", "B", ""]
    with pytest.raises(InputError, match="columns file, event, gate"):
        read_gated_files([f"{tmp_path}/x.h5ad:population"])
