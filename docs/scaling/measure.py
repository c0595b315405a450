"""Measure time and memory per cell on this machine, and extrapolate to studies of 10⁸ and 10⁹ cells.

    python docs/scaling/measure.py --output docs/results/scaling.md

Everything runs on one thread and takes about ten minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cytovae.environment import machine

CYTOVAE = (sys.executable, "-m", "cytovae")
CELLS_A_FILE = 100_000
CHANNELS = 20
STUDIES = (10**8, 10**9)
CORES = (2, 64, 512)


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds of a command, and its peak memory in MB."""

    wall: float
    processor: float
    memory: float


# A process's peak memory starts at that of its parent, so a small process starts what is measured.
STARTER = """
import json, os, subprocess, sys, time
started = time.monotonic()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
costs = time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
with open(sys.argv[1], "w") as file:
    json.dump((os.waitstatus_to_exitcode(status), costs), file)
"""


def cost(*command: object, environment: Mapping[str, str] = MappingProxyType({})) -> Cost:
    """Run a command on one thread and measure it; ``environment`` has more variables for it."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile() as result:
        starter = [sys.executable, "-S", "-c", STARTER, result.name]
        subprocess.run([*starter, *map(str, command)], env=variables, stdout=log, stderr=log, check=True)
        code, costs = json.load(result)
        if code:
            log.seek(0)
            sys.exit(f"{' '.join(map(str, command[:6]))} failed:\n{log.read().decode()[-4000:]}")
    return Cost(*costs)


@dataclass(frozen=True)
class Rate:
    """A command's seconds for starting and per cell, the bytes it writes per cell, and its peak memory in MB."""

    start: float
    cell: float
    written: float
    memory: float


def rate(work: Path, name: str, file: Path, small: Path, n: int, n_small: int, *command: object) -> Rate:
    """Measure a command on two files of different sizes; INPUT and OUTPUT in ``command`` stand for the paths."""
    costs, sizes = [], []
    for path in (small, file):
        output = work / f"{path.stem}-{name}"
        costs.append(cost(*(path if part == "INPUT" else output if part == "OUTPUT" else part for part in command)))
        sizes.append(output.stat().st_size)
        output.unlink()
    cell = (costs[1].processor - costs[0].processor) / (n - n_small)
    return Rate(costs[0].processor - n_small * cell, cell, (sizes[1] - sizes[0]) / (n - n_small), costs[1].memory)


def hours(seconds: float) -> str:
    """Format seconds as hours or minutes."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def size(n_bytes: float) -> str:
    """Format bytes as GB or TB."""
    return f"{n_bytes / 1e12:,.1f} TB" if n_bytes >= 1e12 else f"{n_bytes / 1e9:,.0f} GB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, with an empty line at the end."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)] + [""]


def simulated(folder: Path, n_cells: int) -> Path:
    """Simulate one file in a separate process, because a child's peak memory starts at that of its parent."""
    program = Path(__file__).parent / "simulate.py"
    subprocess.run([sys.executable, str(program), str(folder), "--files", "1", "--cells", str(n_cells)], check=True)
    return folder / "sim_0001.fcs"


def measure(work: Path, landmarks: Sequence[int], n_cells: int, train_options: Sequence[str]) -> str:
    """Run all measurements and return the results as Markdown."""
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
        ("one thread", "seconds to start", "cells per second", "bytes written per cell", "peak memory, MB"),
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
    extrapolated = []
    for study in STUDIES:
        n_files = study // CELLS_A_FILE
        work_seconds = study * parquet.cell + n_files * parquet.start
        extrapolated.append(
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
            "# Time and memory per cell",
            "",
            f"Made by `make scaling` on {machine()}: one thread, simulated files of {n_small:,} and {n:,} cells with "
            f"{CHANNELS} channels, 12 of them markers, {n_clusters} clusters. Processor seconds; the rates come from "
            "the difference between the two files, so starting Python, torch and the model is separate.",
            "",
            *costs,
            "Seconds of training by number of landmarks, one thread; the last columns are those of the whole command.",
            "",
            *table(("landmarks", *stages, "total", "peak memory, MB"), training),
            f"## Extrapolated to files of {CELLS_A_FILE:,} cells",
            "",
            "Only the reading part of training grows with the study (here the files were cached in memory; a disk may "
            "be slower). Reading and the report are one process each.",
            "",
            *table(
                (
                    *("cells", "files", "share of start in assign"),
                    *(f"assign, {cores} cores" for cores in CORES),
                    "assign, one process for all",
                    *("reading for train", "report", "FCS files", "assigned (Parquet)"),
                ),
                extrapolated,
            ),
        ]
    )


READING = """
import json, pathlib, resource, sys, time
from cytovae.events.event_file import open_events
from cytovae.events.marker_file import files_of_study
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform
from cytovae.model_folder.input_files import input_records
from cytovae.study.sampling import draw_cells
before = time.process_time()
file = open_events(pathlib.Path(sys.argv[1]))
panel = resolve_panel(file, cofactor=5)
cells = draw_cells(files_of_study([file], panel, Transform("arcsinh", panel.cofactors)), seed=0)
input_records([file], [len(cells)])
print(json.dumps([before, time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def rate_of_reading(file: Path, n: int) -> Rate:
    """Measure what training does with a whole file: draw 200,000 cells and compute the checksum."""
    done = subprocess.run([sys.executable, "-c", READING, str(file)], stdout=subprocess.PIPE, check=True)
    start, seconds, memory = json.loads(done.stdout)
    return Rate(start, seconds / n, 0, memory)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landmarks", default="5000,10000,20000,40000", help="numbers of landmarks to train on")
    parser.add_argument("--cells", type=int, default=4_000_000, help="cells of the larger of the two files")
    parser.add_argument("--train-options", default="", help="options of `cytovae train`, for a quick trial")
    parser.add_argument("--output", type=Path, help="file for the tables (default: standard output)")
    arguments = parser.parse_args()
    landmarks = [int(word) for word in arguments.landmarks.split(",")]
    with tempfile.TemporaryDirectory(prefix="cytovae-scaling-") as temporary:
        text = measure(Path(temporary), landmarks, arguments.cells, arguments.train_options.split())
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
