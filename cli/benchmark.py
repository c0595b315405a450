"""``cytovae benchmark``: methods side by side on the same cells, the paper's experiments, and scores of any labels."""

import signal
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options, score
from cytovae.cli.config import ConfiguredCommand
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.benchmark.datasets import DataSet
    from cytovae.benchmark.job import Job

app = typer.Typer(
    help="Scores of methods side by side on the same cells.\n\n"
    "Example: cytovae benchmark run sample_data/*.fcs -o results",
    no_args_is_help=True,
)
paper = typer.Typer(
    help="Repeat the paper's experiments on its data.\n\n"
    "Example: cytovae benchmark paper weber --data weber_fcs -o weber",
    no_args_is_help=True,
)
app.add_typer(paper, name="paper")
app.command("score", cls=ConfiguredCommand)(score.score_cli)

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of results; a run that was stopped goes on there.")
]
Methods = Annotated[
    str, typer.Option(help="Comma-separated: cytovae, cytovae:PRESET, flowsom, phenograph, kmeans, gmm, umap+hdbscan.")
]
Seeds = Annotated[int, typer.Option(min=1, help="Run every method with the seeds 0 … N-1.")]
AtOnce = Annotated[int, typer.Option("--jobs", min=1, help="Jobs at the same time.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each job.")]
ListJobs = Annotated[bool, typer.Option("--list-jobs", help="Print the jobs, one a line, and do nothing.")]
OneJob = Annotated[int | None, typer.Option("--job", min=0, help="Do only the job of that number in --list-jobs.")]
TimeLimit = Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop a job that takes longer.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Training steps of cytovae, instead of the preset's.")]
Device = Annotated[str, typer.Option(help="Where cytovae trains: cpu or cuda.")]
Clusters = Annotated[
    str | None,
    typer.Option(help="Comma-separated numbers for methods that must be told one [default: 10,15,20,25,30,40]."),
]
MaxEvents = Annotated[int | None, typer.Option(min=1, help="At most this many cells of a data set, the same for all.")]
Data = Annotated[
    Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the data sets' files.")
]


@app.command("run", cls=ConfiguredCommand)
def run_cli(
    output: Output,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="FCS files or tables of cells, together one data set.", exists=True),
    ] = None,
    methods: Methods = "cytovae,flowsom",
    gates: Annotated[
        str | None, typer.Option(help="Manual gates: a table, a folder, or a channel [default: beside the files].")
    ] = None,
    markers: Annotated[
        str | None, typer.Option(help="Comma-separated markers [default: all that look like it].")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Comma-separated channels that are no markers.")] = None,
    panel: Annotated[
        Path | None, typer.Option(metavar="CSV", exists=True, dir_okay=False, help="Panel table instead of --markers.")
    ] = None,
    cofactor: Annotated[float, typer.Option(help="Cofactor of arcsinh(x / cofactor).")] = 5.0,
    transform: Annotated[
        str, typer.Option(help="arcsinh, or none for values that are transformed already.")
    ] = "arcsinh",
    rare: Annotated[
        bool, typer.Option("--rare", help="One population is gated, and rare: score it against the rest.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the data set [default: the first file's].")] = None,
    datasets: Annotated[
        str | None,
        typer.Option(metavar="TOML", help="A table of data sets instead of FILE...; public = the one built in."),
    ] = None,
    data: Annotated[
        Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Where the files of --datasets are.")
    ] = Path(),
    only: Annotated[str | None, typer.Option(help="Comma-separated names of data sets in --datasets.")] = None,
    seeds: Seeds = 1,
    clusters: Clusters = None,
    max_events: MaxEvents = None,
    holdout: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Score this share of the cells, and learn from the others.")
    ] = None,
    min_population: Annotated[int, typer.Option(min=0, help="Do not score populations with fewer cells.")] = 0,
    jobs: AtOnce = 1,
    threads: Threads = 1,
    list_jobs: ListJobs = False,
    job: OneJob = None,
    time_limit: TimeLimit = None,
    steps: Steps = None,
    device: Device = "cpu",
    quiet: options.Quiet = False,
) -> None:
    """Run methods on the same cells and score them against manual gates.

    Each method, seed and data set is a job in a process of its own; what is finished stays, so that the same command
    goes on where it was stopped. In the end DIR holds results.parquet, results.json, table.md and scores.png.

    Example: cytovae benchmark run sample_data/*.fcs --methods cytovae,flowsom --seeds 3 -o results
    """
    from cytovae.benchmark.job import Protocol
    from cytovae.benchmark.runner import plan

    if bool(files) == bool(datasets):
        raise UsageError("name FCS files, or a table of data sets with --datasets: one of the two")
    if holdout is not None and not 0 < holdout < 1:
        raise UsageError(f"--holdout must lie between 0 and 1, not {holdout}")
    if datasets:
        if gates or markers or exclude or panel or name or rare:
            raise UsageError("with --datasets, gates, markers and names stand in the table")
        chosen = _from_table(datasets, data, _words(only))
    else:
        chosen = (
            _from_files(
                files or [], name, gates, _words(markers), _words(exclude), panel, transform, cofactor, rare=rare
            ),
        )
    planned = plan(
        chosen,
        _words(methods),
        seeds,
        Protocol(max_events, holdout, min_population),
        threads=threads,
        steps=steps,
        device=device,
        numbers=_numbers(clusters),
    )
    if _work(planned, output, jobs, time_limit, list_jobs, job, quiet=quiet):
        _write_tables(output, quiet=quiet)


