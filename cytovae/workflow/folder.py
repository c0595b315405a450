"""The folder of a workflow: a Snakefile, its config.yaml, and the tables that they read."""

import csv
import io
import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from cytovae.annotations.sample_sheet import STUDY_COLUMNS, StudyFile
from cytovae.atomic import check_target, output_errors, whole_file
from cytovae.plain_file import resolved
from cytovae.study.protected_files import NOTHING, ProtectedFiles

SNAKEFILE, CONFIG, SAMPLES, FILE_LIST, JOBS = "Snakefile", "config.yaml", "samples.csv", "files.txt", "jobs.csv"

Setting = str | int | Sequence[str]


def write_study(
    folder: Path,
    study: Sequence[StudyFile],
    settings: Mapping[str, Setting],
    *,
    force: bool,
    protected: ProtectedFiles = NOTHING,
) -> None:
    """Write a workflow that trains a model on a study and assigns each of its files.

    Parameters
    ----------
    folder
        Where to write the workflow.
    study
        The files of the study.
    settings
        Values in ``config.yaml`` that differ from the defaults below.
    force
        Replace files of the same names.
    protected
        Files that are not replaced even with ``force``.

    Raises
    ------
    UsageError
        If a file would replace a protected one.
    OutputError
        If a file exists and ``force`` is not set, or cannot be written.
    """
    rows = ((file.name, str(file.path), file.sample, file.batch, file.condition) for file in study)
    defaults: dict[str, Setting] = {
        "samples": SAMPLES,
        "seed": 0,
        "max_events_per_file": 10_000,
        "sampling": "equal",
        "device": "auto",
        "train_options": "",
        "train_threads": 1,
        "train_mem_mb": 6_000,
        "train_minutes": 120,
        "assign_options": "",
        "assign_threads": 1,
        "assign_mem_mb": 2_000,
        "assign_minutes": 30,
        "report_options": "",
        "report_threads": 2,
        "report_mem_mb": 6_000,
        "report_minutes": 240,
    }
    _write(
        folder,
        {
            SNAKEFILE: _template("study.smk"),
            SAMPLES: _csv(("name", *STUDY_COLUMNS), rows),
            FILE_LIST: "".join(f"{file.path}\n" for file in study),
            CONFIG: _yaml({**defaults, **settings}),
        },
        force=force,
        protected=protected,
    )


def write_benchmark(
    folder: Path,
    arguments: Sequence[str],
    jobs: Iterable[tuple[int, str]],
    *,
    threads: int,
    force: bool,
    protected: ProtectedFiles = NOTHING,
) -> None:
    """Write a workflow that runs each job of a benchmark by itself.

    Parameters
    ----------
    folder
        Where to write the workflow.
    arguments
        The arguments of ``cytovae benchmark``; paths are relative to the current folder.
    jobs
        Number of each job, and the stem of its file of results.
    threads
        Threads of each job.
    force
        Replace files of the same names.
    protected
        Files that are not replaced even with ``force``.

    Raises
    ------
    UsageError
        If a file would replace a protected one.
    OutputError
        If a file exists and ``force`` is not set, or cannot be written.
    """
    settings: dict[str, Setting] = {
        "folder": str(Path.cwd()),
        "results": str(folder.absolute() / "results"),
        "arguments": arguments,
        "threads": threads,
        "mem_mb": 8_000,
        "minutes": 240,
    }
    _write(
        folder,
        {
            SNAKEFILE: _template("benchmark.smk"),
            JOBS: _csv(("number", "key"), jobs),
            CONFIG: _yaml(settings),
        },
        force=force,
        protected=protected,
    )


def _template(name: str) -> str:
    return files("cytovae.workflow").joinpath(name).read_text(encoding="utf-8")


def _command() -> str:
    """How a job starts this program: by name if the name on the PATH is this installation, else by its Python."""
    on_path = shutil.which("cytovae")
    installed = Path(sys.executable).parent / "cytovae"
    if on_path and resolved(Path(on_path)) == resolved(installed):
        return "cytovae"
    return f"{shlex.quote(sys.executable)} -m cytovae"


def _yaml(settings: Mapping[str, Setting]) -> str:
    """A flat mapping as YAML, in which strings, numbers and lists may be written as in JSON."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in {"cytovae": _command(), **settings}.items())


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write(folder: Path, content: Mapping[str, str], *, force: bool, protected: ProtectedFiles) -> None:
    """Write files by name. Nothing is written if one of them may not be."""
    protected.check(*(folder / name for name in content))
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in content:
            check_target(folder / name, force=force)
        for name, text in content.items():
            with whole_file(folder / name, force=force) as partial:
                partial.write_text(text, encoding="utf-8")
