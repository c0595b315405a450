"""``cytovae benchmark paper``: the experiments of the paper, repeated on its data."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import benchmark_jobs, console, options
from cytovae.cli.benchmark_jobs import (
    AtOnce,
    Clusters,
    Data,
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cytovae.benchmark.datasets import DataSet
    from cytovae.experiments.experiment import Conditions, Experiment, Finished, Piece

app = typer.Typer(
    help="Repeat the experiments of the paper on its data.\n\n"
    "Example: cytovae benchmark paper weber --data weber_fcs -o weber",
    no_args_is_help=True,
)

MnistData = Annotated[
    Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of MNIST's four IDX files.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A smaller version that takes minutes on two cores.")]
_BODENMILLER_METHODS = "cytovae:paper-bodenmiller,flowsom"
Force = Annotated[bool, typer.Option("--force", help="Start anew, also in a folder with other contents.")]


# --- experiments that are benchmarks of methods -----------------------------------------------------------------------


@app.command("weber", cls=ConfiguredCommand)
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

    All cells are clustered, gated cells are scored. Prints one table for each score, with the rows of the paper, of
    Weber & Robinson, of cytovae and of FlowSOM.

    Example: cytovae benchmark paper weber --data weber_fcs --seeds 5 -o weber
    """
    from cytovae.benchmark.job import Protocol
    from cytovae.benchmark.runner import plan
    from cytovae.experiments.cytometry import weber_sets, weber_tables

    planned = plan(
        weber_sets(data),
        options.words(methods, "--methods"),
        seeds,
        Protocol(max_events),
        threads=threads,
        steps=steps,
        device=device,
        numbers=benchmark_jobs.cluster_numbers(clusters),
    )
    run_options = benchmark_jobs.RunOptions(output, jobs, time_limit, list_jobs, job, quiet)
    benchmark_jobs.run(planned, run_options, table_name="weber.md", table=weber_tables)


