"""`cytovae train` through the real app on the sample study: what it writes and says, and what it refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command
from helpers.signals import heed_all
from typer.testing import Result

import cytovae as cv
from cytovae.errors import CytovaeError, DeviceError, GateError, OutputError, PanelError, UsageError
from cytovae.fcs.file import open_fcs
from cytovae.model_folder.load import load_model

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parents[2] / "sample_data"
FILES = sorted(SAMPLE.glob("*.fcs"))
QUICK = ("--steps", 20, "--landmarks", 400, "--experts", 20, "--device", "cpu", "--threads", 1)


COMMAND = Command(("train",))
done = COMMAND.done
refused = COMMAND.refused


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("models") / "model"
    return path, done(*FILES, "-o", path, "--max-events-per-file", 220, *QUICK)


def test_a_model_is_written_and_told_of(trained: tuple[Path, Result]) -> None:
    path, result = trained
    saved = load_model(path)
    assert len(saved.panel) == 12
    assert saved.model.settings.steps == 20
    run_record = json.loads((path / "run.json").read_text())
    assert [entry["events"] for entry in run_record["inputs"]] == [open_fcs(file).n_events for file in FILES]
    # In proportion, at most 220 of the 2,200 in the largest file
    assert [entry["cells"] for entry in run_record["inputs"]] == [220, 200, 190, 210, 200, 180]
    assert next(iter(run_record["seconds"])) == "reading"
    landmarks = pd.read_parquet(path / "landmarks.parquet")
    assert len(landmarks) == 400
    assert set(landmarks["file"]) <= {file.name for file in FILES}
    assert result.stdout == ""
    assert "12 markers, arcsinh(x / 5): CD45, " in result.stderr
    assert "read 1,200 of 12,000 cells" in result.stderr
    lines = [line.split() for line in result.stderr.splitlines()]
    counts = [int(words[1]) for words in lines if len(words) >= 3 and words[0].isdecimal() and words[2].endswith("%")]
    assigned = landmarks.merge(cv.assign(cv.load_model(path), FILES).to_frame(), on=["file", "event"])
    assert counts == np.bincount(assigned["cluster"], minlength=len(counts) + 1)[1:].tolist()
    assert sum(counts) == 400
    assert {"reading", "umap", "training", "merging"} <= {word for words in lines for word in words}


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_processors(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    path, _ = trained
    done(*FILES, "-o", tmp_path / "again", "--max-events-per-file", 220, *QUICK, "--quiet", "--threads", 3)
    for name in ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet"):
        assert (path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    done(*FILES, "-o", tmp_path / "other", "--max-events-per-file", 220, *QUICK, "--seed", 1)
    assert (path / "model.safetensors").read_bytes() != (tmp_path / "other" / "model.safetensors").read_bytes()


def test_quiet_says_nothing_and_force_replaces(tmp_path: Path) -> None:
    for n_markers, force in ((3, ()), (2, ("--force",))):
        names = ("CD3", "CD4", "CD19")[:n_markers]
        result = done(FILES[0], "-o", tmp_path / "m", "--markers", ",".join(names), "--quiet", *force, *QUICK)
        assert result.output == ""
        assert load_model(tmp_path / "m").panel.names == names
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_an_existing_output_is_refused_before_any_work(trained: tuple[Path, Result], tmp_path: Path) -> None:
    path, _ = trained
    before = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    # The file does not even exist: it was never looked for.
    assert "--force" in refused(OutputError, tmp_path / "none.fcs", "-o", path)
    assert before == {entry.name: entry.read_bytes() for entry in path.iterdir()}


def test_known_labels_and_gates_are_used(tmp_path: Path) -> None:
    result = done(FILES[0], "-o", tmp_path / "m", "--labels", "beside", "--gates", "beside", "--clusters", 2, *QUICK)
    assert load_model(tmp_path / "m").model.n_clusters == 2
    assert "F_weighted " in result.stdout
    assert "pDC" in result.stdout
    without = done(FILES[0], "-o", tmp_path / "w", "--clusters", 2, *QUICK, "--quiet")
    assert without.output == ""
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("m", "w")]
    assert weights[0] != weights[1]


def test_options_reach_the_settings(tmp_path: Path) -> None:
    done(
        FILES[0], "-o", tmp_path / "m", "--preset", "paper-weber", "--metric", "euclidean", "--similarity", "neighbors",
        "--neighbors", 7, "--batch-size", 64, "--cofactor", 7, "--exclude", "CD45,CD27", *QUICK, "--quiet",
    )  # fmt: skip
    saved = load_model(tmp_path / "m")
    settings = saved.model.settings
    assert (settings.preset, settings.metric, settings.similarity) == ("paper-weber", "euclidean", "neighbors")
    assert (settings.neighbors, settings.batch, settings.experts, settings.dropout) == (7, 64, 20, 0.5)
    assert set(saved.panel.cofactors.tolist()) == {7.0}
    assert not {"CD45", "CD27"} & set(saved.panel.names)
    assert len(saved.panel) == 10


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (UsageError, ("--preset", "best")),
        (UsageError, ("--clusters", "some")),
        (UsageError, ("--radius", "2")),
        (UsageError, ("--panel", "p.csv", "--markers", "CD3")),
        (PanelError, ("--markers", "CD3,CD999")),
        (GateError, ("--gates", "none.csv")),
        (GateError, ("--labels", "none.csv")),
        (DeviceError, ("--device", "cuda:99")),
    ],
)
def test_what_cannot_be_is_refused(kind: type[CytovaeError], options: tuple[str, ...], tmp_path: Path) -> None:
    refused(kind, FILES[0], "-o", tmp_path / "m", *options)
    assert list(tmp_path.iterdir()) == []


def test_too_many_markers_to_generate_are_refused_before_training(tmp_path: Path) -> None:
    names = [f"m{index}" for index in range(201)]
    pd.DataFrame(np.random.default_rng(0).random((60, 201)), columns=names).to_csv(tmp_path / "wide.csv", index=False)
    said = refused(
        UsageError, tmp_path / "wide.csv", "-o", tmp_path / "m", "--generative", "--markers", ",".join(names)
    )
    assert "201 markers" in said
    assert "200 at most" in said


def test_resume_goes_on_or_begins(tmp_path: Path) -> None:
    """Killed and stopped runs are in tests/soak; here what is said and refused."""
    arguments = (FILES[0], "-o", tmp_path / "m", *QUICK, "--resume")
    assert "nothing to resume, starting from the beginning" in done(*arguments).stderr
    before = {entry.name: entry.read_bytes() for entry in (tmp_path / "m").iterdir()}
    assert "complete, there is nothing to resume" in done(*arguments).stderr
    assert "--force" in refused(OutputError, *arguments, "--seed", 1)  # a model of something else
    assert before == {entry.name: entry.read_bytes() for entry in (tmp_path / "m").iterdir()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143), (signal.SIGHUP, 143)],
)
def test_a_signal_keeps_the_state_and_nothing_else(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    arguments = (*FILES, "-o", tmp_path / "m", "--steps", 100_000, "--landmarks", 400, "--device", "cpu")
    command = [sys.executable, "-m", "cytovae", "train", *map(str, arguments)]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_all)
    assert started.stderr is not None
    for line in started.stderr:
        if ("training" if sent == signal.SIGTERM else "umap") in line:
            break
    time.sleep(0.5)
    started.send_signal(sent)
    _, said = started.communicate(timeout=5)
    assert started.returncode == code, said
    assert "Traceback" not in said
    assert [entry.name for entry in tmp_path.iterdir()] == [".m.state"]
    assert "--resume" in said
    stages = {path.stem for path in (tmp_path / ".m.state").glob("*.safetensors")}
    assert {"landmarks", "neighbours"} <= stages
    assert ("training" in stages) == (sent == signal.SIGTERM)
