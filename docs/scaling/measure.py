"""What a cell costs here, carried forward to studies of 10⁸ and 10⁹ cells by arithmetic.

    python docs/scaling/measure.py --output docs/results/scaling.md

One thread of one core throughout; about ten minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.environment import machine

CYTOVAE = (sys.executable, "-m", "cytovae")
CELLS_A_FILE = 100_000
CHANNELS = 20
STUDIES = (10**8, 10**9)
CORES = (2, 64, 512)


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds of a command, and the peak of its memory in MB."""

    wall: float
    processor: float
    memory: float


def cost(*command: object) -> Cost:
    """Run a command on one thread and measure it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    with tempfile.TemporaryFile() as talk:
        process = subprocess.Popen([*map(str, command)], env=environment, stdout=talk, stderr=talk)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            talk.seek(0)
            sys.exit(f"{' '.join(map(str, command[:6]))} failed:\n{talk.read().decode()[-4000:]}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@dataclass(frozen=True)
class Rate:
    """A command's seconds: those before it begins to work, and those of a cell; bytes written of a cell."""

    start: float
    cell: float
    written: float
    memory: float


def rate(work: Path, name: str, file: Path, small: Path, n: int, n_small: int, *command: object) -> Rate:
    """Measured on two files of different sizes. ``command`` has INPUT and OUTPUT in the place of paths."""
    costs, sizes = [], []
    for path in (small, file):
        output = work / f"{path.stem}-{name}"
        costs.append(cost(*(path if part == "INPUT" else output if part == "OUTPUT" else part for part in command)))
        sizes.append(output.stat().st_size)
        output.unlink()
    cell = (costs[1].processor - costs[0].processor) / (n - n_small)
    return Rate(costs[0].processor - n_small * cell, cell, (sizes[1] - sizes[0]) / (n - n_small), costs[1].memory)


def hours(seconds: float) -> str:
    """Seconds as hours, or minutes where that says more."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def size(n_bytes: float) -> str:
    """Bytes as GB or TB."""
    return f"{n_bytes / 1e12:,.1f} TB" if n_bytes >= 1e12 else f"{n_bytes / 1e9:,.0f} GB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, and an empty one."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)] + [""]


def simulated(folder: Path, n_cells: int) -> Path:
    """One simulated file, made in a process of its own: a child's peak memory begins with that of its parent."""
    program = Path(__file__).parent / "simulate.py"
    subprocess.run([sys.executable, str(program), str(folder), "--files", "1", "--cells", str(n_cells)], check=True)
    return folder / "sim_0001.fcs"


