"""Training that is killed or interrupted at random moments resumes and ends in the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import forked
from rows import SAMPLE, Effort, Row, model_bytes, seconds

from cytovae.errors import ModelError
from cytovae.model_folder.load import load_model

FILE = str(SAMPLE / "donor1_baseline.fcs")
QUICK = ("--landmarks", "400", "--experts", "20", "--steps", "300", "--device", "cpu", "--seed", "3")
STAGES = ("reading", "neighbours", "umap", "merging", "training")
TRIES = 5  # to hit a process that is still running
MOST_SECONDS = 5.0  # from a signal to the end
STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}


def train(*more: str, settings: tuple[str, ...] = QUICK) -> list[str]:
    """The arguments of a small training run."""
    return ["train", FILE, "--output", "model", *settings, *more]


def stage(said: str) -> str:
    """The last stage in the output of a process; "done" if it wrote the model."""
    if "wrote model" in said:
        return "done"
    reached = [name for name in STAGES if f"{name} ..." in said]
    return reached[-1] if reached else STAGES[0]


def counted(stages: Counter[str]) -> str:
    """The number of hits in each stage, in words."""
    return ", ".join(f"{stages[name]} in {name}" for name in (*STAGES, "done") if stages[name])


def kills(folder: Path, effort: Effort) -> list[Row]:
    """Kill with SIGKILL, then ``--resume``; a third with an earlier model in place, a third killed twice."""
    rng = random.Random(effort.seed)
    forked.warm_up([*train("--quiet"), "--output", str(folder / "warm")])
    other = ("--force", "--seed", "4")
    truth, moment = _whole(folder / "truth", train(), effort.count(3, 1))
    earlier, _ = _whole(folder / "earlier", [*train(), *other[1:]], 1)
    n_kills = effort.count(50, 3)
    stages: Counter[str] = Counter()
    failures = []
    late = 0
    for number in range(n_kills):
        place = folder / f"kill{number}"
        before = earlier if number % 3 == 2 else None
        force = ("--force",) if before else ()
        # Most save the training state all the time; every fourth only finished stages, the default.
        often = ("--save-every", "0") if number % 4 else ()
        for _ in range(TRIES):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            if before:
                shutil.copytree(folder / "earlier" / "model", place / "model")
            hit = []
            for again in range(2 if number % 3 == 1 else 1):
                more = ("--resume", *force) if again else force
                started = forked.start(train(*often, *more), place)
                words, after = moment(rng)
                ended = started.end(signal.SIGKILL, after, words)
                hit.append(stage(ended.said) if ended.code == -signal.SIGKILL else "done")
                failures += [f"kill {number}: {what}" for what in _half_written(place / "model", before, truth)]
            if "done" not in hit:
                break
            late += 1
        stages.update(hit)
        resumed = forked.whole(train("--resume", *force), place)
        if resumed.code:
            failures.append(f"kill {number}: --resume ended with {resumed.code}: {resumed.said[-300:]}")
        elif model_bytes(place / "model") != truth:
            failures.append(f"kill {number}: --resume ended in other bytes")
        left = sorted(entry.name for entry in place.iterdir() if entry.name != "model")
        if left:
            failures.append(f"kill {number}: left {', '.join(left)}")
        shutil.rmtree(place)
    sound = n_kills - len({failure.split(":")[0] for failure in failures})
    happened = (
        f"{sound} of {n_kills} ended in the same bytes; {counted(stages)}; tried again where it was over: {late} times"
    )
    tried = "train killed (kill -9) at a random moment, some twice, then --resume"
    return [Row(tried, sum(stages.values()), happened, tuple(failures))]


def _whole(
    place: Path, arguments: list[str], runs: int
) -> tuple[tuple[bytes, ...], Callable[[random.Random], tuple[str, float]]]:
    """The model of undisturbed training, and a function that draws a random moment in it.

    A moment is the output at the start of a stage, and seconds after that. All stages are equally likely; their
    durations are the shortest of ``runs``.
    """
    fastest = [float("inf")] * len(STAGES)
    for _ in range(runs):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        started = forked.start(arguments, place)
        times = [started.started_at]
        for name in STAGES[1:]:
            started.hear(_beginning(name))
            times.append(time.monotonic())
        ended = started.end()
        times.append(time.monotonic())
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}: {ended.said}")
        spent = [stop - begin for begin, stop in pairwise(times)]
        fastest = [min(pair) for pair in zip(fastest, spent, strict=True)]

    def moment(rng: random.Random) -> tuple[str, float]:
        number = rng.randrange(len(STAGES) + 1)
        if number == len(STAGES):  # the model is being written
            return _beginning(STAGES[-1]), rng.uniform(0.9, 1) * fastest[-1]
        return _beginning(STAGES[number]) if number else "", rng.uniform(0, 0.95) * fastest[number]

    return model_bytes(place / "model"), moment


def _beginning(name: str) -> str:
    """The output at the start of a stage."""
    return f"{name} ..."


def _half_written(model: Path, before: tuple[bytes, ...] | None, after: tuple[bytes, ...]) -> list[str]:
    """The faults of what a killed process left: only nothing, the earlier model or the new one are allowed."""
    try:
        load_model(model)
    except ModelError:
        return [f"{model} exists but is not a model"] if model.exists() else []
    return [] if model_bytes(model) in (before, after) else [f"{model} is neither the earlier model nor the new one"]


def signals(folder: Path, effort: Effort) -> list[Row]:
    """Send SIGINT, SIGTERM or SIGUSR1: training ends within five seconds and resumes to the same bytes."""
    settings = QUICK if effort.quick else ("--landmarks", "3000", *QUICK[2:])
    forked.warm_up([*train("--quiet", settings=settings), "--output", str(folder / "warm")])
    rng = random.Random(effort.seed)
    truth, moment = _whole(folder / "truth", train(settings=settings), effort.count(3, 1))
    failures, stages = [], Counter[str]()
    times = []
    n_signals = effort.count(30, 3)
    for number in range(n_signals):
        sent = list(STOPS)[number % len(STOPS)]
        place = folder / f"signal{number}"
        place.mkdir()
        started = forked.start(train(settings=settings), place)
        words, after = moment(rng)
        ended = started.end(sent, after, words)
        if ended.code == 0:  # it had ended before
            stages["done"] += 1
            shutil.rmtree(place)
            continue
        stages[stage(ended.said)] += 1
        times.append(ended.seconds)
        if ended.code != STOPS[sent] or ended.seconds > MOST_SECONDS or "Traceback" in ended.said:
            failures.append(f"{sent.name}: exit {ended.code} after {ended.seconds:.1f} s: {ended.said[-300:]}")
        if sorted(entry.name for entry in place.iterdir()) not in ([], [".model.state"]):
            failures.append(f"{sent.name}: left {sorted(entry.name for entry in place.iterdir())}")
        resumed = forked.whole(train("--resume", settings=settings), place)
        if resumed.code or model_bytes(place / "model") != truth:
            failures.append(f"{sent.name} in {stage(ended.said)}: --resume ended with {resumed.code}, or other bytes")
        shutil.rmtree(place)
    return [
        Row(
            "train stopped by SIGINT, SIGTERM or SIGUSR1 at a random moment, then --resume",
            n_signals,
            f"exit 130 or 143, {seconds(times)}; same bytes; {counted(stages)}",
            tuple(failures),
        )
    ]


def cold(folder: Path, effort: Effort) -> list[Row]:
    """Interrupt processes that start from scratch: they load modules, and numba compiles without a cache."""
    arguments = train(settings=QUICK)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}

    def start(place: Path) -> tuple[subprocess.Popen[str], float]:
        place.mkdir()
        own = environment | {"NUMBA_CACHE_DIR": str(place.with_suffix(".cache"))}
        command = [sys.executable, "-m", "cytovae", *arguments]
        with place.with_suffix(".said").open("w") as said:
            return subprocess.Popen(command, cwd=place, env=own, stdout=said, stderr=said, text=True), time.monotonic()

    process, started_at = start(folder / "truth")
    if process.wait(300):
        raise RuntimeError((folder / "truth.said").read_text())
    length = time.monotonic() - started_at
    rng = random.Random(effort.seed)
    failures, stages, times = [], Counter[str](), []
    n_signals = effort.count(9, 1)
    for number in range(n_signals):
        place = folder / f"cold{number}"
        sent = list(STOPS)[number % len(STOPS)]
        process, started_at = start(place)
        # At least a second after the start, because Python itself takes a part of a second to start.
        time.sleep(max(1.0, length * (number + rng.random()) / n_signals) - (time.monotonic() - started_at))
        started_at = time.monotonic()
        process.send_signal(sent)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        took = time.monotonic() - started_at
        said = place.with_suffix(".said").read_text()
        if code in (0, -sent) and "wrote model" in said:  # Python resets signal handlers when it ends
            stages["done"] += 1
            continue
        stages[stage(said)] += 1
        times.append(took)
        if code != STOPS[sent] or took > MOST_SECONDS or "Traceback" in said:
            failures.append(f"{sent.name} in {stage(said)}: exit {code} after {took:.1f} s: {said[-300:]}")
        if left := [entry.name for entry in place.iterdir() if entry.name != ".model.state"]:
            failures.append(f"{sent.name} in {stage(said)}: left {left}")
    happened = f"exit 130 or 143, {seconds(times)}; {counted(stages)}"
    tried = "the same in a cold process (modules loading, numba compiling)"
    return [Row(tried, n_signals, happened, tuple(failures))]
