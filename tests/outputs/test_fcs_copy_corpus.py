"""Copies of real files and of files that users reported, read back by four readers."""

import re
import runpy
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fcsparser.api import FCSParser
from flowio import FlowData

from cytovae.cells import Assignment
from cytovae.errors import FcsError
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.outputs.columns import Extras
from cytovae.outputs.fcs_copy import FcsWriter

DATA = Path(__file__).parents[3] / "shared" / "data"
FILES = sorted(
    path
    for folder in ("fcs_corpus", "field_cases")
    for path in (DATA / folder).rglob("*")
    if path.suffix.casefold() in (".fcs", ".lmd", ".001")
)
CASES = DATA / "field_cases"
CHANGED = re.compile(
    r"\$(?:(?:BEGIN|END)(?:DATA|STEXT|ANALYSIS)|BYTEORD|DATATYPE|MODE|NEXTDATA|PAR|TOT|UNICODE|P\d+(?:[BENRS]|DATATYPE)"
    r"|ORIGINALITY|LAST_MODIFIED|LAST_MODIFIER)"
)

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # by flowcore_text.py
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not FILES, reason="the shared data sets are not available"),
]


def copy(file: FcsFile, target: Path) -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), file.n_events).astype(np.float32)
    coordinates = np.random.default_rng(1).normal(size=(file.n_events, 2)).astype(np.float32)
    extras = Extras(("T/B", "", "|NK|"), umap=True)
    with FcsWriter(target, file, 3, extras=extras) as writer:
        writer.write(file.path.name, 0, Assignment(p.argmax(1).astype(np.int32) + 1, p, coordinates=coordinates))


def flowcore_parse() -> Callable[[Path], dict[str, str]]:
    parse: Callable[[Path], dict[str, str]] = runpy.run_path(str(CASES / "flowcore_text.py"))["parse"]
    return parse


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DATA).as_posix())
def test_every_reader_reads_the_copy(path: Path, tmp_path: Path) -> None:
    try:
        file = open_fcs(path)
    except FcsError:
        pytest.skip("the file itself cannot be read")
    target, values, n_channels = tmp_path / "copy.fcs", file.read(), len(file.channels)
    copy(file, target)

    copied = open_fcs(target)
    np.testing.assert_array_equal(copied.read(list(range(n_channels))), values)
    assert [c.name for c in copied.channels][:n_channels] == [c.name for c in file.channels]
    assert [c.label for c in copied.channels][:n_channels] == [c.label for c in file.channels]
    assert copied.read([n_channels + 4, n_channels + 5]).min(initial=0) >= 0

    kept = {
        name: value
        for name, value in file.keywords.items()
        if not CHANGED.fullmatch(name) and not re.fullmatch(r"\$P\d+G", name)
    }
    assert {name: copied.keywords.get(name, "").strip(" \0") for name in kept} == {
        name: value.strip(" \0") for name, value in kept.items()
    }

    with target.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flowio = FlowData(stream)
    np.testing.assert_array_equal(flowio.as_array(preprocess=False), copied.read())
    parser = FCSParser()
    parser.load_file(BytesIO(target.read_bytes()), read_data=False)
    assert list(parser.channel_names_n) == [c.name for c in copied.channels]

    flowcore = flowcore_parse()(target)
    assert flowcore["$PAR"] == str(n_channels + 6)
    for number, channel in enumerate(copied.channels, start=1):
        assert flowcore[f"$P{number}N"].encode("latin-1").decode() == channel.name
        assert {f"$P{number}{letter}" for letter in "BER"} <= set(flowcore)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared data sets are not available")
@pytest.mark.parametrize("name", ["int32.fcs", "double.fcs"])
def test_time_stamps_and_event_numbers_are_kept(name: str, tmp_path: Path) -> None:
    file = open_fcs(CASES / "float32_ids" / name)
    copy(file, tmp_path / "x.fcs")
    copied = open_fcs(tmp_path / "x.fcs")
    assert copied.keywords["$DATATYPE"] == "D"
    distinct = [len(np.unique(column)) for column in file.read().T]
    assert [len(np.unique(column)) for column in copied.read().T][: len(distinct)] == distinct
