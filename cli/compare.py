"""``cytovae compare``: differences between groups of samples."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cytovae.comparison.abundance import Difference
    from cytovae.comparison.results import Comparison

MOST_LINES = 20


def compare_cli(
    assigned: Annotated[
        list[Path],
        typer.Argument(
            metavar="ASSIGNED...",
            help="Outputs of `cytovae assign`: Parquet, CSV, FCS or .h5ad files; - reads their names from standard "
            "input.",
            show_default=False,
        ),
    ],
    samples: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Sample sheet: a table with the columns file, sample and others. Files of one sample are joined; "
            "without the column sample, each file is one.",
            show_default=False,
        ),
    ],
    condition: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of the sample sheet with the groups.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the tables and pictures.", show_default=False),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="The condition that all others are compared with.",
            show_default="first in alphabetical order",
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the donor, for paired samples.", show_default=False),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the batch, whose effect is taken out.", show_default=False),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with the FCS files, to compare state markers, too. Needs --model.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="The model that assigned the cells: its compensation and transform. Needs --files.",
            show_default=False,
        ),
    ] = None,
    describe: Annotated[
        bool, typer.Option("--describe", help="Give effects without tests, whatever the number of samples.")
    ] = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare groups of samples: the abundance of populations, and with --files the levels of state markers.

    Abundance: a binomial model of each population with overdispersion; the effect is the log2 odds ratio. Levels: a
    linear model of the medians. Both with p values and false discovery rates. Needs at least three samples in a group.

    Example: cytovae compare cells.parquet --samples samples.csv --condition condition --block donor -o comparison
    """
    _check_statsmodels()
    if (files is None) != (model is None):
        raise UsageError("--files and --model belong together: the model knows how to read the markers of the files")
    from cytovae.comparison.folder import check_folder, write_comparison
    from cytovae.study.protected_files import protected_files

    paths = options.named_files(assigned)
    protected_files(files=paths, tables=(samples, files), model=model).check_folder(output)
    check_folder(output, force=force)

    from cytovae.comparison.results import compare

    saved = None
    if model is not None:
        from cytovae.model_folder.load import load_model

        saved = load_model(model)
    with console.meter("files", len(paths)) if files is not None and not quiet else nullcontext() as meter:
        comparison = compare(
            paths,
            samples,
            condition,
            reference=reference,
            block=block,
            batch=batch,
            files=files,
            saved=saved,
            describe=describe,
            progress=meter.update if meter is not None else lambda _done: None,
        )
    written = write_comparison(output, comparison, force=force)
    if not any(name.endswith(".png") for name in written):
        console.warn("no pictures, because matplotlib is not installed: pip install '.[report]' in a checkout")
    if comparison.assigned.n_unassigned:
        console.warn(f"{comparison.assigned.n_unassigned:,} cells have no population and are not counted")
    if not quiet:
        _report(comparison, output, len(written))


def _check_statsmodels() -> None:
    from importlib.util import find_spec

    if find_spec("statsmodels") is None:
        raise UsageError(
            "comparing needs statsmodels; install cytovae with its extra: pip install '.[compare]' in a checkout"
        )


def _report(comparison: "Comparison", output: Path, n_files: int) -> None:
    """Print the groups and the differences that were found."""
    design, names = comparison.samples.design, comparison.populations
    groups = ", ".join(f"{level} {size}" for level, size in design.group_sizes().items())
    console.say(f"samples: {groups}; effects are against {design.reference}")
    _report_differences("abundance", comparison, comparison.abundance, names)
    levels = comparison.levels
    if levels is None:
        console.say("levels of state markers: not compared without --files and --model")
    else:
        if levels.left_out:
            console.warn(f"not in all files, and not compared: {', '.join(levels.left_out)}")
        titles = [f"{marker} in {name}" for name in names for marker in levels.markers]
        _report_differences("levels of state markers", comparison, comparison.level_differences, titles)
    console.say(f"wrote {n_files} files to {output}")


def _report_differences(
    what: str, comparison: "Comparison", differences: "Sequence[Difference]", titles: "Sequence[str]"
) -> None:
    """Print a line about all ``differences``, and one for each that was found; ``titles`` are in their order."""
    if comparison.described:
        console.say(f"{what}: {len(differences)} effects, not tested (--describe)")
        return
    n_tested = sum(difference.effect.p == difference.effect.p for difference in differences)  # NaN without a test
    found = comparison.found(differences)
    console.say(f"{what}: {len(found)} of {n_tested} tests with an FDR of at most 5 %")
    n_markers = max((difference.marker for difference in differences), default=-1) + 1
    for difference in found[:MOST_LINES]:
        title = titles[difference.population * n_markers + difference.marker if n_markers else difference.population]
        several = f", {difference.level}" if len(comparison.samples.design.compared) > 1 else ""
        console.say(f"  {title}{several}: {difference.effect.effect:+.2f}, FDR {difference.fdr:.2g}")
    if len(found) > MOST_LINES:
        console.say(f"  and {len(found) - MOST_LINES} more in the tables")
