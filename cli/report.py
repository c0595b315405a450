"""`cytovae report`: one HTML page of pictures and tables."""

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.cli.assign import open_study

if TYPE_CHECKING:
    from cytovae.comparison.stored import StoredComparison
    from cytovae.report.build import ReportSummary


def report_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train` wrote.")],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Page to write, or - for standard output.", show_default=False
        ),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help=options.FILES_HELP, show_default="the training files"),
    ] = None,
    gates: options.Gates = None,
    zero_ungated: options.ZeroUngated = False,
    names: options.Names = None,
    samples: options.Samples = None,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    comparison: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Show the comparison of groups that `cytovae compare` wrote to this folder."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the pictures as PNG and SVG files.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write metrics.csv (figures of the study, the files and the clusters) and warnings.csv there.",
        ),
    ] = None,
    max_cells: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of cells for medians and distributions.")
    ] = 100_000,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cut into N clusters.", show_default="as trained")
    ] = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write an HTML page about the clusters in FCS files. It is a single file that loads nothing else.

    It shows a heatmap, UMAP, marker distributions, abundance per file, probabilities, the merge tree and the training;
    with --gates also the agreement of clusters and manual gates, with --comparison what differs between groups of
    samples. In a browser, a click on a cluster highlights it everywhere, tables are sorted, any two markers are drawn
    against each other, and the tree is cut elsewhere. Counts include all cells. Without files, the training files are
    read as they were for training.

    Example: cytovae report model/ sample_data/*.fcs --gates beside -o report.html
    """
    from cytovae.report import build
    from cytovae.study.cuts import Cuts
    from cytovae.study.protected_files import protected_files

    began = perf_counter()
    paths = options.named_files(files) if files else ()
    target = sys.stdout.buffer if output == "-" else Path(output)
    build.check_packages()
    compared: StoredComparison | None = None
    if comparison is not None:
        from cytovae.comparison.stored import read_comparison

        compared = read_comparison(comparison)
    inputs = (names, samples, *(gates or ()), *(compared.files if compared else ()))
    protected = protected_files(files=paths, tables=inputs, model=model)
    build.check_report(target, protected, figures=figures, tables=tables, force=force)

    from cytovae.model_folder.record import read_record

    record = read_record(model)
    given = options.reading_of(layer, file_key, data_set, offsets)
    reading = given if paths else {**record.reading, **given}
    study = open_study(
        model,
        paths or build.training_files(record),
        cuts=Cuts(clusters),
        names=names,
        samples=samples,
        umap=False,
        **reading,
        device=device,
        workers=options.n_threads(threads),
    )
    labels = options.read_gates(gates, study.raw, zero_ungated=zero_ungated)
    options.warn_about(study.files)
    with console.stages(quiet=quiet) as progress:
        summary = build.build_report(
            study,
            record,
            target,
            model_name=model.resolve().name,
            gates=labels,
            figures=figures,
            tables=tables,
            comparison=compared,
            max_cells=max_cells,
            seed=seed,
            force=force,
            progress=progress,
        )
    if not summary.has_umap:
        console.warn("the model was not trained on any of the files, so the page has no UMAP")
    for warning in summary.warnings:
        console.warn(f"{warning.text}. {warning.advice}")
    if not quiet:
        _say_written(summary, output, figures, tables, perf_counter() - began)


def _say_written(
    summary: "ReportSummary", output: str, figures: Path | None, tables: Path | None, seconds: float
) -> None:
    if figures is not None:
        console.say(f"wrote {summary.n_figures} files to {figures}")
    if tables is not None:
        console.say(f"wrote {summary.n_tables} tables to {tables}")
    if output != "-":
        size = summary.n_bytes / 1e6
        console.say(f"wrote {output}: {summary.n_cells:,} cells, {size:.1f} MB, {seconds:.1f} s")
