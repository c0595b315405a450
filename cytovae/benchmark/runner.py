"""Runs jobs in processes of their own and keeps one file of rows for each finished job.

A folder of results contains ``rows/JOB.json``, written atomically. A job with such a file is not run again, so that a
run can be continued after a crash, and several machines can share the folder.
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
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path

from cytovae.atomic import write_whole
from cytovae.benchmark.datasets import DataSet, fingerprint
from cytovae.benchmark.job import Job, Protocol, Row, failed_rows, row_from
from cytovae.benchmark.methods import LABELS, METHODS, NEEDS_NUMBER, NUMBERS_OF_CLUSTERS, Run
from cytovae.benchmark.named_methods import KNOWLEDGE, MOST_CELLS_OF_SCYAN, Knowledge
from cytovae.errors import InputError, OutputError, UsageError

ROWS = "rows"
_POLL_SECONDS = 0.05


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
    labels: Mapping[str, str] | None = None,
) -> tuple[Job, ...]:
    """Plan the jobs of a benchmark: each data set with each method and the seeds 0 … ``seeds`` − 1, in this order.

    Parameters
    ----------
    datasets : sequence of DataSet
        The data sets.
    methods : sequence of str
        Names of methods; "cytovae:PRESET" is cytovae with that preset. A data set that says nothing of what a method
        needs to know has no job of it, see :func:`without_knowledge`. scyan sees at most 20,000 cells, and so does
        "cytovae:types" in one more job beside it.
    seeds : int
        The number of seeds.
    protocol : Protocol
        Which cells are clustered and scored.
    threads : int
        Threads of each job.
    steps : int, optional
        Training steps of cytovae instead of the preset's.
    device : str
        Where cytovae trains.
    numbers : sequence of int
        Numbers of clusters for methods that need one: a job for each, but one job for FlowSOM, whose map serves all.
        The one job of cytovae's default also cuts its tree into each of them.
    labels : mapping of str to str, optional
        Files of labels of other tools, as ``FILE`` or ``FILE:COLUMN``, by the name of the tool: one more job for each,
        which scores them. They need a row for each cell of the only data set.

    Raises
    ------
    UsageError
        If a method is unknown, a data set or method is named twice, labels are given for several data sets, or no data
        set has what the methods need to know.
    """
    if seeds < 1:
        raise UsageError(f"at least one seed is needed, not {seeds}")
    if labels and len(datasets) != 1:
        raise UsageError(f"labels belong to the cells of one data set, not of {len(datasets)}")
    if not methods and not labels:
        raise UsageError(f"no method is named. Methods: {', '.join(METHODS)}")
    jobs: list[Job] = []
    for dataset in datasets:
        content: dict[Knowledge | None, str] = {None: fingerprint(dataset)}
        for name in methods:
            method, _, variant = name.partition(":")
            if method not in METHODS or (variant and method != "cytovae"):
                raise UsageError(f"no method is called {name}. Methods: {', '.join(METHODS)} and cytovae:PRESET")
            steps_of_method = steps if method == "cytovae" else None
            knowledge = KNOWLEDGE.get(name)
            if not _knows(dataset, knowledge):
                continue
            if knowledge not in content:
                content[knowledge] = fingerprint(dataset, knowledge=knowledge)
            for each in _protocols(name, methods, protocol):
                for seed in range(seeds):
                    for of_job in _numbers_of_jobs(name, numbers):
                        run = Run(method, of_job, variant, seed, threads, steps_of_method, device)
                        jobs.append(Job(dataset, each, run, content[knowledge]))
        for name, spec in (labels or {}).items():
            run = Run(LABELS, variant=name, threads=threads, labels=spec)
            jobs.append(Job(dataset, protocol, run, fingerprint(dataset, spec)))
    if not jobs:
        raise UsageError(f"nothing to run: {'; '.join(without_knowledge(datasets, methods))}")
    if len({job.key for job in jobs}) < len(jobs):
        raise UsageError("a data set or a method is named twice")
    return tuple(jobs)


def _numbers_of_jobs(name: str, numbers: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The numbers of clusters of each job of a method."""
    if name in ("cytovae", "flowsom"):
        return (tuple(numbers),)
    return tuple((number,) for number in numbers) if name in NEEDS_NUMBER else ((),)


def without_knowledge(datasets: Sequence[DataSet], methods: Sequence[str]) -> tuple[str, ...]:
    """A line for each data set without jobs of some of the methods, which need to know more of it."""
    lines = []
    for dataset in datasets:
        for knowledge, what in _WHAT.items():
            left_out = [name for name in methods if KNOWLEDGE.get(name) == knowledge and not _knows(dataset, knowledge)]
            if left_out:
                lines.append(f"{dataset.name} has no {what} ({knowledge}): without {', '.join(left_out)}")
    return tuple(lines)


_WHAT: dict[Knowledge, str] = {"types": "marker table", "train_files": "files that teach"}


def _knows(dataset: DataSet, knowledge: Knowledge | None) -> bool:
    """Whether a data set has what a method needs to know."""
    return knowledge is None or bool(getattr(dataset, knowledge))


def _protocols(name: str, methods: Sequence[str], protocol: Protocol) -> tuple[Protocol, ...]:
    """The protocols of a method: scyan has at most 20,000 cells, and cytovae:types the same ones beside it."""
    few = replace(protocol, max_events=min(protocol.max_events or MOST_CELLS_OF_SCYAN, MOST_CELLS_OF_SCYAN))
    if name == "scyan":
        return (few,)
    return tuple(dict.fromkeys((protocol, few))) if name == "cytovae:types" and "scyan" in methods else (protocol,)


