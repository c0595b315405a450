"""A study with hostile names, and a model that was never trained: what a report shows."""

from pathlib import Path

import numpy as np
import torch

from cytovae.cells import CellTable
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform, arcsinh
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.input_files import input_records
from cytovae.model_folder.layout import RunRecord
from cytovae.model_folder.save import save_model
from cytovae.network.scaling import fit_scaling
from cytovae.network.training_loop import ProgressRecord, build_network
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.valleys import LEVELS
from cytovae.settings import Settings

MARKERS = ("CD3", "<script>alert(1)</script>", "a & \"b\" 'c'", "HLA-DR")
N_EXPERTS, N_CLUSTERS = 8, 4


def write_study(folder: Path, sizes: tuple[int, ...] = (300, 200)) -> list[Path]:
    """FCS files of three kinds of cells in four markers, gates beside them, and a model that was never trained.

    The landmarks are every second cell; their "UMAP" coordinates are the first and last marker, so that a test can
    tell whether coordinates and values are those of the same cell.
    """
    rng = np.random.default_rng(5)
    channels = tuple(Channel(index, f"Xx{index}Di", name, 1000.0) for index, name in enumerate(MARKERS))
    paths, values = [], []
    for number, size in enumerate(sizes):
        kind = rng.integers(0, 3, size)
        raw = rng.poisson(np.array([[80, 2, 2, 5], [2, 90, 2, 5], [2, 2, 70, 60]])[kind]).astype(np.float32)
        paths.append(folder / f"sample & {number}.fcs")
        write_fcs(paths[-1], raw, channels)
        names = np.array(["T", "<b>B</b>", ""])[kind]
        gates_beside = paths[-1].with_suffix(".gates.csv")
        gates_beside.write_text("population\n" + "".join(f"{name}\n" for name in names), encoding="utf-8")
        values.append(arcsinh(raw, 5.0))
    files = [open_fcs(path) for path in paths]
    panel = resolve_panel(files[0], markers=MARKERS)
    everything = np.concatenate(values)
    settings = Settings(experts=N_EXPERTS, encoder_width=16, clustering_width=16)
    network = build_network(len(panel), settings, 2).eval()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if name.endswith("weight") and weights.ndim == 2:
                weights.mul_(4)  # as it comes, it would give all cells the same cluster
    tree = MergeTree(
        kept=np.array([0, 1, 2, 3, 0, 2, 0], np.int32),
        absorbed=np.array([7, 6, 5, 4, 1, 3, 2], np.int32),
        level=np.array([1, 0.9, 0.9, 0.8, 0.4, 0.3, 0.1], np.float32),
        n_same=4,
        cells=np.array([60, 50, 40, 30, 20, 10, 10, 10], np.int64),
        agreement=np.linspace(0.5, 1, len(LEVELS), dtype=np.float32),
    )
    trained = TrainedModel(network, settings, panel.names, fit_scaling(everything), tree, N_CLUSTERS)
    source = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    event = np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])
    cells = CellTable(everything, panel.names, tuple(path.name for path in paths), source, event)
    landmarks = np.arange(0, len(everything), 2)
    history = tuple(ProgressRecord(step, 1 / step, 0.0, 0.2, 0.1, 1 / step + 0.3) for step in range(1, 5))
    coordinates, codes = everything[landmarks][:, [0, 3]], Assigner(trained).codes(everything[landmarks])
    clusters = Assigner(trained).assign(everything[landmarks]).cluster
    learning = Learning(trained, landmarks, coordinates, codes, clusters, history, {})
    inputs = input_records(files, sizes)
    run = RunRecord(("/bin/cytovae", "train", "<i>x</i>"), 0, "cpu", inputs, {"training": 1.5})
    transform = Transform("arcsinh", panel.cofactors)
    save_model(folder / "model", SavedModel(trained, panel, transform), learning, cells, run)
    return paths