@app.command("table", cls=ConfiguredCommand)
def table_cli(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of results.", exists=True, file_okay=False)],
    quiet: options.Quiet = False,
) -> None:
    """Rebuild the tables and the picture of a folder of results, and print the tables.

    Example: cytovae benchmark table results
    """
    _write_tables(folder, quiet=quiet)
    typer.echo((folder / "table.md").read_text("utf-8"))


@paper.command("weber", cls=ConfiguredCommand)
def weber_cli(
    data: Data,
    output: Output,
    methods: Methods = "cytovae:paper-weber,flowsom",
    seeds: Seeds = 30,
    clusters: Clusters = None,
    max_events: MaxEvents = None,
    jobs: AtOnce = 1,
    threads: Threads = 1,
    list_jobs: ListJobs = False,
    job: OneJob = None,
    time_limit: TimeLimit = None,
    steps: Steps = None,
    device: Device = "cpu",
    quiet: options.Quiet = False,
) -> None:
    """Table 2: the four data sets of Weber & Robinson, from their published FCS files, with the paper's settings.

    All cells are clustered, gated ones scored. Prints the paper's row, Weber & Robinson's rows, ours and FlowSOM's,
    each score in a table of its own.

    Example: cytovae benchmark paper weber --data weber_fcs --seeds 5 -o weber
    """
    from cytovae.atomic import write_whole
    from cytovae.benchmark.job import Protocol
    from cytovae.benchmark.runner import plan, read_rows
    from cytovae.experiments.cytometry import weber_sets, weber_tables

    protocol = Protocol(max_events)
    planned = plan(
        weber_sets(data),
        _words(methods),
        seeds,
        protocol,
        threads=threads,
        steps=steps,
        device=device,
        numbers=_numbers(clusters),
    )
    if _work(planned, output, jobs, time_limit, list_jobs, job, quiet=quiet):
        _write_tables(output, quiet=quiet)
        text = weber_tables(read_rows(output))
        write_whole(output / "weber.md", text)
        typer.echo(text)


@paper.command("bodenmiller", cls=ConfiguredCommand)
def bodenmiller_cli(
    data: Data,
    output: Output,
    methods: Methods = "cytovae:paper-bodenmiller,flowsom",
    seeds: Seeds = 1,
    clusters: Clusters = None,
    jobs: AtOnce = 1,
    threads: Threads = 1,
    list_jobs: ListJobs = False,
    job: OneJob = None,
    time_limit: TimeLimit = None,
    steps: Steps = None,
    device: Device = "cpu",
    quiet: options.Quiet = False,
) -> None:
    """Table A1: wells of Bodenmiller et al. 2012 (FCS files with gates beside them), with the paper's settings.

    Ten surface markers, populations of 30 cells or more. cytovae learns from 80 % of a well and is scored on the rest;
    the other methods are scored both ways, on all cells (as the paper did) and on the same held-out cells.

    Example: cytovae benchmark paper bodenmiller --data bodenmiller2012 -o bodenmiller
    """
    from cytovae.atomic import write_whole
    from cytovae.benchmark.runner import plan, read_rows
    from cytovae.experiments.cytometry import ALL_CELLS, HELD_OUT, bodenmiller_table, bodenmiller_wells

    wells = bodenmiller_wells(data)
    names = _words(methods)
    numbers = _numbers(clusters)
    planned = plan(wells, names, seeds, HELD_OUT, threads=threads, steps=steps, device=device, numbers=numbers)
    others = [method for method in names if not method.startswith("cytovae")]
    if others:
        planned += plan(wells, others, seeds, ALL_CELLS, threads=threads, numbers=numbers)
    if _work(planned, output, jobs, time_limit, list_jobs, job, quiet=quiet):
        _write_tables(output, quiet=quiet)
        text = bodenmiller_table(read_rows(output))
        write_whole(output / "bodenmiller.md", text)
        typer.echo(text)


