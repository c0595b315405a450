"""Machine code that numba has made once is kept for the next process, where a library does not ask for that itself."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

from cytovae.errors import ENDING_SIGNALS


class _Kept(FunctionCache):
    """A cache that can only save time: where it cannot be read or written, the function is compiled as without it."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            with _signals_later():
                return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 (whatever unpickling makes of a file that was cut off)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError, RuntimeError):  # a full disk; a signal, that numba's callbacks lose with the code
            super().save_overload(sig, data)


def keep_compiled(*modules: ModuleType) -> None:
    """Every compiled function that ``modules`` define is looked for in numba's cache (beside the module, or in
    ``NUMBA_CACHE_DIR``) before it is compiled. UMAP's take three seconds.
    """
    for module in modules:
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
                with suppress(RuntimeError):  # nowhere to keep it
                    function._cache = _Kept(function.py_func)  # type: ignore[attr-defined]


@contextmanager
def _signals_later() -> Iterator[None]:
    """Within it signals wait. LLVM asks for kept code by a callback: an exception there is lost, so is the code, and
    calling it ends the process.
    """
    if threading.current_thread() is not threading.main_thread():  # no other hears of signals
        yield
        return
    came: list[int] = []
    numbers = [getattr(signal, name) for name in (*ENDING_SIGNALS, "SIGALRM") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    listening = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in listening:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in listening.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
