"""Clusters and probabilities for cytometry cells, from a mixture-of-experts similarity VAE.

The Python API, ``import cytovae as cv``: ``cv.read_cells``, ``cv.train``, ``cv.assign``, ``cv.score`` and the other
names in ``cv.__all__``. They are loaded when they are first used, so ``import cytovae`` loads nothing heavy.

The wings, in the order data flows: ``fcs`` → ``events`` → ``annotations``; ``populations`` → ``network`` →
``inference`` → ``model_folder`` → ``outputs``; ``study`` joins them; ``report``, ``benchmark`` and ``experiments``
build on it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cytovae.api.cells import StudyCells, choose_panel, inspect, open_events, read_cells
    from cytovae.api.clusters import AssignedCells, assign, score
    from cytovae.api.model import Model, generate, load_model, save_model, train

__version__ = "0.1.0"

_OWNERS = {
    **dict.fromkeys(("StudyCells", "choose_panel", "inspect", "open_events", "read_cells"), "cytovae.api.cells"),
    **dict.fromkeys(("AssignedCells", "assign", "score"), "cytovae.api.clusters"),
    **dict.fromkeys(("Model", "generate", "load_model", "save_model", "train"), "cytovae.api.model"),
}

__all__ = [
    "AssignedCells",
    "Model",
    "StudyCells",
    "assign",
    "choose_panel",
    "generate",
    "inspect",
    "load_model",
    "open_events",
    "read_cells",
    "save_model",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _OWNERS:
        return getattr(import_module(_OWNERS[name]), name)
    raise AttributeError(f"module 'cytovae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
