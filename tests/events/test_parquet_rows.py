"""Rows of Parquet files, against what pyarrow reads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cytovae.errors import InputError
from cytovae.events import parquet_rows
from cytovae.events.parquet_rows import read_rows

ROWS = 5_000


def write(path: Path, rows_of_group: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    table = pa.table({"CD3": rng.normal(size=ROWS).astype(np.float32), "CD4": rng.integers(0, 9, ROWS)})
    parquet.write_table(table, path, row_group_size=rows_of_group)
    return np.column_stack([table["CD3"].to_numpy(), table["CD4"].to_numpy()])


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of more than 1,000 rows are streamed, 300 rows at a time."""
    monkeypatch.setattr(parquet_rows, "LARGE_GROUP", 1_000)
    monkeypatch.setattr(parquet_rows, "_BATCH_ROWS", 300)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("rows_of_group", [400, 2_000, ROWS])
def test_any_rows_in_any_order(tmp_path: Path, rows_of_group: int) -> None:
    expected = write(tmp_path / "a.parquet", rows_of_group)
    rng = np.random.default_rng(rows_of_group)
    for start, stop in [(0, ROWS), (0, 0), (4_999, 5_000), *np.sort(rng.integers(0, ROWS, (40, 2)), axis=1).tolist()]:
        values = np.empty((stop - start, 2))
        read_rows(tmp_path / "a.parquet", ["CD3", "CD4"], start, values)
        np.testing.assert_array_equal(values, expected[start:stop])


@pytest.mark.usefixtures("small_steps")
def test_threads_read_the_same(tmp_path: Path) -> None:
    expected = write(tmp_path / "a.parquet", ROWS)

    def read(start: int) -> np.ndarray:
        values = np.empty((100, 2))
        read_rows(tmp_path / "a.parquet", ["CD3", "CD4"], start, values)
        return values

    with ThreadPoolExecutor(6) as pool:
        for start, values in zip(range(0, ROWS, 100), pool.map(read, range(0, ROWS, 100)), strict=True):
            np.testing.assert_array_equal(values, expected[start : start + 100])


@pytest.mark.usefixtures("small_steps")
def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path, values = tmp_path / "a.parquet", np.empty((10, 1))
    write(path, ROWS)
    read_rows(path, ["CD4"], 0, values)
    parquet.write_table(pa.table({"CD4": np.arange(ROWS) + 100}), tmp_path / "b.parquet", row_group_size=ROWS)
    (tmp_path / "b.parquet").replace(path)
    read_rows(path, ["CD4"], 10, values)
    np.testing.assert_array_equal(values[:, 0], np.arange(110, 120))


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ROWS)
    with pytest.raises(InputError, match="5000 rows"):
        read_rows(tmp_path / "a.parquet", ["CD3"], ROWS - 5, np.empty((10, 1)))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_row_group(tmp_path: Path) -> None:
    path, n = tmp_path / "a.parquet", 20_000_000  # 160 MB in memory
    values = np.random.default_rng(0).normal(size=n).astype(np.float32)
    parquet.write_table(pa.table({"CD3": values, "CD4": values}), path, row_group_size=n, use_dictionary=False)
    program = f"""
import resource
from pathlib import Path
from cytovae.events.event_file import open_events
import pyarrow.parquet
file = open_events(Path({str(path)!r}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(len(chunk) for chunk in file.chunks(None, 250_000)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == n
    assert grown < 60_000 * (1 if sys.platform != "darwin" else 1024)  # kB
