"""``cytovae qc``, and ``train`` and ``assign`` with its result."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from helpers.command import Command
from helpers.sample_model import FILES, merge_tree, write_model
from PIL import Image

from cytovae.annotations.gates import read_gates_of_files
from cytovae.cells import UNGATED
from cytovae.errors import InputError, OutputError, UsageError
from cytovae.fcs.file import open_fcs

QC, ASSIGN, TRAIN = Command(("qc",)), Command(("assign",), ("--quiet",)), Command(("train",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quality of two files of the sample, and a model."""
    place = tmp_path_factory.mktemp("qc")
    QC.done(*FILES, "-o", place / "qc", "--quiet")
    write_model(place / "model", merge_tree([0, 0], [1, 2], 1, [5, 4, 3]), 3)
    return place


@pytest.fixture(scope="module")
def reasons(folder: Path) -> list[str]:
    """The reason of each event of both files."""
    tables = [pd.read_parquet(folder / "qc" / f"{file.stem}.qc.parquet") for file in FILES]
    return pd.concat(tables)["reason"].replace("", "pass").tolist()


def test_the_sample_has_debris_doublets_and_dead_cells_among_its_ungated_events(folder: Path) -> None:
    """5 % of the sample's events are in no gate; they were simulated as debris and doublets."""
    file = open_fcs(FILES[0])
    ungated = read_gates_of_files([file], None).population == UNGATED
    events = pd.read_parquet(folder / "qc" / f"{FILES[0].stem}.qc.parquet")
    debris = (events["reason"] == "debris").to_numpy()
    assert ungated[debris].all()
    assert debris.sum() > 0.4 * ungated.sum()
    assert (~events["pass"].to_numpy())[~ungated].mean() < 0.02


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_each_file_has_a_picture(folder: Path) -> None:
    for file in FILES:
        with Image.open(folder / "qc" / f"{file.stem}.qc.png") as picture:
            assert picture.width > 1_000


def test_a_line_for_each_file(tmp_path: Path) -> None:
    done = QC.done(*FILES, "-o", tmp_path / "qc")
    assert f"{FILES[0].name}: " in done.stderr
    assert "not done: margin" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv", "h5ad"])
def test_outputs_keep_all_events_with_their_reason(folder: Path, reasons: list[str], tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"cells.{kind}"
    ASSIGN.done(folder / "model", *FILES, "-o", target, "--qc", folder / "qc")
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "h5ad": lambda path: anndata.read_h5ad(path).obs}
    table = read[kind](target)
    assert table["qc"].astype(str).tolist() == reasons
    assert list(table.columns).index("qc") == list(table.columns).index("probability") + 1


@pytest.mark.slow
def test_fcs_copies_have_a_channel_and_its_meaning(folder: Path, reasons: list[str], tmp_path: Path) -> None:
    ASSIGN.done(folder / "model", *FILES, "-o", f"{tmp_path}/", "--format", "fcs", "--qc", folder / "qc")
    found = []
    for name in FILES:
        file = open_fcs(tmp_path / name.name)
        (channel,) = (channel for channel in file.channels if channel.name == "cytovae_qc")
        numbers = file.read([channel.index])[:, 0].astype(int)
        found += [file.keywords[f"CYTOVAE_QC_{number}"] for number in numbers]
    assert found == reasons


@pytest.mark.slow
def test_the_model_learns_only_from_events_that_pass(folder: Path, reasons: list[str], tmp_path: Path) -> None:
    done = TRAIN.done(
        *FILES, "-o", tmp_path / "model", "--qc", folder / "qc", "--steps", 1, "--landmarks", 1_000, "--experts", 8
    )
    assert f"{sum(reason != 'pass' for reason in reasons):,} cells fail quality control" in done.stderr
    landmarks = pd.read_parquet(tmp_path / "model" / "landmarks.parquet")
    passing = {
        name.name: pd.read_parquet(folder / "qc" / f"{name.stem}.qc.parquet")["pass"].to_numpy() for name in FILES
    }
    assert all(passing[name][event] for name, event in zip(landmarks["file"], landmarks["event"], strict=True))
    assert len(landmarks) == 1_000


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Path]:
    """A file of the sample with one more byte."""
    path = tmp_path / "changed.fcs"
    shutil.copy(FILES[0], path)
    with path.open("ab") as stream:
        stream.write(b" ")
    return path


def test_a_file_that_was_not_checked_is_refused(folder: Path, changed: Path, tmp_path: Path) -> None:
    for command, before in ((TRAIN, ()), (ASSIGN, (folder / "model",))):
        message = command.refused(InputError, *before, changed, "-o", tmp_path / "out.csv", "--qc", folder / "qc")
        assert "no row with the checksum of" in message
        assert "changed.fcs" in message
    assert not (tmp_path / "out.csv").exists()


def test_formats_of_flowjo_have_no_place_for_it(folder: Path, tmp_path: Path) -> None:
    message = ASSIGN.refused(
        UsageError, folder / "model", FILES[0], "-o", tmp_path / "x.clr", "--qc", folder / "qc", "--format", "clr"
    )
    assert "no place for quality control" in message


def test_folders_of_inputs_and_of_others_are_not_replaced(tmp_path: Path) -> None:
    copy = shutil.copy(FILES[0], tmp_path / "x.fcs")
    assert "holds the input" in QC.refused(UsageError, copy, "-o", tmp_path, "--force")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    assert "mine.txt" in QC.refused(OutputError, copy, "-o", tmp_path / "out", "--force")
    assert np.array_equal(list((tmp_path / "out").iterdir()), [tmp_path / "out" / "mine.txt"])
