"""Files of many instruments, against FlowIO or, if FlowIO cannot read them, against bytes decoded here."""

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
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not INDEX, reason="the shared FCS corpus is not available"),
]

UNREADABLE = {
    "eyurtsev+fcsparser__sample_header.fcs": "DATA",  # truncated after TEXT
    "webduvet+fcsparser__wrongFile.fcs": "HEADER version",
}
# Files that FlowIO cannot read: the first byte of DATA, bytes per value, byte order and mask.
BY_HAND: dict[str, tuple[int, int, Literal["little", "big"], int | None]] = {
    "cytoflow+cytoflow__Beckman_Coulter_-_Cytomics_FC500.LMD": (8192, 2, "little", 1023),
    "cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs": (3022, 2, "little", 32767),
    "cytoflow+cytoflow__Cytek_xP5.fcs": (4096, 3, "big", None),
}
# Files with blank or wrong offsets in HEADER, and the same recordings with correct ones.
SAME_AS = {
    "eyurtsev+fcsparser__fake_large_fcs.fcs": "eyurtsev+fcsparser__FCS_3.0_Fortessa_PBS_Specimen_001_A1_A01.fcs",
    "whitews+FlowIO__data_start_offset_discrepancy_example.fcs": "whitews+FlowIO__variable_int_example.fcs",
}


def _flowio(path: Path) -> FlowData:
    """Read a file with FlowIO, using the offsets of HEADER if FlowIO rejects the others."""
    forced = INDEX[path.name]["flowio"].startswith("ERR")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FlowData(
            file, ignore_offset_error=forced, use_header_offsets=forced, nextdata_offset=0 if forced else None
        )


@pytest.mark.parametrize("name", sorted(set(INDEX) - set(UNREADABLE) - set(BY_HAND) - set(SAME_AS)))
def test_values_equal_those_of_flowio(name: str) -> None:
    file, flowio = open_fcs(CORPUS / name), _flowio(CORPUS / name)
    assert [channel.name for channel in file.channels] == [label.strip() for label in flowio.pnn_labels]
    assert [channel.label for channel in file.channels] == [label.strip() for label in flowio.pns_labels]
    read = file.read(apply_log=False)
    assert read.dtype == (np.float32 if INDEX[name]["datatype"] == "F" else np.float64)
    assert read.dtype.isnative
    assert "{}x{}".format(*read.shape) == INDEX[name]["fcsparser"]
    np.testing.assert_array_equal(read, flowio.as_array(preprocess=False))  # exact; NaN equals NaN


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_values_of_files_that_flowio_cannot_read(name: str) -> None:
    first, width, order, mask = BY_HAND[name]
    row = INDEX[name]
    n_values = int(float(row["tot"])) * int(float(row["par"])) if row["tot"] else 72989 * 4
    raw = (CORPUS / name).read_bytes()[first : first + n_values * width]
    values = [int.from_bytes(raw[at : at + width], order) for at in range(0, len(raw), width)]
    read = open_fcs(CORPUS / name).read(apply_log=False)
    if mask is None:  # 24 bits: each channel has its own range
        ranges = [int(open_fcs(CORPUS / name).channels[column].range) for column in range(read.shape[1])]
        masks = np.array([2 ** int(np.ceil(np.log2(limit))) - 1 for limit in ranges])
    else:
        masks = np.full(read.shape[1], mask)
    np.testing.assert_array_equal(read, np.array(values).reshape(read.shape) & masks)


@pytest.mark.parametrize("name", sorted(SAME_AS))
def test_wrong_offsets_in_header_do_not_change_values(name: str) -> None:
    damaged, sound = open_fcs(CORPUS / name), open_fcs(CORPUS / SAME_AS[name])
    assert f"{damaged.n_events}x{len(damaged.channels)}" == INDEX[name]["fcsparser"]
    expected = _flowio(CORPUS / SAME_AS[name]).as_array(preprocess=False)
    np.testing.assert_array_equal(damaged.read(apply_log=False), expected)
    np.testing.assert_array_equal(damaged.read(), sound.read())


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_unreadable_files_are_rejected(name: str) -> None:
    with pytest.raises(FcsError) as caught:
        open_fcs(CORPUS / name)
    assert caught.value.file == str(CORPUS / name)
    assert caught.value.field == UNREADABLE[name]


def test_the_index_lists_the_whole_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} - {"INDEX.csv"} <= set(INDEX) | {"LICENSE", "README.md"}
    unread = {name for name, row in INDEX.items() if row["fcsparser"].startswith("ERR")}
    assert unread - set(UNREADABLE) == {"cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs"}  # padded names


def test_the_offsets_that_fit_are_used_if_header_and_text_differ() -> None:
    # Channels 10 and 11 of this CyAn file count time; they only increase if DATA begins where HEADER says.
    cyan = open_fcs(CORPUS / "cytoflow+cytoflow__Beckman_Coulter_-_Cyan.fcs")
    assert (np.diff(cyan.read([10, 11], apply_log=False), axis=0) >= 0).mean() > 0.999
    assert any("HEADER" in note and "TEXT puts DATA at" in note for note in cyan.notes)
    accuri = "cytoflow+cytoflow__Accuri_-_C6.fcs"
    with pytest.raises(FcsError, match="TEXT bytes 2526"):
        open_fcs(CORPUS / accuri, offsets="text")  # would begin inside TEXT
    assert open_fcs(CORPUS / accuri, offsets="header").n_events == 60661


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


def test_padded_keyword_names_are_read() -> None:
    file = open_fcs(CORPUS / "cytoflow+cytoflow__Partec_-_CyFlow_v2.9.fcs")
    assert len(file.channels) == 4
    assert file.channels[0].name == "FSC"
    assert file.keywords["$DATATYPE"] == "I"
