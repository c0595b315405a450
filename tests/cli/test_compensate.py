"""Compensation and logicle from `train` to what `assign` writes: stored in the model and done again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flowio import FlowData
from flowutils.transforms import logicle
from helpers.command import Command

from cytovae.errors import InputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.model_folder.load import load_model

SPILL = np.array([[1, 0.2, 0], [0.1, 1, 0.05], [0, 0.1, 1]])
NAMES = ("FITC-A", "PE-A", "APC-A")


COMMAND = Command()
run = COMMAND.run
done = COMMAND.done


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """What the dyes give: three kinds of cells, raw fluorescence."""
    rng = np.random.default_rng(0)
    return np.exp(rng.normal(np.log([[9e3, 100, 90], [80, 2e4, 100], [90, 70, 1e4]])[rng.integers(0, 3, 240)], 0.3))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, truth: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("files") / "a.fcs"
    channels = [Channel(place, name, "", 262_144.0) for place, name in enumerate(NAMES)]
    said = ",".join(["3", *NAMES, *(f"{value:g}" for value in SPILL.ravel())])
    write_fcs(path, truth @ SPILL, channels, {"$SPILLOVER": said})
    return path


def test_a_model_does_again_what_was_done_in_training(tmp_path: Path, file: Path, truth: np.ndarray) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    told = ("--compensate", "file", "--transform", "logicle", "--logicle", "262144,1,4.5,0")
    done("train", file, "-o", tmp_path / "model", *told, "--steps", 2, "--quiet")
    saved = load_model(tmp_path / "model")
    assert saved.compensation.source == "file"
    assert saved.transform.logicle.w == 1
    done("assign", tmp_path / "model", file, "-o", tmp_path / "x.h5ad", "--tables", tmp_path / "tables", "--quiet")
    expected = 4.5 * logicle(truth.copy(), [0, 1, 2], t=262_144, m=4.5, w=1, a=0)
    assert np.allclose(anndata.read_h5ad(tmp_path / "x.h5ad").X, expected, atol=1e-3)
    done("assign", tmp_path / "model", file, "-o", tmp_path / "x.fcs", "--quiet")
    written = FlowData(tmp_path / "x.fcs").as_array(preprocess=False)
    assert np.allclose(written[:, :3], truth @ SPILL, rtol=1e-5)  # an FCS file stays raw
    medians = pd.read_csv(tmp_path / "tables" / "cluster_medians.csv").dropna()
    cluster = written[:, 3].astype(int)
    for row in medians.itertuples():
        own = truth[cluster == row.cluster, NAMES.index(str(row.channel))]
        assert np.isclose(float(str(row.median)), np.median(own), rtol=1e-3)
    # A file that lacks the matrix cannot be treated alike.
    bare = tmp_path / "bare.fcs"
    write_fcs(bare, truth, [Channel(place, name, "", 262_144.0) for place, name in enumerate(NAMES)])
    refused = run("assign", tmp_path / "model", bare, "-o", tmp_path / "y.csv")
    assert isinstance(refused.exception, InputError)


def test_a_matrix_in_a_table_travels_with_the_model(tmp_path: Path, file: Path) -> None:
    table = pd.DataFrame(SPILL, index=list(NAMES), columns=list(NAMES))
    table.to_csv(tmp_path / "matrix.csv")
    done("train", file, "-o", tmp_path / "model", "--compensate", tmp_path / "matrix.csv", "--steps", 2, "--quiet",
         "--cofactor", 150)  # fmt: skip
    (tmp_path / "matrix.csv").unlink()
    spillover = load_model(tmp_path / "model").compensation.spillover
    assert spillover is not None
    assert spillover.channels == NAMES
    assert np.array_equal(spillover.values, SPILL)
    description = tmp_path / "model" / "model.json"
    assert json.loads(description.read_text())["compensation"]["source"] == "matrix"


def test_options_that_would_do_nothing_or_cannot_be(tmp_path: Path, file: Path) -> None:
    to = ("-o", tmp_path / "model")
    assert isinstance(run("train", file, *to, "--logicle", "1,2,3,4").exception, UsageError)
    assert isinstance(run("train", file, *to, "--transform", "logicle", "--logicle", "1,2").exception, UsageError)
    assert isinstance(run("train", file, *to, "--compensate", tmp_path / "none.csv").exception, InputError)
