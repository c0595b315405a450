"""The second process: it finds what the first would, to the bit, and its end harms nobody."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.populations import valley_process as aside
from cytovae.populations.valley_process import Aside
from cytovae.populations.valleys import ValleyHierarchy, valley_hierarchy

SEEDS = (3, 4)
Given = tuple[NDArray[np.float32], NDArray[np.int64], list[NDArray[np.int64]]]


@pytest.fixture
def given() -> Given:
    """Cells of four populations from two files, and two partitions of them."""
    rng = np.random.default_rng(0)
    population = np.repeat(np.arange(4), 150)
    values = (3 * np.eye(4)[population] + rng.normal(size=(600, 4))).astype(np.float32)
    parts = [population * n + rng.integers(n, size=600) for n in (3, 4)]
    return values, rng.integers(2, size=600), parts


def expected(given: Given) -> list[ValleyHierarchy]:
    values, origin, parts = given
    return [valley_hierarchy(values, part, origin, seed) for part, seed in zip(parts, SEEDS, strict=True)]


def aside_of(given: Given, *, wanted: bool = True) -> Aside:
    values, origin, _ = given
    return Aside(values, origin, SEEDS, wanted=wanted)


def add(second: Aside, given: Given) -> None:
    for part in given[2]:
        second.add(part)


def assert_same(found: list[ValleyHierarchy], wanted: list[ValleyHierarchy]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.groups, other.groups)
        np.testing.assert_array_equal(one.joined, other.joined)


def here(*_: object) -> ValleyHierarchy:
    raise AssertionError("it was made in this process")


def test_the_second_process_makes_the_same(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = expected(given)
    monkeypatch.setattr(aside, "valley_hierarchy", here)
    with aside_of(given) as second:
        add(second, given)
        assert_same(second.result(), wanted)


@pytest.mark.parametrize("wanted", [False, True])
def test_without_a_second_process_it_is_done_here(
    wanted: bool, given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(aside, "COMMAND", (str(tmp_path / "nothing"),))
    with aside_of(given, wanted=wanted) as second:
        add(second, given)
        assert_same(second.result(), expected(given))


def test_where_the_second_process_is_killed_it_is_done_here(given: Given) -> None:
    with aside_of(given) as second:
        assert second.pid is not None
        os.kill(second.pid, signal.SIGKILL)
        add(second, given)
        assert_same(second.result(), expected(given))


def test_it_does_not_outlive_the_block(given: Given) -> None:
    def interrupted() -> None:
        with aside_of(given) as second:
            pids.append(second.pid)
            add(second, given)
            raise KeyboardInterrupt

    pids: list[int | None] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pids[0] is not None
    with pytest.raises(ProcessLookupError):  # ended, and its end was taken notice of
        os.kill(pids[0], 0)


def test_modules_of_the_folder_are_not_taken_for_its_own(
    given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    wanted = expected(given)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aside, "valley_hierarchy", here)
    with aside_of(given) as second:
        add(second, given)
        assert_same(second.result(), wanted)
