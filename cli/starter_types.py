"""`cytovae types`: a marker table to start from."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cytovae.annotations.starter_table import starter_table
from cytovae.cli import console, options
from cytovae.errors import InputError
from cytovae.events.panel import resolve_panel


def types_cli(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with the markers.", show_default=False)],
    species: Annotated[Literal["human", "mouse"], typer.Option(help="Species of the cells.")] = "human",
    tissue: Annotated[Literal["blood", "marrow", "spleen"], typer.Option(help="Tissue of the cells.")] = "blood",
    markers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Markers to use.", show_default="all that look like a type marker")
    ] = None,
    exclude: Annotated[str | None, typer.Option(metavar="A,B", help="Markers to leave out.")] = None,
    layer: options.Layer = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
) -> None:
    """Print a marker table for the markers of a file: what each population of a tissue is, as +, - or ~.

    The populations come from a built-in list with sources; those that the markers cannot show are left out. Edit the
    table before you use it with `train --types`: remove what the sample does not hold, and add what it does.

    Example: cytovae types sample_data/donor1_baseline.fcs --species human --tissue blood > types.csv
    """
    raw = options.open_files(options.named_files([file]), layer=layer, data_set=data_set, offsets=offsets)
    panel = resolve_panel(
        raw[0], markers=options.words(markers, "--markers"), exclude=options.words(exclude, "--exclude")
    )
    text = starter_table(panel.names, species, tissue)
    n_rows = text.count("\n") - 1
    if not n_rows:
        raise InputError(
            file,
            "markers",
            ", ".join(panel.names[:12]),
            f"markers of a population in {species} {tissue}",
            "Write the table by hand: a row for each population, a column for each marker.",
        )
    console.results.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    console.say(f"{n_rows} populations of {species} {tissue} that these markers can show; edit the table before use")
