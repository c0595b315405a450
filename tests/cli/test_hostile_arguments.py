"""Every option that takes a path, a number or text, with values that nothing should accept: no traceback, no hang."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import typer
from typer.core import TyperArgument

from cytovae.cli import main
from cytovae.errors import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data" / "donor1_baseline.fcs"
MODEL = ROOT / "tests" / "golden" / "schema1" / "model"
DIGITS = "9" * 5_000

USAGE, INPUT, OUTPUT, MODEL_CODE, DEVICE = 2, 3, 4, 5, 6
REFUSED = {USAGE, INPUT, OUTPUT, MODEL_CODE}
SECONDS = 30  # after which a call counts as hanging

# Arguments with which each command would do its work; the option under test is added.
BASES: dict[str, list[str]] = {
    "inspect": [str(SAMPLE)],
    "train": [str(SAMPLE), "-o", "model"],
    "assign": [str(MODEL), str(SAMPLE), "-o", "cells.csv", "--device", "cpu"],
    "refine": [str(MODEL), str(SAMPLE), "--cluster", "1", "-o", "finer", "--device", "cpu"],
    "report": [str(MODEL), str(SAMPLE), "-o", "page.html", "--device", "cpu"],
    "generate": [str(MODEL), "-o", "cells.csv"],
    "benchmark score": ["labels.csv", "--gates", str(SAMPLE)],
    "benchmark run": [str(SAMPLE), "-o", "results", "--list-jobs", "--methods", "kmeans"],
    "benchmark table": ["results"],
    "benchmark paper weber": ["--data", ".", "-o", "results", "--list-jobs"],
    "benchmark paper bodenmiller": ["--data", ".", "-o", "results", "--list-jobs"],
    "benchmark paper mnist": ["--data", ".", "-o", "results"],
    "benchmark paper ablation": ["--data", ".", "-o", "results"],
    "benchmark paper generation": ["--data", ".", "-o", "results"],
    "benchmark paper synthetic": ["-o", "results", "--quick"],
    "compare": ["cells.csv", "--samples", "groups.csv", "--condition", "condition", "-o", "comparison", "--describe"],
    "qc": [str(SAMPLE), "-o", "quality"],
    "types": [str(SAMPLE)],
    "workflow benchmark": ["-o", "bench", "run", str(SAMPLE), "--methods", "kmeans"],
    "workflow study": ["--samples", "samples.csv", "-o", "study"],
    "workflow gather": ["assigned", "--samples", "samples.csv", "-o", "abundance.csv"],
}


@dataclass(frozen=True)
class Case:
    """A parameter of a command. ``kind`` is number, fraction, path or text; an argument has no ``option``."""

    command: str
    option: str
    kind: str
    in_file: bool  # whether a --config file can set it

    @property
    def title(self) -> str:
        return f"{self.command} {self.option or 'ARGUMENT'}"


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the program, by its words."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))
    else:
        yield " ".join(words), command


def cases() -> Iterator[Case]:
    for words, command in commands(typer.main.get_command(main.app)):
        for param in command.params:
            annotation = param.type_descriptor.annotation
            named = str(annotation)
            if annotation is bool or "Literal" in named:
                continue
            number = {int: "number", float: "fraction"}.get(annotation)
            kind = number or ("path" if "Path" in named else "text")
            is_argument = isinstance(param, TyperArgument)
            option = "" if is_argument else next(name for name in param.opts if name.startswith("--"))
            # `workflow benchmark` passes --config on to `benchmark`.
            in_file = not is_argument and option not in ("--config", "--help") and words != "workflow benchmark"
            yield Case(words, option, kind, in_file)


CASES = [case for case in cases() if case.command in BASES]


def of_kind(*kinds: str) -> Any:
    chosen = [case for case in CASES if case.kind in kinds]
    return pytest.mark.parametrize("case", chosen, ids=[case.title for case in chosen])


def some_in_soak(*values: object, soak: Sequence[object]) -> Any:
    """Values for a test, and more that only ``make soak`` tries."""
    every = [*values, *soak] if os.environ.get("CYTOVAE_SOAK") else values
    return pytest.mark.parametrize("value", every, ids=lambda value: str(value)[:12])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with hostile names; a call that hangs there fails."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "labels.csv").write_text("cluster\n1\n")
    (tmp_path / "cells.csv").write_text("file,event,cluster\na.fcs,0,1\nb.fcs,0,2\n")
    (tmp_path / "groups.csv").write_text("file,condition\na.fcs,x\nb.fcs,y\n")
    (tmp_path / "samples.csv").write_text(f"file\n{SAMPLE}\n")
    (tmp_path / "assigned").mkdir()
    (tmp_path / "results").mkdir()

    def hung(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"no answer after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of the program; an exception that escapes is a traceback and fails the test."""
    monkeypatch.setattr("sys.argv", ["cytovae", *words])
    return main.exit_code_of_command()