def _words(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _numbers(text: str | None) -> tuple[int, ...]:
    """The numbers of clusters asked for, or those of the benchmark."""
    from cytovae.benchmark.methods import NUMBERS_OF_CLUSTERS

    if text is None:
        return NUMBERS_OF_CLUSTERS
    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--clusters takes numbers from 1 on, separated by commas, not {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _from_table(table: str, data: Path, only: Sequence[str]) -> "tuple[DataSet, ...]":
    from cytovae.benchmark.datasets import PUBLIC, read_table

    found = read_table(PUBLIC if table == "public" else Path(table), data, only)
    missing = set(only) - {dataset.name for dataset in found}
    if missing:
        raise UsageError(f"{table} has no data set called {', '.join(sorted(missing))}")
    return found


def _from_files(
    files: Sequence[Path],
    name: str | None,
    gates: str | None,
    markers: tuple[str, ...],
    exclude: tuple[str, ...],
    panel: Path | None,
    transform: str,
    cofactor: float,
    *,
    rare: bool,
) -> "DataSet":
    from cytovae.benchmark.datasets import DataSet, kind_of_transform

    # A job runs in a folder of its own, so every path must be whole.
    place = str(Path(gates).resolve()) if gates and Path(gates).exists() else gates
    return DataSet(
        name=name or files[0].stem,
        files=tuple(str(file.resolve()) for file in files),
        gates=place,
        markers=markers,
        exclude=exclude,
        panel=str(panel.resolve()) if panel else None,
        transform=kind_of_transform(transform),
        cofactor=cofactor,
        rare=rare,
    )


def _work(
    planned: "Sequence[Job]",
    folder: Path,
    at_once: int,
    time_limit: float | None,
    list_only: bool,
    one: int | None,
    *,
    quiet: bool,
) -> bool:
    """List the jobs, or do one, or do all that are not done. Returns whether all were asked for."""
    from cytovae.benchmark.runner import prepare, row_file, run_jobs

    if list_only:
        for number, job in enumerate(planned):
            typer.echo(f"{number}\t{job.title}\t{job.key}")
        return False
    if one is not None and one >= len(planned):
        raise UsageError(f"there is no job {one}: they are numbered 0 to {len(planned) - 1}")
    prepare(folder)
    chosen = planned if one is None else planned[one : one + 1]
    done = sum(row_file(folder, job).exists() for job in chosen)
    if done and not quiet:
        console.say(f"{done} of {len(chosen)} jobs are finished already")
    signal.signal(signal.SIGTERM, _terminated)
    with (
        console.meter("benchmark", len(chosen)) if not quiet else nullcontext() as meter,
        closing(run_jobs(chosen, folder, at_once=at_once, time_limit=time_limit)) as results,
    ):
        for job, rows in results:
            done += 1
            if meter is not None:
                meter.update(done, job.title)
            for row in rows:
                if row.status != "ok":
                    console.warn(f"{job.title}: {row.reason}")
                    break
    return one is None


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _write_tables(folder: Path, *, quiet: bool) -> None:
    from cytovae.benchmark.tables import write_tables

    written = write_tables(folder)
    if quiet:
        return
    console.say(f"wrote {', '.join(str(path) for path in written)}")
    if (folder / "scores.png") not in written:
        console.say("no picture: it needs matplotlib (pip install 'cytovae[report]')")
