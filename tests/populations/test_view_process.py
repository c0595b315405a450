"""Worker processes of small views: they give the same bytes as this process, and their end does no harm."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.populations import view_process, worker_process
from cytovae.populations.view_process import SmallViews
from cytovae.populations.views import View
from cytovae.settings import Settings

pytestmark = pytest.mark.slow

SETTINGS = replace(Settings(), experts=6, umap_epochs=10)
N_VIEWS = 2
Task = tuple[NDArray[np.float32], list[tuple[NDArray[np.float32], NDArray[np.int32]]]]


@pytest.fixture(scope="module")
def task() -> Task:
    """Landmarks of four populations, and two samples of cells from two files."""
    rng = np.random.default_rng(0)
    population = np.repeat(np.arange(4), 90)
    values = (3 * np.eye(4)[population] + rng.normal(size=(360, 4))).astype(np.float32)
    source = rng.integers(2, size=360).astype(np.int32)
    samples = [np.sort(rng.choice(360, 240, replace=False)) for _ in range(N_VIEWS)]
    return values, [(values[rows], source[rows]) for rows in samples]


def views_for(task: Task, workers: int) -> SmallViews:
    return SmallViews(*task, SETTINGS, seed=3, workers=workers)


@pytest.fixture(scope="module")
def expected(task: Task) -> list[View]:
    """The views, computed in this process."""
    with views_for(task, 1) as views:
        assert views.pids == []
        return views.results()


def assert_same(actual: list[View], wanted: list[View]) -> None:
    assert len(actual) == len(wanted)
    for one, other in zip(actual, wanted, strict=True):
        np.testing.assert_array_equal(one.nearest, other.nearest)
        for mine, yours in zip(one.partitions, other.partitions, strict=True):
            np.testing.assert_array_equal(mine, yours)
        for mine_tree, your_tree in zip(one.hierarchies, other.hierarchies, strict=True):
            np.testing.assert_array_equal(mine_tree.groups, your_tree.groups)
            np.testing.assert_array_equal(mine_tree.joined, your_tree.joined)


def in_this_process(*_: object) -> View:
    raise AssertionError("it was computed in this process")


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_compute_the_same(
    workers: int, task: Task, expected: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_process, "small_view", in_this_process)
    with views_for(task, workers) as views:
        assert len(views.pids) == workers - 1
        views.join()
        assert_same(views.results(), expected)


def test_this_process_and_the_worker_share_the_views(task: Task, expected: list[View]) -> None:
    with views_for(task, 2) as views:
        assert_same(views.results(), expected)


def test_workers_that_were_started_ahead_are_taken_and_the_others_end(task: Task, expected: list[View]) -> None:
    worker_process.start_ahead(3)
    started = {process.pid for process in worker_process._ahead}
    assert len(started) == 3
    with views_for(task, 3) as views:
        assert set(views.pids) < started
        (left,) = started - set(views.pids)
        with pytest.raises(ProcessLookupError):
            os.kill(left, 0)
        assert_same(views.results(), expected)


def test_without_a_worker_this_process_computes(
    task: Task, expected: list[View], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker_process, "COMMAND", (str(tmp_path / "nothing"),))
    with views_for(task, 2) as views:
        assert_same(views.results(), expected)


def test_if_the_worker_is_killed_this_process_computes(task: Task, expected: list[View]) -> None:
    with views_for(task, 2) as views:
        os.kill(views.pids[0], signal.SIGKILL)
        assert_same(views.results(), expected)


def test_the_workers_end_with_the_block(task: Task) -> None:
    def interrupted() -> None:
        with views_for(task, 3) as views:
            pids.extend(views.pids)
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # ended, and not left as a zombie
            os.kill(pid, 0)


def test_the_worker_does_not_import_modules_of_the_working_directory(
    task: Task, expected: list[View], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view_process, "small_view", in_this_process)
    with views_for(task, 2) as views:
        views.join()
        assert_same(views.results(), expected)
