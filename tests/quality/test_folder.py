"""The folder of quality control, written and read again."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from cytovae.errors import InputError, OutputError
from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.quality.check import REASONS, Check, not_done
from cytovae.quality.file_quality import FileQuality
from cytovae.quality.flags import read_flags
from cytovae.quality.folder import quality_folder

REASON = np.array([0, 2, 0, 5, 1], np.uint8)


def write_file(path: Path, first: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_fcs(
        path,
        np.arange(first, first + 10, dtype=np.float32).reshape(5, 2),
        (Channel(0, "a", "", 1e3), Channel(1, "b", "", 1e3)),
    )
    return path


def quality(name: str, reason: np.ndarray = REASON) -> FileQuality:
    checks = [Check(which, reason == number) for number, which in enumerate(REASONS, start=1)]
    checks[3] = not_done("dead", "no viability channel")
    return FileQuality(name, reason, tuple(checks), ("few events: 5",))


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """A folder with the quality of two files of one name."""
    files = [write_file(tmp_path / "a" / "x.fcs"), write_file(tmp_path / "b" / "x.fcs", 1.0)]
    with quality_folder(tmp_path / "qc") as folder:
        folder.add(open_events(files[0]), quality("a/x.fcs"), b"a picture")
        folder.add(open_events(files[1]), quality("b/x.fcs", np.zeros(5, np.uint8)))
    return tmp_path


def test_what_is_written(checked: Path) -> None:
    assert sorted(path.name for path in (checked / "qc").iterdir()) == [
        *("qc.csv", "x.qc.parquet", "x.qc.png", "x_2.qc.parquet")
    ]
    events = pd.read_parquet(checked / "qc" / "x.qc.parquet")
    assert events.to_dict("list") == {
        "event": [0, 1, 2, 3, 4],
        "pass": [True, False, True, False, False],
        "reason": ["", "debris", "", "drift", "margin"],
    }
    index = pd.read_csv(checked / "qc" / "qc.csv")
    first = index.iloc[0]
    assert (first["events"], first["failed"], first["percent_failed"]) == (5, 3, 60.0)
    assert (first["debris"], first["drift"], first["not_done"]) == (1, 1, "dead: no viability channel")
    assert np.isnan(first["dead"])
    assert first["warnings"] == "few events: 5"


def test_files_are_found_by_content_whatever_their_name(checked: Path) -> None:
    moved = shutil.copy(checked / "a" / "x.fcs", checked / "renamed.fcs")
    flags = read_flags(checked / "qc", [open_events(checked / "b" / "x.fcs"), open_events(Path(moved))])
    assert [reason.tolist() for reason in flags.of_files] == [[0] * 5, REASON.tolist()]
    assert [rows.tolist() for rows in flags.passing()] == [[0, 1, 2, 3, 4], [0, 2]]
    assert flags.n_failed == 3


def test_another_file_is_refused(checked: Path) -> None:
    other = open_events(write_file(checked / "a" / "x2.fcs", 7.0))
    with pytest.raises(InputError, match=r"no row with the checksum of .*x2\.fcs"):
        read_flags(checked / "qc", [other])


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qc\.csv: found no such file"):
        read_flags(tmp_path, [])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"event": [0, 1, 2, 3]}, "4 events"),
        ({"event": [0, 1, 2, 4, 3]}, "events in another order"),
        ({"reason": ["", "debris", "", "rain", "margin"]}, "'rain'"),
        ({"pass": [True] * 5}, "an event that passes with a reason"),
    ],
)
def test_a_changed_table_is_refused(checked: Path, changed: dict[str, list[object]], complaint: str) -> None:
    path = checked / "qc" / "x.qc.parquet"
    table = parquet.read_table(path).to_pydict() | changed
    n_rows = len(table["event"])
    parquet.write_table(pa.table({name: values[:n_rows] for name, values in table.items()}), path)
    with pytest.raises(InputError, match=complaint):
        read_flags(checked / "qc", [open_events(checked / "a" / "x.fcs")])


def test_a_lost_table_is_refused(checked: Path) -> None:
    (checked / "qc" / "x.qc.parquet").unlink()
    with pytest.raises(InputError, match=r"x\.qc\.parquet"):
        read_flags(checked / "qc", [open_events(checked / "a" / "x.fcs")])


def test_an_earlier_result_is_replaced_only_with_force_and_other_folders_never(checked: Path) -> None:
    with pytest.raises(OutputError, match="--force"), quality_folder(checked / "qc"):
        pass
    with quality_folder(checked / "qc", force=True) as folder:
        folder.add(open_events(checked / "a" / "x.fcs"), quality("x.fcs"))
    assert sorted(path.name for path in (checked / "qc").iterdir()) == ["qc.csv", "x.qc.parquet"]
    with pytest.raises(OutputError, match="holds other files"), quality_folder(checked / "a", force=True):
        pass


def test_nothing_remains_of_a_run_that_failed(tmp_path: Path) -> None:
    file = open_events(write_file(tmp_path / "in" / "x.fcs"))
    with pytest.raises(RuntimeError), quality_folder(tmp_path / "qc") as folder:  # noqa: PT012
        folder.add(file, quality("x.fcs"))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