@app.command("bodenmiller", cls=ConfiguredCommand)
def bodenmiller_cli(
    data: Data,
    output: Output,
    methods: Methods = _BODENMILLER_METHODS,
    seeds: Seeds = 1,
    clusters: Clusters = None,
    jobs: AtOnce = 1,
    threads: Threads = 1,
    list_jobs: ListJobs = False,
    job: OneJob = None,
    time_limit: TimeLimit = None,
    steps: Steps = None,
    device: Device = "cpu",
    search: Annotated[bool, typer.Option("--search", help="Compare readings of the paper's settings instead.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Table A1: wells of Bodenmiller et al. 2012 (FCS files with gates beside them), with the paper's settings.

    Ten surface markers, populations of 30 cells or more. cytovae learns from 80 % of a well and is scored on the rest;
    the other methods are scored both on all cells, as in the paper, and on the same held-out cells.

    With --search, other readings of the settings are compared, in what the paper does not print or prints in two ways:
    30 of them on the wells H05 and H08, the best five on all wells.

    Example: cytovae benchmark paper bodenmiller --data bodenmiller2012 -o bodenmiller
    """
    from cytovae.benchmark.runner import plan
    from cytovae.experiments.cytometry import ALL_CELLS, HELD_OUT, bodenmiller_table, bodenmiller_wells

    wells = bodenmiller_wells(data)
    if search:
        if list_jobs or clusters or job is not None or time_limit or seeds != 1 or methods != _BODENMILLER_METHODS:
            raise UsageError("--search takes no --methods, --seeds, --clusters, --list-jobs, --job or --time-limit")
        _search_readings(output, wells, data, jobs, threads, steps, device, quiet)
        return
    names = options.words(methods, "--methods")
    numbers = benchmark_jobs.cluster_numbers(clusters)
    planned = plan(wells, names, seeds, HELD_OUT, threads=threads, steps=steps, device=device, numbers=numbers)
    others = [method for method in names if not method.startswith("cytovae")]
    if others:
        planned += plan(wells, others, seeds, ALL_CELLS, threads=threads, numbers=numbers)
    run_options = benchmark_jobs.RunOptions(output, jobs, time_limit, list_jobs, job, quiet)
    benchmark_jobs.run(planned, run_options, table_name="bodenmiller.md", table=bodenmiller_table)


def _search_readings(
    folder: Path,
    wells: "Sequence[DataSet]",
    data: Path,
    at_once: int,
    threads: int,
    steps: int | None,
    device: str,
    quiet: bool,
) -> None:
    from functools import partial

    from cytovae.experiments import paper_search
    from cytovae.experiments.experiment import Conditions, Experiment, prepare, write_results

    design = paper_search.design_of(wells, data, steps=steps, device=device)
    prepare(folder, paper_search.SEARCH)
    finished: list[Finished] = []
    with console.meter("search", design.most_runs) as meter:
        for each in paper_search.search(folder, design, at_once=at_once, threads=threads):
            finished.append(each)
            meter.update(len(finished), each.piece.title)
    pieces = [each.piece for each in finished]
    experiment = Experiment(paper_search.SEARCH, pieces, partial(paper_search.tables, design), lambda _finished: {})
    conditions = Conditions(paper_search.SEEDS, device, threads, steps is not None)
    written = write_results(folder, experiment, finished, conditions)
    if not quiet:
        console.say(f"wrote {', '.join(str(path) for path in written)}")
    typer.echo(experiment.tables(finished))


# --- experiments in pieces --------------------------------------------------------------------------------------------


@app.command("synthetic", cls=ConfiguredCommand)
def synthetic_cli(
    output: Output,
    seeds: Seeds = 1,
    components: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Numbers of components.", show_default="2 … 100")
    ] = None,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Figure A1: mixtures of 2 … 100 Gaussians in 100 dimensions, their number known (A1a) and not known (A1b).

    Runs the paper's settings, the default, and Gaussian mixtures of scikit-learn.

    Example: cytovae benchmark paper synthetic --quick -o synthetic
    """
    from cytovae.experiments import synthetic
    from cytovae.experiments.experiment import Experiment

    design = synthetic.QUICK if quick else synthetic.Design()
    if components is not None:
        design = replace(design, components=benchmark_jobs.numbers(components, "--components", smallest=2))
    conditions = start(seeds, device, threads, quick=quick)
    pieces = synthetic.pieces(design, seeds, conditions.device)
    experiment = Experiment("synthetic", pieces, synthetic.tables, synthetic.figures)
    run_experiment(output, experiment, conditions, force=force, quiet=quiet)


@app.command("mnist", cls=ConfiguredCommand)
def mnist_cli(
    data: MnistData,
    output: Output,
    seeds: Seeds = 5,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Table 1 and Figures 2, A2, A5, A6: handwritten digits clustered without labels, and digits on request.

    Runs the settings for digits, those of the paper (A.1.2), UMAP alone, and a single decoder with a Gaussian mixture.

    Example: cytovae benchmark paper mnist --data mnist --quick -o digits
    """
    from cytovae.experiments.digits import mnist, mnist_tables
    from cytovae.experiments.digits.recipe import read_digits
    from cytovae.experiments.experiment import Experiment

    conditions = start(seeds, device, threads, quick=quick)
    design = mnist.QUICK if quick else mnist.Design()
    pieces = mnist.pieces(read_digits(data, design.images), design, seeds, conditions.device)
    experiment = Experiment("mnist", pieces, mnist_tables.tables, mnist_tables.figures)
    run_experiment(output, experiment, conditions, force=force, quiet=quiet)


@app.command("ablation", cls=ConfiguredCommand)
def ablation_cli(
    output: Output,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the files of the cytometry sets."),
    ] = None,
    mnist: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of MNIST's four IDX files."),
    ] = None,
    seeds: Seeds = 3,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Leave out or replace one part at a time: similarity matrix (Figure A4), DEPICT, experts, metric.

    Runs on two cytometry sets (--data), FlowSOM ff and HuImm (named as in `run --datasets public`) with 20,000 cells
    each, on as many handwritten digits (--mnist), or on both.

    Example: cytovae benchmark paper ablation --data public --quick -o ablation
    """
    from cytovae.experiments import ablation
    from cytovae.experiments.digits import digit_ablation
    from cytovae.experiments.experiment import Experiment

    if data is None and mnist is None:
        raise UsageError("no data: give --data, --mnist or both")
    conditions = start(seeds, device, threads, quick=quick)
    pieces: list[Piece] = []
    tables = ablation.tables
    if data is not None:
        design = ablation.QUICK if quick else ablation.Design()
        pieces += ablation.pieces(ablation.data_sets(data), design, seeds, conditions.device)
    if mnist is not None:
        of_digits = digit_ablation.QUICK if quick else digit_ablation.Design()
        pieces += digit_ablation.pieces(digit_ablation.read(mnist, of_digits), of_digits, seeds, conditions.device)
        tables = digit_ablation.tables
    experiment = Experiment("ablation", pieces, tables, ablation.figures)
    run_experiment(output, experiment, conditions, force=force, quiet=quiet)


@app.command("generation", cls=ConfiguredCommand)
def generation_cli(
    data: Data,
    output: Output,
    seeds: Seeds = 3,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare generated cells with held-out real cells of the same clusters.

    For the five largest gated populations of Bendall's data, with cells from a Gaussian and a single decoder (VaDE)
    fitted to the same cells.

    Example: cytovae benchmark paper generation --data public --quick -o generation
    """
    from cytovae.experiments import generation, generation_tables
    from cytovae.experiments.experiment import Experiment

    conditions = start(seeds, device, threads, quick=quick)
    design = generation.QUICK if quick else generation.Design()
    pieces = generation.pieces(generation.data_set(data), design, seeds, conditions.device)
    experiment = Experiment("generation", pieces, generation_tables.tables, generation_tables.figures)
    run_experiment(output, experiment, conditions, force=force, quiet=quiet)


def start(seeds: int, device: str, threads: int | None, *, quick: bool) -> "Conditions":
    """Limit torch and numba to ``threads``, and resolve the device."""
    from cytovae.experiments.experiment import Conditions
    from cytovae.network.device import resolve_device, use_threads

    count = options.n_threads(threads)
    use_threads(count, with_umap=True)
    return Conditions(seeds, resolve_device(device), count, quick)


def run_experiment(
    folder: Path, experiment: "Experiment", conditions: "Conditions", *, force: bool, quiet: bool
) -> None:
    """Run the pieces that are not finished, write the results and print the table."""
    from cytovae.benchmark.tables import can_draw
    from cytovae.experiments.experiment import do_pieces, prepare, write_results

    prepare(folder, experiment.name, force=force)
    finished = []
    with console.meter(experiment.name, len(experiment.pieces)) as meter:
        for each in do_pieces(folder, experiment.name, experiment.pieces):
            finished.append(each)
            meter.update(len(finished), each.piece.title)
    written = write_results(folder, experiment, finished, conditions)
    if not quiet:
        console.say(f"wrote {', '.join(str(path) for path in written)}")
        if not can_draw():
            console.say("no figures: they need matplotlib (in a checkout: pip install '.[report]')")
    typer.echo(experiment.tables(finished))