def prepare(folder: Path) -> None:
    """Create the folder of results if it does not exist.

    Raises :class:`OutputError` if it cannot be created, or if it contains something other than results.
    """
    try:
        if folder.is_dir() and not (folder / ROWS).is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder} is neither empty nor a folder of benchmark results. Name another with -o")
        (folder / ROWS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror}") from error


def row_file(folder: Path, job: Job) -> Path:
    """The file of the rows of a job; it exists once the job is finished."""
    return folder / ROWS / f"{job.key}.json"


def run_jobs(
    jobs: Sequence[Job], folder: Path, *, at_once: int = 1, time_limit: float | None = None
) -> Generator[tuple[Job, tuple[Row, ...]], None, None]:
    """Run the jobs that have no rows yet, ``at_once`` at a time, and yield each with its rows when it ends.

    A job that fails, or that takes longer than ``time_limit`` seconds, gets rows with the status "failed". Closing the
    generator, or an interrupt, stops the running jobs without leaving a trace of them.
    """
    pending = [job for job in jobs if not row_file(folder, job).exists()]
    stop = threading.Event()
    pool = ThreadPoolExecutor(max_workers=max(1, at_once))
    try:
        futures = {pool.submit(run_job, job, folder, time_limit, stop): job for job in pending}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def run_job(job: Job, folder: Path, time_limit: float | None, stop: threading.Event) -> tuple[Row, ...]:
    """Run one job in a new process with a temporary working folder, and write its rows to ``folder``.

    Returns no rows if ``stop`` is set before the job ends. Raises :class:`OutputError` if the rows cannot be written.
    """
    if stop.is_set():
        return ()
    try:
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=folder))
    except OSError as error:
        raise OutputError(f"{folder}: no working folder can be created there: {error.strerror}") from error
    try:
        spec, result, log = work / "job.json", work / "rows.json", work / "log.txt"
        scratch = work / "scratch"
        try:
            scratch.mkdir()
            spec.write_text(job.to_json(), "utf-8")
        except OSError as error:
            raise OutputError(f"{spec} cannot be written: {error.strerror or error}") from error
        command = [sys.executable, "-m", "cytovae.benchmark.job", str(spec.resolve()), str(result.resolve())]
        started = time.monotonic()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=_environment(job.run.threads),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        ended = _wait(process, started, time_limit, stop)
        wall = time.monotonic() - started
        if not ended and stop.is_set():
            return ()
        if not ended:
            rows = failed_rows(job, f"stopped after the time limit of {time_limit:g} s", wall)
        elif process.returncode == 0 and result.exists():
            rows = tuple(
                replace(row_from(raw), process_wall_seconds=wall) for raw in json.loads(result.read_text("utf-8"))
            )
        else:
            rows = failed_rows(job, _reason(process.returncode, log), wall)
        write_whole(row_file(folder, job), json.dumps([asdict(row) for row in rows], indent=1))
        return rows
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _environment(threads: int) -> dict[str, str]:
    """The environment of a job, in which every numerical library uses ``threads`` threads."""
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")
    limits = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    return os.environ | limits | {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


def _wait(process: "subprocess.Popen[bytes]", started: float, time_limit: float | None, stop: threading.Event) -> bool:
    """Wait for the process. At the time limit, or when ``stop`` is set, kill it with its children: False."""
    while True:
        try:
            process.wait(timeout=_POLL_SECONDS)
            return True
        except subprocess.TimeoutExpired:
            late = time_limit is not None and time.monotonic() - started > time_limit
            if late or stop.is_set():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return False


def _reason(code: int, log: Path) -> str:
    """Why a job failed, in one line: the last line of its output."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code} without any output"
    kind, colon, sentence = last.partition(": ")
    # Messages of our own errors are complete; of other errors the class is worth knowing.
    return (sentence if colon and kind.startswith("cytovae.errors.") else last)[:500]


def read_rows(folder: Path) -> tuple[Row, ...]:
    """All rows of a folder of results, in a fixed order.

    Raises :class:`InputError` if there are none, or if a file is damaged.
    """
    rows = [row for path in sorted((folder / ROWS).glob("*.json")) for row in _rows_in(path)]
    if not rows:
        raise InputError(folder, "rows", "none", f"{ROWS}/*.json", "Is this a folder of benchmark results?")
    return tuple(sorted(rows, key=lambda row: (row.dataset, row.protocol, row.method, row.number, row.seed)))


def count_failed(folder: Path, jobs: Sequence[Job]) -> int:
    """The number of finished jobs without a result.

    Raises :class:`InputError` if no job has a result.
    """
    reasons = []
    for job in jobs:
        rows = _rows_in(row_file(folder, job))
        if all(row.status != "ok" for row in rows):
            reasons.append(rows[0].reason if rows else "no rows")
    if len(reasons) == len(jobs):
        kinds = Counter(reasons)
        most, count = kinds.most_common(1)[0]
        failed = "the only job failed" if len(jobs) == 1 else f"all {len(jobs)} jobs failed"
        share = "" if len(kinds) == 1 else f"{count} of them: "
        raise InputError(
            folder,
            "jobs",
            f"no result, {failed} ({share}{most})",
            "at least one job with a result",
            f"Remove {folder / ROWS} to run them again.",
        )
    return len(reasons)


def _rows_in(path: Path) -> list[Row]:
    try:
        return [row_from(raw) for raw in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(path, "rows", str(error), "what a job writes", "Remove the file and run again.") from error
