"""Inputs that are replaced, removed or cut while ``train`` runs: the model is that of the first content, or none."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import forked
import interruptions
from rows import SAMPLE, Effort, Row, model_bytes

REFUSED = 3
ARGUMENTS = ["train", "input.fcs", "--output", "model", *interruptions.QUICK]


def _replace(path: Path) -> None:
    shutil.copyfile(SAMPLE / "donor2_stim.fcs", path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _overwrite(path: Path) -> None:
    path.write_bytes((SAMPLE / "donor2_stim.fcs").read_bytes())


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


CHANGES: dict[str, Callable[[Path], None]] = {
    "replaced": _replace,
    "removed": Path.unlink,
    "written over": _overwrite,
    "cut": _cut,
}


def changing(folder: Path, effort: Effort) -> list[Row]:
    """Change the input in a random stage of training."""
    forked.warm_up([*interruptions.train("--quiet"), "--output", str(folder / "warm")])
    ended = forked.whole(ARGUMENTS, _place(folder / "truth"))
    if ended.code:
        raise RuntimeError(ended.said)
    truth = model_bytes(folder / "truth" / "model")
    rng = random.Random(effort.seed)
    outcomes, failures = Counter[str](), []
    n_changes = effort.count(24, 4)
    for number in range(n_changes):
        what = list(CHANGES)[number % len(CHANGES)]
        place = _place(folder / f"change{number}")
        stage = rng.choice(interruptions.STAGES)
        started = forked.start(ARGUMENTS, place)
        started.hear(f"{stage} ...")
        CHANGES[what](place / "input.fcs")
        ended = started.end()
        outcomes["refused" if ended.code else "the same model"] += 1
        wrong = None
        if "Traceback" in ended.said or ended.code not in (0, REFUSED):
            wrong = f"exit {ended.code}: {ended.said[-300:]}"
        elif ended.code and (place / "model").exists():
            wrong = "refused, but there is a model"
        elif not ended.code and model_bytes(place / "model") != truth:
            wrong = "another model, or another record of the input"
        if wrong:
            failures.append(f"{what} in {stage}: {wrong}")
        shutil.rmtree(place)
    happened = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    tried = f"an input {', '.join(list(CHANGES)[:n_changes])} while train runs"
    return [Row(tried, n_changes, happened, tuple(failures))]


def _place(folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(interruptions.FILE, folder / "input.fcs")
    return folder
