"""``python tests/soak``: try to break the program, and print a table of what was tried and what happened.

``make soak`` writes it to ``docs/results/soak.md``. The tests run parts of it with ``--quick``. The exit code is 1 if
anything failed.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import accounts  # first, because it limits the number of threads before any library is loaded
import changing
import disks
import files
import interruptions
import shifts
import side_tables
import threads
import versions
from rows import ROOT, Effort, Row

from cytovae import __version__

PARTS: dict[str, Callable[[Path, Effort], list[Row]]] = {
    "cuts": files.cuts,
    "mutations": files.mutations,
    "shifts": shifts.shifts,
    "hostile": files.hostile,
    "corpus": files.corpus,
    "tables": side_tables.tables,
    "model-files": side_tables.model_files,
    "kills": interruptions.kills,
    "signals": interruptions.signals,
    "cold": interruptions.cold,
    "changing": changing.changing,
    "full": disks.full,
    "read-only": disks.read_only,
    "neighbours": disks.neighbours,
    "arguments": accounts.arguments,
    "accounts": accounts.accounts,
    "threads": threads.threads,
    "pandas": versions.pandas,
}


def main() -> int:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part (default: all)")
    parser.add_argument("--quick", action="store_true", help="few attempts of each, as in the tests")
    parser.add_argument("--times", type=float, default=1.0, metavar="X", help="multiply the number of attempts by X")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random moments and changes")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="also write the table to this file")
    arguments = parser.parse_args()
    effort = Effort(quick=arguments.quick, times=arguments.times, seed=arguments.seed)
    rows: list[Row] = []
    started = time.monotonic()
    for name in arguments.only or PARTS:
        part_started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as folder:
            rows_of_part = PARTS[name](Path(folder), effort)
        rows += rows_of_part
        for row in rows_of_part:
            print(f"{name}: {row.tried}: {row.times:,}: {row.happened}", flush=True)
            for failure in row.failures:
                print(f"  FAILED: {failure}", flush=True)
        print(f"{name}: {time.monotonic() - part_started:.0f} s", flush=True)
        if arguments.output is not None:  # after each part, so that an interrupted run has results, too
            arguments.output.write_text(page(rows, effort, time.monotonic() - started), encoding="utf-8")
    return int(any(row.failures for row in rows))


def page(rows: list[Row], effort: Effort, elapsed: float) -> str:
    """The table as Markdown."""
    lines = [
        "# Attempts to break the program",
        "",
        f"Made by `make soak` (`python tests/soak --times {effort.times:g} --seed {effort.seed}`) on "
        f"{date.today().isoformat()}: cytovae {__version__}, python {platform.python_version()}, one thread, "
        f"{elapsed / 60:.0f} minutes. The command ends with an error if there is any failure.",
        "",
        "| tried | times | what happened | failures |",
        "|---|---|---|---|",
        *(f"| {row.tried} | {row.times:,} | {row.happened} | {len(row.failures)} |" for row in rows),
        "",
        "How often an FCS file whose TEXT was edited is read from the wrong byte: [shifted.md](shifted.md).",
        "",
    ]
    for row in rows:
        failures = (
            failure.replace(f"{ROOT}/", "").replace(f"{tempfile.gettempdir()}/", "") for failure in row.failures
        )
        lines += [f"- FAILED: {row.tried}: {failure}".replace("\n", " ") for failure in failures]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
