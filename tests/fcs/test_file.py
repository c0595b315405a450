"""Reading and writing sound FCS files: values worked by hand, FlowIO and fcsparser as other readers, round trips."""

import struct
import tracemalloc
import warnings
from collections.abc import Mapping, Sequence
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

from cytovae.errors import FcsError, OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import clean_name, write_fcs


def build(
    data: bytes,
    n_events: int,
    bits: Sequence[int],
    words: Mapping[str, str],
    *,
    version: str = "FCS3.1",
    delimiter: str = "/",
) -> bytes:
    """An FCS file around ``data``; ``words`` adds to or replaces the keywords every file needs."""
    keywords = {"$MODE": "L", "$NEXTDATA": "0", "$BYTEORD": "1,2,3,4", "$DATATYPE": "F", "$TOT": str(n_events)}
    keywords["$PAR"] = str(len(bits))
    for number, width in enumerate(bits, start=1):
        keywords |= {f"$P{number}B": str(width), f"$P{number}E": "0,0", f"$P{number}N": f"N{number}"}
        keywords[f"$P{number}R"] = str(2**width)
    keywords |= words
    doubled = {name: value.replace(delimiter, delimiter * 2) for name, value in keywords.items()}
    text = (delimiter + "".join(f"{k}{delimiter}{v}{delimiter}" for k, v in doubled.items())).encode()
    first = 58 + len(text)
    numbers = (58, first - 1, first, first + len(data) - 1, 0, 0)
    return f"{version}    {''.join(f'{number:>8}' for number in numbers)}".encode() + text + data


def read(tmp_path: Path, raw: bytes) -> FcsFile:
    path = tmp_path / "made.fcs"
    path.write_bytes(raw)
    return open_fcs(path)


@pytest.mark.parametrize("version", ["FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2"])
@pytest.mark.parametrize(("byteord", "order"), [("1,2,3,4", "<"), ("4,3,2,1", ">"), ("2,1", ">")])
def test_floats_of_both_orders_and_every_version(version: str, byteord: str, order: str, tmp_path: Path) -> None:
    values = [[1.5, -2.25], [float("nan"), 3e38], [0.0, float("-inf")]]
    data = b"".join(struct.pack(order + "2f", *row) for row in values)
    file = read(tmp_path, build(data, 3, (32, 32), {"$BYTEORD": byteord}, version=version))
    assert file.version == version
    assert file.read().dtype == np.float32
    assert file.read().dtype.isnative
    np.testing.assert_array_equal(file.read(), np.array(values, np.float32))
    assert not file.notes


def test_doubles_keep_every_digit(tmp_path: Path) -> None:
    data = struct.pack(">4d", 0.1, 1e300, -0.0, 123456789.123456789)
    file = read(tmp_path, build(data, 2, (64, 64), {"$DATATYPE": "D", "$BYTEORD": "4,3,2,1"}))
    assert file.dtype == np.float64
    assert file.read().tolist() == [[0.1, 1e300], [-0.0, 123456789.123456789]]


