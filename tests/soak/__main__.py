"""``python tests/soak``: try to break what must hold, and print one table of what was tried and what happened.

``make soak`` writes it to ``docs/results/soak.md``. The tests run ``--quick`` parts of it. Ends with 1 where anything
happened that must not.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import disks  # first: the number of threads is set before anything is loaded
import files
import interruptions
import threads
import versions
from rows import Effort, Row

from cytovae import __version__

PARTS: dict[str, Callable[[Path, Effort], list[Row]]] = {
    "cuts": files.cuts,
    "mutations": files.mutations,
    "hostile": files.hostile,
    "corpus": files.corpus,
    "kills": interruptions.kills,
    "signals": interruptions.signals,
    "cold": interruptions.cold,
    "full": disks.full,
    "read-only": disks.read_only,
    "neighbours": disks.neighbours,
    "threads": threads.threads,
    "pandas": versions.pandas,
}


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; all where none is named")
    parser.add_argument("--quick", action="store_true", help="few of everything, as in the tests")
    parser.add_argument("--times", type=float, default=1.0, metavar="X", help="X times as many of everything")
    parser.add_argument("--seed", type=int, default=0, help="of all random moments and changes")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there, too")
    asked = parser.parse_args()
    effort = Effort(quick=asked.quick, times=asked.times, seed=asked.seed)
    rows: list[Row] = []
    began = time.monotonic()
    for name in asked.only or PARTS:
        part_began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as folder:
            found = PARTS[name](Path(folder), effort)
        rows += found
        for row in found:
            print(f"{name}: {row.tried}: {row.times:,}: {row.happened}", flush=True)
            for failure in row.failures:
                print(f"  FAILED: {failure}", flush=True)
        print(f"{name}: {time.monotonic() - part_began:.0f} s", flush=True)
        if asked.output is not None:  # after each part: a long run that is broken off has its figures, too
            asked.output.write_text(page(rows, effort, time.monotonic() - began), encoding="utf-8")
    return int(any(row.failures for row in rows))


def page(rows: list[Row], effort: Effort, took: float) -> str:
    """The table as Markdown."""
    lines = [
        "# What was tried to break it",
        "",
        f"Made by `make soak` (`python tests/soak --times {effort.times:g} --seed {effort.seed}`) on "
        f"{date.today().isoformat()}: cytovae {__version__}, python {platform.python_version()}, one thread, "
        f"{took / 60:.0f} minutes. It ends with an error where anything happens that must not.",
        "",
        "| tried | times | what happened | failures |",
        "|---|---|---|---|",
        *(f"| {row.tried} | {row.times:,} | {row.happened} | {len(row.failures)} |" for row in rows),
        "",
    ]
    for row in rows:
        lines += [f"- FAILED: {row.tried}: {failure}".replace("\n", " ") for failure in row.failures]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
