"""Reading valid FCS files, against values worked out by hand."""

import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytovae.errors import FcsError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs


def build(
    data: bytes,
    n_events: int,
    bits: Sequence[int],
    words: Mapping[str, str],
    *,
    version: str = "FCS3.1",
    delimiter: str = "/",
) -> bytes:
    """The bytes of an FCS file around ``data``. ``words`` adds to the required keywords, or replaces them."""
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
    path = tmp_path / "built.fcs"
    path.write_bytes(raw)
    return open_fcs(path)


@pytest.mark.parametrize("version", ["FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2"])
@pytest.mark.parametrize(("byteord", "order"), [("1,2,3,4", "<"), ("4,3,2,1", ">"), ("2,1", ">")])
def test_floats_in_both_byte_orders_and_every_version(version: str, byteord: str, order: str, tmp_path: Path) -> None:
    values = [[1.5, -2.25], [float("nan"), 3e38], [0.0, float("-inf")]]
    data = b"".join(struct.pack(order + "2f", *row) for row in values)
    file = read(tmp_path, build(data, 3, (32, 32), {"$BYTEORD": byteord}, version=version))
    assert file.version == version
    assert file.read().dtype == np.float32
    assert file.read().dtype.isnative
    np.testing.assert_array_equal(file.read(), np.array(values, np.float32))
    assert not file.notes


def test_doubles_keep_all_digits(tmp_path: Path) -> None:
    data = struct.pack(">4d", 0.1, 1e300, -0.0, 123456789.123456789)
    file = read(tmp_path, build(data, 2, (64, 64), {"$DATATYPE": "D", "$BYTEORD": "4,3,2,1"}))
    assert file.dtype == np.float64
    assert file.read().tolist() == [[0.1, 1e300], [-0.0, 123456789.123456789]]


