"""Training shared among two processes (gloo, on the CPU): the steps of one process, one writer, one end for all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.signals import heed_all
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from cytovae.assignment import assign
from cytovae.cli.main import app
from cytovae.distributed import ALONE, Ranks, joined, launched
from cytovae.errors import UsageError
from cytovae.fcs import open_fcs
from cytovae.model import MoeSimVae
from cytovae.modelfile import load_model
from cytovae.settings import Settings
from cytovae.similarity import Similarity
from cytovae.study import read_cells
from cytovae.training import build_network, train

SAMPLE = Path(__file__).parents[1] / "sample_data"
FILES = sorted(SAMPLE.glob("*.fcs"))
MARKERS = 5
# Every term of the loss, noise and dropout; 63 rows cannot be shared evenly.
SETTINGS = Settings(
    experts=6,
    code=3,
    encoder_depth=2,
    encoder_width=16,
    clustering_width=16,
    expert_width=4,
    batch=63,
    kl_weight=0.3,
    depict_from=0.0,
    posterior_noise=True,
)
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="this torch is built without gloo, which the CPU needs"
)


def environment(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells a process, whose store it keeps itself."""
    return os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def store() -> torch.distributed.TCPStore:
    return torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)


def start(store: torch.distributed.TCPStore, *command: object) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environment(rank, store.port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_all,
        )
        for rank in (0, 1)
    ]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes put here do not outlive the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


# --- one step is one step ---------------------------------------------------------------------------------------------


def cells() -> tuple[Tensor, Similarity]:
    """Three populations in [0, 1], and which cells are of the same."""
    rng = np.random.default_rng(0)
    label = np.arange(300) % 3
    x = np.clip(rng.uniform(0.15, 0.85, (3, MARKERS))[label] + rng.normal(0, 0.04, (300, MARKERS)), 0, 1)
    similar = Similarity("partition", torch.zeros(300, 2), torch.from_numpy(label), 2.0, 10, False)
    return torch.from_numpy(x.astype(np.float32)), similar


def fit(steps: int, ranks: Ranks) -> tuple[MoeSimVae, float]:
    """The network after training, its last gradients still in it, and the last loss."""
    settings = replace(SETTINGS, steps=steps)
    network = build_network(MARKERS, settings, 0)
    x, similarity = cells()
    *_, last = train(network, x, similarity, None, settings, 0, ranks=ranks)
    return network, last.total


def gradients(network: MoeSimVae) -> dict[str, Tensor]:
    return {name: p.grad.contiguous() for name, p in network.named_parameters() if p.grad is not None}


def buffers(network: MoeSimVae) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in network.named_buffers() if "running" in name}


def probabilities(network: MoeSimVae) -> Tensor:
    with torch.inference_mode():
        return network.assign(cells()[0])


def main(folder: str) -> None:
    """What each of the processes does that a test starts with this file as the program."""
    torch.set_num_threads(1)
    with joined("cpu") as ranks:  # once, as in a run: a group cannot be made anew in the same store
        for steps in (1, 60):
            network, total = fit(steps, ranks)
            found = gradients(network) | buffers(network) | {"total": torch.tensor(total)}
            save_file(found | {"assigned": probabilities(network)}, f"{folder}/{steps}-{ranks.rank}.safetensors")


def test_two_processes_take_the_steps_of_one(
    store: torch.distributed.TCPStore, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    started += start(store, __file__, tmp_path)
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    alone, total = fit(1, ALONE)
    expected = gradients(alone) | buffers(alone) | {"total": torch.tensor(total)}
    assert len(expected) == len(list(alone.parameters())) + 4 + 1
    for rank in (0, 1):
        found = load_file(tmp_path / f"1-{rank}.safetensors")
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=f"{name} of rank {rank}")
    # Sixty steps on, the two hold the same network, and the one alone nearly: Adam has made steps of the rounding in
    # gradients that are 0 (biases before batch norm), and running means lag behind those.
    alone, total = fit(60, ALONE)
    found, again = (load_file(tmp_path / f"60-{rank}.safetensors") for rank in (0, 1))
    assert float(found["total"]) == pytest.approx(total, abs=1e-4)
    torch.testing.assert_close(found["assigned"], probabilities(alone), atol=0.01, rtol=0)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_a_batch_with_fewer_rows_than_processes_is_refused() -> None:
    assert [Ranks(rank, 3).share(8) for rank in range(3)] == [slice(0, 2), slice(2, 5), slice(5, 8)]
    with pytest.raises(UsageError, match="a batch of 2 cells cannot be shared among 3"):
        Ranks(0, 3).share(2)


# --- the command ------------------------------------------------------------------------------------------------------

QUICK = ("--landmarks", 400, "--experts", 20, "--device", "cpu", "--markers", "CD3,CD4,CD19,CD14,CD56")


def test_torchrun_trains_the_model_of_one_process(tmp_path: Path) -> None:
    arguments = [*map(str, ("train", *FILES, *QUICK, "--steps", 30, "-o"))]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cytovae", *arguments]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "two")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # One of the two talks, and writes.
    assert done.stdout == ""
    assert done.stderr.count("read 12,000 of 12,000 cells, device cpu") == done.stderr.count("wrote") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["two"]

    assert CliRunner().invoke(app, [*arguments, str(tmp_path / "one")]).exit_code == 0
    one, two = (load_model(tmp_path / name) for name in ("one", "two"))
    # All before training is the first process's alone: the very same.
    chosen = [pd.read_parquet(tmp_path / name / "landmarks.parquet") for name in ("one", "two")]
    pd.testing.assert_frame_equal(*(table[["file", "event", "umap_1", "umap_2"]] for table in chosen), check_exact=True)
    history = [pd.read_parquet(tmp_path / name / "history.parquet").to_numpy() for name in ("one", "two")]
    np.testing.assert_allclose(*history, atol=1e-4)
    some = read_cells([*map(open_fcs, FILES)], one.panel, one.transform, max_events_per_file=300)
    found = [assign(saved.model, some.values) for saved in (one, two)]
    assert (found[0].cluster == found[1].cluster).mean() > 0.99


