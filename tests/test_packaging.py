"""The wheel: what it contains, and that it runs without this checkout."""

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from cytovae import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Building writes beside the sources, so it works on a copy of what git tracks.
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if name.startswith(("cytovae/", "cli/")) or name in ("pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"cytovae", f"cytovae-{__version__}.dist-info"}
    assert "cytovae/cli/main.py" in names
    for data in (
        "benchmark/public.toml",
        "events/antigen_aliases.csv",
        "events/technical_names.csv",
        "report/page.html",
        "workflow/study.smk",
        "workflow/benchmark.smk",
        "py.typed",
    ):
        assert f"cytovae/{data}" in names


def test_the_wheel_has_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "cytovae", "cli"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    modules = {re.sub(r"^cli/", "cytovae/cli/", name) for name in tracked.stdout.split() if name.endswith(".py")}
    assert modules <= names


def test_every_requirement_of_development_has_a_locked_version() -> None:
    """A new dependency must be locked, or a fresh checkout installs another version tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    locked = {canonical(line) for line in (ROOT / ".ci" / "constraints.txt").read_text("utf-8").splitlines()}
    built_with = {"setuptools"}  # comes with the virtual environment
    assert {canonical(requirement) for requirement in wanted} - locked <= built_with


def canonical(requirement: str) -> str:
    """The normalised name of a requirement, without version and marker."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


def test_hints_for_extras_name_extras_that_exist() -> None:
    """The package is on no index, so hints install from a checkout."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    sources = [*(ROOT / "cytovae").rglob("*.py"), *(ROOT / "cli").glob("*.py"), *ROOT.glob("*.md")]
    texts = [path.read_text("utf-8") for path in (*sources, *(ROOT / "docs").rglob("*.md"))]
    hints = [
        hint for text in texts for hint in re.findall(r"pip install (?:--constraint \S+ )?'([^'\[]*)\[([\w,]+)\]", text)
    ]
    assert len(hints) > 5
    assert {target for target, _ in hints} == {"."}
    assert {name for _, names in hints for name in names.split(",")} <= set(extras)


def test_the_wheel_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """It is installed into a new environment, which sees the libraries of this one but not its cytovae."""
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    (site,) = clean.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    libraries = next(path for path in map(Path, sys.path) if (path / "typer").is_dir())
    # Added without their .pth files, so that an editable install there has no effect.
    (site / "libraries.pth").write_text(str(libraries))
    script = (
        "import sys, cytovae, cytovae.cli.main, pathlib;"
        "assert pathlib.Path(cytovae.cli.main.__file__).is_relative_to(sys.prefix);"
        "import importlib.util; assert importlib.util.find_spec('cli') is None;"
        "sys.argv = ['cytovae', '--help']; cytovae.cli.main.run()"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(clean / "bin" / "python"), "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "assign" in done.stdout
