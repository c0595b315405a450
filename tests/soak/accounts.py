"""Hostile arguments for every command, and commands with a strict umask, without HOME and as an ordinary user."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import interruptions  # first, because it limits the number of threads
from rows import ROOT, SAMPLE, Effort, Row

MODEL = ROOT / "tests" / "golden" / "schema1" / "model"
FILE = SAMPLE / "donor1_baseline.fcs"
NOBODY = 65534
COMMANDS: dict[str, list[str]] = {
    "inspect": ["inspect", str(FILE), "--panel-out", "panel.csv"],
    "types": ["types", str(FILE)],
    "qc": ["qc", str(FILE), "-o", "qc"],
    "assign": ["assign", str(MODEL), str(FILE), "-o", "cells.csv", "--device", "cpu", "--threads", "1"],
}
TRAIN = ["train", str(FILE), "-o", "model", *interruptions.QUICK]


def arguments(_folder: Path, effort: Effort) -> list[Row]:
    """Every option that takes a path, a number or text, of every command, with values that nothing should accept."""
    if effort.quick:
        return [Row("hostile arguments", 0, "not tried in a quick run")]
    tests = ROOT / "tests" / "cli" / "test_hostile_arguments.py"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", str(tests)],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"CYTOVAE_SOAK": "1"},
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", run.stdout)
    failures = () if run.returncode == 0 else (run.stdout[-200:], *re.findall(r"^FAILED .*", run.stdout, re.MULTILINE))
    happened = "the right exit code, no traceback, an answer within 30 s"
    return [
        Row("hostile arguments, every option of every command", int(passed[1]) if passed else 0, happened, failures)
    ]


def accounts(folder: Path, effort: Effort) -> list[Row]:
    """Run commands with umask 077, without HOME, and as an ordinary user; train with all three at once.

    As root, the ordinary user is another one; where that user cannot load the package, the row says so.
    """
    folder.chmod(0o755)
    everything = COMMANDS if effort.quick else {**COMMANDS, "train": TRAIN}
    rows = [
        _row(folder / "umask", "umask 077", COMMANDS, umask=0o077),
        _row(folder / "home", "no HOME", COMMANDS, has_home=False),
    ]
    user, title = None, "umask 077 and no HOME, as an ordinary user"
    if os.geteuid() == 0:
        user = NOBODY if _can_run_as(NOBODY) else None
        title = title if user else "umask 077 and no HOME (another user cannot read this installation)"
    return [*rows, _row(folder / "user", title, everything, umask=0o077, has_home=False, user=user)]


def _row(
    place: Path, title: str, commands: dict[str, list[str]], *,
    umask: int = 0o022, has_home: bool = True, user: int | None = None,
) -> Row:  # fmt: skip
    place.mkdir()
    if user is not None:
        os.chown(place, user, user)
    unset = () if has_home else ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    failures = []
    for name, words in commands.items():
        ended = subprocess.run(
            [sys.executable, "-m", "cytovae", *words],
            cwd=place, env=environment, umask=umask, user=user, group=user, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode or "Traceback" in ended.stderr:
            failures.append(f"{name}: exit {ended.returncode}: {ended.stderr[-300:]}")
    for path in place.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & umask or not mode & stat.S_IRUSR:
            failures.append(f"{path.relative_to(place)} has the mode {mode:o}")
    return Row(
        f"commands with {title}",
        len(commands),
        f"exit 0; the modes of outputs follow the umask {umask:03o}",
        tuple(failures),
    )


def _can_run_as(user: int) -> bool:
    """Whether a user can load the package from here."""
    program = [sys.executable, "-c", "import cytovae.cli.main"]
    try:
        return not subprocess.run(program, user=user, group=user, capture_output=True, check=False).returncode
    except OSError:
        return False
