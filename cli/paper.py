"""``cytovae benchmark paper …``: the paper's experiments that are not about cytometry data sets, and its ablations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.cli.config import ConfiguredCommand
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cytovae.experiments.experiment import Finished, Piece

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of results; a run that was stopped goes on there.")
]
Data = Annotated[Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the data's files.")]
Seeds = Annotated[int, typer.Option(min=1, help="Run everything with the seeds 0 … N-1.")]
Quick = Annotated[bool, typer.Option("--quick", help="A smaller version, of minutes on two cores.")]
Force = Annotated[bool, typer.Option("--force", help="Begin anew, also in a folder of other things.")]


def synthetic_cli(
    output: Output,
    seeds: Seeds = 1,
    components: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Numbers of components [default: 2 … 100].", show_default=False)
    ] = None,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Figure A1: mixtures of 2 … 100 Gaussians in 100 dimensions, their number known (A1a) and not known (A1b).

    Runs the paper's settings, the default, and scikit-learn's Gaussian mixtures.

    Example: cytovae benchmark paper synthetic --quick -o synthetic
    """
    from cytovae.experiments import synthetic

    design = synthetic.QUICK if quick else synthetic.Design()
    if components is not None:
        words = options.words(components)
        if not words or not all(word.isdecimal() and int(word) > 1 for word in words):
            raise UsageError(f"--components takes numbers from 2 on, separated by commas, not {components!r}")
        design = replace(design, components=tuple(dict.fromkeys(map(int, words))))
    place = start(device, threads)
    run_experiment(
        output,
        "synthetic",
        synthetic.pieces(design, seeds, place),
        synthetic.tables,
        synthetic.figures,
        seeds=seeds,
        device=place,
        threads=threads,
        quick=quick,
        force=force,
        quiet=quiet,
    )


def ablation_cli(
    output: Output,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of the two cytometry sets' files."),
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
    """What each part is worth: similarity matrix (Figure A4), DEPICT, experts, metric, left out or replaced.

    On two cytometry sets, FlowSOM ff and HuImm (as `run --datasets public` names them), 20,000 cells of each
    (--data), on as many handwritten digits (--mnist), or on both.

    Example: cytovae benchmark paper ablation --data public --quick -o ablation
    """
    from cytovae.experiments import ablation

    if data is None and mnist is None:
        raise UsageError("nothing to run on: give --data, --mnist or both")
    place = start(device, threads)
    pieces: list[Piece] = []
    tables = ablation.tables
    if data is not None:
        design = ablation.QUICK if quick else ablation.Design()
        pieces += ablation.pieces(ablation.data_sets(data), design, seeds, place)
    if mnist is not None:
        from cytovae.experiments.digits import digit_ablation

        of_digits = digit_ablation.QUICK if quick else digit_ablation.Design()
        pieces += digit_ablation.pieces(digit_ablation.read(mnist, of_digits), of_digits, seeds, place)
        tables = digit_ablation.tables
    run_experiment(
        output,
        "ablation",
        pieces,
        tables,
        ablation.figures,
        seeds=seeds,
        device=place,
        threads=threads,
        quick=quick,
        force=force,
        quiet=quiet,
    )


def mnist_cli(
    data: Annotated[
        Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of MNIST's four IDX files.")
    ],
    output: Output,
    seeds: Seeds = 5,
    quick: Quick = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Table 1 and Figures 2, A2, A5, A6: handwritten digits clustered without labels, and digits on request.

    Runs the digits' own settings, the paper's (A.1.2), UMAP alone, and a single decoder with a Gaussian mixture.

    Example: cytovae benchmark paper mnist --data mnist --quick -o digits
    """
    from cytovae.experiments.digits import mnist
    from cytovae.experiments.digits import mnist_tables as mnist_results

    place = start(device, threads)
    design = mnist.QUICK if quick else mnist.Design()
    run_experiment(
        output,
        "mnist",
        mnist.pieces(mnist.read_digits(data, design), design, seeds, place),
        mnist_results.tables,
        mnist_results.figures,
        seeds=seeds,
        device=place,
        threads=threads,
        quick=quick,
        force=force,
        quiet=quiet,
    )


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
    """Whether generated cells can be told from held-out real ones of the same clusters.

    On Bendall's five largest gated populations, beside a Gaussian and a single decoder (VaDE) fitted to the same cells.

    Example: cytovae benchmark paper generation --data public --quick -o generation
    """
    from cytovae.experiments import generation
    from cytovae.experiments import generation_tables as generation_results

    place = start(device, threads)
    design = generation.QUICK if quick else generation.Design()
    run_experiment(
        output,
        "generation",
        generation.pieces(generation.data_set(data), design, seeds, place),
        generation_results.tables,
        generation_results.figures,
        seeds=seeds,
        device=place,
        threads=threads,
        quick=quick,
        force=force,
        quiet=quiet,
    )


def add_to(paper: typer.Typer) -> None:
    """Add the commands of this module to the group ``paper``."""
    paper.command("synthetic", cls=ConfiguredCommand)(synthetic_cli)
    paper.command("mnist", cls=ConfiguredCommand)(mnist_cli)
    paper.command("ablation", cls=ConfiguredCommand)(ablation_cli)
    paper.command("generation", cls=ConfiguredCommand)(generation_cli)


def start(device: str, threads: int | None) -> str:
    """Hold torch and numba to ``threads`` and return the device that ``device`` means here."""
    from cytovae.network.device import resolve_device, use_threads

    use_threads(options.n_threads(threads), with_umap=True)
    return resolve_device(device)


def run_experiment(
    output: Path,
    experiment: str,
    pieces: "Sequence[Piece]",
    tables: "Callable[[Sequence[Finished]], str]",
    figures: "Callable[[Sequence[Finished]], dict[str, Figure]]",
    *,
    seeds: int,
    device: str,
    threads: int | None,
    quick: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Do the pieces that are not done, write the folder's files and print its table.

    ``tables`` makes Markdown, and ``figures`` pictures by file name, of all that is finished.
    """
    from cytovae.experiments.experiment import can_draw, do_pieces, prepare, write_results

    prepare(output, experiment, force=force)
    finished = []
    with console.meter(experiment, len(pieces)) as meter:
        for each in do_pieces(output, experiment, pieces):
            finished.append(each)
            meter.update(len(finished), each.piece.title)
    table = tables(finished)
    written = write_results(
        output,
        experiment,
        finished,
        table,
        figures(finished) if can_draw() else {},
        seeds=seeds,
        device=device,
        threads=options.n_threads(threads),
        quick=quick,
    )
    if not quiet:
        console.say(f"wrote {', '.join(str(path) for path in written)}")
        if not can_draw():
            console.say("no pictures: they need matplotlib (pip install 'cytovae[report]')")
    typer.echo(table)
