"""Import umap, and pynndescent only when something needs it.

The import of pynndescent compiles 38 functions, which takes 25 seconds on the first run on a machine, and half a second
later. UMAP needs it to look for neighbors only, and :mod:`cytovae.populations.neighbors` has found them already. So
umap is imported with stand-ins, which import the real package when they are used: whatever else uses umap in this
process finds all of it.
"""

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, get_args

from cytovae.settings import Metric

PACKAGE = "pynndescent"
METRICS = get_args(Metric)


def import_umap() -> ModuleType:
    """The module umap. Afterwards, pynndescent can be imported as usual."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        if PACKAGE in sys.modules or "umap" in sys.modules:
            return importlib.import_module("umap")
        try:
            with _stand_ins():
                return importlib.import_module("umap")
        except ImportError:  # a version that takes other names from pynndescent
            for name in [name for name in sys.modules if name.partition(".")[0] == "umap"]:
                del sys.modules[name]
            return importlib.import_module("umap")


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let imports find stand-ins for what umap takes from pynndescent, within the block."""
    names: dict[str, dict[str, object]] = {
        PACKAGE: {"NNDescent": _NNDescent},
        f"{PACKAGE}.distances": {"named_distances": _Distances("distances", "named_distances")},
        f"{PACKAGE}.sparse": {"sparse_named_distances": _Distances("sparse", "sparse_named_distances")},
    }
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class _RealNNDescent(type):
    """Makes a class stand for pynndescent's: calls and instances are those of the real one."""

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module(PACKAGE).NNDescent(*arguments, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        # Nothing is an instance of a class that has not been imported.
        return PACKAGE in sys.modules and isinstance(instance, sys.modules[PACKAGE].NNDescent)


class _NNDescent(metaclass=_RealNNDescent):
    """Stands for ``pynndescent.NNDescent``."""


class _Distances(Mapping[str, Any]):
    """Stands for a dictionary of pynndescent's distances."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = f"{PACKAGE}.{module}", name

    @property
    def _real(self) -> Mapping[str, Any]:
        real: Mapping[str, Any] = getattr(importlib.import_module(self._module), self._name)
        return real

    def __contains__(self, key: object) -> bool:
        # UMAP asks for its metric even if the neighbors are given. Both of pynndescent's dictionaries have these.
        return key in METRICS or key in self._real

    def __getitem__(self, key: str) -> Any:
        return self._real[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)
