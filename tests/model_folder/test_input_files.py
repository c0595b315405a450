"""Records of the training files: identities and checksums."""

import hashlib
import os
from pathlib import Path

import pytest

from cytovae.errors import InputError
from cytovae.events.array_file import array_file
from cytovae.events.event_file import open_events
from cytovae.model_folder.input_files import identities, input_records


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("CD3,CD4\n1,2\n3,4\n")
    return path


def test_a_record_holds_the_checksum_of_the_file(table: Path) -> None:
    before = identities([table])
    (record,) = input_records([open_events(table)], [1], before)
    assert record.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    assert (record.file, record.bytes, record.events, record.cells) == (str(table), table.stat().st_size, 2, 1)


def test_a_file_of_the_same_size_and_time_is_another_file(table: Path) -> None:
    before, file = identities([table]), open_events(table)
    other = table.with_name("other")
    other.write_text("CD3,CD4\n5,6\n7,8\n")
    os.utime(other, ns=(table.stat().st_atime_ns, table.stat().st_mtime_ns))
    other.replace(table)
    with pytest.raises(InputError, match="another content than when it was opened"):
        input_records([file], [1], before)
    (record,) = input_records([file], [1], before, strict=False)
    assert record.sha256 == ""


def test_a_file_that_is_gone_has_no_checksum(table: Path) -> None:
    before, file = identities([table]), open_events(table)
    table.unlink()
    with pytest.raises(InputError, match="No such file"):
        input_records([file], [1], before)
    (record,) = input_records([file], [1], before, strict=False)
    assert (record.sha256, record.events) == ("", 2)


def test_events_in_memory_are_recorded_by_their_values() -> None:
    file = array_file([[1.0, 2.0]], ["CD3", "CD4"], "cells")
    (record,) = input_records([file], [1])
    assert (record.file, record.bytes) == ("cells", 16)
    assert record.sha256 == hashlib.sha256(file.read().tobytes()).hexdigest()
