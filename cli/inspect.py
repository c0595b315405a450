"""`cytovae inspect`: the content of files and how their channels are understood."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cytovae.atomic import check_target
from cytovae.cli import console, options
from cytovae.errors import InputError
from cytovae.events.event_file import open_parts
from cytovae.events.panel_table import write_panel
from cytovae.events.value_scale import ValueScale
from cytovae.study.inspect_files import (
    ChannelDifference,
    ChannelSummary,
    FileSummary,
    PanelDifference,
    channel_differences,
    panel_differences,
    panel_rows,
    suggest_transform,
    summarise,
)
from cytovae.study.protected_files import protected_files

SCHEMA_VERSION = 1
_MOST_FILES = 4  # named in one line
_MOST_CHANNELS = 1_000  # rows of a table; more take minutes to print


def inspect_cli(
    files: options.Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    panel_out: Annotated[
        Path | None,
        typer.Option(
            "--panel-out",
            metavar="CSV",
            help="Write the panel table that `train --panel` reads: channel, marker, class, use, cofactor, reason.",
        ),
    ] = None,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
    force: options.Force = False,
) -> None:
    """Show channels, markers, ranges and warnings of FCS files, and where their panels differ.

    A marker is of the class `type` or `state`. State markers (signalling, cytokines, cell cycle) are not used for
    clustering unless they are named; the reason stands beside every other channel that is not used.

    Example: cytovae inspect sample_data/*.fcs --panel-out panel.csv
    """
    paths = options.named_files(files, allow_twice=True)
    if panel_out is not None:
        protected_files(files=paths).check(panel_out)
        check_target(panel_out, force=force)
    summaries: list[FileSummary] = []
    refused: list[InputError] = []
    for path in paths:
        try:
            opened = open_parts(path, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
            summaries += map(summarise, opened)
        except InputError as error:
            refused.append(error)
    suggested, transform = suggest_transform(summaries) if summaries else ((), "")
    summaries = list(suggested)
    differences, moved = panel_differences(summaries), channel_differences(summaries)
    if as_json:
        report = {
            "schema_version": SCHEMA_VERSION,
            "transform": transform,
            "files": [asdict(summary) for summary in summaries],
            "panel_differences": [asdict(difference) for difference in differences],
            "channel_differences": [asdict(difference) for difference in moved],
        }
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
    else:
        for group in _with_equal_channels(summaries):
            _show_files(group)
        if len(summaries) > 1:
            _print_line(f"all files: {transform}")
            _show_differences(differences, moved, len(summaries))
        if summaries:
            console.say("next: cytovae qc FILE... -o qc finds debris, doublets, dead cells, margin events and drift")
    if panel_out is not None and summaries:
        write_panel(panel_out, panel_rows(summaries), force=force)
        console.say(f"wrote {panel_out}; edit it and use it with train --panel {panel_out}")
    for refusal in refused[:-1]:
        console.say(f"error: {refusal}")
    if refused:
        raise refused[-1]


def _with_equal_channels(summaries: Sequence[FileSummary]) -> list[list[FileSummary]]:
    """Groups of files whose channels have the same names and uses, in order of first appearance."""
    groups: dict[tuple[tuple[str, ...], ...], list[FileSummary]] = {}
    for summary in summaries:
        key = tuple((channel.name, channel.label, channel.marker, channel.reason) for channel in summary.channels)
        groups.setdefault(key, []).append(summary)
    return list(groups.values())


def _show_files(group: Sequence[FileSummary]) -> None:
    """Print files with the same channels: one table, and in which facts the others differ from the first."""
    first = group[0]
    n_used = sum(channel.used for channel in first.channels)
    _print_line(f"{_head(first)}, {n_used} markers", style="bold")
    if len(group) > 1:
        _print_line(f"and {len(group) - 1} files with the same channels; ranges are of all {len(group)} files")
    channels = _ranges_of_all(group)
    _print_table(channels[:_MOST_CHANNELS])
    if len(channels) > _MOST_CHANNELS:
        _print_line(f"and {len(channels) - _MOST_CHANNELS:,} more channels; --json and --panel-out list all")
    for name, text in _facts(first).items():
        if text:
            _print_line(f"{name}: {text}")
    if first.state_markers:
        many = f"{len(first.state_markers)} state markers are" if len(first.state_markers) > 1 else "1 state marker is"
        _print_line(
            f"{many} not used for clustering: {', '.join(first.state_markers)} (train --state-markers uses them)"
        )
    for note in _notes(first):
        _print_line(f"note: {note}")
    for other in group[1:]:
        facts, known = _facts(other), _facts(first)
        facts |= {"manual gates": known["manual gates"]} if other.gates and first.gates else {}  # paths always differ
        differing = [f"{name}: {text or 'none'}" for name, text in facts.items() if text != known[name]]
        notes = [f"note: {note}" for note in _notes(other) if note not in _notes(first)]
        _print_line("; ".join([_head(other), *differing, *notes]))
    console.results.print()


def _print_line(text: str, style: str | None = None) -> None:
    """Print a line. Names come from files, so they are never read as markup."""
    console.results.print(text, style=style, markup=False, soft_wrap=True)


def _head(summary: FileSummary) -> str:
    instrument = f", {summary.instrument}" if summary.instrument else ""
    return f"{summary.file}: {summary.events:,} events, {summary.version}{instrument}"


def _facts(summary: FileSummary) -> dict[str, str]:
    return {
        "values": _spell_scale(summary),
        "suggested cofactor": "" if summary.suggested_cofactor is None else f"{summary.suggested_cofactor:g}",
        "spillover matrix": _spell_spillover(summary),
        "manual gates": summary.gates or "",
    }


def _notes(summary: FileSummary) -> tuple[str, ...]:
    return (*summary.notes, *([summary.warning] if summary.warning else []))


def _ranges_of_all(group: Sequence[FileSummary]) -> tuple[ChannelSummary, ...]:
    """The channels of the first file, with the ranges of all files."""
    n_events = sum(summary.events for summary in group)
    channels = []
    for same in zip(*(summary.channels for summary in group), strict=True):
        zeros = sum((channel.zeros or 0) * summary.events for channel, summary in zip(same, group, strict=True))
        channels.append(
            replace(
                same[0],
                minimum=min((c.minimum for c in same if c.minimum is not None), default=None),
                maximum=max((c.maximum for c in same if c.maximum is not None), default=None),
                zeros=zeros / n_events if n_events else None,
                not_finite=sum(channel.not_finite for channel in same),
            )
        )
    return tuple(channels)


def _print_table(channels: Sequence[ChannelSummary]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, justify in (
        ("#", "right"), ("$PnN", "left"), ("$PnS", "left"), ("marker", "left"), ("class", "left"), ("used", "left"),
        ("min", "right"), ("max", "right"), ("zeros", "right"), ("$PnR", "right"),
    ):  # fmt: skip
        table.add_column(title, justify="right" if justify == "right" else "left")
    for channel in channels:
        used = "yes" if channel.used else f"no: {channel.reason}"
        table.add_row(
            str(channel.number),
            Text(channel.name),
            Text(channel.label),
            Text(channel.marker),
            channel.marker_class,
            Text(used + (f", {channel.not_finite} not finite" if channel.not_finite else "")),
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


def _spell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _spell_scale(summary: FileSummary) -> str:
    if summary.scale == ValueScale.UNKNOWN.value:
        return "on an unknown scale"
    return f"look {summary.scale}" + (f" ({summary.file_scale.evidence})" if summary.file_scale.by_instrument else "")


def _spell_spillover(summary: FileSummary) -> str:
    state = summary.compensation
    if not summary.spillover:
        return state
    of = f" of {len(summary.spillover_channels)} channels" if summary.spillover_channels else ""
    return f"yes{of}; {state}"


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
