"""Simulated files through the study workflow: seconds and memory of each rule, and whether one process finds the same.

    python docs/scaling/study.py --files 100 --cells 100000 --cores 2 --output docs/results/study.md

Data and outputs go to a temporary folder (--work keeps them) that needs about 300 bytes of disk a cell.
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
    """The wall seconds of a command. What it says is shown where it fails."""
    began = time.monotonic()
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:6]))} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.monotonic() - began


def rule_row(title: str, tables: Sequence[Path], cells: int) -> str:
    """A line of the table, from what Snakemake measured of the jobs of a rule."""
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
    """Assign all files in one process, and compare with what the jobs wrote; what was found, and the seconds."""
    tables = together / "tables"
    command = (*CYTOVAE, "assign", study / "model", *files, "-o", f"{together}/", "--tables", tables, "--threads", 1)
    together.mkdir()
    seconds = run(*command, "--device", "cpu", "--quiet")
    same = sum(
        digest(study / "assigned" / file.stem / "cells.parquet") == digest(together / f"{file.stem}.parquet")
        for file in files
    )
    # sample, batch and condition stand before the columns that assign wrote
    gathered = [line.split(",", 3)[3] for line in (study / "abundance.csv").read_text().splitlines()]
    counts = gathered == (tables / "abundance.csv").read_text().splitlines()
    found = f"{same:,} of {len(files):,} tables of cells are the same byte for byte, and the abundances are "
    return found + ("the same" if counts else "NOT the same"), seconds


def measure(work: Path, n_files: int, n_cells: int, cores: int, train_options: str) -> str:
    """Run the study, and write what was measured as Markdown."""
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
            "| rule | jobs | cells a job | seconds, mean | longest | all jobs | processor seconds | peak memory, MB |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"The whole took {wall:,.0f} s, {total / wall:,.0f} cells a second, and left {written / 1e6:,.0f} MB of "
            f"assignments ({written / total:.0f} bytes a cell). Seconds of a job hold the start of Python.",
            "",
            f"One process assigned all files in {alone:,.0f} s on one thread: {found}.",
            "",
        ]
    )


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--train-options", default="", help="of `cytovae train`, to try the command out")
    parser.add_argument("--work", type=Path, help="folder to keep data and outputs in")
    parser.add_argument("--output", type=Path, help="file for the table; else it is printed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cytovae-study-") as temporary:
        work = given.work or Path(temporary)
        text = measure(work, given.files, given.cells, given.cores, given.train_options)
    if given.output is None:
        print(text)
    else:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
