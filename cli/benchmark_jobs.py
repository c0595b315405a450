"""What the commands that run benchmark jobs share: their options, and the run from planned jobs to tables."""

import signal
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.benchmark.job import Job, Row

MOST_SEEDS = 10_000

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of results; an earlier run continues there.")
]
Data = Annotated[Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the data files.")]
Methods = Annotated[
    str,
    typer.Option(
        help="Comma-separated: cytovae, cytovae:PRESET, flowsom, phenograph, kmeans, gmm, umap+hdbscan; to name cells, "
        "cytovae:types, scyan, cytovae:labels, lda, knn."
    ),
]
Seeds = Annotated[int, typer.Option(min=1, max=MOST_SEEDS, help="Run with the seeds 0 … N-1.")]
AtOnce = Annotated[int, typer.Option("--jobs", min=1, help="Number of jobs to run at the same time.")]
Threads = Annotated[int, typer.Option(min=1, max=options.MOST_THREADS, help="Threads of each job.")]
ListJobs = Annotated[bool, typer.Option("--list-jobs", help="Print the jobs, one per line, and exit.")]
OneJob = Annotated[int | None, typer.Option("--job", min=0, help="Run only the job with this number in --list-jobs.")]
TimeLimit = Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop a job that takes longer.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Training steps of cytovae instead of the preset's.")]
Device = Annotated[str, typer.Option(help="Where cytovae trains: cpu or cuda.")]
Clusters = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated numbers of clusters, for methods that need one and for cuts of cytovae's tree.",
        show_default="10,15,20,25,30,40",
    ),
]
MaxEvents = Annotated[
    int | None, typer.Option(min=1, help="Use at most this many random cells of a data set, the same for all methods.")
]


@dataclass(frozen=True)
class RunOptions:
    """How to run planned jobs: the options --output, --jobs, --time-limit, --list-jobs, --job and --quiet."""

    folder: Path
    at_once: int
    time_limit: float | None
    list_jobs: bool
    job: int | None
    quiet: bool


def run(
    planned: "Sequence[Job]",
    run_options: RunOptions,
    *,
    table_name: str | None = None,
    table: "Callable[[Sequence[Row]], str] | None" = None,
) -> None:
    """List the jobs, or run one of them, or run all that are not finished and write the tables.

    ``table`` makes another table of all rows, which is printed unless it is empty, and written to ``table_name`` if
    that is given. Warns if jobs failed; raises :class:`InputError` if no job has a result.
    """
    from cytovae.atomic import write_whole
    from cytovae.benchmark.runner import count_failed, prepare, read_rows
    from cytovae.benchmark.tables import OUTPUTS
    from cytovae.study.protected_files import protected_files

    if run_options.list_jobs:
        for number, job in enumerate(planned):
            typer.echo(f"{number}\t{job.title}\t{job.key}")
        return
    folder, one = run_options.folder, run_options.job
    if one is not None and one >= len(planned):
        raise UsageError(f"there is no job {one}: the jobs are numbered 0 to {len(planned) - 1}")
    outputs = [folder / name for name in (*OUTPUTS, *([table_name] if table_name else []))]
    protected_files(
        files=[Path(file) for job in planned for file in job.dataset.files],
        tables=[
            table
            for job in planned
            for table in (job.dataset.gates, job.dataset.panel, job.dataset.population_names, job.dataset.types)
        ],
    ).check(*outputs)
    prepare(folder)
    _run_jobs(planned if one is None else planned[one : one + 1], run_options)
    if one is not None:
        return
    write_tables(folder, quiet=run_options.quiet)
    if table is not None:
        text = table(read_rows(folder))
        if table_name is not None:
            write_whole(folder / table_name, text)
        if text:
            typer.echo(text)
    failed = count_failed(folder, planned)
    if failed:
        console.warn(f"{failed} of {len(planned)} jobs failed; {folder / 'table.md'} says why")


def _run_jobs(jobs: "Sequence[Job]", run_options: RunOptions) -> None:
    from cytovae.benchmark.runner import row_file, run_jobs

    folder, quiet = run_options.folder, run_options.quiet
    finished = sum(row_file(folder, job).exists() for job in jobs)
    if finished and not quiet:
        console.say(f"{finished} of {len(jobs)} jobs are finished already")
    signal.signal(signal.SIGTERM, _terminated)
    with (
        console.meter("benchmark", len(jobs)) if not quiet else nullcontext() as meter,
        closing(run_jobs(jobs, folder, at_once=run_options.at_once, time_limit=run_options.time_limit)) as results,
    ):
        for job, rows in results:
            finished += 1
            if meter is not None:
                meter.update(finished, job.title)
            reasons = [row.reason for row in rows if row.status != "ok"]
            if reasons:
                console.warn(f"{job.title}: {reasons[0]}")


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def write_tables(folder: Path, *, quiet: bool) -> None:
    """Write the tables and the figure of a folder of results, and say which."""
    from cytovae.benchmark.tables import can_draw, write_tables

    written = write_tables(folder)
    if quiet:
        return
    console.say(f"wrote {', '.join(str(path) for path in written)}")
    if not can_draw():
        console.say("no figure: it needs matplotlib (in a checkout: pip install '.[report]')")
    elif (folder / "scores.png") not in written:
        console.say("no figure: no job has a score")


def labels_by_name(pairs: Sequence[str]) -> dict[str, str]:
    """The values of --labels, NAME=FILE or NAME=FILE:COLUMN, as absolute paths by name.

    Raises :class:`UsageError` if one has no name or no file, or if a name occurs twice.
    """
    from cytovae.annotations.label_spec import split_spec
    from cytovae.plain_file import resolved

    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, spec = (part.strip() for part in pair.partition("="))
        if not (name and equals and spec):
            raise UsageError(f"--labels takes NAME=FILE, not {pair!r}")
        if name in found:
            raise UsageError(f"--labels names {name} twice")
        path, column = split_spec(spec)  # absolute, because jobs run elsewhere
        found[name] = f"{resolved(path)}:{column}" if column else str(resolved(path))
    return found


def cluster_numbers(text: str | None) -> tuple[int, ...]:
    """The value of --clusters. Default: the numbers of the benchmark."""
    from cytovae.benchmark.methods import NUMBERS_OF_CLUSTERS

    return NUMBERS_OF_CLUSTERS if text is None else numbers(text, "--clusters", smallest=1)


def numbers(text: str, option: str, *, smallest: int) -> tuple[int, ...]:
    """The distinct numbers in a comma-separated option. Raises :class:`UsageError` unless all are large enough."""
    found = [options.whole_number(word) for word in options.words(text, option)]
    if any(number is None or number < smallest for number in found):
        raise UsageError(f"{option} takes numbers of at least {smallest}, separated by commas, not {text[:80]!r}")
    return tuple(dict.fromkeys(number for number in found if number is not None))
