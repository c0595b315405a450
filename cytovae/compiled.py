"""Machine code that numba has made once is kept for the next process, where a library does not ask for that itself."""

from contextlib import suppress
from types import ModuleType
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher


class _Kept(FunctionCache):
    """A cache that can only save time: where it cannot be read or written, the function is compiled as without it."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 (whatever unpickling makes of a file that was cut off)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk
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
