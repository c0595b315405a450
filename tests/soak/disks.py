"""Full and read-only disks, existing outputs, and several processes with the same output."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import forked
import interruptions
from rows import SAMPLE, Effort, Row, model_bytes

from cytovae.benchmark.job import Row as Result

FILE = str(SAMPLE / "donor1_baseline.fcs")
REFUSED = 4
# The commands that write each kind of output, to the folder OUT.
WRITERS: dict[str, list[str]] = {
    "model": ["train", FILE, "-o", "OUT/model", *interruptions.QUICK],
    "parquet": ["assign", "MODEL", FILE, "-o", "OUT/x.parquet"],
    "csv": ["assign", "MODEL", FILE, "-o", "OUT/x.csv"],
    "clr": ["assign", "MODEL", FILE, "-o", "OUT/x.clr"],
    "fcs": ["assign", "MODEL", FILE, "-o", "OUT/x.fcs", "--format", "fcs"],
    "h5ad": ["assign", "MODEL", FILE, "-o", "OUT/x.h5ad"],
    "tables": ["assign", "MODEL", FILE, "-o", "OUT/y.csv", "--tables", "OUT/tables"],
    "report": ["report", "MODEL", FILE, "-o", "OUT/r.html", "--figures", "OUT/figures", "--max-cells", "300"],
    "benchmark": ["benchmark", "table", "OUT/benchmark"],
    "workflow": ["workflow", "study", "--samples", "OUT/samples.csv", "-o", "OUT/study"],
}
# The outputs of commands that write several: each is whole, but after an error some may be missing.
MAIN = {
    **{"tables": ["y.csv", "tables"], "report": ["r.html", "figures"]},
    **{"benchmark": ["benchmark"], "workflow": ["samples.csv", "study"]},
}
FREE = (0, 1, 4, 16, 50, 100, 200, 400, 800, 3000)  # KiB


def _inputs(out: Path) -> None:
    """Write the inputs of the benchmark and the workflow: rows of results, and a sample sheet."""
    (out / "benchmark" / "rows").mkdir(parents=True)
    results = [Result("a", "all cells", "cytovae", 0, seed, "ok", n_clusters=7, f_weighted=0.9) for seed in (0, 1)]
    (out / "benchmark" / "rows" / "a.json").write_text(json.dumps([asdict(result) for result in results]))
    (out / "samples.csv").write_text(f"file,sample\n{FILE},donor1\n")


def _command(name: str, out: Path, model: Path, *more: str) -> list[str]:
    words = [word.replace("OUT", str(out)).replace("MODEL", str(model)) for word in WRITERS[name]]
    return [*words, *more, *(("--threads", "1") if words[0] == "assign" else ())]


def _contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder and its subfolders, except training states."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".state" not in str(path) and path.name != "filler"
    }


@contextmanager
def small_disk(place: Path, kib: int) -> Iterator[bool]:
    """Mount a disk of ``kib`` KiB at ``place``; yields False if this machine does not allow it."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def _prepared(folder: Path) -> Path:
    model = folder / "warm"
    forked.warm_up([*interruptions.train("--quiet"), "--output", str(model)])
    return model


def _judged(name: str, ended: forked.Ended, out: Path, before: dict[str, bytes]) -> tuple[str, str | None]:
    """Whether a command succeeded or was refused, and what is wrong with that, if anything."""
    after = _contents(out)
    if ended.code == 0:
        wrong = None if set(after) == set(before) else f"files are {sorted(after)}"
        return "done", wrong
    if ended.code != REFUSED:
        return "refused", f"exit {ended.code}: {ended.said[-400:]}"
    if str(out) not in ended.said or "Traceback" in ended.said:
        return "refused", f"does not name the path: {ended.said[-400:]}"
    left = set(after) - set(before)
    if left:
        return "refused", f"left {sorted(left)}"
    # Each of several outputs is whole; some may be new.
    changed = [path for path in before if after.get(path) != before[path]]
    whole = name in MAIN and all(len(after[path]) > 0 for path in changed)
    return "refused", None if not changed or whole else f"changed {changed}"


