"""Gates given as one FCS file per population."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import GateError
from cytovae.events.event_file import EventFile
from cytovae.fcs.file import open_fcs
from cytovae.plain_file import resolved


def read_populations(folder: Path, file: EventFile) -> list[str]:
    """Label the events of ``file`` by the FCS files in ``folder``, one per population.

    Events are matched by their exact values in all shared channels. If several events of ``file`` have the same
    values, as many of them are labelled as the populations contain, the first ones first.

    Parameters
    ----------
    folder
        Holds the FCS files. ``file`` itself is skipped.
    file
        The events to label.

    Returns
    -------
    list of str
        The name of the population (the stem of its file) for each event; empty for none.

    Raises
    ------
    GateError
        If there is no FCS file or fewer than two shared channels, if a population has an event that ``file`` lacks,
        or if two populations share an event, such as a parent gate and its child.
    """
    own = resolved(file.path)
    paths = sorted(path for path in folder.iterdir() if path.suffix.casefold() == ".fcs" and resolved(path) != own)
    if not paths:
        raise GateError(folder, "gates", "no FCS file", "one for each population")
    populations = [open_fcs(path) for path in paths]
    shared = _shared_channels(file, populations, folder)

    rows = _row_keys(file, shared)  # (n_events,)
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    n_used: dict[int, int] = {}  # first position of a run of equal rows -> how many of the run are labelled
    labels = [""] * file.n_events
    for population in populations:
        keys = _row_keys(population, shared)
        first = np.searchsorted(sorted_rows, keys, side="left")
        last = np.searchsorted(sorted_rows, keys, side="right")
        if n_unknown := int((first == last).sum()):
            raise GateError(
                population.path,
                "events",
                f"{n_unknown} of {population.n_events} that {file.path.name} does not hold",
                "events of that file, with unchanged values",
                "Export raw values of every channel, neither compensated nor scaled.",
            )
        in_two: Counter[str] = Counter()
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            used = n_used.get(start, 0)
            if used == stop - start:
                in_two[labels[order[stop - 1]]] += 1
                continue
            labels[order[start + used]] = population.path.stem
            n_used[start] = used + 1
        if in_two:
            other, count = in_two.most_common(1)[0]
            raise GateError(
                population.path,
                "events",
                f"{count} that {other} holds, too",
                "each event in one population",
                "Remove parent gates and files of all events from the folder.",
            )
    return labels


def _shared_channels(file: EventFile, populations: Sequence[EventFile], folder: Path) -> list[str]:
    """``$PnN`` of the channels that every file has exactly once."""
    shared = [channel.name for channel in file.channels]
    for events in (file, *populations):
        counts = Counter(channel.name for channel in events.channels)
        shared = [name for name in shared if counts[name] == 1]
    if len(shared) < 2:
        found = f"{len(shared)} shared with {file.path.name}"
        raise GateError(folder, "channels", found, "the channels of that file, under the same $PnN")
    return shared


def _row_keys(file: EventFile, names: Sequence[str]) -> NDArray[np.void]:
    """The values of each event in the channels ``names`` as one comparable item, shape (n_events,)."""
    column = {channel.name: channel.index for channel in file.channels}
    values = np.ascontiguousarray(file.read([column[name] for name in names]), dtype=np.float32)
    values[values == 0] = 0.0  # -0.0 differs from 0.0 in its bytes
    values[np.isnan(values)] = np.nan
    return values.view(np.dtype((np.void, values.itemsize * values.shape[1]))).ravel()
