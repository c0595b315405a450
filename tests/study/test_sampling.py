"""Sampling of several files: how many cells, that they are the right ones, and the warnings about files."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytovae.cells import CellTable
from cytovae.errors import InputError, PanelError, UsageError
from cytovae.events.event_file import file_names
from cytovae.events.marker_file import files_for_model, files_of_study
from cytovae.events.panel import Panel, resolve_panel
from cytovae.events.transform import Transform, arcsinh
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.study.sampling import Sampling, draw_cells, sample_sizes


def make(path: Path, n_events: int, first: float = 0.0, names: tuple[str, ...] = ("CD3", "CD4", "CD8")) -> FcsFile:
    """Every value tells its event and its channel: event · 10 + number of the antibody."""
    events = np.arange(n_events)[:, None] * 10.0 + first
    values = events + np.array([float(name[2:]) for name in names])
    write_fcs(path, values, [Channel(index, name, "", 1e6) for index, name in enumerate(names)])
    return open_fcs(path)


def read_cells(files: list[FcsFile], panel: Panel, transform: Transform, **options: Any) -> CellTable:
    return draw_cells(files_of_study(files, panel, transform), **options)


def plain(file: FcsFile) -> tuple[Panel, Transform]:
    panel = resolve_panel(file)
    return panel, Transform("none", panel.cofactors)


@pytest.mark.parametrize(
    ("sizes", "options", "expected"),
    [
        ([100, 300], {}, (100, 300)),
        ([100, 300], {"sampling": "equal"}, (100, 100)),
        ([100, 300], {"max_events_per_file": 30}, (10, 30)),
        ([100, 300], {"max_events_per_file": 30, "sampling": "equal"}, (30, 30)),
        ([100, 300], {"at_most": 200}, (50, 150)),
        ([100, 300, 0], {"at_most": 100, "sampling": "equal"}, (50, 50, 0)),
        ([1, 1, 1], {"at_most": 2}, (1, 1, 0)),
        ([0, 0], {}, (0, 0)),
    ],
)
def test_sizes_worked_by_hand(sizes: list[int], options: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert sample_sizes(sizes, **options) == expected


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.sampled_from(get_args(Sampling)),
    st.one_of(st.none(), st.integers(1, 10**6)),
)
def test_no_limit_is_passed(sizes: list[int], cap: int | None, sampling: Sampling, at_most: int | None) -> None:
    taken = sample_sizes(sizes, max_events_per_file=cap, sampling=sampling, at_most=at_most)
    assert all(0 <= some <= size for some, size in zip(taken, sizes, strict=True))
    assert cap is None or max(taken) <= cap
    assert at_most is None or sum(taken) <= at_most
    if sampling == "equal":
        assert len({some for some, size in zip(taken, sizes, strict=True) if size}) <= 1
    elif cap is None and at_most is not None:
        assert sum(taken) == min(at_most, sum(sizes))


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        sample_sizes([5], max_events_per_file=0)


def test_all_cells_of_all_files_come_in_order(tmp_path: Path) -> None:
    files = [make(tmp_path / "a.fcs", 5), make(tmp_path / "b.fcs", 3, first=1000.0)]
    panel, transform = plain(files[0])
    cells = read_cells(files, panel, transform)
    assert cells.files == ("a.fcs", "b.fcs")
    assert cells.source.tolist() == [0] * 5 + [1] * 3
    assert cells.event.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert cells.values[:, 0].tolist() == [3, 13, 23, 33, 43, 1003, 1013, 1023]


def test_markers_are_found_by_name_in_every_file(tmp_path: Path) -> None:
    files = [make(tmp_path / "a.fcs", 2), make(tmp_path / "b.fcs", 2, names=("CD8", "CD19", "CD3", "CD4"))]
    panel, transform = plain(files[0])
    cells = read_cells(files, panel, transform)
    assert cells.values.tolist() == [[3, 4, 8], [13, 14, 18]] * 2


def test_a_sample_holds_the_values_of_its_events(tmp_path: Path) -> None:
    # 150,000 events are three chunks; the value of CD3 is 10 · event + 3, exact in float32 below 2^24
    files = [make(tmp_path / "a.fcs", 150_000), make(tmp_path / "b.fcs", 50_000)]
    panel, transform = plain(files[0])
    cells = read_cells(files, panel, transform, at_most=4000, seed=3)
    assert np.bincount(cells.source).tolist() == [3000, 1000]
    assert np.array_equal(cells.values[:, 0], cells.event * 10 + 3)
    for source in (0, 1):
        assert (np.diff(cells.event[cells.source == source]) > 0).all()  # ascending, none twice
    again = read_cells(files, panel, transform, at_most=4000, seed=3)
    assert np.array_equal(cells.event, again.event)
    other = read_cells(files, panel, transform, at_most=4000, seed=4)
    assert not np.array_equal(cells.event, other.event)
    # Each event is equally likely: the mean of 3000 draws from 0 … 149,999 has a standard error of about 790.
    assert abs(cells.event[cells.source == 0].mean() - 74_999.5) < 5 * 790


def test_values_are_transformed(tmp_path: Path) -> None:
    file = make(tmp_path / "a.fcs", 4)
    panel = resolve_panel(file, cofactor=150.0)
    cells = read_cells([file], panel, Transform("arcsinh", panel.cofactors))
    assert np.array_equal(cells.values, arcsinh(file.read(), 150.0))


def test_bad_values_and_missing_markers_name_the_file(tmp_path: Path) -> None:
    first = make(tmp_path / "a.fcs", 3)
    panel, transform = plain(first)
    with pytest.raises(PanelError, match=r"b\.fcs.*CD8 is missing"):
        read_cells([first, make(tmp_path / "b.fcs", 3, names=("CD3", "CD4"))], panel, transform)
    values = np.ones((3, 3))
    values[1, 2] = np.nan
    write_fcs(tmp_path / "c.fcs", values, first.channels)
    with pytest.raises(InputError, match=r"c\.fcs.*1 in CD8"):
        read_cells([first, open_fcs(tmp_path / "c.fcs")], panel, transform)


def test_files_without_events_are_passed_over(tmp_path: Path) -> None:
    empty, some = make(tmp_path / "a.fcs", 0), make(tmp_path / "b.fcs", 3)
    panel, transform = plain(some)
    assert read_cells([empty, some], panel, transform, sampling="equal").source.tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="no events"):
        read_cells([empty], panel, transform)


def test_files_of_the_same_name_are_called_by_their_paths(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    files = [make(tmp_path / "x" / "a.fcs", 1), make(tmp_path / "y" / "a.fcs", 1), make(tmp_path / "b.fcs", 1)]
    assert file_names(files) == (str(tmp_path / "x" / "a.fcs"), str(tmp_path / "y" / "a.fcs"), "b.fcs")


def test_a_spillover_matrix_and_an_odd_scale_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    channels = [Channel(index, name, "", 262144.0) for index, name in enumerate(("CD3", "CD4", "CD8"))]
    write_fcs(tmp_path / "a.fcs", rng.uniform(0, 2e5, (500, 3)), channels, {"$SPILLOVER": "2,CD3,CD4,1,0.1,0,1"})
    file = open_fcs(tmp_path / "a.fcs")
    panel, transform = plain(file)
    (marker_file,) = files_for_model([file], panel, Transform("arcsinh", panel.cofactors))
    said = marker_file.warnings()
    assert any("spillover" in warning for warning in said)
    assert any("--cofactor" in warning or "cofactor 5" in warning for warning in said)
    # Every value is made once: small whole numbers with cofactor 5 are as they should be.
    write_fcs(tmp_path / "b.fcs", rng.poisson(40, (500, 3)).astype(float), channels)
    (plain_file,) = files_for_model([open_fcs(tmp_path / "b.fcs")], panel, Transform("arcsinh", panel.cofactors))
    assert plain_file.warnings() == ()
    assert transform.kind == "none"
