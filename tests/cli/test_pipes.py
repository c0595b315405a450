"""The command among others: closed and full streams, no terminal, other encodings and odd names of files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
SAMPLE = TESTS.parent / "sample_data" / "donor1_baseline.fcs"
MODEL = TESTS / "golden" / "schema1" / "model"
CYTOVAE = f"{sys.executable} -m cytovae"


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash; the exit code is that of the first command in a pipe."""
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, errors="replace", check=False,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{CYTOVAE} inspect {SAMPLE} >/dev/full", 4),
        (f"{CYTOVAE} inspect {SAMPLE} --json >&-", 4),
        (f"{CYTOVAE} inspect {SAMPLE} --json <&- >/dev/null", 0),
        (f"{CYTOVAE} inspect {SAMPLE} --json 2>&- >/dev/null", 0),
        (f"{CYTOVAE} inspect none.fcs 2>/dev/full", 3),
        (f"{CYTOVAE} inspect {SAMPLE} | true", 141),
        (f"{CYTOVAE} --help >/dev/full", 4),
        (f"{CYTOVAE} assign {MODEL} {SAMPLE} -o - -q --device cpu | head -1", 141),
        (f"{CYTOVAE} assign {MODEL} {SAMPLE} -o - -q --device cpu >&-", 4),
    ],
)
def test_streams_that_end_are_one_line_and_a_code(command: str, code: int, tmp_path: Path) -> None:
    done = shell(command, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.stderr.count("\n") <= (0 if code == 141 else 1)  # a reader that has had enough is no error
    assert not list(tmp_path.iterdir())


def test_results_are_pure_data_and_talk_goes_elsewhere(tmp_path: Path) -> None:
    done = shell(f"{CYTOVAE} assign {MODEL} {SAMPLE} -o - --device cpu > x.csv", tmp_path, TERM="dumb", NO_COLOR="1")
    assert done.returncode == 0
    assert len(pd.read_csv(tmp_path / "x.csv")) == 2200
    assert "2,200 cells" in done.stderr
    assert "\x1b" not in done.stderr


C_LOCALE = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


NAMES = ("-dash.fcs", "µ ☃ ü.fcs", "a\nb 'c\" $d.fcs", "=1+1,<script>.fcs", f"{'é' * 120}.fcs")


@pytest.mark.parametrize("environment", [{}, C_LOCALE], ids=["as it is", "LANG=C"])
def test_odd_names_of_files(environment: dict[str, str], tmp_path: Path) -> None:
    values = SAMPLE.read_bytes()
    for name in NAMES:
        (tmp_path / name).write_bytes(values)
    command = [sys.executable, "-m", "cytovae", "assign", str(MODEL), "--device", "cpu", "--output=ö/", "--format=csv"]
    done = subprocess.run(
        [*command, "--", *NAMES], cwd=tmp_path, env=os.environ | environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert set(pd.read_csv(tmp_path / "ö" / f"{Path(name).stem}.csv")["file"]) == {name}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*NAMES, "ö"))
    assert len(list((tmp_path / "ö").iterdir())) == len(NAMES)


def test_names_that_are_no_text_are_spelled(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.fcs")
    shutil.copy(SAMPLE, tmp_path / name)
    command = [sys.executable, "-m", "cytovae", "assign", str(MODEL), name, "-o", "x.parquet", "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_parquet(tmp_path / "x.parquet")["file"]) == {r"\xff\xfe.fcs"}
