"""The wheel: what it holds, and that it runs where nothing of this checkout is to be seen."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from cytovae import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy of what git tracks: building writes beside the sources.
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
    assert "cytovae/benchmark/public.toml" in names


def test_the_wheel_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed alone into an environment of its own, which sees this one's libraries but not its cytovae."""
    place = tmp_path / "clean"
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    libraries = next(path for path in map(Path, sys.path) if (path / "typer").is_dir())
    # Appended without its .pth files, so that an editable install there is not seen.
    (site / "libraries.pth").write_text(str(libraries))
    script = (
        "import sys, cytovae, cytovae.cli.main, pathlib;"
        "assert pathlib.Path(cytovae.cli.main.__file__).is_relative_to(sys.prefix);"
        "import importlib.util; assert importlib.util.find_spec('cli') is None;"
        "sys.argv = ['cytovae', '--help']; cytovae.cli.main.run()"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(place / "bin" / "python"), "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "assign" in done.stdout
