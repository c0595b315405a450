"""Tables as files of events, compared with pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from cytovae.errors import InputError
from cytovae.events.event_file import open_events
from cytovae.events.panel import resolve_panel


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(50, 20, (1_000, 3)), columns=["CD3", "141Pr_CD45", "CD19"])
    return frame.assign(population=rng.choice(["T", "B"], 1_000))


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "semicolon.csv", "x.parquet"])
def test_a_table_equals_that_of_pandas(tmp_path: Path, table: pd.DataFrame, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        table.to_parquet(path, row_group_size=300, index=False)
    else:
        table.to_csv(path, index=False, sep={"x.csv": ",", "x.tsv": "\t"}.get(name, ";"))
    file = open_events(path)
    numbers = table.drop(columns="population").to_numpy()
    assert (file.n_events, [channel.name for channel in file.channels]) == (1_000, list(table)[:3])
    assert "population" in file.notes[0]
    assert np.array_equal(file.read(), numbers)
    assert np.array_equal(file.read([2, 0], 290, 910), numbers[290:910][:, [2, 0]])
    assert np.array_equal(np.concatenate(list(file.chunks([1], 333))), numbers[:, [1]])
    assert file.read([0], 999, 5_000).shape == (1, 1)
    assert resolve_panel(file).names == ("CD3", "CD45", "CD19")  # names are interpreted as in an FCS file


def test_float32_stays_float32_and_empty_cells_are_nan(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"CD3": pa.array([1.5, None], pa.float32())}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("CD3,CD4\n1,\n2,3\n")
    narrow, text = open_events(tmp_path / "x.parquet"), open_events(tmp_path / "x.csv")
    assert narrow.read().dtype == np.float32
    assert np.array_equal(narrow.read(), [[1.5], [np.nan]], equal_nan=True)
    assert np.array_equal(text.read(), [[1, np.nan], [2, 3]], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty line"),
        ("1.5,2\n3,4\n", "names of the channels"),
        ("CD3,CD3\n1,2\n", "twice"),
        ("CD3,CD4\n1,2\n3\n", "readable|header|columns"),
        ("name\nT\n", "only non-numeric columns: name"),
    ],
)
def test_malformed_tables_are_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_events(tmp_path / "x.csv")


def test_a_file_that_is_not_parquet_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("CD3\n1\n")
    with pytest.raises(InputError, match="Parquet"):
        open_events(tmp_path / "x.parquet")
