"""The markers of a study, and where they are in each file."""

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
    find_channels,
    full_name,
    marker_of,
    nearest_names,
    plain_key,
)
from cytovae.events.channel_use import STATE_MARKER, ChannelUse, channel_uses, is_not_unmixed, without_copies
from cytovae.events.event_file import EventFile
from cytovae.events.panel_table import PanelRow, read_panel
from cytovae.fcs.channels import Channel


@dataclass(frozen=True)
class Marker:
    """A marker.

    Attributes
    ----------
    name
        The name, unique in the panel.
    channel, label
        ``$PnN`` and ``$PnS`` of its channel in the file where it was chosen.
    cofactor
        The arcsinh cofactor (> 0).
    """

    name: str
    channel: str
    cofactor: float
    label: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cofactor) and self.cofactor > 0):
            raise UsageError(f"the cofactor of {self.name} must be a positive number, not {self.cofactor:g}")


@dataclass(frozen=True)
class Panel:
    """The markers of a study or a model, in column order: at least one, with unique names."""

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
        """Cofactors in column order, shape (n_markers,)."""
        return np.array([marker.cofactor for marker in self.markers], dtype=np.float32)


# --- choice of markers ---


def find_channel(file: EventFile, name: str, field: str = "markers") -> Channel:
    """The one channel of ``file`` that ``name`` refers to; ``field`` is for errors.

    Of several copies of a detector, it is the one that a default panel uses. Raises :class:`PanelError` if there is
    none (with the nearest names) or several (with their names).
    """
    matches = without_copies(file.channels, find_channels(file.channels, name))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PanelError(
            file.path,
            field,
            f"{len(matches)} channels with the name {name!r}: {', '.join(map(full_name, matches))}",
            "one",
            "Name the channel ($PnN) instead, or exclude all of them with --exclude.",
        )
    nearest = nearest_names(file.channels, name)
    markers = list(dict.fromkeys(use.marker for use in channel_uses(file.channels) if use.used))
    shown = ", ".join(markers[:12]) + (", …" if len(markers) > 12 else "")
    raise PanelError(
        file.path,
        field,
        f"no channel with the name {name!r}",
        "a channel's $PnS or $PnN",
        f"Nearest: {', '.join(nearest)}." if nearest else f"Markers in the file: {shown or 'none'}.",
    )


def resolve_panel(
    file: EventFile,
    *,
    markers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    panel_csv: Path | None = None,
    cofactor: float = 5.0,
    state_markers: bool = False,
) -> Panel:
    """Choose the panel of a file.

    Parameters
    ----------
    file
        The file that must contain the markers.
    markers
        Names of the markers, in column order. Without ``markers`` and ``panel_csv``, all channels that look like
        type markers are used, see :func:`cytovae.events.channel_use.channel_uses`.
    exclude
        Names of markers to leave out. An ambiguous name excludes all its channels.
    panel_csv
        A panel table, see :func:`cytovae.events.panel_table.read_panel`.
    cofactor
        The cofactor of markers for which the panel table has none.
    state_markers
        Without ``markers`` and ``panel_csv``, use state markers, too.

    Raises
    ------
    PanelError
        If a name is unknown or ambiguous, two channels cannot be told apart, no marker is left, or the file holds raw
        spectral detectors and no markers are named.
    UsageError
        If both ``markers`` and ``panel_csv`` are given, or ``state_markers`` with one of them.
    """
    if markers and panel_csv is not None:
        raise UsageError("markers can be named or read from a panel table, not both: drop --markers or --panel")
    if state_markers and (markers or panel_csv is not None):
        raise UsageError("the markers are named, so --state-markers has no effect: drop it, or --markers or --panel")
    cofactors: dict[int, float] = {}
    if panel_csv is not None:
        chosen, cofactors = _channels_of_table(read_panel(panel_csv), panel_csv, file)
    elif markers:
        chosen = [(channel, marker_of(channel)) for channel in _channels_by_name(file, markers)]
    else:
        uses = channel_uses(file.channels, state_markers=state_markers)
        chosen = [(use.channel, use.marker) for use in uses if use.used]
        if not chosen:
            raise _no_markers(file, uses)

    excluded: set[int] = set()
    for name in exclude:
        matches = find_channels(file.channels, name) or (find_channel(file, name, "exclude"),)
        excluded.update(channel.index for channel in matches)
    chosen = [(channel, name) for channel, name in chosen if channel.index not in excluded]
    if not chosen:
        raise PanelError(file.path, "markers", "none that is not excluded", "at least one", "Exclude fewer markers.")
    return _panel(file, chosen, cofactors, cofactor)


