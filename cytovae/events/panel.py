"""Which channels are markers, under which name and with which cofactor; and where those markers are in another file."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import ModelError, PanelError, UsageError
from cytovae.events.channel_names import (
    antibody,
    channel_uses,
    find_channels,
    marker_of,
    nearest_names,
    plain_key,
    spell_channel,
)
from cytovae.events.event_file import EventFile
from cytovae.events.panel_table import PanelRow, read_panel
from cytovae.fcs.channels import Channel


@dataclass(frozen=True)
class Marker:
    """A marker: its name, the ``$PnN`` and ``$PnS`` of its channel where it was chosen, the arcsinh cofactor (> 0)."""

    name: str
    channel: str
    cofactor: float
    label: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cofactor) and self.cofactor > 0):
            raise UsageError(f"the cofactor of {self.name} must be a positive number, not {self.cofactor:g}")


@dataclass(frozen=True)
class Panel:
    """The markers of a study or a model, in column order; at least one, no name twice."""

    markers: tuple[Marker, ...]

    def __post_init__(self) -> None:
        if not self.markers:
            raise UsageError("a panel needs at least one marker")
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise UsageError(f"a panel must not name a marker twice: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.markers)

    @property
    def names(self) -> tuple[str, ...]:
        """Marker names in column order."""
        return tuple(marker.name for marker in self.markers)

    @property
    def cofactors(self) -> NDArray[np.float32]:
        """Cofactors in column order, float32 of shape (n_markers,)."""
        return np.array([marker.cofactor for marker in self.markers], dtype=np.float32)


def find_channel(file: EventFile, asked: str, field: str = "markers") -> Channel:
    """The one channel of ``file`` that ``asked`` names.

    Raises :class:`PanelError` when there is none (naming the nearest) or more than one (naming them).
    """
    found = find_channels(file.channels, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise PanelError(
            file.path,
            field,
            f"{len(found)} channels called {asked!r}: {', '.join(spell_channel(channel) for channel in found)}",
            "one",
            "Name the channel instead ($PnN), or leave all of them out with --exclude.",
        )
    near = nearest_names(file.channels, asked)
    present = list(dict.fromkeys(use.marker for use in channel_uses(file.channels) if use.used))
    shown = ", ".join(present[:12]) + (", …" if len(present) > 12 else "")
    raise PanelError(
        file.path,
        field,
        f"no channel called {asked!r}",
        "a channel's $PnS or $PnN",
        f"Nearest: {', '.join(near)}." if near else f"Markers in the file: {shown or 'none'}.",
    )


# --- choosing ---------------------------------------------------------------------------------------------------------


def default_panel(channels: Sequence[Channel], cofactor: float) -> Panel:
    """All channels that :func:`channel_uses` takes for markers, each with ``cofactor``.

    Raises :class:`UsageError` when none is.
    """
    chosen = [(use.channel, use.marker) for use in channel_uses(channels) if use.used]
    return _panel(chosen, {}, cofactor)


def select_markers(file: EventFile, names: Sequence[str]) -> tuple[Channel, ...]:
    """The channels of ``file`` that ``names`` ask for, in the order asked.

    Raises :class:`PanelError` for a name that is unknown, ambiguous, or asks for a channel a second time.
    """
    chosen: dict[int, tuple[Channel, str]] = {}
    for name in names:
        channel = find_channel(file, name)
        if channel.index in chosen:
            earlier = chosen[channel.index][1]
            raise PanelError(
                file.path, "markers", f"channel {spell_channel(channel)} twice, as {earlier!r} and {name!r}", "it once"
            )
        chosen[channel.index] = (channel, name)
    return tuple(channel for channel, _ in chosen.values())


def _panel(chosen: Sequence[tuple[Channel, str]], cofactors: Mapping[int, float], cofactor: float) -> Panel:
    """A panel of (channel, marker name); a name that two channels share gets its channel added in brackets."""
    shared = Counter(plain_key(name) for _, name in chosen)
    return Panel(
        tuple(
            Marker(
                name=name if shared[plain_key(name)] == 1 else f"{name} [{channel.name}]",
                channel=channel.name,
                cofactor=cofactors.get(channel.index, cofactor),
                label=channel.label.strip(),
            )
            for channel, name in chosen
        )
    )


def resolve_panel(
    file: EventFile,
    *,
    markers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    panel_csv: Path | None = None,
    cofactor: float = 5.0,
) -> Panel:
    """The panel for ``file``: the markers named, or those of a panel table, or all that look like markers.

    ``exclude`` is taken off whichever it is. Raises :class:`PanelError` for names that are unknown or ambiguous in
    the file, and when no marker is left; :class:`UsageError` when both ``markers`` and ``panel_csv`` are given.
    """
    if markers and panel_csv is not None:
        raise UsageError("markers can be named or read from a panel table, not both: drop --markers or --panel")
    cofactors: dict[int, float] = {}
    if panel_csv is not None:
        chosen, cofactors = _rows_in_file(read_panel(panel_csv), panel_csv, file)
    elif markers:
        chosen = [(channel, marker_of(channel)) for channel in select_markers(file, markers)]
    else:
        chosen = [(use.channel, use.marker) for use in channel_uses(file.channels) if use.used]

    left_out: set[int] = set()
    for name in exclude:
        # An ambiguous name leaves out all it names: that is the way out of an ambiguity.
        found = find_channels(file.channels, name) or (find_channel(file, name, "exclude"),)
        left_out.update(channel.index for channel in found)
    chosen = [(channel, name) for channel, name in chosen if channel.index not in left_out]
    if not chosen:
        raise PanelError(
            file.path,
            "markers",
            "none among " + ", ".join(spell_channel(channel) for channel in file.channels[:8]),
            "at least one",
            "Name them with --markers or --panel; `cytovae inspect` shows how each channel is understood.",
        )
    twins = Counter((plain_key(name), plain_key(channel.name)) for channel, name in chosen)
    same = [spell_channel(channel) for channel, name in chosen if twins[plain_key(name), plain_key(channel.name)] > 1]
    if same:
        raise PanelError(
            file.path,
            "markers",
            f"channels that share both names: {', '.join(same)}",
            "names that tell the channels apart",
            f"Leave them out with --exclude {same[0].split(' (')[0]!r}, or rename them in the file.",
        )
    return _panel(chosen, cofactors, cofactor)


def _rows_in_file(
    rows: Sequence[PanelRow], path: Path, file: EventFile
) -> tuple[list[tuple[Channel, str]], dict[int, float]]:
    """The (channel, marker name) that a panel table uses, and the cofactors it states by channel index."""
    chosen: dict[int, tuple[Channel, str]] = {}
    cofactors: dict[int, float] = {}
    for row in rows:
        if not row.use:
            continue
        # The antibody may sit on another channel in this file, so the marker's name is the second try.
        by_marker = row.marker and not (row.channel and find_channels(file.channels, row.channel))
        channel = find_channel(file, row.marker if by_marker else row.channel, f"panel table {path}")
        name = row.marker or marker_of(channel)
        if channel.index in chosen:
            raise PanelError(
                path,
                "channel",
                f"{spell_channel(channel)} twice, as {chosen[channel.index][1]!r} and {name!r}",
                "each once",
            )
        chosen[channel.index] = (channel, name)
        if row.cofactor is not None:
            cofactors[channel.index] = row.cofactor
    return list(chosen.values()), cofactors


# --- the same markers in another file ---------------------------------------------------------------------------------


def columns_of(panel: Panel, file: EventFile) -> NDArray[np.int64]:
    """The column (channel index) of each marker of a trained model's panel in ``file``, shape (n_markers,).

    By marker name first, whatever the order and the isotope; then by ``$PnN``, but never onto a channel that names
    another antibody. Channels the panel does not know are ignored. Raises :class:`ModelError` naming every marker that
    is missing or ambiguous, with the nearest names in the file.
    """
    columns, problems = _locate(panel, file)
    if problems:
        raise ModelError(
            f"{file.path} does not fit the model, which needs {len(panel)} markers: {'; '.join(problems)}. "
            "Rename the file's channels, or train on the markers that all files have."
        )
    return columns


def columns_in_study(panel: Panel, file: EventFile) -> NDArray[np.int64]:
    """As :func:`columns_of`, for another file of the same training run: raises :class:`PanelError`."""
    columns, problems = _locate(panel, file)
    if problems:
        raise PanelError(
            file.path,
            "markers",
            "; ".join(problems),
            f"the {len(panel)} markers of the first file",
            "Choose markers that all files have with --markers, or leave these out with --exclude.",
        )
    return columns


def _locate(panel: Panel, file: EventFile) -> tuple[NDArray[np.int64], list[str]]:
    """Channel index of each marker (−1 where there is none) and one line for each marker that has a problem."""
    columns = np.full(len(panel), -1, dtype=np.int64)
    problems = []
    taken: dict[int, str] = {}
    for position, marker in enumerate(panel.markers):
        found = _channels_for(marker, file.channels)
        if len(found) > 1:
            problems.append(f"{marker.name} is ambiguous ({', '.join(spell_channel(channel) for channel in found)})")
        elif not found:
            near = nearest_names(file.channels, marker.name)
            problems.append(
                f"{marker.name} is missing (nearest: {', '.join(near)})" if near else f"{marker.name} is missing"
            )
        elif found[0].index in taken:
            problems.append(f"{marker.name} and {taken[found[0].index]} both are channel {spell_channel(found[0])}")
        else:
            taken[found[0].index] = marker.name
            columns[position] = found[0].index
    return columns, problems


def _channels_for(marker: Marker, channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The channels that may hold ``marker``: one if all is well."""
    on_channel = [channel for channel in channels if plain_key(channel.name) == plain_key(marker.channel)]
    by_name = find_channels(channels, marker.name)
    if by_name:
        same_channel = tuple(channel for channel in by_name if channel in on_channel)
        return same_channel if len(by_name) > 1 and len(same_channel) == 1 else by_name
    stained = antibody(marker.label)
    expected = {plain_key(marker.name), plain_key(stained)}
    trusted = tuple(channel for channel in on_channel if plain_key(antibody(channel.label)) in expected | {""})
    return trusted or (find_channels(channels, stained) if stained else ())
