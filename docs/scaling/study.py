"""Run simulated files through the study workflow, measure each rule, and compare the results with a single process.

    python docs/scaling/study.py --files 100 --cells 100000 --cores 2 --output docs/results/study.md

Data and outputs go to a temporary folder (--work keeps them) that needs about 300 bytes of disk space per cell.
"""

import argparse
import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from simulate import simulate

from cytovae.environment import machine

CYTOVAE = (sys.executable, "-m", "cytovae")


def run(*command: object, cwd: Path | None = None) -> float:
    """Run a command and return its wall seconds; print its output if it fails."""
    started = time.monotonic()
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:6]))} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.monotonic() - started


def rule_row(title: str, tables: Sequence[Path], cells: int) -> str:
    """A row of the table, from Snakemake's measurements of the jobs of a rule."""
    jobs = []
    for path in tables:
        with path.open(newline="") as stream:
            jobs += list(csv.DictReader(stream, delimiter="\t"))
    wall = [float(job["s"]) for job in jobs]
    memory = [float(job["max_rss"]) for job in jobs if job["max_rss"] != "NA"]
    processor = [float(job["cpu_time"]) for job in jobs if job["cpu_time"] != "NA"]
    return (
        f"| {title} | {len(jobs):,} | {cells:,} | {statistics.mean(wall):,.1f} | {max(wall):,.1f} | {sum(wall):,.0f} | "
        f"{sum(processor):,.0f} | {max(memory, default=0):,.0f} |"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def same_as_one_process(study: Path, files: Sequence[Path], together: Path) -> tuple[str, float]:
    """Assign all files in one process and compare the outputs with those of the jobs: the result and the seconds."""
    tables = together / "tables"
    command = (*CYTOVAE, "assign", study / "model", *files, "-o", f"{together}/", "--tables", tables, "--threads", 1)
    together.mkdir()
    seconds = run(*command, "--device", "cpu", "--quiet")
    same = sum(
        digest(study / "assigned" / file.stem / "cells.parquet") == digest(together / f"{file.stem}.parquet")
        for file in files
    )
    # The workflow's table has sample, batch and condition before the columns of assign.
    gathered = [line.split(",", 3)[3] for line in (study / "abundance.csv").read_text().splitlines()]
    counts = gathered == (tables / "abundance.csv").read_text().splitlines()
    found = f"{same:,} of {len(files):,} tables of cells are the same byte for byte, and the abundances are "
    return found + ("the same" if counts else "NOT the same"), seconds


def measure(work: Path, n_files: int, n_cells: int, cores: int, train_options: str) -> str:
    """Run the study and return the measurements as Markdown."""
    files = simulate(work / "data", n_files, n_cells)
    study = work / "study"
    options = ("--device", "cpu", "--train-options", train_options)
    run(*CYTOVAE, "workflow", "study", "--samples", work / "data" / "samples.csv", "-o", study, *options)
    wall = run(sys.executable, "-m", "snakemake", "--cores", cores, cwd=study)
    found, alone = same_as_one_process(study, files, work / "together")
    total = n_files * n_cells
    read = sum(path.stat().st_size for path in files)
    written = sum(path.stat().st_size for path in study.glob("assigned/*/*"))
    marks = study / "benchmarks"
    learned = sum(entry["cells"] for entry in json.loads((study / "model" / "run.json").read_text())["inputs"])
    rows = [
        rule_row("train", [marks / "train.tsv"], learned),
        rule_row("assign", sorted(marks.glob("assign/*.tsv")), n_cells),
        rule_row("abundance", [marks / "abundance.tsv"], total),
        rule_row("report", [marks / "report.tsv"], total),
    ]
    more = f" (options of train: {train_options})" if train_options else ""
    return "\n".join(
        [
            f"# A study of {n_files:,} files of {n_cells:,} cells",
            "",
            f"Made by `make study FILES={n_files} CELLS={n_cells} CORES={cores}`{more} on {machine()}: simulated files "
            f"of 20 channels ({read / 1e6:,.0f} MB) through `cytovae workflow study` and `snakemake --cores {cores}`.",
            "",
            "| rule | jobs | cells per job | seconds, mean | longest | total | processor seconds | peak memory, MB |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"The workflow took {wall:,.0f} s ({total / wall:,.0f} cells per second) and wrote {written / 1e6:,.0f} MB "
            f"of assignments ({written / total:.0f} bytes per cell). The seconds of a job include starting Python.",
            "",
            f"One process assigned all files in {alone:,.0f} s on one thread: {found}.",
            "",
        ]
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--train-options", default="", help="options of `cytovae train`, for a quick trial")
    parser.add_argument("--work", type=Path, help="folder for data and outputs, which are kept")
    parser.add_argument("--output", type=Path, help="file for the table (default: standard output)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cytovae-study-") as temporary:
        work = arguments.work or Path(temporary)
        text = measure(work, arguments.files, arguments.cells, arguments.cores, arguments.train_options)
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
