"""Where options come from, and that commands leave nothing behind but what they were asked for."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cytovae.cli.main import app
from cytovae.errors import InputError, UsageError

SAMPLE = Path(__file__).parents[2] / "sample_data"


def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env=env)


def printed(*arguments: object, env: dict[str, str] | None = None) -> dict[str, object]:
    result = run("train", *arguments, "--print-config", env=env)
    assert result.exit_code == 0, (result.output, result.exception)
    return tomllib.loads(result.stdout)["train"]


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('seed = 1\nmax-cells = 5\n[train]\nsteps = 10\nbatch-size = 32\nmarkers = ["CD3", "CD4"]\n')
    assert printed()["seed"] == 0
    told = printed("--config", file)
    assert (told["seed"], told["steps"], told["markers"]) == (1, 10, "CD3,CD4")
    set_there = {"CYTOVAE_SEED": "2", "CYTOVAE_STEPS": "20", "CYTOVAE_CONFIG": str(file)}
    told = printed("--steps", 30, env=set_there)
    assert (told["seed"], told["steps"], told["batch-size"]) == (2, 30, 32)


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    first = run("train", "--steps", 7, "--quiet", "--transform", "none", "--print-config").stdout
    (tmp_path / "frozen.toml").write_text(first)
    assert run("train", "--config", tmp_path / "frozen.toml", "--print-config").stdout == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1\n", "sed: found an unknown option"),
        ("[train]\nmax_cells = 1\n", "train.max_cells: found an unknown option"),
        ('[train]\nseed = "many"\n', "train.seed"),
        ("[train\n", "TOML"),
        ("[trian]\nsteps = 1\n", "trian: found an unknown table, expected one of train"),
        ("[train.steps]\nx = 1\n", "train.steps: found an unknown table"),
        ("[seed]\nx = 1\n", "seed: found an unknown table"),
        ("[assign]\nsteps = 1\n", "assign.steps: found an unknown option"),
        ("[assign]\nsample = 'x'\n", "assign.sample: found an unknown option, expected one of samples"),
        ("[benchmark.rum]\nseeds = 1\n", "benchmark.rum: found an unknown table, expected one of run"),
        ("[benchmark]\nseeds = 1\n", "benchmark.seeds: found an option of a group of commands"),
        ("[train]\nconfig = 'x'\n", "train.config: found an unknown option"),
        (f"[train]\nsteps = {'9' * 5_000}\n", "config"),
        (f"x = {'[' * 5_000}{']' * 5_000}\n", "nested too deeply"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    result = run("train", "--config", tmp_path / "x.toml", "--print-config")
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_tables_of_other_commands_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("[train]\nsteps = 3\n[assign]\numap = true\n[benchmark.paper.weber]\nseeds = 2\n")
    assert printed("--config", file)["steps"] == 3


@pytest.mark.parametrize("words", [("--cofactor", "nan"), ("--radius", "inf"), ("--landmarks", str(10**13))])
def test_numbers_that_no_option_means_are_refused(words: tuple[str, str]) -> None:
    result = run("train", *words, "--print-config")
    assert isinstance(result.exception, UsageError)
    assert words[0] in str(result.exception)


def cytovae(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cytovae", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_nothing_is_left_in_the_working_folder_or_at_home(tmp_path: Path) -> None:
    here, home, out = tmp_path / "here", tmp_path / "home", tmp_path / "out"
    for folder in (here, home, out):
        folder.mkdir()
    file = SAMPLE / "donor2_baseline.fcs"
    env = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "MPLCONFIGDIR": "", "NUMBA_CACHE_DIR": ""}
    few = ("--steps", 3, "--landmarks", 300)
    for command in (
        ("train", file, "-o", out / "model", *few),
        ("assign", out / "model", file, "-o", out / "cells.fcs", "--tables", out / "tables", "--umap"),
        ("report", out / "model", file, "-o", out / "report.html"),
    ):
        done = cytovae(*command, cwd=here, **env)
        assert done.returncode == 0, done.stderr
    assert list(here.iterdir()) == []
    assert list(home.iterdir()) == []
    assert {path.name for path in out.iterdir()} == {"model", "cells.fcs", "tables", "report.html"}


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    plain = cytovae("inspect", tmp_path / "none.fcs", cwd=tmp_path, NO_COLOR="1", FORCE_COLOR="1")
    assert plain.returncode == 3
    assert "\x1b[31m" not in plain.stderr


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    asked = {"_PYTHON _M CYTOVAE_COMPLETE": "", "COMP_CWORD": "1", "COMP_WORDS": "cytovae ins"}
    program = "import sys; sys.argv = ['cytovae']; from cytovae.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | asked | {"_CYTOVAE_COMPLETE": "complete_bash"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == ["inspect"]


@pytest.mark.parametrize("gates", ['"beside"', '["beside"]'])
def test_an_option_that_may_be_repeated_takes_a_text_or_a_list(gates: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"[assign]\ngates = {gates}\n")
    file = SAMPLE / "donor1_baseline.fcs"
    command = ("assign", "--config", tmp_path / "c.toml", "model", file, "-o", "x.parquet", "--print-config")
    done = cytovae(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'gates = ["beside"]' in done.stdout
