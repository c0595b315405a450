"""The worker process: its results equal those of this process bit for bit, and its end does no harm."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.populations import valley_process
from cytovae.populations.valley_process import ValleyProcess
from cytovae.populations.valleys import ValleyHierarchy, valley_hierarchy

SEEDS = (3, 4)
Task = tuple[NDArray[np.float32], NDArray[np.int64], list[NDArray[np.int64]]]


@pytest.fixture
def task() -> Task:
    """Cells of four populations from two files, and two partitions of them."""
    rng = np.random.default_rng(0)
    population = np.repeat(np.arange(4), 150)
    values = (3 * np.eye(4)[population] + rng.normal(size=(600, 4))).astype(np.float32)
    partitions = [population * n + rng.integers(n, size=600) for n in (3, 4)]
    return values, rng.integers(2, size=600), partitions


def expected(task: Task) -> list[ValleyHierarchy]:
    values, origin, partitions = task
    return [valley_hierarchy(values, part, origin, seed) for part, seed in zip(partitions, SEEDS, strict=True)]


def worker_for(task: Task, *, enabled: bool = True) -> ValleyProcess:
    values, origin, _ = task
    return ValleyProcess(values, origin, SEEDS, enabled=enabled)


def add(worker: ValleyProcess, task: Task) -> None:
    for partition in task[2]:
        worker.add(partition)


def assert_same(actual: list[ValleyHierarchy], wanted: list[ValleyHierarchy]) -> None:
    assert len(actual) == len(wanted)
    for one, other in zip(actual, wanted, strict=True):
        np.testing.assert_array_equal(one.groups, other.groups)
        np.testing.assert_array_equal(one.joined, other.joined)


def in_this_process(*_: object) -> ValleyHierarchy:
    raise AssertionError("it was computed in this process")


def test_the_worker_computes_the_same(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = expected(task)
    monkeypatch.setattr(valley_process, "valley_hierarchy", in_this_process)
    with worker_for(task) as worker:
        add(worker, task)
        assert_same(worker.results(), wanted)


@pytest.mark.parametrize("enabled", [False, True])
def test_without_a_worker_this_process_computes(
    enabled: bool, task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(valley_process, "COMMAND", (str(tmp_path / "nothing"),))
    with worker_for(task, enabled=enabled) as worker:
        add(worker, task)
        assert_same(worker.results(), expected(task))


def test_if_the_worker_is_killed_this_process_computes(task: Task) -> None:
    with worker_for(task) as worker:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        add(worker, task)
        assert_same(worker.results(), expected(task))


def test_the_worker_ends_with_the_block(task: Task) -> None:
    def interrupted() -> None:
        with worker_for(task) as worker:
            pids.append(worker.pid)
            add(worker, task)
            raise KeyboardInterrupt

    pids: list[int | None] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pids[0] is not None
    with pytest.raises(ProcessLookupError):  # ended, and not left as a zombie
        os.kill(pids[0], 0)


def test_the_worker_does_not_import_modules_of_the_working_directory(
    task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    wanted = expected(task)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(valley_process, "valley_hierarchy", in_this_process)
    with worker_for(task) as worker:
        add(worker, task)
        assert_same(worker.results(), wanted)
