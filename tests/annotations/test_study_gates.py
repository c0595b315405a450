"""Gates that are named file by file: each belongs to the file of its name, or to those in its column `file`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.annotations.study_gates import read_study_gates
from cytovae.errors import GateError, InputError, UsageError
from cytovae.events.anndata_file import open_h5ad
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

EXPECTED = ["T", "", "B", "T", "NK"]
OF = {"a": "population\nT\n\n", "b": "population\nB\nT\nNK\n"}


def fcs(path: Path, label: list[float]) -> FcsFile:
    path.parent.mkdir(exist_ok=True)
    channels = [Channel(index, name, "", 1024.0) for index, name in enumerate(("CD3", "label"))]
    write_fcs(path, np.column_stack([np.arange(len(label)), label]).astype(np.float32), channels)
    return open_fcs(path)


@pytest.fixture
def study(tmp_path: Path) -> list[FcsFile]:
    return [fcs(tmp_path / "raw" / "a.fcs", [1, np.nan]), fcs(tmp_path / "raw" / "b.fcs", [2, 1, 3])]


def write(folder: Path, **texts: str) -> list[str]:
    """Tables of gates in ``folder``, and their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.gates.csv" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


def read(specs: list[str], study: list[FcsFile]) -> list[str]:
    gates = read_study_gates(specs, study)
    assert gates.names == tuple(sorted(gates.names))
    return [gates.names[index] if index >= 0 else "" for index in gates.population]


def test_tables_belong_to_the_files_of_their_names_in_any_order(tmp_path: Path, study: list[FcsFile]) -> None:
    a, b = write(tmp_path / "gates", **OF)
    assert read([a, b], study) == EXPECTED
    assert read([b, a], study) == EXPECTED


def test_one_specification_is_for_all_files(tmp_path: Path, study: list[FcsFile]) -> None:
    write(tmp_path / "raw", **OF)
    assert read(["beside"], study) == EXPECTED
    assert read([str(tmp_path / "raw")], study) == EXPECTED
    assert read(["label"], study) == ["1", "", "2", "1", "3"]


def test_fcs_files_have_gates_beside_them_or_in_a_channel(tmp_path: Path, study: list[FcsFile]) -> None:
    write(tmp_path / "raw", **OF)
    a, b = (str(file.path) for file in study)
    assert read([b, a], study) == EXPECTED
    assert read([a], study[:1]) == EXPECTED[:2]
    assert read([f"{b}:label", f"{a}:label"], study) == ["1", "", "2", "1", "3"]
    copy = fcs(tmp_path / "gated" / "b.fcs", [7, 7, 8]).path
    assert read([a, f"{copy}:label"], study) == ["T", "", "7", "7", "8"]
    other = fcs(tmp_path / "short" / "b.fcs", [7, 7]).path
    with pytest.raises(GateError, match=r"found 2, expected 3"):
        read([a, f"{other}:label"], study)


def test_a_column_file_tells_the_files_of_a_table(tmp_path: Path, study: list[FcsFile]) -> None:
    c = fcs(tmp_path / "raw" / "c.fcs", [1])
    both, b = write(tmp_path / "gates", monday="file,event,population\nc.fcs,0,B\na.fcs,0,T\n", b=OF["b"])
    assert read([b, both], [*study, c]) == [*EXPECTED, "B"]
    both_rows = pd.DataFrame({"file": ["a", "a", "c"], "population": ["T", None, "B"]})
    both_rows.to_parquet(tmp_path / "monday.parquet")
    assert read([str(tmp_path / "monday.parquet"), b], [*study, c]) == [*EXPECTED, "B"]


def test_files_of_one_name_are_told_apart_by_folder(tmp_path: Path, study: list[FcsFile]) -> None:
    other = fcs(tmp_path / "more" / "a.fcs", [1])
    (first,) = write(tmp_path / "gates" / "raw", a=OF["a"])
    (second,) = write(tmp_path / "gates" / "more", a="population\nB\n")
    assert read([second, first], [study[0], other]) == ["T", "", "B"]
    (loose,) = write(tmp_path / "loose", a=OF["a"])
    with pytest.raises(InputError, match="several files like"):
        read([loose, second], [study[0], other])


def test_names_that_tell_nothing_are_in_the_order_of_the_files(tmp_path: Path, study: list[FcsFile]) -> None:
    one, two = write(tmp_path, one=OF["a"], two=OF["b"])
    assert read([one, two], study) == EXPECTED
    with pytest.raises(GateError, match=r"rows.*found 3 rows, expected 2"):
        read([two, one], study)


def test_a_folder_of_populations_belongs_to_the_file_of_its_name(tmp_path: Path, study: list[FcsFile]) -> None:
    (tmp_path / "gates" / "a").mkdir(parents=True)
    write_fcs(tmp_path / "gates" / "a" / "T.fcs", study[0].read(stop=1), study[0].channels)
    (b,) = write(tmp_path / "gates", b=OF["b"])
    assert read([b, str(tmp_path / "gates" / "a")], study) == EXPECTED


def test_parts_of_an_anndata_file_have_their_own_column(tmp_path: Path, study: list[FcsFile]) -> None:
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame({"donor": ["x", "y", "x"], "gate": ["T", "B", "T"], "leiden": ["0", "1", "2"]}, list("ijk"))
    anndata.AnnData(np.ones((3, 2), np.float32), obs).write_h5ad(tmp_path / "x.h5ad")
    parts = list(open_h5ad(tmp_path / "x.h5ad", file_key="donor"))
    assert read([str(tmp_path / "x.h5ad")], parts) == ["T", "T", "B"]
    assert read([f"{tmp_path / 'x.h5ad'}:leiden"], parts) == ["0", "2", "1"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "c"), r"c\.gates\.csv: gates: found gates of another file.*The files are .*a\.fcs, .*b\.fcs"),
        (("a", "d"), r"d\.gates\.csv: gates: found no such file"),
        (("a", "a2"), r"two for .*a\.fcs"),
        (("a",), r"none for .*b\.fcs"),
    ],
)
def test_gates_of_no_file_of_none_or_of_two_are_refused(
    names: tuple[str, ...], message: str, tmp_path: Path, study: list[FcsFile]
) -> None:
    texts = {"a": OF["a"], "c": "population\nT\n", "a2": "file,population\na.fcs,T\na.fcs,B\n"}
    write(tmp_path / "gates", **texts)
    specs = [str(tmp_path / "gates" / f"{name}.gates.csv") for name in names]
    files = [str(study[0].path)] if names == ("a",) else specs
    write(tmp_path / "raw", a=OF["a"])
    with pytest.raises(GateError, match=message):
        read_study_gates(files, study)


def test_beside_is_named_alone(study: list[FcsFile]) -> None:
    with pytest.raises(UsageError, match="name it alone"):
        read_study_gates(["beside", "label"], study)
