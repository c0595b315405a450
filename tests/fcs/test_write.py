"""Writing FCS files, with this package, FlowIO and fcsparser as readers."""

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fcsparser.api import FCSParser
from flowio import FlowData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import fits_float32, write_fcs, write_fcs_chunks
from cytovae.fcs.write_text import clean_name

finite_events = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 12), st.integers(1, 5)),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)
odd_text = st.text(max_size=12) | st.text(alphabet="/|$\\ aµ\x00\n\f\x1e,", max_size=8)
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flowcore_keywords(path: Path) -> dict[str, str]:
    """TEXT by the rule of flowCore's read.FCS with its default, emptyValue = TRUE: every delimiter separates."""
    content = path.read_bytes()
    text = content[int(content[10:18]) : int(content[18:26]) + 1].decode()
    assert text[0] == text[-1]
    parts = text[1:-1].split(text[0])
    assert len(parts) % 2 == 0
    assert all(parts)
    return dict(zip(parts[::2], parts[1::2], strict=True))


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
    assert flowio.pnn_labels == [name.replace("$", "") for name in names]  # FlowIO drops every "$"
    if len(events):
        np.testing.assert_array_equal(flowio.as_array(preprocess=False), events)
    parser = FCSParser()
    parser.load_file(BytesIO(path.read_bytes()), read_data=False)
    assert list(parser.channel_names_n) == names
    flowcore = flowcore_keywords(path)
    assert [flowcore[f"$P{number}N"] for number in range(1, n_channels + 1)] == names
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
    ("name", "cleaned"), [(" a\nb ", "a b"), ("\ud800", "?"), ("\x00", ""), ("a\fb", "a b"), ("$", "_")]
)
def test_names_that_readers_would_change_are_cleaned(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_keywords_are_kept_except_those_of_the_layout(tmp_path: Path) -> None:
    source = {
        "$CYT": "Aurora", "$DATE": "01-JAN-2020", "$DATATYPE": "I", "$TOT": "99", "$P1B": "16", "$P1E": "4,1",
        "$P1G": "2", "$P1DATATYPE": "I", "$P9D": "Linear,0,1", "$BEGINSTEXT": "5", "MY OWN": "/a/", "EMPTY": "",
        "$NEXTDATA": "700", "$P1TYPE": "Raw_Fluorescence", "$P1ANALYTE": "CD3",
        "$UNKNOWN": "x", "P1DISPLAY": "LOG",
        "P53STATUS": "wild type", "MODE": "fast", "NUL": "a\0b", "DOLLAR": "$",
    }  # fmt: skip
    write_fcs(tmp_path / "x.fcs", np.ones((2, 1)), [Channel(0, "A", "", 5)], source)
    file = open_fcs(tmp_path / "x.fcs")
    kept = ["$CYT", "$DATE", "$P1G", "MY OWN", "$P1TYPE", "$P1ANALYTE", "$UNKNOWN", "P1DISPLAY", "P53STATUS", "MODE"]
    assert {name: file.keywords[name] for name in kept} == {name: source[name] for name in kept}
    assert file.keywords["DOLLAR"].strip() == "$"
    assert (file.keywords["EMPTY"], file.keywords["NUL"]) == (" ", "a b")
    assert (file.n_events, file.keywords["$DATATYPE"], file.keywords["$P1E"]) == (2, "F", "0,0")
    assert not {"$P9D", "P9D", "$P1DATATYPE", "P1DATATYPE"} & set(file.keywords)
    # FlowIO takes MODE for $MODE, but not here.
    assert _flowio(tmp_path / "x.fcs").as_array(preprocess=False).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("values", "delimiter"),
    [("/a/b", b"\f"), ("\f/", b"|"), ("\f|", b"\x1e"), ("\f|\x1e\x1f", b"\x1d")],
)
def test_the_delimiter_occurs_in_no_value(values: str, delimiter: bytes, tmp_path: Path) -> None:
    words = {"COMMENT": values, "$FIL": "a" + values + "b", "ONLY": values[:1]}
    write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, "CD4/CD8", "530/30", 10)], words)
    content = (tmp_path / "x.fcs").read_bytes()
    assert content[256:257] == delimiter
    assert delimiter * 2 not in content[256:]
    file = open_fcs(tmp_path / "x.fcs")
    assert {name: file.keywords[name] for name in words} == words
    assert flowcore_keywords(tmp_path / "x.fcs")["COMMENT"] == _flowio(tmp_path / "x.fcs").text["comment"] == values


