"""Write docs/cli.md from `--help` of every command, and the usage lines in README.md; --check only compares.

Run by `make docs`.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Before anything that asks how wide the terminal is.
os.environ.update({"COLUMNS": "110", "TERMINAL_WIDTH": "110", "NO_COLOR": "1", "TERM": "dumb"})
for name in [name for name in os.environ if name.startswith("CYTOVAE_") or name in ("FORCE_COLOR", "GITHUB_ACTIONS")]:
    del os.environ[name]

import typer
from typer.testing import CliRunner

from cytovae.cli.main import app

ROOT = Path(__file__).parents[1]
START, END = "<!-- usage: made by `make docs` -->\n", "<!-- usage ends -->\n"


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups before what is in them."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """What `--help` prints, without trailing blanks."""
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="cytovae")
    return "\n".join(line.rstrip() for line in shown.stdout.splitlines()).strip("\n")


def main() -> int:
    """Write both, or say which is not fresh."""
    helps = {words: help_of(words) for words in commands(typer.main.get_command(app))}
    parts = ["# The command line\n\nMade from `--help` by `make docs`.\n"]
    parts += [f"## `{' '.join(('cytovae', *words))}`\n\n```\n{text}\n```\n" for words, text in helps.items()]
    usage = [line for text in helps.values() for line in re.findall(r"Usage: (.+)", text) if "COMMAND" not in line]
    readme = (ROOT / "README.md").read_text("utf-8")
    before, found, rest = readme.partition(START)
    after = rest.partition(END)[2]
    if not found or END not in rest:
        sys.exit(f"README.md lacks {START.strip()} … {END.strip()}")
    listed = "\n".join(line.strip() for line in usage)
    wanted = {
        ROOT / "docs" / "cli.md": "\n".join(parts),
        ROOT / "README.md": f"{before}{START}```\n{listed}\n```\n{END}{after}",
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(f"not fresh, run `make docs`: {', '.join(path.name for path in stale)}" if stale else 0)
    for path in stale:
        path.write_text(wanted[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
