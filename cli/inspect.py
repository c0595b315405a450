"""`cytovae inspect`: the content of files and how their channels are understood. Writes nothing."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cytovae.cli import console, options
from cytovae.errors import InputError
from cytovae.events.event_file import open_parts
from cytovae.events.value_scale import ValueScale
from cytovae.study.inspect_files import (
    ChannelDifference,
    FileSummary,
    PanelDifference,
    channel_differences,
    panel_differences,
    summarise,
)

SCHEMA_VERSION = 1
_MOST_FILES = 4  # named in one line


def inspect_cli(
    files: options.Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
) -> None:
    """Show channels, markers, ranges and warnings of FCS files, and where their panels differ.

    Example: cytovae inspect sample_data/*.fcs --json | jq '.files[].events'
    """
    summaries: list[FileSummary] = []
    refused: list[InputError] = []
    for path in options.named_files(files, allow_twice=True):
        try:
            summaries += [summarise(file) for file in open_parts(path, layer=layer, file_key=file_key)]
        except InputError as error:
            refused.append(error)
    differences, moved = panel_differences(summaries), channel_differences(summaries)
    if as_json:
        report = {
            "schema_version": SCHEMA_VERSION,
            "files": [asdict(summary) for summary in summaries],
            "panel_differences": [asdict(difference) for difference in differences],
            "channel_differences": [asdict(difference) for difference in moved],
        }
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
    else:
        for summary in summaries:
            _show_file(summary)
        if len(summaries) > 1:
            _show_differences(differences, moved, len(summaries))
    for refusal in refused[:-1]:
        console.say(f"error: {refusal}")
    if refused:
        raise refused[-1]


def _show_file(summary: FileSummary) -> None:
    """Print one file as a table. Names come from files, so they are never read as markup."""
    n_used = sum(channel.used for channel in summary.channels)
    instrument = f", {summary.instrument}" if summary.instrument else ""
    head = f"{summary.file}: {summary.events:,} events, {summary.version}{instrument}, {n_used} markers"
    console.results.print(head, style="bold", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, justify in (
        ("#", "right"), ("$PnN", "left"), ("$PnS", "left"), ("marker", "left"), ("used", "left"),
        ("min", "right"), ("max", "right"), ("zeros", "right"), ("$PnR", "right"),
    ):  # fmt: skip
        table.add_column(title, justify="right" if justify == "right" else "left")
    for channel in summary.channels:
        used = "yes" if channel.used else f"no: {channel.reason}"
        table.add_row(
            str(channel.number),
            Text(channel.name),
            Text(channel.label),
            Text(channel.marker),
            used + (f", {channel.not_finite} not finite" if channel.not_finite else ""),
            _spell(channel.minimum),
            _spell(channel.maximum),
            "" if channel.zeros is None else f"{channel.zeros:.0%}",
            _spell(channel.range),
            style="" if channel.used else "dim",
        )
    if console.results.is_terminal:
        console.results.print(table)
    else:
        # A pipe has no width, so names are not cut.
        wide = Console(file=console.results.file, width=10_000)
        wide.print(table, width=Measurement.get(wide, wide.options, table).maximum)

    facts = {
        "values": "on an unknown scale" if summary.scale == ValueScale.UNKNOWN.value else f"look {summary.scale}",
        "suggested cofactor": "" if summary.suggested_cofactor is None else f"{summary.suggested_cofactor:g}",
        "spillover matrix": _spell_spillover(summary),
        "manual gates": summary.gates or "",
    }
    for name, text in facts.items():
        if text:
            console.results.print(f"{name}: {text}", markup=False)
    for note in (*summary.notes, *([summary.warning] if summary.warning else [])):
        console.results.print(f"note: {note}", markup=False)
    console.results.print()


def _spell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _spell_spillover(summary: FileSummary) -> str:
    if not summary.spillover:
        return "none"
    of = f" of {len(summary.spillover_channels)} channels" if summary.spillover_channels else ""
    return f"yes{of}; values may not be compensated yet (train --compensate file does it)"


def _show_differences(differences: Sequence[PanelDifference], moved: Sequence[ChannelDifference], n_files: int) -> None:
    if not differences:
        console.results.print(f"all {n_files} files have the same markers")
    else:
        console.results.print(f"{len(differences)} markers are not in all {n_files} files:", style="bold")
    for difference in differences:
        fewer = min(difference.missing, difference.files, key=len)
        what = "missing in" if fewer is difference.missing else "only in"
        console.results.print(f"  {difference.marker}: {what} {_some(fewer)}", markup=False)
    if moved:
        console.results.print(f"{len(moved)} markers are on different channels:", style="bold")
    for found in moved:
        places = "; ".join(f"{channel} in {_some(files)}" for channel, files in found.channels.items())
        console.results.print(f"  {found.marker}: {places}", markup=False)


def _some(files: Sequence[str]) -> str:
    """The first few names, and the number of further files."""
    more = len(files) - _MOST_FILES
    return ", ".join(files[:_MOST_FILES]) + (f" and {more} more" if more > 0 else "")