@pytest.mark.parametrize("width", [8, 16, 24, 32, 64])
@pytest.mark.parametrize("order", ["little", "big"])
def test_integers_of_every_width(width: int, order: str, tmp_path: Path) -> None:
    # The last value is the largest. float64 holds all of them exactly except 2^64 − 1, which rounds to 2^64.
    values = [0, 1, 2 ** (width - 1) + 1 if width < 64 else 2**53, 2**width - 1]
    data = b"".join(value.to_bytes(width // 8, order) for value in values)
    words = {"$DATATYPE": "I", "$BYTEORD": "1,2,3,4" if order == "little" else "4,3,2,1"}
    file = read(tmp_path, build(data, 2, (width, width), words))
    assert file.read().dtype == np.float64
    assert file.read().tolist() == [[float(v) for v in values[:2]], [float(v) for v in values[2:]]]


def test_mixed_widths_and_bits_above_the_range(tmp_path: Path) -> None:
    # A range of 1000 needs 10 bits: 0xFFFF → 1023; 2^20 needs 20: 0xABCDEF → 0xBCDEF; 256 needs all 8 bits.
    row = bytes([200]) + (0xFFFF).to_bytes(2, "big") + (0xABCDEF).to_bytes(3, "big") + (70000).to_bytes(4, "big")
    words = {"$DATATYPE": "I", "$BYTEORD": "4,3,2,1", "$P2R": "1000", "$P3R": str(2**20)}
    file = read(tmp_path, build(row * 3, 3, (8, 16, 24, 32), words))
    assert file.read().tolist() == [[200.0, 1023.0, float(0xBCDEF), 70000.0]] * 3
    assert file.read([3, 1]).tolist() == [[70000.0, 1023.0]] * 3


def test_ten_bits_in_sixteen_bit_words(tmp_path: Path) -> None:
    data = struct.pack("<4H", 5, 1023, 0xFC01, 512)
    words = {"$DATATYPE": "I", "$BYTEORD": "1,2", "$P1R": "1024", "$P2R": "1024"}
    assert read(tmp_path, build(data, 2, (10, 10), words)).read().tolist() == [[5.0, 1023.0], [1.0, 512.0]]
    with pytest.raises(FcsError, match="DATA"):  # packed bits, as the size of DATA shows
        read(tmp_path, build(data[:5], 2, (10, 10), words))


def test_channels_of_different_types_in_one_file(tmp_path: Path) -> None:
    row = struct.pack("<fHd", 1.5, 40000, 0.1)
    words = {"$P2DATATYPE": "I", "$P3DATATYPE": "D"}
    file = read(tmp_path, build(row * 2, 2, (32, 16, 64), words, version="FCS3.2"))
    assert file.read().tolist() == [[1.5, 40000.0, 0.1]] * 2
    assert file.read().dtype == np.float64


def test_log_amplification_of_integers(tmp_path: Path) -> None:
    # FCS 3.1, $PnE: 10^(4 · 256 / 1024) · 1 = 10; 10^(4 · 512 / 1024) · 0.1 = 10; a value at zero of 0 means 1.
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
def test_delimiters(delimiter: str, tmp_path: Path) -> None:
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
    assert [len(chunk) for chunk in file.chunks(None, 1)] == [1] * n_events


def test_rows_columns_and_chunks_equal_the_whole_array(tmp_path: Path) -> None:
    values = np.arange(70_000 * 7, dtype=np.float32).reshape(-1, 7)  # more than one block of the decoder
    file = read(tmp_path, build(values.astype(">f4").tobytes(), len(values), (32,) * 7, {"$BYTEORD": "4,3,2,1"}))
    np.testing.assert_array_equal(file.read(), values)
    np.testing.assert_array_equal(file.read([6, 0, 0], 12_345, 60_001), values[12_345:60_001, [6, 0, 0]])
    np.testing.assert_array_equal(file.read(None, 69_999, 80_000), values[69_999:])
    assert file.read([], 0, 3).shape == (3, 0)
    assert file.read([1], 5, 2).shape == (0, 1)
    chunks = list(file.chunks([2, 3], 30_000))
    assert [len(chunk) for chunk in chunks] == [30_000, 30_000, 10_000]
    np.testing.assert_array_equal(np.concatenate(chunks), values[:, 2:4])
    for wrong in (lambda: file.read([7]), lambda: file.read([-1]), lambda: file.read(start=-1)):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError):
        next(file.chunks(None, 0))


def test_reading_part_of_a_file_allocates_little_more_than_the_result(tmp_path: Path) -> None:
    n_events, n_channels, n_read = 1_000_000, 40, 100_000
    size = 4 * n_events * n_channels  # more than the eight digits of HEADER can hold
    words = {"$BYTEORD": "4,3,2,1", "$TOT": f"{n_events}", "$BEGINDATA": "000000001", "$ENDDATA": "000000002"}
    header = build(b"", 0, (32,) * n_channels, words)
    header = header.replace(b"000000001", b"%09d" % len(header)).replace(
        b"000000002", b"%09d" % (len(header) + size - 1)
    )
    path = tmp_path / "sparse.fcs"
    path.write_bytes(header[:26] + b"%8d%8d" % (0, 0) + header[42:])
    with path.open("r+b") as file:
        file.truncate(len(header) + size)  # 160 MB of zeros in a sparse file
    opened = open_fcs(path)  # imports fcsparser, which must not be counted
    tracemalloc.start()
    try:
        open_fcs(path)
        opening = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        values = opened.read([3, 17], 500_000, 500_000 + n_read)
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert values.shape == (n_read, 2)
    assert opening < 1_000_000
    assert reading < values.nbytes + 1_500_000  # the result and one block of the decoder


KINDS = {"F": (32,), "D": (64,), "I": (8, 16, 24, 32, 64)}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_layouts_names_and_delimiters_are_read_exactly(data: st.DataObject, tmp_path: Path) -> None:
    """Files with a random type, widths, byte order, delimiter and names; their values are packed one by one."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    n_channels, n_events = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 20))
    bits = [data.draw(st.sampled_from(KINDS[kind])) for _ in range(n_channels)]
    order = data.draw(st.sampled_from("<>"))
    delimiter = data.draw(st.sampled_from("/|\\!*\t\x0c\x1e"))
    # Blanks at the ends are not preserved. A delimiter at either end of a value is ambiguous.
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
