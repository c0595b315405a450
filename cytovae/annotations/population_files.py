"""Gates given as one FCS file per population."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import GateError
from cytovae.events.event_file import EventFile
from cytovae.fcs.file import open_fcs


def read_populations(folder: Path, file: EventFile) -> list[str]:
    """Labels from FCS files that each hold the events of one population, found in ``file`` by their exact values.

    Events with equal values in every channel cannot be told apart; as many of them are labelled, from the first on, as
    the population holds. Raises :class:`GateError` for events that ``file`` does not hold, and for events that more
    than one population claims (a parent gate beside its children).
    """
    own = file.path.resolve()
    paths = sorted(path for path in folder.iterdir() if path.suffix.casefold() == ".fcs" and path.resolve() != own)
    if not paths:
        raise GateError(folder, "gates", "no FCS file", "one for each population")
    populations = [open_fcs(path) for path in paths]
    shared = _shared_channels(file, populations, folder)

    rows = _row_keys(file, shared)
    order = np.argsort(rows, kind="stable")
    in_order = rows[order]
    used: dict[int, int] = {}  # first position among equal rows -> how many of them are labelled
    labels = [""] * file.n_events
    for population in populations:
        keys = _row_keys(population, shared)
        first = np.searchsorted(in_order, keys, side="left")
        last = np.searchsorted(in_order, keys, side="right")
        if unknown := int((first == last).sum()):
            raise GateError(
                population.path, "events", f"{unknown} of {population.n_events} that {file.path.name} does not hold",
                "events of that file, with unchanged values",
                "Export raw (not compensated or scaled) values of every channel.",
            )  # fmt: skip
        claimed: Counter[str] = Counter()
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            taken = used.get(start, 0)
            if taken == stop - start:
                claimed[labels[order[stop - 1]]] += 1
                continue
            labels[order[start + taken]] = population.path.stem
            used[start] = taken + 1
        if claimed:
            other, count = claimed.most_common(1)[0]
            raise GateError(
                population.path, "events", f"{count} that {other} holds, too", "each event in one population",
                "Take parent gates (and files of all events) out of the folder.",
            )  # fmt: skip
    return labels


def _shared_channels(file: EventFile, populations: Sequence[EventFile], folder: Path) -> list[str]:
    """``$PnN`` of the channels that all files have once."""
    shared = [channel.name for channel in file.channels]
    for fcs in (file, *populations):
        counts = Counter(channel.name for channel in fcs.channels)
        shared = [name for name in shared if counts[name] == 1]
    if len(shared) < 2:
        raise GateError(
            folder,
            "channels",
            f"{len(shared)} shared with {file.path.name}",
            "the channels of that file, under the same $PnN",
        )
    return shared


def _row_keys(file: EventFile, names: Sequence[str]) -> NDArray[np.void]:
    """Each event's values in the channels ``names`` as one opaque, comparable item; shape (n_events,)."""
    column = {channel.name: channel.index for channel in file.channels}
    values = np.ascontiguousarray(file.read([column[name] for name in names]), dtype=np.float32)
    values[values == 0] = 0.0  # minus zero is zero
    values[np.isnan(values)] = np.nan
    return values.view(np.dtype((np.void, values.itemsize * values.shape[1]))).ravel()
