"""`cytovae generate`: a model to new cells."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.inference.generation import GeneratedCells


def generate_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train --generative` wrote.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .fcs, .parquet or .csv file of the cells, or - for standard output.",
            show_default=False,
        ),
    ],
    cluster: Annotated[
        str,
        typer.Option(
            metavar="N|all|proportional",
            help="One cluster; as many cells of each; or clusters in proportion to their cells in training.",
        ),
    ] = "proportional",
    events: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="How many cells: of the cluster, of each (all), in all (proportional)."),
    ] = 10_000,
    kind: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="fcs, parquet or csv.", show_default="by suffix"),
    ] = None,
    min_posterior: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="P",
            help="Take only cells that the model itself assigns to their cluster with at least this probability.",
        ),
    ] = 0.0,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cut into N clusters.", show_default="as trained")
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Make new cells, in the units and under the channels of the files that the model was trained on.

    A row for each cell, with its cluster. The same seed gives the same cells.

    Example: cytovae generate model/ --cluster 3 --events 5000 -o cells.fcs
    """
    from cytovae.atomic import check_target
    from cytovae.outputs.formats import cell_format
    from cytovae.outputs.generated_cells import stays_compensated, write_generated
    from cytovae.study.protected_files import protected_files

    form = cell_format(output, kind)
    target = sys.stdout.buffer if output == "-" else Path(output)
    if isinstance(target, Path):
        protected_files(model=model).check(target)
        check_target(target, force=force)
    if min_posterior == 1:
        raise UsageError("no cell is certain to be in its cluster; ask for a --min-posterior below 1")

    from cytovae.inference.generation import events_of_clusters, generate
    from cytovae.model_folder.load import load_model
    from cytovae.network.device import use_threads

    use_threads(1)
    saved = load_model(model)
    trained = saved.model if clusters is None else saved.model.with_clusters(clusters)
    wanted = events_of_clusters(trained, cluster, events, seed)
    cells = generate(trained, wanted, min_posterior=min_posterior, seed=seed)
    write_generated(target, saved, cells, form, force=force)
    if quiet:
        return
    _say_runs(cells, min_posterior)
    if stays_compensated(saved):
        console.say("values are compensated: the spillover of single files, or of other channels, is not put back")
    if output != "-":
        console.say(f"wrote {len(cells.cluster):,} cells to {output}")


def _say_runs(cells: "GeneratedCells", min_posterior: float) -> None:
    """How many cells were drawn for one that was taken, of each cluster."""
    if not min_posterior:
        return
    for cluster, runs in cells.runs.items():
        taken = int((cells.cluster == cluster).sum())
        if taken:
            console.say(f"cluster {cluster}: {runs / taken:.3f} runs for each cell of probability {min_posterior:g}")