def test_values_that_contain_every_delimiter_lose_one_kind(tmp_path: Path) -> None:
    every = "".join(chr(code) for code in range(1, 127))
    write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, "A", "", 10)], {"COMMENT": every})
    expected = every.replace("\x1e", " ")
    assert open_fcs(tmp_path / "x.fcs").keywords["COMMENT"] == expected
    assert flowcore_keywords(tmp_path / "x.fcs")["COMMENT"] == expected


@pytest.mark.parametrize("length", [*range(460, 480), 9_000, 99_500])
def test_offsets_are_right_whatever_the_length_of_text(length: int, tmp_path: Path) -> None:
    """Longer keywords move DATA past 1000, 10000 and 100000 bytes, where an offset gains a digit."""
    write_fcs(tmp_path / "x.fcs", [[1.5]], [Channel(0, "A", "", 10)], {"COMMENT": "x" * length})
    content = (tmp_path / "x.fcs").read_bytes()
    begin, end = int(content[26:34]), int(content[34:42])
    keywords = open_fcs(tmp_path / "x.fcs").keywords
    assert (int(keywords["$BEGINDATA"]), int(keywords["$ENDDATA"]), len(content) - 1) == (begin, end, end)
    assert np.frombuffer(content[begin:], "<f4") == 1.5
    assert _flowio(tmp_path / "x.fcs").as_array().tolist() == [[1.5]]


def test_offsets_beyond_eight_digits_are_in_text_only(tmp_path: Path) -> None:
    chunk = np.arange(250_000, dtype=np.float32).reshape(-1, 50)

    def chunks() -> Iterator[NDArray[np.float32]]:
        for number in range(101):
            yield chunk + number

    channels = [Channel(index, f"C{index}", "", 10) for index in range(50)]
    path = tmp_path / "x.fcs"
    write_fcs_chunks(path, chunks, channels)
    assert path.stat().st_size > 100_000_000
    with path.open("rb") as stream:
        assert stream.read(42)[26:] == b"       0       0"
    file = open_fcs(path)
    assert int(file.keywords["$ENDDATA"]) == path.stat().st_size - 1
    assert (file.n_events, file.notes) == (505_000, ())
    assert np.array_equal(file.read(None, 500_000), chunk + 100)
    data = FlowData(path)
    assert data.event_count == 505_000
    assert data.events[-1] == 249_999 + 100


def test_the_whole_file_is_float64_if_one_value_needs_it(tmp_path: Path) -> None:
    channels = [Channel(0, "A", "", 10), Channel(1, "Time", "", 10)]
    small, large = np.array([[0.5, 1.0], [np.nan, 2.0]]), np.array([[-np.inf, 2.0**30 + 1], [1e300, 3.0]])
    write_fcs_chunks(tmp_path / "f.fcs", lambda: (small, small), channels)
    write_fcs_chunks(tmp_path / "d.fcs", lambda: (small, large, small), channels)
    single, double = open_fcs(tmp_path / "f.fcs"), open_fcs(tmp_path / "d.fcs")
    assert (single.keywords["$DATATYPE"], double.keywords["$DATATYPE"]) == ("F", "D")
    assert (single.keywords["$P1B"], double.keywords["$P2B"]) == ("32", "64")
    np.testing.assert_array_equal(single.read(), np.vstack([small, small]))
    np.testing.assert_array_equal(double.read(), np.vstack([small, large, small]))
    assert [channel.range for channel in double.channels] == [1e300, 2.0**30 + 2]
    np.testing.assert_array_equal(FlowData(tmp_path / "d.fcs").as_array(), np.vstack([small, large, small]))


@pytest.mark.parametrize(
    ("value", "fits"),
    [(0.5, True), (2.0**24, True), (2.0**24 + 1, False), (0.1, False), (np.nan, True), (np.inf, True), (1e39, False)],
)
def test_whether_float32_holds_a_value(value: float, fits: bool) -> None:
    assert fits_float32(np.array([[0.0, value]])) == fits


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
