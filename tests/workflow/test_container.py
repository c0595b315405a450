"""The container recipe and the Nextflow example, checked against the sources without running them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from cytovae.cli.main import app

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docs" / "container" / "Dockerfile"
NEXTFLOW = ROOT / "docs" / "workflow" / "cytovae.nf"


def instructions() -> list[tuple[str, str]]:
    """Keyword and arguments of each instruction, with continued lines joined and comments removed."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


def options_of(command: str) -> set[str]:
    """The long options of a command of cytovae."""
    click_command = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {name for parameter in click_command.params for name in parameter.opts if name.startswith("--")}


def test_the_recipe_passes_the_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed (extra dev, where there is a build of it)")
    done = subprocess.run([linter, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_recipe_installs_locked_versions_of_existing_extras() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) <= {"FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "CMD"}
    allowed = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in allowed, source
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert all(".ci/constraints.txt" in rest for rest in installs)
    extras = re.search(r"'\.\[(.*)\]'", installs[-1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras is not None
    assert set(extras.group(1).split(",")) <= set(project["optional-dependencies"]) - {"dev", "baselines"}  # no GPL
    # One argument chooses the device, the container does not run as root, and the package supports its Python.
    assert [rest for word, rest in instructions() if word == "ARG"] == ['TORCH_INDEX=""']
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users
    assert users[-1].isdecimal()
    assert int(users[-1]) > 0
    for word, rest in instructions():
        if word == "FROM":
            version = re.match(r"python:3\.(\d+)", rest)
            assert version is not None
            assert int(version.group(1)) >= int(project["requires-python"].removeprefix(">=3."))


def test_the_nextflow_example_uses_existing_commands_and_options() -> None:
    text = NEXTFLOW.read_text()
    for opening, closing in ("{}", "()", "[]"):
        assert text.count(opening) == text.count(closing)
    blocks = re.findall(r'"""(.*?)"""', text, re.DOTALL)
    called = [re.sub(r"\\\\\n", " ", block) for block in blocks if "cytovae " in block]
    assert [re.search(r"cytovae (\w+)", block).group(1) for block in called] == ["train", "assign", "report"]  # type: ignore[union-attr]
    for block in called:
        command = re.search(r"cytovae (\w+)", block)
        assert command is not None
        assert set(re.findall(r"(--[a-z-]+)", block)) <= options_of(command.group(1))
    # The declared outputs are those that the scripts write.
    declared = set(re.findall(r'path ["\'](?:\$\{fcs\.baseName\}/)?([a-z_]+\.?[a-z]*)["\']', text))
    assert declared == {"model", "cells.parquet", "abundance.csv", "cluster_medians.csv", "report.html"}
