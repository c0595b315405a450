"""The reference of the command line is what `--help` says, and every help has an example that can be typed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

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
        assert set(re.findall(r" (--?[a-z][a-z-]*)", own)) <= known
