"""Caches what numba compiles for UMAP on disk, so that the next process does not compile it again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

from cytovae.errors import ENDING_SIGNALS


class _TolerantCache(FunctionCache):
    """A cache that never fails: if it cannot be read or written, the function is compiled as without a cache."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            with _signals_deferred():
                return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 (unpickling a truncated file can raise anything)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # OSError: for example a full disk. RuntimeError: a signal made numba's callback lose the compiled code.
        with suppress(OSError, RuntimeError):
            super().save_overload(sig, data)


def keep_compiled(*modules: ModuleType) -> None:
    """Cache every numba function that ``modules`` define, beside the module or in ``NUMBA_CACHE_DIR``.

    Saves three seconds for UMAP, which does not ask numba to cache its functions.
    """
    for module in modules:
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
                with suppress(RuntimeError):  # no writable folder for the cache
                    function._cache = _TolerantCache(function.py_func)  # type: ignore[attr-defined]


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Handle signals only after the block.

    LLVM asks for cached code by a callback. An exception raised there by a signal handler is lost, and so is the code;
    calling it would crash the process.
    """
    if threading.current_thread() is not threading.main_thread():  # Python runs signal handlers in the main thread only
        yield
        return
    received: list[int] = []
    numbers = [getattr(signal, name) for name in (*ENDING_SIGNALS, "SIGALRM") if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    handlers = {number: handler for number, handler in previous.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, _frame: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
