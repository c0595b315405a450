"""Models of every released schema: later versions must load them and assign the same clusters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from cytovae.events.panel import columns_of
from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner
from cytovae.model_folder.layout import SCHEMA_VERSION
from cytovae.model_folder.load import load_model

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden").glob("schema*"))
FILE = ROOT / "tests" / "golden" / "cells.fcs"


def assignment(folder: Path, device: str = "cpu") -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    saved, file = load_model(folder / "model"), open_fcs(FILE)
    values = saved.transform.apply(file.read(columns_of(saved.panel, file).tolist()))
    assigned = Assigner(saved.model, device).assign(values)
    return assigned.cluster, assigned.probabilities


def test_the_current_schema_has_a_golden_model() -> None:
    assert f"schema{SCHEMA_VERSION}" in [path.name for path in GOLDEN]


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: path.name)
def test_a_golden_model_gives_its_golden_labels(folder: Path) -> None:
    """On another machine a rounding error may change the cluster of one cell in a thousand."""
    cluster, p = assignment(folder)
    golden = pd.read_csv(folder / "labels.csv")
    assert (cluster == golden["cluster"]).mean() >= 0.999
    own = np.take_along_axis(p, golden["cluster"].to_numpy()[:, None] - 1, axis=1)[:, 0]
    assert np.abs(own - golden["probability"]).max() <= 1e-3


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: path.name)
def test_the_number_of_threads_hardly_matters(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, p_one = assignment(folder)
        torch.set_num_threads(4)
        four, p_four = assignment(folder)
    finally:
        torch.set_num_threads(before)
    assert (one == four).mean() >= 0.999
    assert np.abs(p_one - p_four).max() <= 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: path.name)
def test_a_gpu_assigns_the_same_clusters_as_the_cpu(folder: Path) -> None:
    cpu, p_cpu = assignment(folder)
    gpu, p_gpu = assignment(folder, "cuda")
    assert np.abs(p_cpu - p_gpu).max() <= 1e-4
    assert (cpu == gpu).mean() >= 0.9999
