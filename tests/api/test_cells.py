"""Cells from arrays, data frames, AnnData and files have the values that they hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cytovae as cv
from cytovae.errors import InputError, PanelError, UsageError

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"


@pytest.fixture
def values() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).gamma(1, 5, (60, 3)).astype(np.float32)


def test_an_array_keeps_its_order_and_is_transformed(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    cells = cv.read_cells(values, markers=["CD3", "CD4", "CD8"], cofactor=2.0)
    assert cells.markers == ("CD3", "CD4", "CD8")
    np.testing.assert_allclose(cells.values, np.arcsinh(values / 2), rtol=1e-6)
    assert cells.table.event.tolist() == list(range(60))


def test_an_array_needs_names() -> None:
    with pytest.raises(UsageError, match="markers="):
        cv.read_cells(np.zeros((3, 2)))
    with pytest.raises(UsageError, match=r"\(3, 2\)"):
        cv.read_cells(np.zeros((3, 2)), markers=["CD3"])


def test_a_data_frame_gives_its_columns_of_numbers(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    frame = pd.DataFrame(values, columns=["CD3", "CD4", "CD8"]).assign(donor="a")
    cells = cv.read_cells(frame, transform="none")
    assert cells.markers == ("CD3", "CD4", "CD8")
    np.testing.assert_array_equal(cells.values, values)


def test_a_list_of_tables_is_a_study_of_several_files(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    first = pd.DataFrame(values[:20], columns=["CD3", "CD4", "CD8"])
    second = pd.DataFrame(values[20:, ::-1], columns=["CD8", "CD4", "CD3"])  # another order of columns
    cells = cv.read_cells([first, second], transform="none")
    assert cells.table.files == ("table_1", "table_2")
    np.testing.assert_array_equal(cells.values, values)


def test_files_are_read_as_the_command_reads_them() -> None:
    panel = cv.choose_panel(SAMPLE, markers=["CD3", "CD19"])
    file = cv.open_events(SAMPLE)
    cells = cv.read_cells(SAMPLE, panel)
    raw = file.read([next(c.index for c in file.channels if c.label.endswith(name)) for name in ("_CD3", "_CD19")])
    np.testing.assert_allclose(cells.values, np.arcsinh(raw / 5), rtol=1e-5, atol=1e-6)


def test_a_sample_is_drawn_from_the_seed(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    names = ["CD3", "CD4", "CD8"]
    first, again, other = (
        cv.read_cells(values, markers=names, at_most=20, seed=seed).table.event.tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == 20


def test_what_is_not_data_is_refused() -> None:
    with pytest.raises(UsageError, match="int is not a kind of data"):
        cv.read_cells(3)
    with pytest.raises(UsageError, match="empty"):
        cv.read_cells([])
    with pytest.raises(InputError):
        cv.open_events("no_such_file.fcs")
    with pytest.raises(PanelError, match="CD999"):
        cv.choose_panel(SAMPLE, markers=["CD999"])


def test_values_that_are_not_finite_are_refused(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    values[3, 1] = np.nan
    with pytest.raises(InputError, match="CD4"):
        cv.read_cells(values, markers=["CD3", "CD4", "CD8"])


def test_inspect_gives_the_channels_of_a_table(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    (summary,) = cv.inspect(pd.DataFrame(values, columns=["CD3", "CD4", "Time"]))
    assert summary.events == 60
    assert [channel.used for channel in summary.channels] == [True, True, False]
    assert summary.channels[0].maximum == pytest.approx(float(values[:, 0].max()))
