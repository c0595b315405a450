"""`cytovae report`: one page of pictures and tables that opens anywhere."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cytovae.model_folder.record import ModelRecord


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
        typer.Argument(metavar="FILE...", help=options.FILES_HELP, show_default="those it learned from"),
    ] = None,
    gates: options.Gates = None,
    zero_ungated: options.ZeroUngated = False,
    names: options.Names = None,
    samples: options.Samples = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the same pictures as PNG and SVG.")
    ] = None,
    max_cells: Annotated[
        int, typer.Option(min=1, metavar="N", help="Cells that medians and distributions are taken from.")
    ] = 100_000,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cut into N clusters.", show_default="as trained")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a model found in FCS files, as one HTML page that needs nothing else.

    Heatmap, UMAP, marker distributions, abundance per file, probabilities, the merge tree and the training; with
    --gates also how clusters and manual gates agree. Clusters are counted in all cells.

    Example: cytovae report model/ sample_data/*.fcs --gates beside -o report.html
    """
    from cytovae.atomic import check_target

    began = perf_counter()
    files = list(options.named_files(files)) if files else None
    if output != "-":
        tables = [path for path in (names, samples, Path(gates) if gates else None) if path is not None]
        _check_place(Path(output), model, [*(files or []), *tables])
        check_target(Path(output), force=force)
    try:
        from cytovae.report.page import check_figures, render_page, write_figures, write_page
        from cytovae.report.pictures import draw_all
    except ModuleNotFoundError as error:
        if error.name not in ("matplotlib", "jinja2"):
            raise
        raise UsageError(f"a report needs {error.name}: pip install 'cytovae[report]'") from error
    if figures is not None:
        check_figures(figures, force=force)

    from cytovae.annotations.cluster_names import name_clusters, read_names
    from cytovae.events.panel import columns_of
    from cytovae.inference.assigner import Assigner
    from cytovae.model_folder.load import load_model
    from cytovae.model_folder.record import read_record
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.report.collect import collect

    place = resolve_device(device)
    saved = load_model(model)
    if clusters is not None:
        saved = replace(saved, model=saved.model.with_clusters(clusters))
    record = read_record(model)
    n_clusters = saved.model.n_clusters
    named = name_clusters(read_names(names, n_clusters), saved.model.cluster_cells) if names else None
    raw = options.open_files(files or _inputs(record, model))
    opened = tuple(saved.compensation.of(file) for file in raw)
    columns = [columns_of(saved.panel, file).tolist() for file in opened]
    labels = options.read_spec(gates, raw, zero_ungated=zero_ungated) if gates is not None else None
    options.warn_about(opened, columns, saved.panel, saved.transform)

    workers = options.n_threads(threads)
    use_threads(1)  # chunks are worked on at the same time, one thread each
    n_events = sum(file.n_events for file in opened)
    with console.meter("assigning", n_events) if not quiet else nullcontext() as meter:
        content = collect(
            saved,
            record,
            opened,
            Assigner(saved.model, place),
            gates=labels,
            names=named,
            sheet=options.sheet_of(samples, raw),
            max_cells=max_cells,
            seed=seed,
            workers=workers,
            progress=meter.update if meter is not None else None,
        )
    if content.landmarks is None:
        console.warn("none of the files is one the model learned from: there will be no UMAP")
    with console.meter("drawing markers", len(content.markers)) if not quiet else nullcontext() as meter:
        pictures = draw_all(content, svg=figures is not None, progress=meter.update if meter is not None else None)
    page = render_page(content, pictures, model.resolve().name)
    if figures is not None:
        n_written = write_figures(pictures, figures, force=force)
        if not quiet:
            console.say(f"wrote {n_written} files to {figures}")
    if output == "-":
        try:
            sys.stdout.buffer.write(page.encode())
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error
        return
    write_page(page, Path(output), force=force)
    if not quiet:
        size = Path(output).stat().st_size / 1e6
        console.say(f"wrote {output}: {n_events:,} cells, {size:.1f} MB, {perf_counter() - began:.1f} s")


def _check_place(output: Path, model: Path, files: Sequence[Path]) -> None:
    """Raise :class:`UsageError` where the page would replace an input or lie within the model."""
    place = output.resolve()
    if place in {file.resolve() for file in files} or place.is_relative_to(model.resolve()):
        raise UsageError(f"{output} would write over an input; name another output")


def _inputs(record: "ModelRecord", model: Path) -> list[Path]:
    """The files that the model learned from, where they still are."""
    paths = [Path(entry.file) for entry in record.inputs]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        what = f"{missing[0]} is not there any more" if missing else "its inputs are not recorded"
        raise UsageError(f"name the files to report on: {what} (cytovae report {model} FILE... -o report.html)")
    return paths
