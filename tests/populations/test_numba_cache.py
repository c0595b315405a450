"""Compiled functions are cached on disk, and a broken cache only costs time."""

import errno
import importlib.util
import signal
from pathlib import Path
from types import ModuleType

import pytest
from numba.core.caching import FunctionCache

from cytovae.populations.numba_cache import keep_compiled

SOURCE = """
from numba import njit

@njit
def doubled(x):
    return 2 * x
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "arithmetic.py"
    file.write_text(SOURCE)
    return file


def fresh(source: Path) -> ModuleType:
    """The module as a new process imports it, with nothing compiled."""
    spec = importlib.util.spec_from_file_location("arithmetic", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    keep_compiled(module)
    return module


def hits(module: ModuleType) -> int:
    return sum(module.doubled.stats.cache_hits.values())


def test_a_second_process_does_not_compile_again(source: Path) -> None:
    first = fresh(source)
    assert (first.doubled(21), hits(first)) == (42, 0)
    second = fresh(source)
    assert (second.doubled(21), hits(second)) == (42, 1)


def test_a_full_disk_costs_only_time(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: object, _sig: object, _data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FunctionCache, "_save_overload", full)
    assert fresh(source).doubled(21) == 42
    second = fresh(source)
    assert (second.doubled(21), hits(second)) == (42, 0)


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_truncated_cache_file_is_replaced(source: Path, kind: str, left: int) -> None:
    fresh(source).doubled(21)
    (file,) = source.parent.rglob(kind)
    file.write_bytes(file.read_bytes()[:left])
    second = fresh(source)
    assert (second.doubled(21), hits(second)) == (42, 0)
    third = fresh(source)
    assert (third.doubled(21), hits(third)) == (42, 1)  # written again


def test_a_signal_waits_until_cached_code_is_loaded(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would lose an exception, and with it the code that it asked for; calling that code would crash."""
    fresh(source).doubled(21)
    load, loaded = FunctionCache.load_overload, []

    def interrupted(self: FunctionCache, *arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        loaded.append(load(self, *arguments))
        return loaded[-1]

    monkeypatch.setattr(FunctionCache, "load_overload", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fresh(source).doubled(21)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert loaded != []
    assert loaded != [None]


def test_code_lost_to_a_signal_is_not_cached(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_self: object, _sig: object, _data: object) -> None:
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr(FunctionCache, "_save_overload", lost)
    assert fresh(source).doubled(21) == 42
