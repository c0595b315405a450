"""`cytovae generate` through the real app: what files hold, in which units, and what is refused."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command

from cytovae.errors import ModelError, OutputError, UsageError
from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.inference.generation import events_of_clusters, generate
from cytovae.model_folder.load import load_model

pytestmark = pytest.mark.slow

SAMPLE = sorted((Path(__file__).parents[2] / "sample_data").glob("*.fcs"))
QUICK = ("--steps", 400, "--landmarks", 1500, "--experts", 30, "--device", "cpu", "--threads", 1, "--quiet")


COMMAND = Command()
done = COMMAND.done
refused = COMMAND.refused


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    done("train", *SAMPLE, "-o", path, "--generative", *QUICK)
    return path


def test_a_file_of_cells_goes_back_into_the_model(model: Path, tmp_path: Path) -> None:
    """The channels are those of the sample, and the model assigns most cells to the cluster they were asked of."""
    done("generate", model, "--cluster", "all", "--events", 200, "-o", tmp_path / "cells.fcs")
    file, sample = open_fcs(tmp_path / "cells.fcs"), open_fcs(SAMPLE[0])
    markers = load_model(model).panel.markers
    named = {(channel.name, channel.label) for channel in sample.channels}
    assert {(channel.name, channel.label) for channel in file.channels[:-1]} <= named
    assert [channel.name for channel in file.channels] == [*(marker.channel for marker in markers), "cytovae_cluster"]
    done("assign", model, tmp_path / "cells.fcs", "-o", tmp_path / "a.csv", "--quiet")
    asked = file.read([len(file.channels) - 1])[:, 0]
    assert np.array_equal(np.unique(asked), np.arange(1, asked.max() + 1))
    found = pd.read_csv(tmp_path / "a.csv")["cluster"].to_numpy()
    large = asked <= 5  # those of a few cells are near others
    assert (found == asked)[large].mean() > 0.9


def test_every_format_holds_the_same_cells_in_raw_units(model: Path, tmp_path: Path) -> None:
    told = ("generate", model, "--events", 50, "--seed", 4, "--quiet")
    for name in ("a.fcs", "a.parquet", "a.csv"):
        done(*told, "-o", tmp_path / name)
    shown = done(*told, "-o", "-").stdout
    saved = load_model(model)
    made = generate(saved.model, events_of_clusters(saved.model, "proportional", 50, 4), seed=4)
    raw = 5 * np.sinh(made.values.astype(np.float64))
    parquet, csv = pd.read_parquet(tmp_path / "a.parquet"), pd.read_csv(tmp_path / "a.csv")
    assert list(parquet) == list(csv) == [*saved.panel.names, "cluster"]
    for found in (parquet.to_numpy(), csv.to_numpy(), open_fcs(tmp_path / "a.fcs").read()):
        assert np.allclose(found[:, :-1], raw, rtol=1e-5, atol=1e-4)
        assert np.array_equal(found[:, -1], made.cluster)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(shown)), csv)
    done(*told, "-o", tmp_path / "again.fcs")
    assert (tmp_path / "again.fcs").read_bytes() == (tmp_path / "a.fcs").read_bytes()


def test_runs_are_told(model: Path, tmp_path: Path) -> None:
    said = done(
        "generate", model, "--cluster", 1, "--events", 50, "--min-posterior", 0.2, "-o", tmp_path / "c.csv"
    ).stderr
    assert "cluster 1: 1." in said
    assert "runs for each cell of probability 0.2" in said
    message = refused(
        UsageError, *("generate", model, "--cluster", 1, "--events", 1, "--min-posterior", 0.9999999),
        *("-o", tmp_path / "d.csv"),
    )  # fmt: skip
    assert "0 of 1 cells reached" in message
    assert not (tmp_path / "d.csv").exists()


def test_what_cannot_be_is_refused(model: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    done(
        "train", SAMPLE[0], "-o", plain, "--steps", 1, "--landmarks", 200, "--experts", 10, "--device", "cpu", "--quiet"
    )
    assert "train --generative" in refused(ModelError, "generate", plain, "-o", tmp_path / "x.fcs")
    assert "fcs cannot go" in refused(UsageError, "generate", model, "-o", "-", "--format", "fcs")
    assert "x.txt" in refused(UsageError, "generate", model, "-o", tmp_path / "x.txt")
    assert "below 1" in refused(UsageError, "generate", model, "--min-posterior", 1, "-o", tmp_path / "x.csv")
    assert "model's folder" in refused(UsageError, "generate", model, "-o", model / "x.csv")
    (tmp_path / "there.csv").write_text("mine")
    assert "--force" in refused(OutputError, "generate", model, "-o", tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    done("generate", model, "--events", 3, "-o", tmp_path / "there.csv", "--force")
    assert len(pd.read_csv(tmp_path / "there.csv")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "there.csv"]


NAMES = ("FITC-A", "PE-A", "APC-A")
SPILL = np.array([[1, 0.2, 0], [0.1, 1, 0.05], [0, 0.02, 1]])


@pytest.mark.parametrize("source", ["file", "matrix"])
def test_what_was_compensated_can_be_assigned_again(tmp_path: Path, source: str) -> None:
    """Spillover of one matrix is put back, and a file of compensated values has a matrix that changes nothing: both
    ways, what the model sees of the file are the cells that it made.
    """
    rng = np.random.default_rng(0)
    truth = np.exp(rng.normal(np.log([[9e3, 100, 90], [80, 2e4, 100], [90, 70, 1e4]])[rng.integers(0, 3, 240)], 0.3))
    said = ",".join(["3", *NAMES, *(f"{value:g}" for value in SPILL.ravel())])
    channels = [Channel(place, name, "", 262_144.0) for place, name in enumerate(NAMES)]
    write_fcs(tmp_path / "a.fcs", truth @ SPILL, channels, {"$SPILLOVER": said})
    pd.DataFrame(SPILL, columns=list(NAMES)).to_csv(tmp_path / "spill.csv", index=False)
    told = ("--compensate", "file" if source == "file" else tmp_path / "spill.csv", "--cofactor", 150)
    small = ("--steps", 20, "--experts", 10, "--device", "cpu", "--quiet")
    done("train", tmp_path / "a.fcs", "-o", tmp_path / "m", "--generative", *told, *small)
    result = done("generate", tmp_path / "m", "--events", 40, "-o", tmp_path / "c.fcs")
    assert ("spillover" in result.stderr) == (source == "file")
    saved = load_model(tmp_path / "m")
    made = generate(saved.model, events_of_clusters(saved.model, "proportional", 40, 0), seed=0)
    seen = saved.compensation.of(open_events(tmp_path / "c.fcs")).read([0, 1, 2])
    assert np.allclose(saved.transform.apply(seen), made.values, atol=1e-3)
