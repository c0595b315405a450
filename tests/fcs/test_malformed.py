"""Damaged and hostile FCS files: they raise one FcsError or give the true values, never other values.

``CYTOVAE_MUTATIONS=20000 pytest tests/fcs/test_malformed.py -k mutation`` tries more mutations; the default is 300 per
layout.

If one byte of HEADER or TEXT changes, exactly one of these happens: an FcsError; the values of the unchanged file; or
the changed file is itself a valid FCS file with other values, and those are read. The strict reader below, which shares
no code with the package and tolerates nothing, decides what is valid. No reader can detect the last case. It arises if
$DATATYPE changes between F and I (32 bits), or if $PnR (the mask) or $PnE (the logarithm) of an integer channel changes
to another legal value.
"""

import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.small_fcs import FLOAT, INTEGER, LAYOUTS, NotSound, same_values, strict_values

from cytovae.errors import FcsError, InputError
from cytovae.fcs.file import open_fcs

MUTATIONS = int(os.environ.get("CYTOVAE_MUTATIONS", "300"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.fcs"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_valid_layouts_equal_the_strict_reader(layout: str, path: Path) -> None:
    raw = LAYOUTS[layout].build()
    path.write_bytes(raw)
    file = open_fcs(path)
    assert same_values(file.read(), strict_values(raw))
    assert [channel.name for channel in file.channels] == [f"CH{n + 1}-A" for n in range(len(file.channels))]
    assert not [note for note in file.notes if not note.startswith("log $PnE")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_truncated_at_any_byte_is_rejected(layout: str, path: Path) -> None:
    raw = LAYOUTS[layout].build()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(FcsError) as caught:
            open_fcs(path)
        assert caught.value.file == str(path)
        assert caught.value.field


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mutation_never_gives_wrong_values(layout: str, path: Path) -> None:
    chance = random.Random(layout)
    # DATA may be followed by a checksum.
    for tail in (b"", b"00000000"):
        sound = replace(LAYOUTS[layout], tail=tail).build()
        truth = strict_values(sound)
        n_bytes = len(sound) - len(tail) - len(LAYOUTS[layout].data())
        for _ in range(MUTATIONS // 2):
            at = chance.randrange(n_bytes)
            plausible = chance.random() < 0.6  # random bytes are mostly rejected at once; plausible ones are the risk
            byte = chance.choice(b"0123456789 /|$,.-+IFDALPNBRSE") if plausible else chance.randrange(256)
            raw = sound[:at] + bytes([byte]) + sound[at + 1 :]
            path.write_bytes(raw)
            try:
                values = open_fcs(path).read()
            except FcsError:
                continue
            if not same_values(values, truth):
                try:
                    expected = strict_values(raw)
                except NotSound as why:
                    pytest.fail(f"byte {at} {sound[at : at + 1]!r} → {bytes([byte])!r} ({why}): {values} for {truth}")
                assert same_values(values, expected), f"byte {at} {sound[at : at + 1]!r} → {bytes([byte])!r}"


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "HEADER version"),
    "gzip": (b"\x1f\x8b" + bytes(100), "HEADER version"),
    "zip": (b"PK\x03\x04" + bytes(100), "HEADER version"),
    "version 1.0": (replace(FLOAT, version="FCS1.0").build(), "HEADER version"),
    "version 4.0": (replace(FLOAT, version="FCS4.0").build(), "HEADER version"),
    "only the magic": (b"FCS3.0", "HEADER"),
    "TEXT inside HEADER": (FLOAT.build(header={0: 10}), "HEADER TEXT begin"),
    "TEXT beyond the file": (FLOAT.build(header={1: 99_999}), "HEADER TEXT end"),
    "TEXT backwards": (FLOAT.build(header={1: 60}), "HEADER TEXT end"),
    "a huge $TOT": (FLOAT.build({"$TOT": str(10**10)}), "$TOT"),
    "a $TOT of 300 digits": (FLOAT.build({"$TOT": "9" * 300}), "$TOT"),
    "a negative $TOT": (FLOAT.build({"$TOT": "-5"}), "$TOT"),
    "a broken $TOT": (FLOAT.build({"$TOT": "5.5"}), "$TOT"),
    "a wrong $TOT": (FLOAT.build({"$TOT": "4"}), "$TOT"),
    "$TOT of none": (FLOAT.build({"$TOT": "0"}), "$TOT"),
    "no $TOT": (FLOAT.build({"$TOT": None}), "$TOT"),
    "a huge $PAR": (FLOAT.build({"$PAR": str(10**10)}), "$P4B"),
    "$PAR 0": (FLOAT.build({"$PAR": "0"}), "$PAR"),
    "a negative $PAR": (FLOAT.build({"$PAR": "-3"}), "$PAR"),
    "a $PAR too small": (FLOAT.build({"$PAR": "2"}), "$PAR"),
    "no $PAR": (FLOAT.build({"$PAR": None}), "$PAR"),
    "no name": (FLOAT.build({"$P2N": None}), "$P2N"),
    "no width": (FLOAT.build({"$P2B": None}), "$P2B"),
    "no range": (FLOAT.build({"$P3R": None}), "$P3R"),
    "no type": (FLOAT.build({"$DATATYPE": None}), "$DATATYPE"),
    "no byte order": (FLOAT.build({"$BYTEORD": None}), "$BYTEORD"),
    "a broken range of integers": (INTEGER.build({"$P2R": "wide"}), "$P2R"),
    "a blank range of integers": (INTEGER.build({"$P2R": " "}), "$P2R"),
    "DATA of FCS 2.0 that is no whole number of events": (
        replace(INTEGER, version="FCS2.0", text_offsets=False).build({"$TOT": None}, header={2: 500, 3: 502}), "$TOT"
    ),
    "ASCII": (FLOAT.build({"$DATATYPE": "A"}), "$DATATYPE"),
    "histogram": (FLOAT.build({"$MODE": "C"}), "$MODE"),
    "mixed byte order": (FLOAT.build({"$BYTEORD": "3,4,1,2"}), "$BYTEORD"),
    "float of 16 bits": (FLOAT.build({"$P1B": "16"}), "$P1B"),
    "integer of 12 bits among others": (INTEGER.build({"$P1B": "12"}), "$P1B"),
    "ASCII in one channel": (FLOAT.build({"$P2DATATYPE": "A"}), "$P2DATATYPE"),
    "broken $PnE": (INTEGER.build({"$P1E": "four"}), "$P1E"),
    "$PnE beyond float64": (INTEGER.build({"$P1E": "400,1"}), "$P1E"),
    "one $PnE lost": (INTEGER.build({"$P2E": None}), "$P2E"),
    "a keyword twice": (FLOAT.build().replace(b"$CYT/built by hand", b"$TOT/7000000000000"), "$TOT"),
    "no offsets of DATA": (replace(FLOAT, header_offsets=False).build({"$BEGINDATA": None, "$ENDDATA": None}), "DATA"),
    "two segments, neither fits": (FLOAT.build({"$BEGINDATA": "100", "$ENDDATA": "200"}, header={3: 900}), "DATA"),
    "an $ENDDATA that no 64-bit integer holds": (
        replace(FLOAT, header_offsets=False).build({"$BEGINDATA": "500", "$ENDDATA": str(2**64)}), "DATA"
    ),
    "offsets of 20 digits": (
        replace(FLOAT, header_offsets=False).build({"$BEGINDATA": "9" * 20, "$ENDDATA": "9" * 20}), "DATA"
    ),
    "DATA two bytes too long": (FLOAT.build({"$BEGINDATA": None, "$ENDDATA": None}, header={2: 500, 3: 561}), "DATA"),
    "a 10 MB TEXT of delimiters": (
        b"FCS3.0    " + b"".join(b"%8d" % n for n in (58, 10_000_057, 0, 0, 0, 0)) + b"/" * 10_000_000, "TEXT"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_each_defect_raises_an_error_that_names_file_and_field(case: str, path: Path) -> None:
    raw, field = REFUSED[case]
    path.write_bytes(raw)
    peak = _peak(lambda: _check_rejected(path, field))
    assert peak < 2 * len(raw) + 1_000_000  # regardless of the size that the file claims


def _check_rejected(path: Path, field: str) -> None:
    with pytest.raises(FcsError) as caught:
        open_fcs(path)
    assert (caught.value.file, caught.value.field) == (str(path), field)
    assert caught.value.found
    assert caught.value.expected


def _peak(call: Callable[[], object]) -> int:
    """The peak of allocated bytes during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_conflicting_offsets_are_resolved_by_size_or_by_the_caller(path: Path) -> None:
    truth = strict_values(FLOAT.build())
    path.write_bytes(FLOAT.build(header={2: 300, 3: 400}))
    file = open_fcs(path)
    assert same_values(file.read(), truth)
    assert any("HEADER puts DATA at" in note for note in file.notes)
    assert same_values(open_fcs(path, offsets="text").read(), truth)
    with pytest.raises(FcsError, match="HEADER bytes 300-400"):
        open_fcs(path, offsets="header")


@pytest.mark.parametrize("offset", [0, 99_999_999])
def test_header_may_refer_to_the_offsets_in_text(offset: int, path: Path) -> None:
    path.write_bytes(FLOAT.build(header={2: offset, 3: offset}))
    assert same_values(open_fcs(path).read(), strict_values(FLOAT.build()))
    assert not open_fcs(path).notes


def test_an_end_one_byte_late_is_tolerated_and_a_begin_one_byte_early_is_not(path: Path) -> None:
    recipe = replace(FLOAT, text_offsets=False, tail=b"00000000")
    sound = recipe.build()
    first, last = int(sound[26:34]), int(sound[34:42])
    path.write_bytes(recipe.build(header={3: last + 1}))
    file = open_fcs(path)
    assert same_values(file.read(), strict_values(sound))
    assert any("one byte late" in note for note in file.notes)
    path.write_bytes(recipe.build(header={2: first - 1}))
    _check_rejected(path, "DATA")


TOLERATED: dict[str, tuple[dict[str, str | None], str]] = {
    "padded and lower-case names": ({"$TOT": None, "  $tot  ": "5", "$P1N": None, "   $P1n": "CH1-A"}, "fcsparser"),
    "an empty value": ({"$CYT": ""}, "fcsparser"),
    "no $NEXTDATA": ({"$NEXTDATA": None}, "fcsparser"),
    "no $MODE": ({"$MODE": None}, ""),
    "$NEXTDATA inside the data set": ({"$NEXTDATA": "70"}, "points to no data set"),
    "$NEXTDATA beyond the file": ({"$NEXTDATA": "99999999999999"}, "points to no data set"),
    "$NEXTDATA below zero": ({"$NEXTDATA": "-64"}, "points to no data set"),
    "a log scale on floats": ({"$P2E": "4,1"}, "has no meaning for float data"),
    "a gain": ({"$P2G": "2.5"}, "not divided"),
    "a name twice": ({"$P2N": "CH1-A"}, "same $PnN"),
    "a blank name": ({"$P2N": " "}, "is blank"),
    "bad offsets of supplemental TEXT": ({"$BEGINSTEXT": "10", "$ENDSTEXT": "20"}, "supplemental TEXT"),
    "a range of NA": ({"$P3R": "NA"}, "'CH3-A' is 'NA', not a number"),
    "an infinite range": ({"$P3R": "Inf"}, "not a number"),
    "a range beyond float64": ({"$P3R": "1.8e308"}, "not a number"),
    "a blank range": ({"$P3R": " "}, "not a number"),
    "an empty range": ({"$P3R": ""}, "not a number"),
    "a negative range": ({"$P3R": "-1"}, "not a number"),
    "a gain that is not a number": ({"$P2G": "high"}, ""),
    "an unpaired name at the end": ({"last": "word/odd"}, "belongs to no keyword"),
}


@pytest.mark.parametrize("case", TOLERATED)
def test_tolerated_oddities_are_noted(case: str, path: Path) -> None:
    changed, note = TOLERATED[case]
    path.write_bytes(FLOAT.build(changed))
    file = open_fcs(path)
    assert same_values(file.read(), strict_values(FLOAT.build()))
    assert [text for text in file.notes if note in text] if note else not file.notes


def test_a_range_that_is_not_a_number_is_unknown(path: Path) -> None:
    path.write_bytes(FLOAT.build({"$P3R": "NA"}))
    assert np.isnan(open_fcs(path).channels[2].range)
    assert open_fcs(path).channels[0].range == 1024


@pytest.mark.parametrize("late", [0, 1])
def test_fcs_2_0_without_tot_counts_the_rows_of_data(late: int, path: Path) -> None:
    recipe = replace(LAYOUTS["16 bits, 2.0"], tail=b"  ")
    whole = recipe.build({"$TOT": None})
    end = int(whole[34:42]) + late
    path.write_bytes(whole[:34] + f"{end:>8}".encode() + whole[42:])
    file = open_fcs(path)
    assert file.n_events == recipe.n_events
    assert same_values(file.read(), strict_values(recipe.build()))


def test_a_wrong_tot_is_named_with_both_numbers(path: Path) -> None:
    path.write_bytes(FLOAT.build({"$TOT": "7"}))
    with pytest.raises(FcsError, match=r"found 7 events, expected 5, because DATA .* exactly 5 rows of 12 bytes"):
        open_fcs(path)


def test_the_error_about_two_segments_names_the_option(path: Path) -> None:
    path.write_bytes(FLOAT.build({"$BEGINDATA": "100", "$ENDDATA": "200"}, header={3: 900}))
    with pytest.raises(FcsError, match="--offsets header or --offsets text"):
        open_fcs(path)


def test_several_data_sets_are_listed_and_the_finer_one_is_named(path: Path) -> None:
    coarse = replace(INTEGER, ranges=("1024", "1024"))
    size = len(coarse.build({"$NEXTDATA": "00000000"}))
    first = coarse.build({"$NEXTDATA": f"{size:08d}"})
    path.write_bytes(first + INTEGER.build())
    (note,) = (note for note in open_fcs(path).notes if "data sets" in note)
    assert "0 (FCS3.1, 2 channels, 5 events, 10 bits), 1 (FCS3.1, 2 channels, 5 events, 32 bits)" in note
    assert "--data-set 1 has the same events with a finer resolution" in note
    assert not any("data sets" in note for note in open_fcs(path, data_set=1).notes)
    path.write_bytes(first + replace(INTEGER, n_events=4).build())  # other events, so neither is better
    (note,) = (note for note in open_fcs(path).notes if "data sets" in note)
    assert "finer" not in note


def test_text_that_is_not_utf8_is_read_as_latin1(path: Path) -> None:
    path.write_bytes(FLOAT.build().replace(b"CD2", b"\xb5g2"))
    file = open_fcs(path)
    assert file.channels[1].label == "µg2"
    assert any("Latin-1" in note for note in file.notes)


def test_a_chain_of_data_sets_is_only_followed_forwards(path: Path) -> None:
    size = len(FLOAT.build({"$NEXTDATA": "00000000"}))
    other = replace(FLOAT, n_events=2)
    path.write_bytes(FLOAT.build({"$NEXTDATA": f"{size:08d}"}) + other.build({"$NEXTDATA": "-0000001"}))
    first, second = open_fcs(path), open_fcs(path, data_set=1)
    assert any("2 data sets" in note for note in first.notes)
    assert same_values(first.read(), strict_values(FLOAT.build()))
    assert same_values(second.read(), strict_values(other.build()))
    with pytest.raises(FcsError, match="data set"):
        open_fcs(path, data_set=2)
    with pytest.raises(FcsError, match="data set"):
        open_fcs(path, data_set=-1)


@pytest.mark.parametrize("back", [0, 1])
def test_a_chain_of_data_sets_that_loops_ends(back: int, path: Path) -> None:
    """The second data set points to itself or to the first, with offsets from the beginning of the file."""
    first = FLOAT.build({"$NEXTDATA": "00000000"})
    size = len(first)
    pointing = f"{back * size:08d}" if back else f"{2**32 - size:010d}"
    path.write_bytes(FLOAT.build({"$NEXTDATA": f"{size:08d}"}) + FLOAT.build({"$NEXTDATA": pointing}))
    file = open_fcs(path)
    assert any("2 data sets" in note for note in file.notes)
    assert same_values(file.read(), strict_values(first))
    assert same_values(open_fcs(path, data_set=1).read(), strict_values(first))


def test_a_hundred_thousand_keywords_are_read(path: Path) -> None:
    path.write_bytes(FLOAT.build({f"WORD{number}": "x" for number in range(100_000)}, header=None))
    file = open_fcs(path)
    assert len(file.keywords) > 100_000
    assert same_values(file.read(), strict_values(FLOAT.build()))


def test_supplemental_text_does_not_override_primary_text(path: Path) -> None:
    raw = FLOAT.build({"$BEGINSTEXT": "0000", "$ENDSTEXT": "0000"})
    more = b"/$TOT/9/NOTE/more/"
    begin = f"$BEGINSTEXT/{len(raw):04d}/$ENDSTEXT/{len(raw) + len(more) - 1:04d}".encode()
    path.write_bytes(raw.replace(b"$BEGINSTEXT/0000/$ENDSTEXT/0000", begin) + more)
    file = open_fcs(path)
    assert (file.n_events, file.keywords["NOTE"]) == (5, "more")
    assert any("supplemental TEXT was read" in note for note in file.notes)


def test_a_path_without_a_regular_file_raises_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.fcs", tmp_path, tmp_path / "x" / "y.fcs", tmp_path / ("n" * 300)):
        with pytest.raises(InputError) as caught:
            open_fcs(path)
        assert caught.value.file == str(path)
    with pytest.raises(InputError):
        open_fcs("nul\x00.fcs")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="regular"):
        open_fcs(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read all files")
def test_a_file_without_read_permission_raises_an_input_error(path: Path) -> None:
    path.write_bytes(FLOAT.build())
    path.chmod(0)
    with pytest.raises(InputError, match="ermission"):
        open_fcs(path)


def test_a_file_that_shrinks_after_opening_is_rejected(path: Path) -> None:
    raw = FLOAT.build()
    path.write_bytes(raw)
    file = open_fcs(path)
    path.write_bytes(raw[:-8])
    with pytest.raises(FcsError, match="shorter"):
        file.read()


def test_a_file_that_is_cut_between_two_reads_raises_an_error(path: Path) -> None:
    recipe = replace(FLOAT, n_events=6_000)
    raw = recipe.build()
    path.write_bytes(raw)
    file = open_fcs(path)
    chunks = file.chunks(None, 100)
    next(chunks)
    os.truncate(path, len(raw) // 2)
    with pytest.raises(FcsError, match="shorter"):
        list(chunks)
    with pytest.raises(FcsError, match="shorter"):
        file.read_at(np.array([0, 5_999]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_single_events_equal_those_of_the_whole_file(layout: str, path: Path) -> None:
    path.write_bytes(replace(LAYOUTS[layout], n_events=9_000).build())
    file = open_fcs(path)
    rows = np.array([0, 1, 7, 4_000, 4_001, 8_999])
    columns = [1, 0]
    np.testing.assert_array_equal(file.read_at(rows, columns), file.read(columns)[rows])
    assert file.read_at(np.array([], int), columns).shape == (0, 2)
