"""A model of three markers that was never trained, in memory and in a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cytovae.cells import CellTable
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.layout import InputRecord, RunRecord
from cytovae.model_folder.save import save_model
from cytovae.network.scaling import Scaling
from cytovae.network.training_loop import ProgressRecord, build_network
from cytovae.settings import Settings
from helpers.sample_model import merge_tree

SETTINGS = Settings(experts=4, encoder_width=8, clustering_width=8, expert_width=3, code=2, learning_rate=1e-3)
RUN = RunRecord(("cytovae", "train"), 7, "cpu", (InputRecord("a.fcs", "00", 10, 6, 6),), {"training": 1.5}, "the key")
LANDMARKS = np.array([1, 3, 5])
COORDINATES = np.array([[0.5, 1], [2, 3], [4, 5]], np.float32)
CODES = np.array([[0.25, -1], [0, 2], [-0.5, 3]], np.float32)
CLUSTERS = np.array([1, 2, 1], np.int32)


def tiny_model(seed: int = 0) -> SavedModel:
    """Four experts in three clusters; the weights come from ``seed``."""
    panel = Panel((Marker("CD3", "Er170Di", 5.0, "170Er_CD3"), Marker("CD4", "Nd145Di", 0.1), Marker("µ", "x", 150.0)))
    scaling = Scaling(np.array([0, -1, 0.1], np.float32), np.array([3, 1 / 3, 7], np.float32))
    tree = merge_tree([0, 0, 2], [3, 1, 0], 1, [3, 2, 1, 0])
    network = build_network(3, SETTINGS, seed).eval()
    model = TrainedModel(network, SETTINGS, panel.names, scaling, tree, 3)
    return SavedModel(model, panel, Transform("arcsinh", panel.cofactors))


def write_tiny_model(path: Path, saved: SavedModel | None = None, *, force: bool = False, **changed: Any) -> Path:
    """Save the model with six cells of two files, of which three are landmarks; ``changed`` are fields of Learning."""
    saved = saved or tiny_model()
    cells = CellTable(
        np.zeros((6, 3), np.float32),
        saved.panel.names,
        ("a.fcs", "b.fcs"),
        np.array([0, 0, 0, 1, 1, 1], np.int32),
        np.array([0, 2, 4, 1, 3, 5], np.int64),
    )
    history = (ProgressRecord(25, 0.5, 0.0, 0.25, 0.125, 0.75),)
    learning = replace(Learning(saved.model, LANDMARKS, COORDINATES, CODES, CLUSTERS, history, {}), **changed)
    save_model(path, saved, learning, cells, RUN, force=force)
    return path
