"""``cytovae workflow``: Snakemake workflows for studies and benchmarks that are too large for one machine."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cytovae.cli import console, options
from cytovae.cli.config import ConfiguredCommand
from cytovae.errors import UsageError
from cytovae.plain_file import is_plain

app = typer.Typer(
    help="Write Snakemake workflows for studies and benchmarks of many files.\n\n"
    "Example: cytovae workflow study --samples samples.csv -o study",
    no_args_is_help=True,
)

Folder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the workflow.", show_default=False)
]
Samples = Annotated[
    Path,
    typer.Option(
        metavar="CSV",
        help="Sample sheet: file (relative to the sheet), sample, batch, condition; only file is needed.",
        show_default=False,
    ),
]


@app.command("study", cls=ConfiguredCommand)
def study_cli(
    samples: Samples,
    output: Folder,
    max_events_per_file: Annotated[
        int, typer.Option(min=1, metavar="N", help="Learn from at most N cells of each file, 200,000 in total.")
    ] = 10_000,
    sampling: Annotated[
        Literal["equal", "proportional"],
        typer.Option(help="Draw the same number of cells of each file, or the same share."),
    ] = "equal",
    train_options: Annotated[str, typer.Option(metavar="TEXT", help="More options of `cytovae train`.")] = "",
    assign_options: Annotated[str, typer.Option(metavar="TEXT", help="More options of `cytovae assign`.")] = "",
    report_options: Annotated[str, typer.Option(metavar="TEXT", help="More options of `cytovae report`.")] = "",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a workflow that trains one model on all files and assigns each file in its own job.

    In the end DIR contains model/, assigned/NAME/ (cells.parquet, abundance.csv, cluster_medians.csv), abundance.csv of
    all files, report.html, and the time and memory of every job in benchmarks/.

    Example: cytovae workflow study --samples samples.csv -o study && cd study && snakemake --cores 2
    """
    from cytovae.annotations.sample_sheet import read_study
    from cytovae.study.protected_files import protected_files
    from cytovae.workflow.folder import write_study

    files = read_study(samples)
    settings: dict[str, str | int] = {
        "seed": seed,
        "max_events_per_file": max_events_per_file,
        "sampling": sampling,
        "device": device,
        "train_options": train_options,
        "assign_options": assign_options,
        "report_options": report_options,
    }
    protected = protected_files(files=[file.path for file in files], tables=(samples,))
    write_study(output, files, settings, force=force, protected=protected)
    _say(f"wrote {output}: {len(files):,} files", output, quiet=quiet)


@app.command("benchmark", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def benchmark_cli(
    context: typer.Context,
    output: Folder,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a workflow with one job for each job of a benchmark. Other arguments are those of `cytovae benchmark`.

    In the end DIR/results contains the outputs of `cytovae benchmark`.

    Example: cytovae workflow benchmark -o bench run --datasets public --data data/ --methods cytovae,flowsom --seeds 30
    """
    from cytovae.study.protected_files import protected_files
    from cytovae.workflow.folder import write_benchmark

    words = list(context.args)
    reserved = ("--job", "--jobs", "--list-jobs", "--output", "-o")
    if not words:
        raise UsageError(
            "no benchmark is named; add the arguments of `cytovae benchmark`, such as run FILE... --methods ..., or "
            "paper weber --data DIR"
        )
    if taken := [word for word in words if word.split("=")[0] in reserved]:
        raise UsageError(f"the workflow sets {taken[0]} itself; leave it out")
    if printing := [word for word in words if word in ("--print-config", "--help")]:
        raise UsageError(f"{printing[0]} lists no job; use it with `cytovae benchmark {words[0]}`")
    command = [sys.executable, "-m", "cytovae", "benchmark", *words, "--output", str(output / "results"), "--list-jobs"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if listed.returncode:
        raise typer.Exit(listed.returncode)  # the command has printed why
    jobs = []
    for line in listed.stdout.splitlines():
        number, _, key = line.split("\t")
        jobs.append((int(number), key))
    protected = protected_files(files=[Path(word) for word in words if is_plain(Path(word))])
    write_benchmark(output, words, jobs, threads=_threads(words), force=force, protected=protected)
    _say(f"wrote {output}: {len(jobs):,} jobs", output, quiet=quiet)


@app.command("gather", cls=ConfiguredCommand)
def gather_cli(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with NAME/abundance.csv for each file.")],
    samples: Samples,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="Table to write.", show_default=False)],
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Join the abundances of all files in one table, with sample, batch and condition (the last step of a workflow).

    Example: cytovae workflow gather assigned/ --samples samples.csv -o abundance.csv
    """
    from cytovae.annotations.sample_sheet import read_study
    from cytovae.outputs.tables import write_table
    from cytovae.study.protected_files import protected_files
    from cytovae.workflow.gather import TABLE, gather_abundance

    files = read_study(samples)
    tables = (samples, *(folder / file.name / TABLE for file in files))
    protected_files(files=[file.path for file in files], tables=tables).check(output)
    table = gather_abundance(folder, files)
    write_table(output, table, force=force)
    if not quiet:
        console.say(f"wrote {output}: {len(table):,} rows")


def _threads(words: list[str]) -> int:
    """The value of the benchmark's option --threads; 1 without it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--threads" and (number := options.whole_number(value if equals else following)) is not None:
            return number
    return 1


def _say(text: str, folder: Path, *, quiet: bool) -> None:
    if not quiet:
        console.say(f"{text}. To run it: cd {folder} && snakemake --cores 2 (in a checkout: pip install '.[workflow]')")
