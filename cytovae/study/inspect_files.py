"""The content of files and how it is understood: what `cytovae inspect` prints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.gates import gates_beside
from cytovae.errors import InputError, UsageError
from cytovae.events.antigen_names import antigen_key
from cytovae.events.channel_names import plain_key
from cytovae.events.channel_use import STATE_MARKER, channel_uses, is_not_unmixed
from cytovae.events.compensation import compensation_state
from cytovae.events.event_file import EventFile
from cytovae.events.instrument import instrument_of
from cytovae.events.panel_table import PanelRow
from cytovae.events.spillover import file_spillover, has_spillover
from cytovae.events.value_scale import FileScale, choose_transform, scale_note, scale_of

_EVENTS_AT_ONCE = 50_000
_EVENTS_FOR_QUANTILES = 20_000


@dataclass(frozen=True)
class ChannelSummary:
    """One channel: names, use, class of the marker, and range of the values (None if no value is finite)."""

    number: int
    name: str
    label: str
    marker: str
    used: bool
    reason: str
    marker_class: str
    range: float | None
    minimum: float | None
    maximum: float | None
    zeros: float | None
    not_finite: int


@dataclass(frozen=True)
class FileSummary:
    """One file: its format, its channels, and what its values say about their scale."""

    file: str
    version: str
    instrument: str
    events: int
    gates: str | None
    spillover: bool
    spillover_channels: tuple[str, ...]
    compensation: str
    scale: str
    transformed: bool
    suggested_cofactor: float | None
    file_scale: FileScale
    warning: str | None
    notes: tuple[str, ...]
    channels: tuple[ChannelSummary, ...]

    @property
    def state_markers(self) -> tuple[str, ...]:
        """The markers that are not used because they are state markers."""
        return tuple(channel.marker for channel in self.channels if channel.reason == STATE_MARKER)


@dataclass(frozen=True)
class PanelDifference:
    """A marker that only some of several files have."""

    marker: str
    files: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class ChannelDifference:
    """A marker that is on different channels ($PnN) in several files; maps each channel to its files."""

    marker: str
    channels: dict[str, tuple[str, ...]]


def summarise(file: EventFile) -> FileSummary:
    """Summary of the channels, values and warnings of one file. Reads all events in chunks.

    Parameters
    ----------
    file : EventFile
        The file.

    Returns
    -------
    FileSummary
        The format, instrument and number of events, a row for each channel, and what the values say about their scale.
    """
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
    used = [use.channel.index for use in uses if use.used]
    columns = [use.channel.index for use in uses if use.used and not not_finite[use.channel.index]]
    names = [use.marker for use in uses if use.used and not not_finite[use.channel.index]]
    values: NDArray[Any] = np.concatenate(thinned)[:, columns] if thinned else np.empty((0, len(columns)))
    beside = gates_beside(file.path)
    keywords = {key.lstrip("$"): value for key, value in file.keywords.items()}
    notes = list(file.notes)
    if is_not_unmixed(uses):
        notes.append("the file is not unmixed: it holds raw spectral detectors, and train stops unless they are named.")
    scale = scale_of(values, names, instrument_of(file, used))
    spillover = None
    try:
        found = file_spillover(file)
        spillover = found.spillover if found is not None else None
        if found is not None and found.note:
            notes.append(found.note)
    except InputError as error:
        notes.append(f"its spillover matrix cannot be used: {error.found}.")
    return FileSummary(
        file=f"{file.path}/{file.part}" if file.part else str(file.path),
        version=file.version,
        instrument=keywords.get("CYT", "").strip(),
        events=file.n_events,
        gates=str(beside) if beside else None,
        spillover=has_spillover(file),
        spillover_channels=spillover.channels if spillover is not None else (),
        compensation=compensation_state(file, used).value,
        scale=scale.scale.value,
        transformed=scale.is_transformed,
        suggested_cofactor=scale.cofactor,
        file_scale=scale,
        warning=scale_note(scale),
        notes=tuple(notes),
        channels=tuple(
            ChannelSummary(
                number=use.channel.index + 1,
                name=use.channel.name,
                label=use.channel.label,
                marker=use.marker,
                used=use.used,
                reason=use.reason,
                marker_class=use.marker_class,
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


def suggest_transform(summaries: Sequence[FileSummary]) -> tuple[tuple[FileSummary, ...], str]:
    """One suggestion for all files.

    Returns
    -------
    The summaries with the suggested cofactor of the study, and a sentence about the transform; it names the options if
    the files disagree, and then the summaries are unchanged.
    """
    try:
        choice = choose_transform([(summary.file, summary.file_scale) for summary in summaries])
    except UsageError as error:
        return tuple(summaries), f"{error}."
    cofactor = choice.cofactor if choice.kind == "arcsinh" else None
    known = any(summary.suggested_cofactor is not None for summary in summaries)
    changed = [replace(summary, suggested_cofactor=cofactor) for summary in summaries] if known else summaries
    return tuple(changed), f"{choice}."


def panel_differences(summaries: Sequence[FileSummary]) -> tuple[PanelDifference, ...]:
    """The markers that not all files have, in order of first appearance. Names of one antigen are one marker."""
    spelled: dict[str, str] = {}
    having: dict[str, list[str]] = {}
    for summary in summaries:
        markers = {
            _marker_key(channel.marker): channel.marker for channel in reversed(summary.channels) if channel.used
        }
        for key, marker in reversed(markers.items()):
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
    """The markers that are on different channels in different files."""
    spelled: dict[str, str] = {}
    places: dict[str, dict[str, list[str]]] = {}
    for summary in summaries:
        for channel in summary.channels:
            if channel.used:
                key = _marker_key(channel.marker)
                spelled.setdefault(key, channel.marker)
                places.setdefault(key, {}).setdefault(channel.name, []).append(summary.file)
    return tuple(
        ChannelDifference(spelled[key], {name: tuple(files) for name, files in found.items()})
        for key, found in places.items()
        if len(found) > 1 and len({file for files in found.values() for file in files}) > 1
    )


def panel_rows(summaries: Sequence[FileSummary]) -> tuple[PanelRow, ...]:
    """The panel table of several files: a row for each channel of the first one, as `train` would use it.

    A marker that another file lacks is not used.
    """
    first = summaries[0]
    missing = {_marker_key(difference.marker): difference.missing for difference in panel_differences(summaries)}
    names = [channel.name for channel in first.channels]
    rows = []
    for channel in first.channels:
        lacking = missing.get(_marker_key(channel.marker), ()) if channel.used else ()
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        use = channel.used and not lacking
        rows.append(
            PanelRow(
                channel=channel.name if names.count(channel.name) == 1 else "",
                marker=channel.marker,
                use=use,
                cofactor=first.suggested_cofactor if use else None,
                marker_class=channel.marker_class,
                reason=f"not in {lacking[0]}{more}" if lacking else channel.reason,
            )
        )
    return tuple(rows)


def _marker_key(marker: str) -> str:
    return antigen_key(marker) or plain_key(marker)
