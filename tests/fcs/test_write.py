"""Writing FCS files, with this package, FlowIO and fcsparser as readers."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fcsparser.api import FCSParser
from flowio import FlowData, create_fcs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import clean_name, write_fcs

finite_events = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 12), st.integers(1, 5)),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)
odd_text = st.text(max_size=12) | st.text(alphabet="/|$\\ aµ\x00\n,", max_size=8)
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _flowio(path: Path) -> FlowData:
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FlowData(file)


@relaxed
@given(events=finite_events, data=st.data())
def test_three_readers_read_back_what_was_written(
    events: NDArray[np.float32], data: st.DataObject, tmp_path: Path
) -> None:
    n_channels = events.shape[1]
    ranges = st.floats(1, 1e9)
    channels = [
        Channel(index, data.draw(odd_text), data.draw(odd_text), data.draw(ranges)) for index in range(n_channels)
    ]
    keywords = data.draw(st.dictionaries(odd_text, odd_text, max_size=4))
    path = tmp_path / "written.fcs"
    write_fcs(path, events, channels, keywords, force=True)
    file = open_fcs(path)
    names = [clean_name(channel.name) or f"P{index}" for index, channel in enumerate(channels, start=1)]
    np.testing.assert_array_equal(file.read(), events)
    assert [channel.name for channel in file.channels] == names
    assert [channel.label for channel in file.channels] == [clean_name(channel.label) for channel in channels]
    for column, channel in enumerate(file.channels):
        finite = events[:, column][np.isfinite(events[:, column])].astype(float)
        assert channel.range >= channels[column].range
        assert channel.range >= np.ceil(finite.max(initial=0)) + 1
    # fcsparser only reads TEXT here, because its reader of DATA needs NumPy 1.
    flowio = _flowio(path)
    assert flowio.pnn_labels == names
    if len(events):
        np.testing.assert_array_equal(flowio.as_array(preprocess=False), events)
    parser = FCSParser()
    parser.load_file(BytesIO(path.read_bytes()), read_data=False)
    assert list(parser.channel_names_n) == names
    assert [written.name for written in tmp_path.iterdir()] == ["written.fcs"]


@given(name=odd_text)
def test_cleaning_a_clean_name_changes_nothing(name: str) -> None:
    assert clean_name(clean_name(name)) == clean_name(name)


@pytest.mark.parametrize("name", ["CD3", "NK1/1", "a//b", "Nd(142)Di", "µ-β 7", "[V450]", "=cmd()", "-A", "a|b\\c"])
def test_ordinary_names_are_unchanged(name: str, tmp_path: Path) -> None:
    assert clean_name(name) == name
    write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, name, name, 10)])
    file = open_fcs(tmp_path / "x.fcs")
    assert (file.channels[0].name, file.channels[0].label) == (name, name)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("/a/", "_a_"), ("//", "__"), ("A$1", "A_1"), (" a\nb ", "a b"), ("\ud800", "?"), ("\x00", "")],
)
def test_names_that_readers_would_change_are_cleaned(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_keywords_are_kept_except_those_of_the_layout(tmp_path: Path) -> None:
    source = {
        "$CYT": "Aurora", "$DATE": "01-JAN-2020", "$DATATYPE": "I", "$TOT": "99", "$P1B": "16", "$P1E": "4,1",
        "$P1G": "2", "$P1DATATYPE": "I", "$P9D": "Linear,0,1", "$BEGINSTEXT": "5", "MY OWN": "/a/", "EMPTY": "",
        "$NEXTDATA": "700",
    }  # fmt: skip
    write_fcs(tmp_path / "x.fcs", np.ones((2, 1)), [Channel(0, "A", "", 5)], source)
    file = open_fcs(tmp_path / "x.fcs")
    assert (file.keywords["$CYT"], file.keywords["$DATE"], file.keywords["$P1G"]) == ("Aurora", "01-JAN-2020", "2")
    assert file.keywords["MY OWN"].strip() == "/a/"
    assert (file.n_events, file.keywords["$DATATYPE"], file.keywords["$P1E"]) == (2, "F", "0,0")
    assert not {"$P9D", "P9D", "EMPTY", "P1DATATYPE"} & set(file.keywords)


def test_ranges_cover_the_values_and_never_shrink(tmp_path: Path) -> None:
    events = np.array([[10.2, 3.0, np.nan], [99.5, -7.0, np.nan]])
    write_fcs(tmp_path / "x.fcs", events, [Channel(i, f"C{i}", "", 50) for i in range(3)])
    assert [channel.range for channel in open_fcs(tmp_path / "x.fcs").channels] == [101, 50, 50]


def test_existing_files_are_kept_and_partial_files_are_removed(tmp_path: Path) -> None:
    path, channel = tmp_path / "x.fcs", [Channel(0, "A", "", 5)]
    write_fcs(path, [[1.0]], channel)
    with pytest.raises(OutputError, match="exists already"):
        write_fcs(path, [[2.0]], channel)
    assert open_fcs(path).read().tolist() == [[1.0]]
    write_fcs(path, [[2.0]], channel, force=True)
    assert open_fcs(path).read().tolist() == [[2.0]]
    with pytest.raises(OutputError, match="cannot be written"):
        write_fcs(tmp_path / "no" / "x.fcs", [[1.0]], channel)
    (tmp_path / "folder.fcs").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_fcs(tmp_path / "folder.fcs", [[1.0]], channel, force=True)
    for wrong in ([1.0], [[1.0, 2.0]], [[[1.0]]]):
        with pytest.raises(UsageError):
            write_fcs(tmp_path / "y.fcs", wrong, channel)
    assert sorted(written.name for written in tmp_path.iterdir()) == ["folder.fcs", "x.fcs"]


def test_text_lengths_that_flowio_miscounts_are_written(tmp_path: Path) -> None:
    refused = 0
    for length in range(420, 560):
        words = {"COMMENT": "x" * length}
        try:
            create_fcs(BytesIO(), [1.0], ["A"], metadata_dict=words)
        except Exception as error:  # noqa: BLE001 (FlowIO raises no specific error)
            refused += "text offset" in str(error)
        write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, "A", "", 262144)], words, force=True)
        file = open_fcs(tmp_path / "x.fcs")
        assert (file.read().tolist(), file.keywords["COMMENT"]) == ([[1.0]], words["COMMENT"])
    assert refused  # otherwise this test no longer covers the defect of FlowIO
