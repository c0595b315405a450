"""Training that is killed, or stopped by a signal, at random moments: it goes on to the very same bytes."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import forked
import pyarrow.parquet as pq
from rows import SAMPLE, Effort, Row, model_bytes, seconds

from cytovae.errors import ModelError
from cytovae.modelfile import load_model

FILE = str(SAMPLE / "donor1_baseline.fcs")
QUICK = ("--landmarks", "400", "--experts", "20", "--steps", "300", "--device", "cpu", "--seed", "3")
STAGES = ("reading", "neighbours", "umap", "training", "merging")
MOST_SECONDS = 5.0  # from a signal to the end
LEAST_SAME = 0.999  # of labels, with another number of threads
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
    for number in range(n_kills):
        place = folder / f"kill{number}"
        place.mkdir()
        before = None
        if number % 3 == 2:
            shutil.copytree(folder / "earlier" / "model", place / "model")
            before = earlier
        force = ("--force",) if before else ()
        # Some with the state of training kept all the time, some as it is by default: only finished stages.
        often = ("--save-every", "0") if number % 4 else ()
        for again in range(2 if number % 3 == 1 else 1):
            more = ("--resume", *force) if again else force
            started = forked.start(train(*often, *more), place)
            ended = started.end(signal.SIGKILL, moment(chance))
            stages[stage(ended.said)] += 1
            failures += [f"kill {number}: {what}" for what in _half_written(place / "model", before, truth)]
        resumed = forked.whole(train("--resume", *force), place)
        if resumed.code:
            failures.append(f"kill {number}: --resume ended with {resumed.code}: {resumed.said[-300:]}")
        elif model_bytes(place / "model") != truth:
            failures.append(f"kill {number}: --resume ended in other bytes")
        left = sorted(entry.name for entry in place.iterdir() if entry.name != "model")
        if left:
            failures.append(f"kill {number}: left {', '.join(left)}")
        shutil.rmtree(place)
    done = sum(stages.values())
    happened = f"{n_kills - len({f.split(':')[0] for f in failures})} of {n_kills} ended in the same bytes"
    return [Row("train killed (kill -9) at a random moment, then --resume", done, f"{happened}; {counted(stages)}",
                tuple(failures))]  # fmt: skip


def _whole(place: Path, arguments: list[str]) -> tuple[tuple[bytes, ...], Callable[[random.Random], float]]:
    """What training makes when nothing disturbs it, and a choice of moments in it, of each stage as many."""
    place.mkdir()
    ended = forked.whole(arguments, place)
    if ended.code:
        raise RuntimeError(f"{arguments} ended with {ended.code}: {ended.said}")
    spent = json.loads((place / "model" / "run.json").read_text())["seconds"]
    stages = [spent["reading"] + spent["landmarks"], *(spent[name] for name in STAGES[1:])]
    rest = max(ended.seconds - sum(stages), 0.0)  # most of it before the first stage

    def moment(chance: random.Random) -> float:
        number = chance.randrange(len(stages) + 1)
        if number == len(stages):
            return chance.uniform(0.85, 0.98) * ended.seconds  # the model is being written, or will be
        begin = 0.8 * rest + sum(stages[:number])
        return min(chance.uniform(begin if number else 0.0, begin + stages[number]), 0.98 * ended.seconds)

    return model_bytes(place / "model"), moment


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
        ended = started.end(sent, moment(chance))
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
    """The same signals to processes that have yet to load and compile everything, as a user's have."""
    chance = random.Random(effort.seed)
    command = [sys.executable, "-m", "cytovae", *train()]
    began = time.monotonic()
    folder.joinpath("truth").mkdir()
    subprocess.run(command, cwd=folder / "truth", check=True, capture_output=True)
    length = time.monotonic() - began
    failures, times, stages = [], [], Counter[str]()
    n_signals = effort.count(18, 3)
    for number in range(n_signals):
        sent = list(STOPS)[number % len(STOPS)]
        place = folder / f"cold{number}"
        place.mkdir()
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(chance.uniform(0.3, 0.95 * length))
        began = time.monotonic()
        process.send_signal(sent)
        said, _ = process.communicate()
        stages[stage(said)] += 1
        if process.returncode == 0:  # it was over before
            continue
        times.append(time.monotonic() - began)
        if process.returncode != STOPS[sent] or times[-1] > MOST_SECONDS or "Traceback" in said:
            failures.append(f"{sent.name}: exit {process.returncode} after {times[-1]:.1f} s: {said[-300:]}")
        if sorted(entry.name for entry in place.iterdir()) not in ([], [".model.state"]):
            failures.append(f"{sent.name}: left {sorted(entry.name for entry in place.iterdir())}")
    happened = f"exit 130 or 143, {seconds(times)}; {counted(stages)}"
    return [Row("the same to processes that are still loading and compiling", n_signals, happened, tuple(failures))]


def threads(folder: Path, effort: Effort) -> list[Row]:
    """Trained and assigned with one thread and with four: labels of at least 999 cells in 1,000 are the same."""
    rows = []
    n_cells = 0
    for what, training in (("assigned", ("1", "1")), ("trained and assigned", ("1", "4"))):
        least = 1.0
        seeds = range(effort.count(3, 1))
        for seed in seeds:
            labels = []
            for own, n in zip(training, ("1", "4"), strict=True):
                place = folder / f"{what.split()[0]}-{seed}-{n}"
                place.mkdir()
                settings = ("--seed", str(seed), "--device", "cpu", "--steps", "300")
                for arguments in (
                    ["train", FILE, "-o", "model", *settings, "--threads", own],
                    ["assign", "model", FILE, "-o", "x.parquet", "--device", "cpu", "--threads", n],
                ):
                    words = [sys.executable, "-m", "cytovae", *arguments]
                    subprocess.run(words, cwd=place, check=True, capture_output=True)
                labels.append(pq.read_table(place / "x.parquet")["cluster"].to_numpy())
            n_cells = len(labels[0])
            least = min(least, float((labels[0] == labels[1]).mean()))
        happened = f"least share of equal labels {least:.4%} of {n_cells:,} cells"
        failures = () if least >= LEAST_SAME else (happened,)
        rows.append(Row(f"{what} with one thread and with four", len(seeds), happened, failures))
    return rows
