"""`cytovae workflow`: the folders that it writes, and the workflows run by Snakemake."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import flowio
import numpy as np
import pytest
from helpers.command import Command

from cytovae.errors import InputError, OutputError, UsageError

SAMPLE = Path(__file__).parents[2] / "sample_data"
FILES = sorted(SAMPLE.glob("*.fcs"))[:3]
QUICK = "--steps 30 --landmarks 300 --experts 12 --markers CD3,CD4,CD8a,CD19,CD14"
needs_snakemake = pytest.mark.skipif(
    importlib.util.find_spec("snakemake") is None, reason="Snakemake is not installed (extra workflow)"
)


COMMAND = Command()
done = COMMAND.done
refused = COMMAND.refused


def snakemake(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start Snakemake in ``folder``, in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *options],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def succeeded(process: "subprocess.Popen[str]") -> None:
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log


def sheet(folder: Path, text: str) -> Path:
    path = folder / "samples.csv"
    path.write_text(text, encoding="utf-8")
    return path


# --- the folder of a workflow -----------------------------------------------------------------------------------------


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    for name in ("plate1/A01.fcs", "plate2/A01.fcs", "plate2/B 02.fcs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_with_a_workflow_is_not_overwritten(plates: Path) -> None:
    samples = sheet(plates, "file\nplate1/A01.fcs\n")
    done("workflow", "study", "--samples", samples, "-o", plates / "w")
    (plates / "w" / "config.yaml").write_text("mine")
    assert "--force" in refused(OutputError, "workflow", "study", "--samples", samples, "-o", plates / "w")
    assert (plates / "w" / "config.yaml").read_text() == "mine"
    done("workflow", "study", "--samples", samples, "-o", plates / "w", "--force")
    assert "mine" not in (plates / "w" / "config.yaml").read_text()


# --- a study ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_snakemake
def test_a_killed_study_resumes_and_equals_that_of_one_process(tmp_path: Path) -> None:
    rows = [(file, f"sample {n}", "batch 1", "") for n, file in enumerate(FILES)]
    with (tmp_path / "samples.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "sample", "batch", "condition"), *rows])
    folder = tmp_path / "study"
    output = done(
        "workflow", "study", "--samples", tmp_path / "samples.csv", "-o", folder, "--max-events-per-file", 500,
        "--seed", 3, "--device", "cpu", "--train-options", QUICK,
    ).output  # fmt: skip
    assert "3 files" in output

    # Kill it and its child processes when the first file is assigned.
    running = snakemake(folder)
    for _ in range(2_000):
        if list(folder.glob("assigned/*/cluster_medians.csv")) or running.poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    _, log = running.communicate()
    assert running.returncode == -signal.SIGKILL, log
    assert not (folder / "report.html").exists()
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("model/*")}
    assert len(trained) == 5

    succeeded(snakemake(folder, "--unlock"))
    succeeded(snakemake(folder, "--rerun-incomplete"))
    assert trained == {path: path.stat().st_mtime_ns for path in folder.glob("model/*")}  # not trained again
    assert (folder / "report.html").stat().st_size > 100_000
    measured = {path.stem for path in folder.glob("benchmarks/**/*.tsv")}
    assert {file.stem for file in FILES} | {"report", "abundance"} <= measured

    # The same model with all files in one process.
    together = tmp_path / "together"
    done("assign", folder / "model", *FILES, "-o", f"{together}/", "--tables", tmp_path, "--device", "cpu")
    for file in FILES:
        one = (folder / "assigned" / file.stem / "cells.parquet").read_bytes()
        assert one == (together / f"{file.stem}.parquet").read_bytes()
    lines = (tmp_path / "abundance.csv").read_text().splitlines()
    clusters = (len(lines) - 1) // len(FILES)
    expected = [f"sample,batch,{lines[0]}"]
    expected += [f'"sample {n // clusters}","batch 1",{line}' for n, line in enumerate(lines[1:])]
    assert (folder / "abundance.csv").read_text().splitlines() == expected

    # Nothing is left to do, and nothing was written elsewhere.
    dry = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "Nothing to be done" in dry.stdout + dry.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "study", "together", "samples.csv", "abundance.csv", "cluster_medians.csv", "clusters.csv",
        "sample_abundance.csv", "sample_medians.csv",
    }  # fmt: skip


def test_a_missing_table_is_named(plates: Path) -> None:
    samples = sheet(plates, "file\nplate1/A01.fcs\nplate2/A01.fcs\n")
    first = plates / "assigned" / "plate1__A01" / "abundance.csv"
    first.parent.mkdir(parents=True)
    first.write_text("file,cluster,cells,fraction\nA01.fcs,1,3,1\n")
    command = ("workflow", "gather", plates / "assigned", "--samples", samples, "-o", plates / "all.csv")
    assert "plate2__A01" in refused(InputError, *command)
    second = plates / "assigned" / "plate2__A01" / "abundance.csv"
    second.parent.mkdir()
    second.write_text("file,cluster,population,cells,fraction\nA01.fcs,1,B,3,1\n")
    assert "as in the first table" in refused(InputError, *command)
    assert not (plates / "all.csv").exists()


# --- a benchmark ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_snakemake
def test_the_jobs_of_a_benchmark_run_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    population = np.arange(200) % 2
    with (tmp_path / "a.fcs").open("wb") as stream:
        values = 50 * population[:, None] + rng.normal(20, 3, (200, 2))
        flowio.create_fcs(stream, values.astype(np.float32).ravel().tolist(), ["CD3", "CD4"])
    (tmp_path / "a.gates.csv").write_text("population\n" + "".join(f"{'AB'[n]}\n" for n in population))
    monkeypatch.chdir(tmp_path)  # paths are relative to the folder in which the workflow is written
    arguments = ("run", "a.fcs", "--methods", "kmeans", "--clusters", "2,3", "--threads", "1")
    assert "2 jobs" in done("workflow", "benchmark", "-o", "bench", *arguments).output
    succeeded(snakemake(tmp_path / "bench"))
    assert len(list(tmp_path.glob("bench/results/rows/*.json"))) == 2
    assert "k-means" in (tmp_path / "bench" / "results" / "table.md").read_text()


@pytest.mark.parametrize(
    "arguments", [(), ("run", "a.fcs", "--job", "3"), ("run", "a.fcs", "--jobs=2"), ("run", "--print-config")]
)
def test_a_benchmark_without_arguments_or_with_reserved_ones_is_refused(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    refused(UsageError, "workflow", "benchmark", "-o", tmp_path / "b", *arguments)
    assert list(tmp_path.iterdir()) == []


@needs_snakemake
@pytest.mark.slow
def test_braces_in_names_of_files_are_no_wildcards(tmp_path: Path) -> None:
    for name in ("{a}.fcs", "b{{c}.fcs"):
        (tmp_path / name).write_bytes(FILES[0].read_bytes())
    samples = sheet(tmp_path, "file\n{a}.fcs\nb{{c}.fcs\n")
    done("workflow", "study", "--samples", samples, "-o", tmp_path / "study")
    succeeded(snakemake(tmp_path / "study", "--dry-run"))


def test_the_sheet_of_the_user_is_not_replaced_by_that_of_the_workflow(tmp_path: Path) -> None:
    samples = sheet(tmp_path, f"file\n{FILES[0]}\n")
    before = samples.read_text()
    refused(UsageError, "workflow", "study", "--samples", samples, "-o", tmp_path, "--force")
    assert samples.read_text() == before
