"""The folder of a workflow: a Snakefile, its config.yaml and the tables they name. Written whole or not at all."""

import csv
import io
import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from cytovae.annotations.study_samples import COLUMNS, Sample
from cytovae.atomic import check_target, whole_file
from cytovae.errors import OutputError

SNAKEFILE, CONFIG, SAMPLES, FILE_LIST, JOBS = "Snakefile", "config.yaml", "samples.csv", "files.txt", "jobs.csv"


Setting = str | int | Sequence[str]


def write_study(folder: Path, samples: Sequence[Sample], settings: Mapping[str, Setting], *, force: bool) -> None:
    """Write the workflow that assigns ``samples`` into ``folder``; ``settings`` replace those of the same name.

    Raises :class:`OutputError` where something of that name is there already (unless ``force``) or cannot be written.
    """
    rows = ((s.name, str(s.file), s.sample, s.batch, s.condition) for s in samples)
    chosen: dict[str, Setting] = {
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
            SAMPLES: _csv(("name", *COLUMNS), rows),
            FILE_LIST: "".join(f"{sample.file}\n" for sample in samples),
            CONFIG: _yaml({**chosen, **settings}),
        },
        force=force,
    )


def write_benchmark(
    folder: Path, arguments: Sequence[str], jobs: Iterable[tuple[int, str]], *, threads: int, force: bool
) -> None:
    """Write the workflow that does ``jobs``, each a number and the stem of its file of rows, into ``folder``.

    ``arguments`` are those of ``cytovae benchmark``, as given in the present working folder. Raises as
    :func:`write_study` does.
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
    )


def _template(name: str) -> str:
    return files("cytovae.workflow").joinpath(name).read_text(encoding="utf-8")


def _command() -> str:
    """How a job starts this program: by its name where that is it, else by the path of this Python."""
    found = shutil.which("cytovae")
    own = Path(sys.executable).parent / "cytovae"
    return (
        "cytovae" if found and Path(found).resolve() == own.resolve() else f"{shlex.quote(sys.executable)} -m cytovae"
    )


def _yaml(settings: Mapping[str, Setting]) -> str:
    """A flat mapping. JSON's texts, numbers and lists are YAML's, too."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in {"cytovae": _command(), **settings}.items())


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write(folder: Path, content: Mapping[str, str], *, force: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in content:
            check_target(folder / name, force=force)
        for name, text in content.items():
            with whole_file(folder / name, force=force) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error
