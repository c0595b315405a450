"""Folders, data sets and offsets, and names in both Unicode forms."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cytovae as cv
from cytovae.annotations.sample_sheet import read_samples
from cytovae.errors import InputError, UsageError
from cytovae.events.channel_names import find_channels
from cytovae.events.event_file import open_event_files, with_folders_listed
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs

DECOMPOSED = unicodedata.normalize("NFD", "TCRγδ Zürich é")
COMPOSED = unicodedata.normalize("NFC", DECOMPOSED)


def fcs(path: Path, n_events: int = 3) -> Path:
    write_fcs(path, np.ones((n_events, 2)), [Channel(0, "CD3", "", 1024.0), Channel(1, "CD4", "", 1024.0)])
    return path


def test_a_folder_stands_for_its_fcs_files_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.fcs", "a.FCS", "c.lmd", ".hidden.fcs", "._a.fcs", "deeper/d.fcs"):
        fcs(folder / name)
    (folder / "notes.txt").write_text("x")
    (folder / "folder.fcs").mkdir()
    expected = [folder / name for name in ("a.FCS", "b.fcs", "c.lmd")]
    other = fcs(tmp_path / "z.fcs")
    assert list(with_folders_listed([other, folder])) == [other, *expected]
    files = cv.open_events(folder)
    assert [file.path for file in files] == expected  # type: ignore[union-attr]
    assert len(cv.read_cells(folder, markers=["CD3"], transform="none")) == 9


def test_a_folder_without_fcs_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no FCS files"):
        with_folders_listed([tmp_path])


@pytest.mark.parametrize("options", [{"data_set": 0}, {"offsets": "text"}])
def test_options_for_fcs_files_need_one(options: dict[str, Any], tmp_path: Path) -> None:
    table, file = tmp_path / "x.csv", fcs(tmp_path / "x.fcs")
    table.write_text("CD3,CD4\n1,2\n")
    with pytest.raises(UsageError, match="FCS files"):
        open_event_files([table], **options)
    assert len(open_event_files([table, file], **options)) == 2


@pytest.mark.parametrize(("in_file", "asked"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_names_in_both_unicode_forms_are_equal(in_file: str, asked: str, tmp_path: Path) -> None:
    assert in_file != asked
    channels = [Channel(0, "FITC-A", in_file, 1024.0), Channel(1, "PE-A", "CD4", 1024.0)]
    assert [channel.index for channel in find_channels(channels, asked)] == [0]
    path = tmp_path / f"{in_file}.fcs"
    (tmp_path / "samples.csv").write_text(f"file,sample\n{asked}.fcs,first\n")
    assert read_samples(tmp_path / "samples.csv", {path.name: path}).of(path.name) == ("first",)