def _no_markers(file: EventFile, uses: Sequence[ChannelUse]) -> PanelError:
    """The error for a file in which a default panel finds no marker."""
    if is_not_unmixed(uses):
        return PanelError(
            file.path,
            "markers",
            "raw spectral detectors; the file is not unmixed",
            "unmixed channels",
            "Unmix the file with the program of the instrument, or name detectors with --markers or --panel.",
        )
    state = [use.marker for use in uses if use.reason == STATE_MARKER]
    if state:
        return PanelError(
            file.path,
            "markers",
            f"only state markers: {', '.join(state[:8])}",
            "at least one type marker",
            "Use them with --state-markers, or name some with --markers or --panel.",
        )
    return PanelError(
        file.path,
        "markers",
        "none among " + ", ".join(full_name(use.channel) for use in uses[:8]),
        "at least one",
        "Name them with --markers or --panel; `cytovae inspect` shows how each channel is interpreted.",
    )


def _channels_by_name(file: EventFile, names: Sequence[str]) -> list[Channel]:
    """The channels of ``names``, in their order, each once."""
    chosen: dict[int, tuple[Channel, str]] = {}
    for name in names:
        channel = find_channel(file, name)
        if channel.index in chosen:
            earlier = chosen[channel.index][1]
            found = f"channel {full_name(channel)} twice, as {earlier!r} and {name!r}"
            raise PanelError(file.path, "markers", found, "each channel once")
        chosen[channel.index] = (channel, name)
    return [channel for channel, _ in chosen.values()]


def _channels_of_table(
    rows: Sequence[PanelRow], path: Path, file: EventFile
) -> tuple[list[tuple[Channel, str]], dict[int, float]]:
    """The (channel, marker name) pairs that a panel table uses, and its cofactors by channel index."""
    chosen: dict[int, tuple[Channel, str]] = {}
    cofactors: dict[int, float] = {}
    for row in rows:
        if not row.use:
            continue
        channel = _channel_of_row(row, path, file)
        name = row.marker or marker_of(channel)
        if channel.index in chosen:
            found = f"{full_name(channel)} twice, as {chosen[channel.index][1]!r} and {name!r}"
            raise PanelError(path, "channel", found, "each channel once")
        chosen[channel.index] = (channel, name)
        if row.cofactor is not None:
            cofactors[channel.index] = row.cofactor
    return list(chosen.values()), cofactors


def _channel_of_row(row: PanelRow, path: Path, file: EventFile) -> Channel:
    """The channel of a row of a panel table: by ``$PnN``, by any of its names, or by the marker."""
    same_name = [channel for channel in file.channels if row.channel and channel.name.strip() == row.channel]
    if len(same_name) == 1:
        return same_name[0]
    # The antibody may be on another channel in this file; then the name of the marker locates it.
    by_marker = row.marker and not (row.channel and find_channels(file.channels, row.channel))
    return find_channel(file, row.marker if by_marker else row.channel, f"panel table {path}")