def measure(work: Path, landmarks: Sequence[int], n_cells: int, train_options: Sequence[str]) -> str:
    """Measure, and write what was found as Markdown."""
    n, n_small = n_cells, n_cells // 4
    large, small = simulated(work / "large", n), simulated(work / "small", n_small)
    quiet = ("--device", "cpu", "--threads", 1, "--quiet")

    training, stages = [], ("reading", "neighbours", "umap", "training", "merging")
    for count in landmarks:
        model = work / f"model-{count}"
        spent = cost(*CYTOVAE, "train", large, "-o", model, "--landmarks", count, *train_options, *quiet)
        seconds = json.loads((model / "run.json").read_text())["seconds"]
        each = [f"{seconds[stage]:.1f}" for stage in stages]
        training.append([f"{count:,}", *each, f"{spent.wall:.0f}", f"{spent.memory:,.0f}"])
    model = work / f"model-{landmarks[0]}"

    assign = (*CYTOVAE, "assign", model, "INPUT", "-o", "OUTPUT")
    parquet = rate(work, "cells.parquet", large, small, n, n_small, *assign, *quiet)
    text = rate(work, "cells.csv", large, small, n, n_small, *assign, *quiet)
    report = rate(work, "r.html", large, small, n, n_small, *CYTOVAE, "report", model, "INPUT", "-o", "OUTPUT", *quiet)
    read = rate_of_reading(large, n)
    n_clusters = json.loads((model / "model.json").read_text())["n_clusters"]

    costs = table(
        ("one thread", "seconds before it begins", "cells a second", "bytes written a cell", "peak memory, MB"),
        [
            [name, f"{r.start:.1f}", f"{1 / r.cell:,.0f}", f"{r.written:.0f}" if grows else "–", f"{r.memory:,.0f}"]
            for name, r, grows in (
                ("assign to Parquet", parquet, True),
                ("assign to CSV", text, True),
                ("report", report, False),
                ("train, reading alone", read, False),
            )
        ],
    )
    forward = []
    for study in STUDIES:
        n_files = study // CELLS_A_FILE
        work_seconds = study * parquet.cell + n_files * parquet.start
        forward.append(
            [
                f"{study:.0e}".replace("1e+0", "10^"),
                f"{n_files:,}",
                f"{n_files * parquet.start / work_seconds:.0%}",
                *(hours(work_seconds / cores) for cores in CORES),
                hours(study * parquet.cell),
                hours(study * read.cell),
                hours(study * report.cell),
                size(study * 4 * CHANNELS),
                size(study * parquet.written),
            ]
        )
    return "\n".join(
        [
            "# What a cell costs",
            "",
            f"Made by `make scaling` on {machine()}: one thread, simulated files of {n_small:,} and {n:,} cells with "
            f"{CHANNELS} channels, 12 of them markers, {n_clusters} clusters. Processor seconds; the rates come from "
            "the difference of the two, so the start of Python, torch and the model stands by itself.",
            "",
            *costs,
            "Seconds of training against landmarks, one thread; the last columns are of the whole command.",
            "",
            *table(("landmarks", *stages, "in all", "peak memory, MB"), training),
            f"## Carried forward, files of {CELLS_A_FILE:,} cells",
            "",
            "Training does not grow with the study but for reading (here from files that the system had in memory: a "
            "disk may be slower); that and the report are one process each.",
            "",
            *table(
                (
                    *("cells", "files", "share of starting in assign"),
                    *(f"assign, {cores} cores" for cores in CORES),
                    "assign, one process for all",
                    *("reading for train", "report", "FCS files", "assigned (Parquet)"),
                ),
                forward,
            ),
        ]
    )


READING = """
import json, pathlib, resource, sys, time
from cytovae.fcs import open_fcs
from cytovae.modelfile import input_record
from cytovae.panel import resolve_panel
from cytovae.study import read_cells
from cytovae.transform import Transform
before = time.process_time()
file = open_fcs(pathlib.Path(sys.argv[1]))
panel = resolve_panel(file, cofactor=5)
cells = read_cells([file], panel, Transform("arcsinh", panel.cofactors), seed=0)
input_record(file, len(cells))
print(json.dumps([before, time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def rate_of_reading(file: Path, n: int) -> Rate:
    """Of what a training does with whole files: draw a sample of 200,000 cells, and take the checksum."""
    done = subprocess.run([sys.executable, "-c", READING, str(file)], stdout=subprocess.PIPE, check=True)
    start, seconds, memory = json.loads(done.stdout)
    return Rate(start, seconds / n, 0, memory)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landmarks", default="5000,10000,20000,40000", help="numbers of landmarks to train on")
    parser.add_argument("--cells", type=int, default=4_000_000, help="of the larger of the two files")
    parser.add_argument("--train-options", default="", help="of `cytovae train`, to try the command out")
    parser.add_argument("--output", type=Path, help="file for the tables; else they are printed")
    given = parser.parse_args()
    landmarks = [int(word) for word in given.landmarks.split(",")]
    with tempfile.TemporaryDirectory(prefix="cytovae-scaling-") as temporary:
        text = measure(Path(temporary), landmarks, given.cells, given.train_options.split())
    if given.output is None:
        print(text)
    else:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
