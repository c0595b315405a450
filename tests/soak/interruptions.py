"""Training that is killed, or stopped by a signal, at random moments: it goes on to the very same bytes."""

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
TRIES = 5  # to hit a process that is still at work
MOST_SECONDS = 5.0  # from a signal to the end
STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}


def train(*more: str, settings: tuple[str, ...] = QUICK) -> list[str]:
    """The arguments of a small training."""
    return ["train", FILE, "--output", "model", *settings, *more]


def stage(said: str) -> str:
    """The last stage that a process said it was in; "done" where it wrote its model."""
    if "wrote model" in said:
        return "done"
    reached = [name for name in STAGES if f"{name} ..." in said]
    return reached[-1] if reached else STAGES[0]


def counted(stages: Counter[str]) -> str:
    """How many times each stage was hit, in words."""
    return ", ".join(f"{stages[name]} in {name}" for name in (*STAGES, "done") if stages[name])


def kills(folder: Path, effort: Effort) -> list[Row]:
    """kill -9, then ``--resume``; a third of them with another model already there, a third of them killed again."""
    chance = random.Random(effort.seed)
    forked.warm_up([*train("--quiet"), "--output", str(folder / "warm")])
    other = ("--force", "--seed", "4")
    truth, moment = _whole(folder / "truth", train())
    earlier, _ = _whole(folder / "earlier", [*train(), *other[1:]])
    n_kills = effort.count(50, 10)
    stages: Counter[str] = Counter()
    failures = []
    late = 0
    for number in range(n_kills):
        place = folder / f"kill{number}"
        before = earlier if number % 3 == 2 else None
        force = ("--force",) if before else ()
        # Some with the state of training kept all the time, some as it is by default: only finished stages.
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
                words, after = moment(chance)
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


def _whole(place: Path, arguments: list[str]) -> tuple[tuple[bytes, ...], Callable[[random.Random], tuple[str, float]]]:
    """What training makes when nothing disturbs it, and a choice of moments in it, of each stage as many: what it says
    when the stage begins, and seconds after that. The stages take what they took at their fastest.
    """
    fastest = [float("inf")] * len(STAGES)
    for _ in range(3):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        started = forked.start(arguments, place)
        times = [started.began]
        for name in STAGES[1:]:
            started.hear(_beginning(name))
            times.append(time.monotonic())
        ended = started.end()
        times.append(time.monotonic())
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}: {ended.said}")
        spent = [stop - begin for begin, stop in pairwise(times)]
        fastest = [min(pair) for pair in zip(fastest, spent, strict=True)]

    def moment(chance: random.Random) -> tuple[str, float]:
        number = chance.randrange(len(STAGES) + 1)
        if number == len(STAGES):  # the model is being written
            return _beginning(STAGES[-1]), chance.uniform(0.9, 1) * fastest[-1]
        return _beginning(STAGES[number]) if number else "", chance.uniform(0, 0.95) * fastest[number]

    return model_bytes(place / "model"), moment


def _beginning(name: str) -> str:
    """What is said when a stage begins."""
    return f"{name} ..."


def _half_written(model: Path, before: tuple[bytes, ...] | None, after: tuple[bytes, ...]) -> list[str]:
    """What is wrong with what a killed process left: it must be nothing, the earlier model, or the new one."""
    try:
        load_model(model)
    except ModelError:
        return [f"{model} is there, but no model"] if model.exists() else []
    return [] if model_bytes(model) in (before, after) else [f"{model} is neither the earlier model nor the new one"]


def signals(folder: Path, effort: Effort) -> list[Row]:
    """SIGINT, SIGTERM and SIGUSR1: the exit code, within five seconds, and ``--resume`` to the same bytes."""
    settings = QUICK if effort.quick else ("--landmarks", "3000", *QUICK[2:])
    forked.warm_up([*train("--quiet", settings=settings), "--output", str(folder / "warm")])
    chance = random.Random(effort.seed)
    truth, moment = _whole(folder / "truth", train(settings=settings))
    failures, stages = [], Counter[str]()
    times = []
    n_signals = effort.count(30, 6)
    for number in range(n_signals):
        sent = list(STOPS)[number % len(STOPS)]
        place = folder / f"signal{number}"
        place.mkdir()
        started = forked.start(train(settings=settings), place)
        words, after = moment(chance)
        ended = started.end(sent, after, words)
        if ended.code == 0:  # it was over before
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
    """The same in processes that start from nothing: modules are loaded, and numba compiles what it has no cache of."""
    arguments = train(settings=QUICK)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}

    def start(place: Path) -> tuple[subprocess.Popen[str], float]:
        place.mkdir()
        own = environment | {"NUMBA_CACHE_DIR": str(place.with_suffix(".cache"))}
        command = [sys.executable, "-m", "cytovae", *arguments]
        with place.with_suffix(".said").open("w") as said:
            return subprocess.Popen(command, cwd=place, env=own, stdout=said, stderr=said, text=True), time.monotonic()

    process, began = start(folder / "truth")
    if process.wait(300):
        raise RuntimeError((folder / "truth.said").read_text())
    length = time.monotonic() - began
    chance = random.Random(effort.seed)
    failures, stages, times = [], Counter[str](), []
    n_signals = effort.count(9, 1)
    for number in range(n_signals):
        place = folder / f"cold{number}"
        sent = list(STOPS)[number % len(STOPS)]
        process, began = start(place)
        # From when the program itself has begun: Python takes a part of a second before that.
        time.sleep(max(1.0, length * (number + chance.random()) / n_signals) - (time.monotonic() - began))
        began = time.monotonic()
        process.send_signal(sent)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        took = time.monotonic() - began
        said = place.with_suffix(".said").read_text()
        if code in (0, -sent) and "wrote model" in said:  # Python lets go of signals when it ends
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