def _panel(
    file: EventFile, chosen: Sequence[tuple[Channel, str]], cofactors: Mapping[int, float], cofactor: float
) -> Panel:
    """A panel of (channel, marker name) pairs. If channels share a marker name, ``$PnN`` in brackets is added."""
    pairs = Counter((plain_key(name), plain_key(channel.name)) for channel, name in chosen)
    same = [full_name(channel) for channel, name in chosen if pairs[plain_key(name), plain_key(channel.name)] > 1]
    if same:
        raise PanelError(
            file.path,
            "markers",
            f"channels that share both names: {', '.join(same)}",
            "names that tell the channels apart",
            f"Exclude them with --exclude {same[0].split(' (')[0]!r}, or rename them in the file.",
        )
    counts = Counter(plain_key(name) for _, name in chosen)
    return Panel(
        tuple(
            Marker(
                name=name if counts[plain_key(name)] == 1 else f"{name} [{channel.name}]",
                channel=channel.name,
                cofactor=cofactors.get(channel.index, cofactor),
                label=channel.label.strip(),
            )
            for channel, name in chosen
        )
    )


# --- the same markers in another file ---


def columns_of(panel: Panel, file: EventFile) -> NDArray[np.int64]:
    """Locate the markers of a trained model in a file.

    Markers are located by name, whatever their order and isotope; otherwise by ``$PnN``, unless that channel names
    another antibody. Channels that are not in the panel are ignored.

    Returns
    -------
    The channel index of each marker, shape (n_markers,).

    Raises
    ------
    ModelError
        If markers are missing or ambiguous. It names all of them, with the nearest names in the file.
    """
    columns, problems = _locate(panel, file)
    if problems:
        raise ModelError(
            f"{file.path} does not fit the model, which needs {len(panel)} markers: {'; '.join(problems)}. "
            "Rename the channels of the file, or train on the markers that all files have."
        )
    return columns


def columns_in_study(panel: Panel, file: EventFile) -> NDArray[np.int64]:
    """Like :func:`columns_of`, for another file of the same training run; raises :class:`PanelError`."""
    columns, problems = _locate(panel, file)
    if problems:
        raise PanelError(
            file.path,
            "markers",
            "; ".join(problems),
            f"the {len(panel)} markers of the first file",
            "Choose markers that all files have with --markers, or exclude these with --exclude.",
        )
    return columns


def _locate(panel: Panel, file: EventFile) -> tuple[NDArray[np.int64], list[str]]:
    """The channel index of each marker (−1 if there is none), and a line for each marker with a problem."""
    columns = np.full(len(panel), -1, dtype=np.int64)
    problems = []
    taken: dict[int, str] = {}
    for position, marker in enumerate(panel.markers):
        matches = _channels_for(marker, file.channels)
        if len(matches) > 1:
            problems.append(f"{marker.name} is ambiguous ({', '.join(map(full_name, matches))})")
        elif not matches:
            nearest = ", ".join(nearest_names(file.channels, marker.name))
            problems.append(
                f"{marker.name} is missing (nearest: {nearest})" if nearest else f"{marker.name} is missing"
            )
        elif matches[0].index in taken:
            problems.append(f"{marker.name} and {taken[matches[0].index]} are both on channel {full_name(matches[0])}")
        else:
            taken[matches[0].index] = marker.name
            columns[position] = matches[0].index
    return columns, problems


def _channels_for(marker: Marker, channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The channels that may hold ``marker``; exactly one unless there is a problem."""
    same_detector = [channel for channel in channels if plain_key(channel.name) == plain_key(marker.channel)]
    by_name = without_copies(channels, find_channels(channels, marker.name))
    if by_name:
        both = tuple(channel for channel in by_name if channel in same_detector)
        return both if len(by_name) > 1 and len(both) == 1 else by_name
    stain = antibody(marker.label)
    expected = {"", plain_key(marker.name), plain_key(stain)}
    trusted = tuple(channel for channel in same_detector if plain_key(antibody(channel.label)) in expected)
    return trusted or (without_copies(channels, find_channels(channels, stain)) if stain else ())