@pytest.mark.parametrize("width", [8, 16, 24, 32, 64])
@pytest.mark.parametrize("order", ["little", "big"])
def test_integers_of_every_width(width: int, order: str, tmp_path: Path) -> None:
    # The last is the highest value; float64 holds all of these exactly but 2^64 − 1, which rounds to 2^64.
    values = [0, 1, 2 ** (width - 1) + 1 if width < 64 else 2**53, 2**width - 1]
    data = b"".join(value.to_bytes(width // 8, order) for value in values)
    words = {"$DATATYPE": "I", "$BYTEORD": "1,2,3,4" if order == "little" else "4,3,2,1"}
    file = read(tmp_path, build(data, 2, (width, width), words))
    assert file.read().dtype == np.float64
    assert file.read().tolist() == [[float(v) for v in values[:2]], [float(v) for v in values[2:]]]


def test_mixed_widths_and_bits_above_the_range(tmp_path: Path) -> None:
    # 1000 needs 10 bits: 0xFFFF → 1023; 2^20 needs 20: 0xABCDEF → 0xBCDEF; 8 bits are full.
    row = bytes([200]) + (0xFFFF).to_bytes(2, "big") + (0xABCDEF).to_bytes(3, "big") + (70000).to_bytes(4, "big")
    words = {"$DATATYPE": "I", "$BYTEORD": "4,3,2,1", "$P2R": "1000", "$P3R": str(2**20)}
    file = read(tmp_path, build(row * 3, 3, (8, 16, 24, 32), words))
    assert file.read().tolist() == [[200.0, 1023.0, float(0xBCDEF), 70000.0]] * 3
    assert file.read([3, 1]).tolist() == [[70000.0, 1023.0]] * 3


def test_ten_bits_in_sixteen_bit_words(tmp_path: Path) -> None:
    data = struct.pack("<4H", 5, 1023, 0xFC01, 512)
    words = {"$DATATYPE": "I", "$BYTEORD": "1,2", "$P1R": "1024", "$P2R": "1024"}
    assert read(tmp_path, build(data, 2, (10, 10), words)).read().tolist() == [[5.0, 1023.0], [1.0, 512.0]]
    with pytest.raises(FcsError, match="DATA"):  # really packed: the size of DATA says so
        read(tmp_path, build(data[:5], 2, (10, 10), words))


def test_channels_of_different_types_in_one_file(tmp_path: Path) -> None:
    row = struct.pack("<fHd", 1.5, 40000, 0.1)
    words = {"$P2DATATYPE": "I", "$P3DATATYPE": "D"}
    file = read(tmp_path, build(row * 2, 2, (32, 16, 64), words, version="FCS3.2"))
    assert file.read().tolist() == [[1.5, 40000.0, 0.1]] * 2
    assert file.read().dtype == np.float64


def test_log_amplification_of_integers(tmp_path: Path) -> None:
    # FCS 3.1, $PnE: 10^(4 · 256 / 1024) · 1 = 10; 10^(4 · 512 / 1024) · 0.1 = 10; f2 = 0 stands for 1.
    data = struct.pack("<6H", 256, 512, 512, 256, 0, 1023)
    words = {"$DATATYPE": "I", "$P1R": "1024", "$P2R": "1024", "$P3R": "1024", "$P1E": "4,0", "$P2E": "4,0.1"}
    file = read(tmp_path, build(data, 2, (16, 16, 16), words))
    np.testing.assert_allclose(file.read(), [[10.0, 10.0, 512.0], [10.0, 0.1, 1023.0]], rtol=1e-12)
    assert file.read(apply_log=False).tolist() == [[256, 512, 512], [256, 0, 1023]]
    assert any("log $PnE was applied" in note for note in file.notes)
    np.testing.assert_allclose(np.concatenate(list(file.chunks([1], 1))), [[10.0], [0.1]], rtol=1e-12)


def test_names_labels_and_ranges(tmp_path: Path) -> None:
    words = {
        "$P1N": " FSC-A ",
        "$P1S": " ",
        "$P2N": "Nd/142Di",
        "$P2S": "CD19 µ",
        "$P2R": "262144.5",
        "Own key": "a//b",
    }
    file = read(tmp_path, build(bytes(8), 1, (32, 32), words))
    assert file.channels == (Channel(0, "FSC-A", "", 2.0**32), Channel(1, "Nd/142Di", "CD19 µ", 262144.5))
    assert file.keywords["OWN KEY"] == "a//b"


@pytest.mark.parametrize("delimiter", [*"/|\\^+*!.]\t\x0c\x1e", "é"])
def test_every_delimiter(delimiter: str, tmp_path: Path) -> None:
    values = struct.pack("<2f", 1, 2)
    if delimiter == "é":
        file = read(tmp_path, build(values, 1, (32, 32), {"$P1S": "x"}, delimiter=delimiter))
    else:
        file = read(tmp_path, build(values, 1, (32, 32), {"$P1S": f"a{delimiter}b"}, delimiter=delimiter))
        assert file.channels[0].label == f"a{delimiter}b".strip()
    assert file.read().tolist() == [[1.0, 2.0]]


def test_empty_values_and_escaped_delimiters_in_one_file(tmp_path: Path) -> None:
    words = {"$P1S": "", "$P2S": "NK1/1", "$CYT": "", "$FIL": "/home/x", "LAST": ""}
    file = read(tmp_path, build(struct.pack("<2f", 1, 2), 1, (32, 32), words))
    assert [channel.label for channel in file.channels] == ["", "NK1/1"]
    assert (file.keywords["$CYT"], file.keywords["$FIL"], file.keywords["LAST"]) == ("", "/home/x", "")
    assert file.read().tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("n_events", [0, 1, 2])
def test_few_events(n_events: int, tmp_path: Path) -> None:
    file = read(tmp_path, build(struct.pack("<2f", 1, 2) * n_events, n_events, (32, 32), {}))
    assert file.n_events == n_events
    assert file.read().shape == (n_events, 2)
    assert file.read([1]).shape == (n_events, 1)
    assert [len(piece) for piece in file.chunks(None, 1)] == [1] * n_events


def test_rows_columns_and_pieces_are_those_of_the_whole(tmp_path: Path) -> None:
    values = np.arange(70_000 * 7, dtype=np.float32).reshape(-1, 7)  # longer than one block of the decoder
    file = read(tmp_path, build(values.astype(">f4").tobytes(), len(values), (32,) * 7, {"$BYTEORD": "4,3,2,1"}))
    np.testing.assert_array_equal(file.read(), values)
    np.testing.assert_array_equal(file.read([6, 0, 0], 12_345, 60_001), values[12_345:60_001, [6, 0, 0]])
    np.testing.assert_array_equal(file.read(None, 69_999, 80_000), values[69_999:])
    assert file.read([], 0, 3).shape == (3, 0)
    assert file.read([1], 5, 2).shape == (0, 1)
    pieces = list(file.chunks([2, 3], 30_000))
    assert [len(piece) for piece in pieces] == [30_000, 30_000, 10_000]
    np.testing.assert_array_equal(np.concatenate(pieces), values[:, 2:4])
    for wrong in (lambda: file.read([7]), lambda: file.read([-1]), lambda: file.read(start=-1)):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError):
        next(file.chunks(None, 0))


def test_reading_two_columns_of_a_piece_allocates_no_more_than_them(tmp_path: Path) -> None:
    n_events, n_channels, piece = 1_000_000, 40, 100_000
    size = 4 * n_events * n_channels  # more than HEADER's eight digits can say
    words = {"$BYTEORD": "4,3,2,1", "$TOT": f"{n_events}", "$BEGINDATA": "000000001", "$ENDDATA": "000000002"}
    header = build(b"", 0, (32,) * n_channels, words)
    header = header.replace(b"000000001", b"%09d" % len(header)).replace(
        b"000000002", b"%09d" % (len(header) + size - 1)
    )
    path = tmp_path / "sparse.fcs"
    path.write_bytes(header[:26] + b"%8d%8d" % (0, 0) + header[42:])
    with path.open("r+b") as file:
        file.truncate(len(header) + size)  # 160 MB of zeros that take no room
    opened = open_fcs(path)  # loads fcsparser, which is not to be counted
    tracemalloc.start()
    try:
        open_fcs(path)
        opening = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        values = opened.read([3, 17], 500_000, 500_000 + piece)
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert values.shape == (piece, 2)
    assert opening < 1_000_000
    assert reading < values.nbytes + 1_500_000  # one block of the decoder beside the result


KINDS = {"F": (32,), "D": (64,), "I": (8, 16, 24, 32, 64)}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_layout_names_and_delimiter_are_read_exactly(data: st.DataObject, tmp_path: Path) -> None:
    """Files of random type, widths, byte order, delimiter and names, their values packed one by one."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    n_channels, n_events = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 20))
    bits = [data.draw(st.sampled_from(KINDS[kind])) for _ in range(n_channels)]
    order = data.draw(st.sampled_from("<>"))
    delimiter = data.draw(st.sampled_from("/|\\!*\t\x0c\x1e"))
    # Blanks at the ends are not kept; a delimiter at the beginning or end of a value cannot be told from the real one.
    text = st.text("ab$ µ-/|\\!*()[]<>=.☃", min_size=1, max_size=8).filter(
        lambda name: name.strip() == name and name[0] != delimiter != name[-1] and delimiter * 2 not in name
    )
    names = data.draw(st.lists(text, min_size=n_channels, max_size=n_channels))
    words = {"$DATATYPE": kind, "$BYTEORD": "1,2,3,4" if order == "<" else "4,3,2,1"}
    words |= {f"$P{number}N": name for number, name in enumerate(names, start=1)}
    rows, raw = [], b""
    for _ in range(n_events):
        row = []
        for width in bits:
            if kind == "I":
                value = float(data.draw(st.integers(0, min(2**width - 1, 2**53))))
                raw += int(value).to_bytes(width // 8, "little" if order == "<" else "big")
            else:
                value = data.draw(st.floats(width=width))
                raw += struct.pack(order + {32: "f", 64: "d"}[width], value)
            row.append(value)
        rows.append(row)
    file = read(tmp_path, build(raw, n_events, bits, words, delimiter=delimiter))
    np.testing.assert_array_equal(file.read(), np.array(rows, float).reshape(n_events, n_channels))
    assert [channel.name for channel in file.channels] == names


# --- writing ----------------------------------------------------------------------------------------------------------

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
def test_what_is_written_is_read_back_by_all_three_readers(
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
    # FlowIO by itself; fcsparser by its TEXT, for its DATA reader needs numpy 1.
    flowio = _flowio(path)
    assert flowio.pnn_labels == names
    if len(events):
        np.testing.assert_array_equal(flowio.as_array(preprocess=False), events)
    parser = FCSParser()
    parser.load_file(BytesIO(path.read_bytes()), read_data=False)
    assert list(parser.channel_names_n) == names
    assert [written.name for written in tmp_path.iterdir()] == ["written.fcs"]


@given(name=odd_text)
def test_clean_names_stay_as_they_are(name: str) -> None:
    assert clean_name(clean_name(name)) == clean_name(name)


@pytest.mark.parametrize("name", ["CD3", "NK1/1", "a//b", "Nd(142)Di", "µ-β 7", "[V450]", "=cmd()", "-A", "a|b\\c"])
def test_ordinary_names_are_not_touched(name: str, tmp_path: Path) -> None:
    assert clean_name(name) == name
    write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, name, name, 10)])
    file = open_fcs(tmp_path / "x.fcs")
    assert (file.channels[0].name, file.channels[0].label) == (name, name)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("/a/", "_a_"), ("//", "__"), ("A$1", "A_1"), (" a\nb ", "a b"), ("\ud800", "?"), ("\x00", "")],
)
def test_names_that_no_reader_would_give_back_are_changed(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_keywords_are_kept_but_never_the_layout(tmp_path: Path) -> None:
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


def test_ranges_grow_with_the_values_and_never_shrink(tmp_path: Path) -> None:
    events = np.array([[10.2, 3.0, np.nan], [99.5, -7.0, np.nan]])
    write_fcs(tmp_path / "x.fcs", events, [Channel(i, f"C{i}", "", 50) for i in range(3)])
    assert [channel.range for channel in open_fcs(tmp_path / "x.fcs").channels] == [101, 50, 50]


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path: Path) -> None:
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
    with pytest.raises(OutputError, match="cannot be written"):
        write_fcs(tmp_path / "folder.fcs", [[1.0]], channel, force=True)
    for wrong in ([1.0], [[1.0, 2.0]], [[[1.0]]]):
        with pytest.raises(UsageError):
            write_fcs(tmp_path / "y.fcs", wrong, channel)
    assert sorted(written.name for written in tmp_path.iterdir()) == ["folder.fcs", "x.fcs"]


def test_lengths_of_text_that_flowio_miscounts_are_written_too(tmp_path: Path) -> None:
    refused = 0
    for length in range(420, 560):
        words = {"COMMENT": "x" * length}
        try:
            create_fcs(BytesIO(), [1.0], ["A"], metadata_dict=words)
        except Exception as error:  # noqa: BLE001 (FlowIO raises nothing more specific)
            refused += "text offset" in str(error)
        write_fcs(tmp_path / "x.fcs", [[1.0]], [Channel(0, "A", "", 262144)], words, force=True)
        file = open_fcs(tmp_path / "x.fcs")
        assert (file.read().tolist(), file.keywords["COMMENT"]) == ([[1.0]], words["COMMENT"])
    assert refused  # else this test has lost its subject
