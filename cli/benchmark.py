"""``cytovae benchmark``: methods compared on the same cells, and scores of any cluster labels."""

from pathlib import Path
from typing import Annotated

import typer

from cytovae.cli import benchmark_jobs, console, options, score
from cytovae.cli.benchmark_jobs import (
    AtOnce,
    Clusters,
    Device,
    ListJobs,
    MaxEvents,
    Methods,
    OneJob,
    Output,
    Seeds,
    Steps,
    Threads,
    TimeLimit,
)
from cytovae.cli.config import ConfiguredCommand
from cytovae.errors import UsageError

app = typer.Typer(
    help="Compare methods on the same cells, and score cluster labels.\n\n"
    "Example: cytovae benchmark run sample_data/*.fcs -o results",
    no_args_is_help=True,
)
app.command("score", cls=ConfiguredCommand)(score.score_cli)

NO_METHODS = "none"

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE...", help="FCS files or tables of cells, together one data set.", exists=True),
]
Gates = Annotated[
    str | None,
    typer.Option(
        help="Manual gates: `beside` (NAME.gates.csv beside each file), a table, a folder, or a channel.",
        show_default="beside",
    ),
]
Markers = Annotated[
    str | None, typer.Option(help="Comma-separated markers.", show_default="all channels that look like markers")
]
Exclude = Annotated[str | None, typer.Option(help="Comma-separated channels that are not markers.")]
PanelTable = Annotated[
    Path | None, typer.Option(metavar="CSV", exists=True, dir_okay=False, help="Panel table instead of --markers.")
]
Cofactor = Annotated[float, typer.Option(help="Cofactor of arcsinh(x / cofactor).")]
Transform = Annotated[str, typer.Option(help="arcsinh, or none for values that are transformed already.")]
Rare = Annotated[
    bool, typer.Option("--rare", help="The only gated population is rare: score it against all other cells.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        metavar="NAME=FILE",
        help="Score the labels that another tool wrote, too, as a row NAME: a table with a row per event (with columns "
        "file and event for several files), an FCS or .h5ad file, or FILE:COLUMN. Repeat for several tools.",
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the data set.", show_default="the first file's")]
DataSets = Annotated[
    str | None,
    typer.Option(metavar="TOML", help="A table of data sets instead of FILE...; public = the built-in table."),
]
DataFolder = Annotated[
    Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the files of --datasets.")
]
Only = Annotated[str | None, typer.Option(help="Comma-separated names of data sets in --datasets.")]
Types = Annotated[Path | None, typer.Option(metavar="CSV", help="Marker table, for cytovae:types and scyan.")]
TrainFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--train-file",
        metavar="FILE",
        help="One of FILE... whose gates teach cytovae:labels, lda and knn, which name the others. Repeat for several.",
    ),
]
Holdout = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Score this share of the cells, and learn from the others.")
]
MinPopulation = Annotated[int, typer.Option(min=0, help="Do not score populations with fewer cells.")]


@app.command("run", cls=ConfiguredCommand)
def run_cli(
    output: Output,
    files: Files = None,
    methods: Methods = "cytovae,flowsom",
    gates: Gates = None,
    markers: Markers = None,
    exclude: Exclude = None,
    panel: PanelTable = None,
    cofactor: Cofactor = 5.0,
    transform: Transform = "arcsinh",
    rare: Rare = False,
    name: Name = None,
    labels: Labels = None,
    types: Types = None,
    train_files: TrainFiles = None,
    datasets: DataSets = None,
    data: DataFolder = Path(),
    only: Only = None,
    seeds: Seeds = 1,
    clusters: Clusters = None,
    max_events: MaxEvents = None,
    holdout: Holdout = None,
    min_population: MinPopulation = 0,
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

    Each method, seed and data set is a job in its own process. Finished jobs are kept, so the same command continues a
    run that was stopped. In the end DIR contains results.parquet, results.json, table.md and scores.png. If cytovae and
    FlowSOM ran on several data sets, their means are printed side by side.

    Labels of other tools are scored beside them: --labels NAME=FILE, with --methods none if nothing is to be run.

    Methods that name cells need prior knowledge: cytovae:types and scyan a marker table (--types), cytovae:labels, lda
    and knn the gates of some files (--train-file). They are also scored by name.

    Example: cytovae benchmark run sample_data/*.fcs --methods cytovae,flowsom --seeds 3 -o results
    """
    from cytovae.benchmark.datasets import dataset_of_files, named_datasets
    from cytovae.benchmark.job import Protocol
    from cytovae.benchmark.runner import plan, without_knowledge
    from cytovae.benchmark.tables import markdown_side_by_side

    if bool(files) == bool(datasets):
        raise UsageError("name either FCS files, or a table of data sets with --datasets")
    if datasets:
        if gates or markers or exclude or panel or name or rare or types or train_files:
            raise UsageError("with --datasets, the table contains gates, markers and names; leave out their options")
        if labels:
            raise UsageError("--labels belong to the cells of FILE..., not to a table of data sets")
        chosen = named_datasets(datasets, data, options.words(only, "--only"))
    else:
        dataset = dataset_of_files(
            files or [],
            name=name,
            gates=gates,
            markers=options.words(markers, "--markers"),
            exclude=options.words(exclude, "--exclude"),
            panel=panel,
            transform=transform,
            cofactor=cofactor,
            rare=rare,
            types=types,
            train_files=train_files or (),
        )
        chosen = (dataset,)
    names = () if methods == NO_METHODS else options.words(methods, "--methods")
    planned = plan(
        chosen,
        names,
        seeds,
        Protocol(max_events, holdout, min_population),
        threads=threads,
        steps=steps,
        device=device,
        numbers=benchmark_jobs.cluster_numbers(clusters),
        labels=benchmark_jobs.labels_by_name(labels or ()),
    )
    if not (quiet or list_jobs):
        for line in without_knowledge(chosen, names):
            console.say(line)
    run_options = benchmark_jobs.RunOptions(output, jobs, time_limit, list_jobs, job, quiet)
    benchmark_jobs.run(planned, run_options, table=markdown_side_by_side)


@app.command("table", cls=ConfiguredCommand)
def table_cli(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of results.", exists=True, file_okay=False)],
    quiet: options.Quiet = False,
) -> None:
    """Write the tables and the figure of a folder of results again, and print the tables.

    Example: cytovae benchmark table results
    """
    benchmark_jobs.write_tables(folder, quiet=quiet)
    typer.echo((folder / "table.md").read_text("utf-8"))
