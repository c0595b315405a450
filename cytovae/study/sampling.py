"""Which events are read for training, and which of them become landmarks."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.errors import InputError, UsageError
from cytovae.events.marker_file import MarkerFile

Sampling = Literal["equal", "proportional"]
MOST_TRAINING_CELLS = 200_000  # read for training, over all files


def sample_sizes(
    n_events: Sequence[int],
    *,
    max_events_per_file: int | None = None,
    sampling: Sampling = "proportional",
    at_most: int | None = MOST_TRAINING_CELLS,
) -> tuple[int, ...]:
    """Number of cells to draw from each file.

    Parameters
    ----------
    n_events : sequence of int
        Number of events of each file.
    max_events_per_file : int, optional
        No file contributes more cells than this.
    sampling : {"proportional", "equal"}
        "equal" draws the same number from each file, as many as the smallest non-empty file has; "proportional" draws
        the same share of each file.
    at_most : int, optional
        Largest total over all files.
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


def draw_cells(
    files: Sequence[MarkerFile],
    *,
    max_events_per_file: int | None = None,
    sampling: Sampling = "proportional",
    at_most: int | None = MOST_TRAINING_CELLS,
    seed: int = 0,
    passing: Sequence[NDArray[np.int64]] | None = None,
    labels: NDArray[np.integer] | None = None,
) -> CellTable:
    """Random cells of several files, file by file in the order of their events.

    The events are drawn before anything is read, so memory is bounded by the sample and one chunk.

    Parameters
    ----------
    files : sequence of MarkerFile
        The files, all with the same panel.
    max_events_per_file, sampling, at_most
        See :func:`sample_sizes`.
    seed : int
        Seed of the draw.
    passing : sequence of ndarray of int64, optional
        The rows of each file that may be drawn, ascending. Default: all.
    labels : ndarray of int, shape (n_events,), optional
        Labels of the events of all files in turn; −1 = not labelled. Up to half of the cells of a file are drawn from
        the labelled populations, so that rare ones are seen.

    Raises
    ------
    InputError
        If no file has an event that may be drawn, or if a value is not finite.
    """
    n_events = [file.n_events for file in files] if passing is None else [len(rows) for rows in passing]
    taken = sample_sizes(n_events, max_events_per_file=max_events_per_file, sampling=sampling, at_most=at_most)
    if not sum(taken):
        found = "no events" if passing is None else "no event that passes quality control"
        raise InputError(", ".join(str(file.file.path) for file in files), "$TOT", found, "cells to learn from")
    markers = files[0].panel.names
    values = np.empty((sum(taken), len(markers)), dtype=np.float32)
    events = np.empty(sum(taken), dtype=np.int64)
    first, first_label = 0, 0
    for index, file in enumerate(files):
        if labels is None:
            rows = _draw(n_events[index], taken[index], [seed, index])
        else:
            own = labels[first_label : first_label + file.n_events]
            own = own if passing is None else own[passing[index]]
            rows = choose_landmarks(len(own), taken[index], seed, own) if taken[index] else np.empty(0, np.int64)
            first_label += file.n_events
        if passing is not None:
            rows = passing[index][rows]
        of_file = slice(first, first + len(rows))
        values[of_file], events[of_file] = file.values_at(rows), rows
        first += len(rows)
    source = np.repeat(np.arange(len(files), dtype=np.int32), taken)
    return CellTable(values, markers, tuple(file.name for file in files), source, events)


def constant_markers(cells: CellTable, files: Sequence[MarkerFile]) -> tuple[str, ...]:
    """Markers with one value in all cells. Raises :class:`InputError` if no marker varies."""
    same = (cells.values == cells.values[:1]).all(axis=0)
    if same.all():
        names = ", ".join(str(file.file.path) for file in files)
        raise InputError(names, "marker values", "one value for all cells in every marker", "markers that vary")
    return tuple(name for name, constant in zip(cells.markers, same, strict=True) if constant)


def choose_landmarks(
    n_cells: int, n_landmarks: int, seed: int, labels: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Rows of the landmarks, ascending: ``n_landmarks`` cells drawn at random, or all (0, or too few cells).

    With ``labels`` (n_cells,), −1 = none, up to half of the landmarks are drawn from the labelled populations, the same
    number of each or all that there are.
    """
    if n_landmarks == 0 or n_cells <= n_landmarks:
        return np.arange(n_cells)
    if labels is None:
        return np.sort(np.random.default_rng(seed).choice(n_cells, n_landmarks, replace=False))
    certain = labelled_rows(labels, n_landmarks // 2, seed)
    others = np.setdiff1d(np.arange(n_cells), certain)
    drawn = np.random.default_rng(seed).choice(others, n_landmarks - len(certain), replace=False)
    return np.sort(np.concatenate([certain, drawn]))


def labelled_rows(labels: NDArray[np.integer], most: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``most`` labelled cells, ascending: the same number of each population, or all that it has.

    ``labels`` (n,) are from 0; −1 is not labelled.
    """
    rng = np.random.default_rng([seed, 1])
    populations, sizes = np.unique(labels[labels >= 0], return_counts=True)
    each = most // max(len(populations), 1)
    chosen = [
        rows if len(rows) <= each else rng.choice(rows, each, replace=False)
        for rows in (np.flatnonzero(labels == population) for population in populations.tolist())
    ]
    return np.sort(np.concatenate(chosen)) if len(sizes) else np.empty(0, dtype=np.int64)


def _draw(n_events: int, n_taken: int, seed: list[int]) -> NDArray[np.int64]:
    """Rows of a file, ascending, each equally likely."""
    if n_taken == n_events:
        return np.arange(n_events, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n_events, n_taken, replace=False, shuffle=False))
