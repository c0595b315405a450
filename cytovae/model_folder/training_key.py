"""Everything that decides the result of training."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.settings import Settings, settings_to_dict

_PACKAGES = ("cytovae", "torch", "numpy", "umap-learn", "numba", "scikit-learn", "scipy")


@dataclass(frozen=True)
class TrainingKey:
    """Everything that decides the result of training, by name: the same key means the same bytes on a CPU."""

    parts: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all parts."""
        return hashlib.sha256(json.dumps(self.parts).encode()).hexdigest()

    def differences(self, earlier: Mapping[str, str]) -> tuple[str, ...]:
        """What differs from an earlier key, in words."""
        now = dict(self.parts)
        names = [name for name in {**now, **earlier} if now.get(name) != earlier.get(name)]
        return tuple(
            f"other {name}"
            if len(now.get(name, "")) > 40
            else f"{name} {earlier.get(name, 'unknown')} (now {now.get(name, 'unknown')})"
            for name in names
        )


def training_key(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str,
    labels: NDArray[np.int64] | None = None,
) -> TrainingKey:
    """The key of training on these cells. Where the merge tree is cut is no part of it: that comes afterwards."""
    content = hashlib.sha256(json.dumps([cells.markers, cells.files]).encode())
    for array in (cells.values, cells.source, cells.event):
        content.update(array.tobytes())
    known = "none" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()
    return TrainingKey(
        (
            ("cells (files, markers, cofactors or sampling)", content.hexdigest()),
            ("labels", known),
            ("seed", str(seed)),
            ("device", device),
            ("threads", str(torch.get_num_threads())),
            *((name, json.dumps(value)) for name, value in settings_to_dict(settings).items()),
            *((f"version of {name}", metadata.version(name)) for name in _PACKAGES),
        )
    )
