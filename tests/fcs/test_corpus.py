"""Every file of the shared corpus, against FlowIO where it reads the file and against bytes decoded here where not."""

import csv
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from flowio import FlowData

from cytovae.errors import FcsError
from cytovae.fcs.file import open_fcs

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "fcs_corpus"


def _index() -> dict[str, dict[str, str]]:
    if not CORPUS.is_dir():
        return {}
    with (CORPUS / "INDEX.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


INDEX = _index()
needs_corpus = pytest.mark.skipif(not INDEX, reason=f"the shared FCS corpus is not at {CORPUS}")

UNREADABLE = {
    "eyurtsev+fcsparser__sample_header.fcs": "DATA",  # cut after TEXT
    "webduvet+fcsparser__wrongFile.fcs": "HEADER version",
}
# FlowIO cannot read these, so their bytes are decoded here: first byte of DATA, bytes per value, byte order, mask.
BY_HAND: dict[str, tuple[int, int, Literal["little", "big"], int | None]] = {
    "cytoflow+cytoflow__Beckman_Coulter_-_Cytomics_FC500.LMD": (8192, 2, "little", 1023),
    "cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs": (3022, 2, "little", 32767),
    "cytoflow+cytoflow__Cytek_xP5.fcs": (4096, 3, "big", None),
}
# HEADER's offsets are blank here, or wrong; these are the same recordings with sound ones.
SAME_AS = {
    "eyurtsev+fcsparser__fake_large_fcs.fcs": "eyurtsev+fcsparser__FCS_3.0_Fortessa_PBS_Specimen_001_A1_A01.fcs",
    "whitews+FlowIO__data_start_offset_discrepancy_example.fcs": "whitews+FlowIO__variable_int_example.fcs",
}


def _flowio(path: Path) -> FlowData:
    """FlowIO's reading of a file, with its own offsets or, where it refuses those, with HEADER's."""
    forced = INDEX[path.name]["flowio"].startswith("ERR")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FlowData(
            file, ignore_offset_error=forced, use_header_offsets=forced, nextdata_offset=0 if forced else None
        )


@needs_corpus
@pytest.mark.parametrize("name", sorted(set(INDEX) - set(UNREADABLE) - set(BY_HAND) - set(SAME_AS)))
def test_values_are_those_of_flowio(name: str) -> None:
    file, flowio = open_fcs(CORPUS / name), _flowio(CORPUS / name)
    assert [channel.name for channel in file.channels] == [label.strip() for label in flowio.pnn_labels]
    assert [channel.label for channel in file.channels] == [label.strip() for label in flowio.pns_labels]
    read = file.read(apply_log=False)
    assert read.dtype == (np.float32 if INDEX[name]["datatype"] == "F" else np.float64)
    assert read.dtype.isnative
    assert "{}x{}".format(*read.shape) == INDEX[name]["fcsparser"]
    np.testing.assert_array_equal(read, flowio.as_array(preprocess=False))  # exact, NaN equal to NaN


@needs_corpus
@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_values_that_flowio_does_not_read(name: str) -> None:
    first, width, order, mask = BY_HAND[name]
    row = INDEX[name]
    n_values = int(float(row["tot"])) * int(float(row["par"])) if row["tot"] else 72989 * 4
    raw = (CORPUS / name).read_bytes()[first : first + n_values * width]
    values = [int.from_bytes(raw[at : at + width], order) for at in range(0, len(raw), width)]
    read = open_fcs(CORPUS / name).read(apply_log=False)
    if mask is None:  # 24 bits: ranges differ from channel to channel
        ranges = [int(open_fcs(CORPUS / name).channels[column].range) for column in range(read.shape[1])]
        masks = np.array([2 ** int(np.ceil(np.log2(limit))) - 1 for limit in ranges])
    else:
        masks = np.full(read.shape[1], mask)
    np.testing.assert_array_equal(read, np.array(values).reshape(read.shape) & masks)


@needs_corpus
@pytest.mark.parametrize("name", sorted(SAME_AS))
def test_wrong_offsets_in_header_give_the_same_values_as_the_sound_file(name: str) -> None:
    damaged, sound = open_fcs(CORPUS / name), open_fcs(CORPUS / SAME_AS[name])
    assert f"{damaged.n_events}x{len(damaged.channels)}" == INDEX[name]["fcsparser"]
    expected = _flowio(CORPUS / SAME_AS[name]).as_array(preprocess=False)
    np.testing.assert_array_equal(damaged.read(apply_log=False), expected)
    np.testing.assert_array_equal(damaged.read(), sound.read())


@needs_corpus
@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_unreadable_files_are_refused(name: str) -> None:
    with pytest.raises(FcsError) as caught:
        open_fcs(CORPUS / name)
    assert caught.value.file == str(CORPUS / name)
    assert caught.value.field == UNREADABLE[name]


@needs_corpus
def test_the_whole_corpus_is_accounted_for() -> None:
    assert {path.name for path in CORPUS.iterdir()} - {"INDEX.csv"} <= set(INDEX) | {"LICENSE", "README.md"}
    refused = {name for name, row in INDEX.items() if row["fcsparser"].startswith("ERR")}
    assert refused - set(UNREADABLE) == {"cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs"}  # padded names: we read it


@needs_corpus
def test_where_header_and_text_differ_the_one_that_can_be_true_is_taken_and_said() -> None:
    # Time in CyAn's first column counts upwards only if rows are cut where HEADER says.
    cyan = open_fcs(CORPUS / "cytoflow+cytoflow__Beckman_Coulter_-_Cyan.fcs")
    assert (np.diff(cyan.read([10, 11], apply_log=False), axis=0) >= 0).mean() > 0.999
    assert any("HEADER" in note and "TEXT puts DATA at" in note for note in cyan.notes)
    accuri = "cytoflow+cytoflow__Accuri_-_C6.fcs"
    with pytest.raises(FcsError, match="TEXT bytes 2526"):
        open_fcs(CORPUS / accuri, offsets="text")  # would begin inside TEXT
    assert open_fcs(CORPUS / accuri, offsets="header").n_events == 60661


@needs_corpus
def test_second_data_set_of_a_beckman_file() -> None:
    path = CORPUS / "whitews+FlowIO__coulter.lmd"
    assert any("2 data sets" in note for note in open_fcs(path).notes)
    second = open_fcs(path, data_set=1)
    assert second.version == "FCS3.0"
    assert second.n_events == 18110
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = FlowData(file, ignore_offset_error=True, use_header_offsets=True, nextdata_offset=363602)
    np.testing.assert_array_equal(second.read(apply_log=False), data.as_array(preprocess=False))
    with pytest.raises(FcsError, match="data set"):
        open_fcs(path, data_set=2)


@needs_corpus
def test_keyword_names_padded_with_blanks_are_found() -> None:
    file = open_fcs(CORPUS / "cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs")
    assert len(file.channels) == 4
    assert file.channels[0].name == "FSC"
    assert file.keywords["$DATATYPE"] == "I"