def with_value(case: Case, value: str) -> list[str]:
    """The command line in which the parameter of ``case`` has this value."""
    words = list(BASES[case.command])
    if case.option == "--output" and "--list-jobs" in words:
        words.remove("--list-jobs")  # which would write nothing
    if (case.command, case.option) == ("benchmark run", "--data"):
        words[0:1] = ["--datasets", "public"]  # only then is the folder used
    if not case.option:
        words[0] = value
        return [*case.command.split(), *words]
    short = "-o" if case.option == "--output" else case.option
    for name in (short, case.option):
        if name in words:
            at = words.index(name)
            del words[at : at + 2]
    return [*case.command.split(), *words, case.option, value]


@of_kind("number", "fraction")
@some_in_soak(DIGITS, soak=[f"-{DIGITS}"])
def test_numbers_that_no_option_takes(case: Case, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, *with_value(case, value)) == USAGE


@of_kind("fraction")
@some_in_soak("nan", soak=["inf"])
def test_fractions_that_no_option_takes(case: Case, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, *with_value(case, value)) == USAGE


@some_in_soak(2**32, soak=[2**64, 10**30])
@pytest.mark.parametrize("case", [case for case in CASES if case.option == "--seed"], ids=lambda case: case.title)
def test_seeds_that_no_generator_takes(case: Case, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, *with_value(case, str(value))) == USAGE


@of_kind("path")
@some_in_soak("loop.csv", "pipe.csv", soak=["pipe.parquet", "loop.csv/x.fcs", DIGITS])
def test_paths_that_no_option_takes(case: Case, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.command == "workflow gather" and case.option == "":
        pytest.skip("the folder is looked into only for files of the sample sheet")
    assert exit_code(monkeypatch, *with_value(case, value)) in REFUSED


@of_kind("text")
@some_in_soak(DIGITS, soak=["loop.csv", "pipe.csv", "pipe.parquet"])
def test_text_that_may_be_a_path_or_a_number(case: Case, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, *with_value(case, value)) in REFUSED | {0, DEVICE}


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.in_file and case.kind in ("path", "text")], ids=lambda case: case.title
)
def test_nul_in_a_file_of_options(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ".".join(case.command.split())
    (folder / "options.toml").write_text(f"[{table}]\n{case.option[2:]} = {json.dumps(chr(0))}\n")
    assert exit_code(monkeypatch, *case.command.split(), "--config", "options.toml") == INPUT


def test_every_command_is_covered() -> None:
    """A new command needs a row in BASES."""
    assert {words for words, _ in commands(typer.main.get_command(main.app))} == set(BASES)


@pytest.mark.parametrize(
    "cause", [MemoryError("x"), OSError("malloc of size 800000000 failed"), RuntimeError("can't allocate memory")]
)
def test_exhausted_memory_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a reader takes the failure for a fault of the file."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise InputError("a.parquet", "file", str(cause), "a readable Parquet file") from cause

    monkeypatch.setattr("cytovae.cli.inspect.open_parts", fail)
    assert exit_code(monkeypatch, "inspect", "a.parquet") == DEVICE
    assert "not enough memory" in capsys.readouterr().err


def test_an_impossible_name_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cytovae.cli.options.named_files", lambda *_paths, **_options: (Path(DIGITS).stat(),))
    assert exit_code(monkeypatch, "inspect", "a.fcs") == USAGE
    assert "too long" in capsys.readouterr().err