@pytest.mark.parametrize(
    ("stage", "asked", "sent", "code"),
    [("training", 1, signal.SIGTERM, 143), ("umap", 1, signal.SIGINT, 130)],
)
def test_a_signal_to_one_process_ends_all(
    store: torch.distributed.TCPStore,
    started: list[subprocess.Popen[str]],
    tmp_path: Path,
    stage: str,
    asked: int,
    sent: signal.Signals,
    code: int,
) -> None:
    many = ("--landmarks", 4_000) if stage == "umap" else ()
    started += start(store, "-m", "cytovae", "train", *FILES, "-o", tmp_path / "m", *QUICK, *many, "--steps", 100_000)
    first = started[0]
    assert first.stderr is not None
    for line in first.stderr:
        if stage in line:
            break
    time.sleep(1)
    started[asked].send_signal(sent)
    said = [process.communicate(timeout=30)[1] for process in started]
    assert [process.returncode for process in started] == [code, code], said
    assert not any("Traceback" in text for text in said)
    # What was done is kept for --resume; nothing else is left.
    assert [entry.name for entry in tmp_path.iterdir()] == [".m.state"]
    assert (tmp_path / ".m.state" / "neighbours.safetensors").exists()
    assert (tmp_path / ".m.state" / "training.safetensors").exists() == (stage == "training")


def test_resumed_training_of_two_processes_ends_in_the_same_bytes(
    store: torch.distributed.TCPStore, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted in the training loop of the second process; its state is the first one's to keep and to give back."""
    arguments = ("-m", "cytovae", "train", FILES[0], *QUICK, "--steps", 400, "--quiet", "-o")

    def ended(*command: object) -> list[str]:
        own_store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        processes = start(own_store, *command)
        started.extend(processes)
        said = [process.communicate(timeout=60)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        return said

    ended(*arguments, tmp_path / "straight")
    started += (stopped := start(store, *arguments, tmp_path / "m", "--save-every", 0))
    kept = tmp_path / ".m.state" / "training.safetensors"
    while not kept.exists() and stopped[0].poll() is None:
        time.sleep(0.01)
    stopped[1].send_signal(signal.SIGUSR1)
    said = [process.communicate(timeout=30)[1] for process in stopped]
    assert [process.returncode for process in stopped] == [143, 143], said
    with safe_open(kept, framework="numpy") as state:
        records = json.loads(state.metadata()["said"])["records"]
    assert 25 <= records[-1][0] < 400

    # Of another number of processes it would be other training.
    one = [sys.executable, *map(str, (*arguments, tmp_path / "m", "--resume"))]
    refused = subprocess.run(one, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "processes 2 (now 1)" in " ".join(refused.stderr.split())

    ended(*arguments, tmp_path / "m", "--resume")
    for name in ("model.safetensors", "history.parquet"):
        assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "straight"]


def test_a_second_signal_does_not_disturb_the_cleaning_up(tmp_path: Path) -> None:
    """torchrun sends one to all that are left as soon as the first has ended, maybe while it keeps its state."""
    program = f"""
import contextlib, os, pathlib, signal, sys
from cytovae.cli.interruption import Interruption
from cytovae.errors import Interrupted

@contextlib.contextmanager
def kept():
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        pathlib.Path({str(tmp_path / "kept")!r}).touch()

Interruption().install()
try:
    with kept():
        raise Interrupted(signal.SIGINT)
except Interrupted as stop:
    sys.exit(stop.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 130
    assert (tmp_path / "kept").exists()


def test_a_signal_that_a_callback_swallows_is_tried_again_without_a_word() -> None:
    """As llvmlite's callbacks do while numba compiles: what is raised there cannot go further."""
    program = """
import ctypes, os, signal, time
from cytovae.cli.interruption import Interruption

Interruption().install()
ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))()
time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=15)
    assert (done.returncode, done.stderr) == (143, "")


def test_what_is_wrong_with_the_input_is_said_once_and_ends_all(
    store: torch.distributed.TCPStore, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The first process finds out; the second is told that it has left."""
    arguments = ("train", *FILES, "-o", tmp_path / "m", *QUICK, "--clusters", 100)
    started += start(store, "-m", "cytovae", *arguments)
    said = [process.communicate(timeout=60)[1] for process in started]
    assert started[0].returncode == 2
    assert "100 clusters cannot be made of 20 experts" in said[0]
    assert started[1].returncode == 143
    assert said[1].strip() == "interrupted"


def test_other_commands_are_not_for_several_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in environment(0, 1).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["inspect", str(FILES[0])])
    assert isinstance(result.exception, UsageError)
    assert "torchrun" in str(result.exception)


def test_plain_training_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a scheduler has left a number of processes in the environment."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not launched()
    with joined("cpu") as ranks:
        assert ranks is ALONE


if __name__ == "__main__":
    main(sys.argv[1])
