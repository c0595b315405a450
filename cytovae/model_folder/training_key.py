"""The training key: everything that decides the result of training."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from cytovae.annotations.marker_table import PanelTypes
from cytovae.cells import CellTable, GateLabels
from cytovae.environment import versions_of
from cytovae.errors import ModelError
from cytovae.model_folder.json_fields import read_json
from cytovae.model_folder.layout import RUN, member_path
from cytovae.model_folder.load import load_model
from cytovae.settings import Settings, settings_to_dict

_PACKAGES = ("cytovae", "torch", "numpy", "umap-learn", "numba", "scikit-learn", "scipy")

_LONGEST_VALUE = 40  # characters of a value that an error message spells out; digests are longer


@dataclass(frozen=True)
class TrainingKey:
    """Everything that decides the result of training, as pairs of name and value.

    On a CPU, trainings with the same key write the same bytes. Their processors may differ, but not in the code paths
    that torch and BLAS choose for them.
    """

    parts: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all parts."""
        return hashlib.sha256(json.dumps(self.parts).encode()).hexdigest()

    def differences(self, earlier: Mapping[str, str]) -> tuple[str, ...]:
        """What differs from the parts of an earlier key, in words."""
        now = dict(self.parts)
        names = [name for name in {**now, **earlier} if now.get(name) != earlier.get(name)]
        return tuple(
            f"other {name}"
            if len(now.get(name, "")) > _LONGEST_VALUE
            else f"{name} {earlier.get(name, 'unknown')} (now {now.get(name, 'unknown')})"
            for name in names
        )


def kernels() -> str:
    """The code paths of torch and of numpy's BLAS on this processor; others round differently."""
    blas = {
        f"{library['internal_api']} {library.get('architecture') or library.get('version')}"
        for library in threadpool_info()
        if library["user_api"] == "blas" and "numpy" in library["filepath"]
    }
    return ", ".join((f"torch {torch.backends.cpu.get_cpu_capability()}", *sorted(blas)))


def training_key(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str,
    labels: GateLabels | None = None,
    types: PanelTypes | None = None,
) -> TrainingKey:
    """The key of training on ``cells``, with ``labels`` (n_cells,) and a marker table if they are known.

    The number of clusters is not part of it, because the merge tree is cut after training.
    """
    content = hashlib.sha256(json.dumps([cells.markers, cells.files]).encode())
    for array in (cells.values, cells.source, cells.event):
        content.update(array.tobytes())
    known = "none" if labels is None else _digest_of_labels(labels)
    return TrainingKey(
        (
            ("cells (files, markers, cofactors or sampling)", content.hexdigest()),
            ("labels", known),
            *(() if types is None else (("marker table", _digest(types)),)),
            ("seed", str(seed)),
            ("device", device),
            ("threads", str(torch.get_num_threads())),
            ("kernels", kernels()),
            *((name, json.dumps(value)) for name, value in settings_to_dict(settings).items()),
            *((f"version of {name}", version) for name, version in versions_of(_PACKAGES).items()),
        )
    )


def _digest_of_labels(labels: GateLabels) -> str:
    """SHA-256 of labels and their names."""
    content = hashlib.sha256(json.dumps(labels.names).encode())
    content.update(labels.population.tobytes())
    return content.hexdigest()


def _digest(types: PanelTypes) -> str:
    """SHA-256 of a marker table."""
    content = hashlib.sha256(json.dumps([types.populations, types.markers]).encode())
    content.update(types.levels.tobytes())
    return content.hexdigest()


def key_of(path: Path) -> str | None:
    """The digest of the key that the model in folder ``path`` was trained with; None without an intact model."""
    try:
        load_model(path)
        run = read_json(member_path(path, RUN))
    except ModelError:
        return None
    return str(run.content.get("key", ""))
