"""The reference of the command line is what `--help` says, and every help has an example that can be typed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cytovae.cli.main import app

ROOT = Path(__file__).parents[1]


def test_the_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


@pytest.mark.parametrize(("words", "command"), list(commands(typer.main.get_command(app))))
def test_every_help_has_an_example_of_known_options(words: tuple[str, ...], command: Any) -> None:
    example = re.search(r"Example: (cytovae .+)", command.help)
    assert example, words
    assert example[1].startswith(" ".join(("cytovae", *words)))
    if not getattr(command, "commands", {}):
        known = {name for param in command.params for name in param.opts}
        own = re.split(r"[|&]", example[1])[0]
        # `workflow benchmark` hands on what it does not know, to be refused by the benchmark.
        handed_on = bool(command.context_settings.get("ignore_unknown_options"))
        assert handed_on or set(re.findall(r" (--?[a-z][a-z-]*)", own)) <= known


def test_links_lead_somewhere_and_pictures_are_small() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()) < 600_000


def test_the_commands_of_the_walk_through_are_understood() -> None:
    """Each is parsed up to its end by the real app; --print-config keeps it from doing anything."""
    text = (ROOT / "docs" / "walkthrough.md").read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^cytovae (.+)$", text, flags=re.MULTILINE)
    assert len(found) == 6
    for line in found:
        result = CliRunner().invoke(app, [*shlex.split(line), "--print-config"])
        assert result.exit_code == 0, (line, result.output)
