"""Several FCS files as one study: the cells to learn from, and whole files streamed through a model."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.errors import InputError, UsageError
from cytovae.events.event_file import EventFile, file_names
from cytovae.events.marker_file import read_rows, transformed
from cytovae.events.panel import Panel, columns_in_study
from cytovae.events.transform import Transform

Sampling = Literal["equal", "proportional"]


POOL = 200_000  # cells read for training, over all files, unless asked otherwise


def sample_sizes(
    n_events: Sequence[int],
    *,
    max_events_per_file: int | None = None,
    sampling: Sampling = "proportional",
    at_most: int | None = POOL,
) -> tuple[int, ...]:
    """How many cells to take of files with ``n_events`` events.

    "equal" takes the same number of each file, as many as the smallest that has events can give; "proportional" takes
    the same share of each. No file gives more than ``max_events_per_file``, all together not more than ``at_most``.
    """
    if (max_events_per_file is not None and max_events_per_file < 1) or (at_most is not None and at_most < 1):
        raise UsageError("a sample needs at least one cell of each file")
    sizes = np.asarray(n_events, dtype=np.int64)
    filled = sizes > 0
    if not filled.any():
        return tuple(0 for _ in n_events)
    largest = int(sizes.max())
    limit = largest if max_events_per_file is None else max_events_per_file
    if sampling == "equal":
        each = min(limit, int(sizes[filled].min()))
        if at_most is not None:
            each = min(each, at_most // int(filled.sum()))
        return tuple(np.where(filled, each, 0).tolist())
    wanted = sizes * min(1.0, limit / largest)
    total = int(np.rint(wanted.sum()))
    if at_most is not None and total > at_most:
        wanted, total = wanted * (at_most / wanted.sum()), at_most
    # Largest remainders: whole numbers that add up to the total.
    taken = np.floor(wanted + 1e-9).astype(np.int64)
    order = np.argsort(taken - wanted, kind="stable")
    for index in order[: max(0, total - int(taken.sum()))]:
        taken[index] = min(taken[index] + 1, sizes[index], limit)
    return tuple(taken.tolist())


def read_cells(
    files: Sequence[EventFile],
    panel: Panel,
    transform: Transform,
    *,
    max_events_per_file: int | None = None,
    sampling: Sampling = "proportional",
    at_most: int | None = POOL,
    seed: int = 0,
) -> CellTable:
    """Cells of several files for training, file by file in the order of their events.

    Which events are taken (see :func:`sample_sizes`) is drawn from ``seed`` before anything is read, so memory is
    bounded by the sample and one chunk. Raises :class:`PanelError` where a file lacks a marker of ``panel``, and
    :class:`InputError` for values that are not finite or where there is no event at all.
    """
    columns = [columns_in_study(panel, file).tolist() for file in files]
    sizes = [file.n_events for file in files]
    taken = sample_sizes(sizes, max_events_per_file=max_events_per_file, sampling=sampling, at_most=at_most)
    if not sum(taken):
        raise InputError(", ".join(str(file.path) for file in files), "$TOT", "no events", "cells to learn from")
    values = np.empty((sum(taken), len(panel)), dtype=np.float32)
    events = np.empty(sum(taken), dtype=np.int64)
    first = 0
    for index, file in enumerate(files):
        rows = _draw(sizes[index], taken[index], [seed, index])
        part = slice(first, first + len(rows))
        raw = read_rows(file, columns[index], rows)
        values[part], events[part] = transformed(raw, panel.names, transform, file), rows
        first += len(rows)
    source = np.repeat(np.arange(len(files), dtype=np.int32), taken)
    return CellTable(values, panel.names, file_names(files), source, events)


def constant_markers(cells: CellTable, files: Sequence[EventFile]) -> tuple[str, ...]:
    """Markers that have one value in all cells and so tell nothing apart. Raises :class:`InputError` if all have."""
    same = (cells.values == cells.values[:1]).all(axis=0)
    if same.all():
        names = ", ".join(str(file.path) for file in files)
        raise InputError(names, "marker values", "one value for all cells in every marker", "markers that vary")
    return tuple(name for name, constant in zip(cells.markers, same, strict=True) if constant)


def _draw(n_events: int, n_taken: int, seed: list[int]) -> NDArray[np.int64]:
    """Rows of a file, ascending, each equally likely."""
    if n_taken == n_events:
        return np.arange(n_events, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n_events, n_taken, replace=False, shuffle=False))


def choose_landmarks(n_cells: int, n_landmarks: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``n_landmarks`` of ``n_cells`` cells, ascending, each equally likely; 0 = all."""
    if n_landmarks == 0 or n_cells <= n_landmarks:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, n_landmarks, replace=False))
