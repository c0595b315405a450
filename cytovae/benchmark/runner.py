"""Runs jobs, several at a time, each in its own process; keeps one file of rows per finished job.

A folder of results holds ``rows/JOB.json``, which appear whole or not at all. What is there is done: a run that was
killed goes on where it stopped, and many machines may work into the same folder.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from cytovae.atomic import write_whole
from cytovae.benchmark.datasets import DataSet, fingerprint
from cytovae.benchmark.job import Job, Protocol, Row, failed_rows, row_from
from cytovae.benchmark.methods import METHODS, NEEDS_NUMBER, NUMBERS_OF_CLUSTERS, Run
from cytovae.errors import InputError, OutputError, UsageError

ROWS = "rows"


_WATCH_SECONDS = 0.05


def plan(
    datasets: Sequence[DataSet],
    methods: Sequence[str],
    seeds: int,
    protocol: Protocol,
    *,
    threads: int = 1,
    steps: int | None = None,
    device: str = "cpu",
    numbers: Sequence[int] = NUMBERS_OF_CLUSTERS,
) -> tuple[Job, ...]:
    """All jobs, in a fixed order: data set by data set, method by method, seeds 0 … ``seeds`` − 1.

    Methods that must be told the number of clusters get every one of ``numbers``; FlowSOM in one job, because its map
    serves them all. ``cytovae:NAME`` is cytovae with that preset. Raises :class:`UsageError` for an unknown method.
    """
    if seeds < 1:
        raise UsageError(f"at least one seed is needed, not {seeds}")
    if not methods:
        raise UsageError(f"no method was named. There are {', '.join(METHODS)}")
    jobs: list[Job] = []
    for dataset in datasets:
        content = fingerprint(dataset)
        for name in methods:
            method, _, variant = name.partition(":")
            if method not in METHODS or (variant and method != "cytovae"):
                raise UsageError(f"no method is called {name}. There are {', '.join(METHODS)} and cytovae:PRESET")
            told: tuple[tuple[int, ...], ...] = ((),)
            if method in NEEDS_NUMBER:
                told = (tuple(numbers),) if method == "flowsom" else tuple((number,) for number in numbers)
            for seed in range(seeds):
                own_steps = steps if method == "cytovae" else None
                runs = (Run(method, each, variant, seed, threads, own_steps, device) for each in told)
                jobs.extend(Job(dataset, protocol, run, content) for run in runs)
    if len({job.key for job in jobs}) < len(jobs):
        raise UsageError("the same data set or method was named twice")
    return tuple(jobs)


def prepare(folder: Path) -> None:
    """Make the folder of results, or go on with one made before. Raises :class:`OutputError` for any other folder."""
    try:
        if folder.is_dir() and not (folder / ROWS).is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder} is neither empty nor a folder of benchmark results. Name another with -o")
        (folder / ROWS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error


def row_file(folder: Path, job: Job) -> Path:
    """Where the rows of a job are, once it is done."""
    return folder / ROWS / f"{job.key}.json"


def run_jobs(
    jobs: Sequence[Job], folder: Path, *, at_once: int = 1, time_limit: float | None = None
) -> Generator[tuple[Job, tuple[Row, ...]], None, None]:
    """Do the jobs that have no rows yet, ``at_once`` at a time, and yield each with its rows as it ends.

    A job that fails, or runs longer than ``time_limit`` seconds, has rows that say so. Closing the iterator, or an
    interrupt, stops the jobs under way; they leave nothing.
    """
    waiting = [job for job in jobs if not row_file(folder, job).exists()]
    stop = threading.Event()
    pool = ThreadPoolExecutor(max_workers=max(1, at_once))
    try:
        futures = {pool.submit(run_job, job, folder, time_limit, stop): job for job in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def run_job(job: Job, folder: Path, time_limit: float | None, stop: threading.Event) -> tuple[Row, ...]:
    """Do one job in a new process and a working folder of its own, and put its rows in place.

    Returns no rows if ``stop`` was set before it ended. Raises :class:`OutputError` if rows cannot be written.
    """
    if stop.is_set():
        return ()
    try:
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=folder))
    except OSError as error:
        raise OutputError(f"{folder}: no working folder can be made there: {error.strerror}") from error
    try:
        spec, result, talk = work / "job.json", work / "rows.json", work / "talk.txt"
        scratch = work / "scratch"
        try:
            scratch.mkdir()
            spec.write_text(job.to_json(), "utf-8")
        except OSError as error:
            raise OutputError(f"{spec} cannot be written: {error.strerror or error}") from error
        command = [sys.executable, "-m", "cytovae.benchmark.job", str(spec.resolve()), str(result.resolve())]
        began = time.monotonic()
        with talk.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=_environment(job.run.threads),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ended = _watch(process, began, time_limit, stop)
        wall = time.monotonic() - began
        if not ended and stop.is_set():
            return ()
        if not ended:
            rows = failed_rows(job, f"stopped after the time limit of {time_limit:g} s", wall)
        elif process.returncode == 0 and result.exists():
            done = (row_from(raw) for raw in json.loads(result.read_text("utf-8")))
            rows = tuple(row_from(asdict(row) | {"process_wall_seconds": wall}) for row in done)
        else:
            rows = failed_rows(job, _reason(process.returncode, talk), wall)
        write_whole(row_file(folder, job), json.dumps([asdict(row) for row in rows], indent=1))
        return rows
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _environment(threads: int) -> dict[str, str]:
    """The environment of a job: ours, with every numerical library held to ``threads``."""
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")
    limits = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    return os.environ | limits | {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


def _watch(process: "subprocess.Popen[bytes]", began: float, time_limit: float | None, stop: threading.Event) -> bool:
    """Wait for the process to end; end it, and what it started, at the time limit or when ``stop`` is set (False)."""
    while True:
        try:
            process.wait(timeout=_WATCH_SECONDS)
            return True
        except subprocess.TimeoutExpired:
            late = time_limit is not None and time.monotonic() - began > time_limit
            if late or stop.is_set():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return False


def _reason(code: int, talk: Path) -> str:
    """Why a job failed, in one line: the last thing it said."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    lines = [line.strip() for line in talk.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code} without a word"
    kind, colon, sentence = last.partition(": ")
    # Our own errors say it all; of others the kind is worth knowing.
    return (sentence if colon and kind.startswith("cytovae.errors.") else last)[:500]


def read_rows(folder: Path) -> tuple[Row, ...]:
    """All rows of a folder of results, in a fixed order. Raises :class:`InputError` for a damaged or missing one."""
    rows: list[Row] = []
    for path in sorted((folder / ROWS).glob("*.json")):
        try:
            rows.extend(row_from(raw) for raw in json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(path, "rows", str(error), "what a job writes", "Remove the file and run again.") from error
    if not rows:
        raise InputError(folder, "rows", "none", f"{ROWS}/*.json", "Is this a folder of benchmark results?")
    return tuple(sorted(rows, key=lambda row: (row.dataset, row.protocol, row.method, row.number, row.seed)))
