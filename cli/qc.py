"""``cytovae qc``: which events of files are to be trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options

if TYPE_CHECKING:
    from cytovae.quality.file_quality import FileQuality


def qc_cli(
    files: options.Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of qc.csv, and of NAME.qc.parquet and NAME.qc.png for each file.",
            show_default=False,
        ),
    ],
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    offsets: options.Offsets = "auto",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Check the quality of files, event by event, and write which events fail and why.

    Margin events (at an end of the detector's scale), debris, doublets, dead cells, and drift over time (PeacoQC's
    method). A check whose channel is absent is not done. The files stay as they are: `train --qc DIR` skips the events
    that fail, and `assign --qc DIR` marks them in the column qc.

    Example: cytovae qc sample_data/*.fcs -o qc && cytovae train sample_data/*.fcs -o model --qc qc
    """
    from importlib.util import find_spec

    from cytovae.events.event_file import file_names
    from cytovae.quality.file_quality import check_file
    from cytovae.quality.folder import check_folder, quality_folder
    from cytovae.study.protected_files import protected_files

    paths = options.named_files(files)
    protected_files(files=paths).check_folder(output)
    check_folder(output, force=force)
    opened = options.open_files(paths, layer=layer, file_key=file_key, offsets=offsets)
    can_draw = find_spec("matplotlib") is not None
    with quality_folder(output, force=force) as folder:
        for file, name in zip(opened, file_names(opened), strict=True):
            quality = check_file(file, name)
            picture = None
            if can_draw and quality.n_events:
                from cytovae.report.quality_picture import quality_picture

                picture = quality_picture(quality)
            folder.add(file, quality, picture)
            _report(quality, quiet=quiet)
    if not can_draw:
        console.warn("no pictures, because matplotlib is not installed: pip install '.[report]' in a checkout")
    if not quiet:
        console.say(f"wrote {output}; next: train or assign the same files with --qc {output}")


def _report(quality: "FileQuality", *, quiet: bool) -> None:
    """Print what was found in a file, and its warnings."""
    n_events = quality.n_events
    if not quiet:
        done = [check for check in quality.checks if check.failed is not None]
        found = ", ".join(f"{check.reason} {int(check.failed.sum()) / n_events:.1%}" for check in done if n_events)  # type: ignore[union-attr]
        missing = ", ".join(check.reason for check in quality.checks if check.failed is None)
        share = f"{quality.n_failed / n_events:.1%} of {n_events:,} events fail" if n_events else "no events"
        console.say(f"{quality.name}: {share}; {found}" + (f"; not done: {missing}" if missing else ""))
    for warning in quality.warnings:
        console.warn(f"{quality.name}: {warning}")