def full(folder: Path, effort: Effort) -> list[Row]:
    """Write to a small disk with little free space, and with a limit on the size of files."""
    model = _prepared(folder)
    earlier = folder / "earlier"
    earlier.mkdir()
    _inputs(earlier)
    for name in WRITERS:
        ended = forked.whole(_command(name, earlier, model))
        if ended.code:
            raise RuntimeError(f"{name} ended with {ended.code}: {ended.said}")
    free = (16,) if effort.quick else FREE
    found: dict[str, list[str]] = {"disk": [], "limit": []}
    failures: list[str] = []
    with small_disk(folder / "disk", 64 << 10) as mounted:
        every = ("disk", "limit") if mounted else ("limit",)
        for number, name in enumerate(WRITERS):
            ways = every[number % len(every) :][:1] if effort.quick else every  # in turn
            kept = [name] if name == "model" else MAIN.get(name, [f"x.{name}"])
            for kib in free:
                for way in ways:
                    out = folder / "disk" / "out" if way == "disk" else folder / "out"
                    out.mkdir()
                    for entry in kept:
                        copy = shutil.copytree if (earlier / entry).is_dir() else shutil.copy
                        copy(earlier / entry, out / entry)
                    before = _contents(out)
                    if way == "disk":
                        _fill(out / "filler", kib << 10)
                    limit = kib << 10 if way == "limit" else None
                    force = () if name == "benchmark" else ("--force",)  # always replaces its tables
                    ended = forked.whole(_command(name, out, model, *force), None, limit)
                    how, wrong = _judged(name, ended, out, before)
                    found[way].append(how)
                    if wrong:
                        failures.append(f"{name} with {kib} KiB ({way}): {wrong}")
                    shutil.rmtree(out)
    rows = []
    for way, tried in (("disk", "a full disk (tmpfs)"), ("limit", "no room for a file (RLIMIT_FSIZE)")):
        count = {how: found[way].count(how) for how in ("refused", "done")}
        happened = f"{count['refused']} refused (exit 4) with earlier outputs untouched, {count['done']} had room"
        if not found[way]:
            happened = "not tried: no disk can be mounted on this machine"
        mine = tuple(failure for failure in failures if f"({way})" in failure)
        rows.append(Row(f"{tried}, {len(WRITERS)} kinds of output × KiB left", len(found[way]), happened, mine))
    return rows


def _fill(filler: Path, free: int) -> None:
    """Fill a disk up to ``free`` bytes."""
    with filler.open("wb") as file:
        room = os.statvfs(filler).f_bavail * os.statvfs(filler).f_frsize - free
        if room > 0:
            os.posix_fallocate(file.fileno(), 0, room)


def read_only(folder: Path, _effort: Effort) -> list[Row]:
    """Write to a read-only folder: exit code 4 with the path."""
    model = _prepared(folder)
    failures, times = [], 0
    with small_disk(folder / "disk", 1 << 10) as mounted:
        if mounted or os.geteuid() != 0:
            _inputs(folder / "disk")
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(folder / "disk")], check=True)
        elif os.geteuid() != 0:
            (folder / "disk").chmod(0o555)
        else:
            return [Row("a read-only folder", 0, "not tried: no disk can be mounted on this machine")]
        for name in WRITERS:
            ended = forked.whole(_command(name, folder / "disk", model))
            times += 1
            if ended.code != REFUSED or str(folder / "disk") not in ended.said or "Traceback" in ended.said:
                failures.append(f"{name}: exit {ended.code}: {ended.said[-300:]}")
    return [Row("a read-only folder, every kind of output", times, "exit 4 with the path", tuple(failures))]


def neighbours(folder: Path, effort: Effort) -> list[Row]:
    """Run eight processes with the same output at once: one writes it, seven are refused."""
    model = _prepared(folder)
    rows = []
    for name in ("parquet",) if effort.quick else ("model", "parquet", "fcs"):
        rounds = effort.count(10, 1)
        failures = []
        for number in range(rounds):
            out = folder / f"{name}{number}"
            out.mkdir()
            started = [forked.start(_command(name, out, model)) for _ in range(8)]
            ended = [process.end() for process in started]
            codes = sorted(process.code for process in ended)
            if codes != [0] + [REFUSED] * 7:
                failures.append(f"exit codes {codes}: {[process.said[-200:] for process in ended if process.code]}")
            if any(str(out) not in process.said for process in ended if process.code):
                failures.append("a refusal does not name the path")
            if (left := sorted(entry.name for entry in out.iterdir())) not in (["model"], [f"x.{name}"]):
                failures.append(f"left {left}")
            elif name == "model" and model_bytes(out / "model") != model_bytes(model):
                failures.append("a model of other bytes")
            shutil.rmtree(out)
        happened = "one wrote it, seven ended with 4 and the path"
        rows.append(Row(f"eight processes with one output at once ({name})", rounds, happened, tuple(failures)))
    return rows
