"""`cytovae inspect`: what is in FCS files and how their channels are understood. Writes nothing."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cytovae.annotations.gates import gates_beside
from cytovae.cli import console, options
from cytovae.errors import InputError
from cytovae.events.channel_names import channel_uses
from cytovae.events.compensation import has_spillover, spillover_of
from cytovae.events.event_file import EventFile, open_events
from cytovae.events.value_scale import ValueScale, looks_transformed, suggested_cofactor, transform_warning, value_scale

SCHEMA_VERSION = 1
_EVENTS_AT_ONCE = 50_000
_EVENTS_FOR_QUANTILES = 20_000
_DEFAULT_COFACTOR = 5.0
_MOST_FILES = 4  # named in one line


@dataclass(frozen=True)
class ChannelSummary:
    """One channel: its names, how it is understood, and its values (None where there is no finite value)."""

    number: int
    name: str
    label: str
    marker: str
    used: bool
    reason: str
    range: float | None
    minimum: float | None
    maximum: float | None
    zeros: float | None
    not_finite: int


@dataclass(frozen=True)
class FileSummary:
    """One file: what it is, its channels, and what its values say about their scale."""

    file: str
    version: str
    instrument: str
    events: int
    gates: str | None
    spillover: bool
    spillover_channels: tuple[str, ...]
    scale: str
    transformed: bool
    suggested_cofactor: float | None
    warning: str | None
    notes: tuple[str, ...]
    channels: tuple[ChannelSummary, ...]


@dataclass(frozen=True)
class PanelDifference:
    """A marker that some of several files would use and others lack."""

    marker: str
    files: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class ChannelDifference:
    """A marker that is on different channels ($PnN) in several files: the files by channel."""

    marker: str
    channels: dict[str, tuple[str, ...]]


def inspect_cli(
    files: options.Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show channels, markers, ranges and warnings of FCS files, and where their panels differ.

    Example: cytovae inspect sample_data/*.fcs --json | jq '.files[].events'
    """
    summaries: list[FileSummary] = []
    refused: list[InputError] = []
    for path in options.named_files(files, allow_twice=True):
        try:
            summaries.append(summarise(open_events(path)))
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


def summarise(file: EventFile) -> FileSummary:
    """Everything `inspect` knows about one file. All events are read, a chunk at a time."""
    n_channels = len(file.channels)
    lowest, highest = np.full(n_channels, np.inf), np.full(n_channels, -np.inf)
    zeros, not_finite = np.zeros(n_channels, dtype=np.int64), np.zeros(n_channels, dtype=np.int64)
    stride = max(1, math.ceil(file.n_events / _EVENTS_FOR_QUANTILES))
    thinned, offset = [], 0
    for chunk in file.chunks(list(range(n_channels)), _EVENTS_AT_ONCE):
        finite = np.isfinite(chunk)
        lowest = np.minimum(lowest, np.min(chunk, axis=0, where=finite, initial=np.inf))
        highest = np.maximum(highest, np.max(chunk, axis=0, where=finite, initial=-np.inf))
        zeros += (chunk == 0).sum(axis=0)
        not_finite += (~finite).sum(axis=0)
        thinned.append(np.array(chunk[-offset % stride :: stride]))
        offset += len(chunk)

    uses = channel_uses(file.channels)
    columns = [use.channel.index for use in uses if use.used and not not_finite[use.channel.index]]
    names = [use.marker for use in uses if use.channel.index in columns]
    values: NDArray[Any] = np.concatenate(thinned)[:, columns] if thinned else np.empty((0, len(columns)))
    beside = gates_beside(file.path)
    keywords = {key.lstrip("$"): value for key, value in file.keywords.items()}
    notes = list(file.notes)
    spillover = None
    try:
        spillover = spillover_of(file)
    except InputError as error:
        notes.append(f"its spillover matrix cannot be used: {error.found}.")
    return FileSummary(
        file=str(file.path),
        version=file.version,
        instrument=keywords.get("CYT", "").strip(),
        events=file.n_events,
        gates=str(beside) if beside else None,
        spillover=has_spillover(file),
        spillover_channels=spillover.channels if spillover is not None else (),
        scale=value_scale(values).value,
        transformed=looks_transformed(values),
        suggested_cofactor=suggested_cofactor(values),
        warning=transform_warning(values, names, _DEFAULT_COFACTOR),
        notes=tuple(notes),
        channels=tuple(
            ChannelSummary(
                number=use.channel.index + 1,
                name=use.channel.name,
                label=use.channel.label,
                marker=use.marker,
                used=use.used,
                reason=use.reason,
                range=_finite(use.channel.range),
                minimum=_finite(lowest[use.channel.index]),
                maximum=_finite(highest[use.channel.index]),
                zeros=int(zeros[use.channel.index]) / file.n_events if file.n_events else None,
                not_finite=int(not_finite[use.channel.index]),
            )
            for use in uses
        ),
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def panel_differences(summaries: Sequence[FileSummary]) -> tuple[PanelDifference, ...]:
    """The markers that not all files would use, in the order in which they first appear (case is no difference)."""
    spelled: dict[str, str] = {}
    having: dict[str, list[str]] = {}
    for summary in summaries:
        for marker in dict.fromkeys(channel.marker for channel in summary.channels if channel.used):
            key = "".join(marker.casefold().split())
            spelled.setdefault(key, marker)
            having.setdefault(key, []).append(summary.file)
    return tuple(
        PanelDifference(
            spelled[key], tuple(files), tuple(summary.file for summary in summaries if summary.file not in files)
        )
        for key, files in having.items()
        if len(files) < len(summaries)
    )


def channel_differences(summaries: Sequence[FileSummary]) -> tuple[ChannelDifference, ...]:
    """The markers that are on one channel in some files and on another in others; they are found by name there, too."""
    spelled: dict[str, str] = {}
    places: dict[str, dict[str, list[str]]] = {}
    for summary in summaries:
        for channel in summary.channels:
            if channel.used:
                key = "".join(channel.marker.casefold().split())
                spelled.setdefault(key, channel.marker)
                places.setdefault(key, {}).setdefault(channel.name, []).append(summary.file)
    return tuple(
        ChannelDifference(spelled[key], {name: tuple(files) for name, files in found.items()})
        for key, found in places.items()
        if len(found) > 1 and len({file for files in found.values() for file in files}) > 1
    )


def _show_file(summary: FileSummary) -> None:
    """One file as a headed table. Names come from files, so none is read as markup."""
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
        # A pipe has no width: every name is printed whole.
        wide = Console(file=console.results.file, width=10_000)
        wide.print(table, width=Measurement.get(wide, wide.options, table).maximum)

    said = {
        "values": "cannot be told" if summary.scale == ValueScale.UNKNOWN.value else f"look {summary.scale}",
        "suggested cofactor": "" if summary.suggested_cofactor is None else f"{summary.suggested_cofactor:g}",
        "spillover matrix": _spell_spillover(summary),
        "manual gates": summary.gates or "",
    }
    for name, text in said.items():
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
    """A few of the files by name, and how many more there are."""
    more = len(files) - _MOST_FILES
    return ", ".join(files[:_MOST_FILES]) + (f" and {more} more" if more > 0 else "")
