"""A small model of the sample's markers that was never trained: assigning with it is the same work."""

from pathlib import Path

import numpy as np

from cytovae.cells import CellTable
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform, arcsinh
from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.layout import RunRecord
from cytovae.model_folder.save import save_model
from cytovae.network.scaling import fit_scaling
from cytovae.network.training_loop import build_network
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.valleys import LEVELS
from cytovae.settings import Settings

SAMPLE = Path(__file__).parents[2] / "sample_data"
FILES = SAMPLE / "donor1_baseline.fcs", SAMPLE / "donor1_stim.fcs"


def merge_tree(kept: list[int], absorbed: list[int], n_same: int, cells: list[int]) -> MergeTree:
    """A tree of these merges; what else it says of them is made up."""
    return MergeTree(
        kept=np.array(kept, np.int32),
        absorbed=np.array(absorbed, np.int32),
        level=np.linspace(1, 0, len(kept), dtype=np.float32),
        n_same=n_same,
        cells=np.array(cells, np.int64),
        agreement=np.linspace(1, 0, len(LEVELS), dtype=np.float32),
    )


def write_model(path: Path, tree: MergeTree, n_clusters: int) -> Path:
    """The model with this tree in the folder ``path``; five landmarks, at (0, 1), (2, 3), … on its UMAP."""
    file = open_fcs(FILES[0])
    panel = resolve_panel(file)
    columns = [channel.index for channel in file.channels if channel.name in {m.channel for m in panel.markers}]
    values = arcsinh(file.read(columns), 5.0)
    settings = Settings(experts=tree.n_experts, encoder_width=16, clustering_width=16)
    network = build_network(len(panel), settings, 3).eval()
    trained = TrainedModel(network, settings, panel.names, fit_scaling(values), tree, n_clusters)
    saved = SavedModel(trained, panel, Transform("arcsinh", panel.cofactors))
    cells = CellTable(values[:5], panel.names, ("a",), np.zeros(5, np.int32), np.arange(5, dtype=np.int64))
    learning = Learning(
        trained,
        np.arange(5),
        np.arange(10, dtype=np.float32).reshape(5, 2),
        Assigner(trained).codes(values[:5]),
        Assigner(trained).assign(values[:5]).cluster,
        (),
        {},
    )
    save_model(path, saved, learning, cells, RunRecord(("test",), 0, "cpu", (), {}))
    return path
