"""Several FCS files as one study: the cells to learn from, and whole files streamed through a model."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.atomic import readable
from cytovae.cells import Assignment, CellTable
from cytovae.compensation import KEYWORDS, CompensatedFile
from cytovae.errors import InputError, UsageError
from cytovae.event_files import EventFile
from cytovae.fcs import FcsFile
from cytovae.latent import latent_codes
from cytovae.panel import Panel, columns_in_study
from cytovae.transform import Transform, check_finite, transform_warning

if TYPE_CHECKING:
    from cytovae.assignment import Assigner
    from cytovae.interpolation import Interpolator

Sampling = Literal["equal", "proportional"]
POOL = 200_000  # cells read for training, over all files, unless asked otherwise
CHUNK = 32_768  # events read at once
_EVENTS_FOR_SCALE = 20_000


def file_names(files: Sequence[EventFile]) -> tuple[str, ...]:
    """How tables call the files: by their last part where that tells them apart, else by the path as given."""
    shared = Counter(file.path.name for file in files)
    return tuple(readable(file.path.name if shared[file.path.name] == 1 else file.path) for file in files)


def has_spillover(file: EventFile) -> bool:
    """Whether ``file`` carries a spillover matrix, under any of the names in use."""
    keywords = {name.lstrip("$"): value for name, value in file.keywords.items()}
    return any(keywords.get(name, "").strip() for name in KEYWORDS)


def file_warnings(file: EventFile, columns: Sequence[int], panel: Panel, transform: Transform) -> tuple[str, ...]:
    """What a user should know before the markers at ``columns`` of ``file`` are taken for ``panel``.

    Oddities that reading tolerated, a spillover matrix that is not applied, and values that do not suit the transform
    (told from the first 20,000 events).
    """
    warnings = list(file.notes)
    if has_spillover(file) and not isinstance(file, CompensatedFile):
        warnings.append(
            "it carries a spillover matrix, which is not applied; --compensate file does, if values are raw."
        )
    raw = file.read(columns, 0, _EVENTS_FOR_SCALE)
    with np.errstate(invalid="ignore"):  # infinite values are refused when they are read to learn from
        scale = transform_warning(raw, panel.names, transform.cofactors, transform.kind)
    return (*warnings, f"{scale}.") if scale else tuple(warnings)


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
        raw = _read_rows(file, columns[index], rows)
        values[part], events[part] = _transformed(raw, panel.names, transform, file), rows
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


def _transformed(
    raw: NDArray[Any], markers: Sequence[str], transform: Transform, file: EventFile
) -> NDArray[np.float32]:
    """Raw values on the model's scale, all finite; a float64 may be too large for it."""
    check_finite(raw, markers, file.path)
    with np.errstate(over="ignore"):
        values = transform.apply(raw)
    if raw.dtype != np.float32:
        check_finite(values, markers, file.path)
    return values


def _draw(n_events: int, n_taken: int, seed: list[int]) -> NDArray[np.int64]:
    """Rows of a file, ascending, each equally likely."""
    if n_taken == n_events:
        return np.arange(n_events, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n_events, n_taken, replace=False, shuffle=False))


def _read_rows(file: EventFile, columns: list[int], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Raw values (len(rows), len(columns)) of ascending ``rows``."""
    raw = np.empty((len(rows), len(columns)), dtype=file.dtype)
    if not len(rows):
        return raw
    mapped = file.mapped() if isinstance(file, FcsFile) else None
    if mapped is not None:  # only those rows are read
        for start in range(0, len(rows), CHUNK):
            raw[start : start + CHUNK] = mapped[rows[start : start + CHUNK]][:, columns]
        return raw
    for number, chunk in enumerate(file.chunks(columns, CHUNK)):
        low, high = np.searchsorted(rows, [number * CHUNK, (number + 1) * CHUNK])
        raw[low:high] = chunk[rows[low:high] - number * CHUNK]
    return raw


def assigned_chunks(
    file: EventFile,
    columns: Sequence[int],
    markers: Sequence[str],
    transform: Transform,
    assigner: "Assigner",
    *,
    workers: int = 1,
    interpolator: "Interpolator | None" = None,
) -> Iterator[Assignment]:
    """Clusters of all events of ``file``, chunk after chunk in their order; ``columns`` are those of ``markers``.

    With an ``interpolator`` every cell also gets a place on the UMAP.
    ``workers`` chunks are worked on at the same time, so memory is bounded whatever the size of the file. Raises
    :class:`InputError` where a marker holds values that are not finite.
    """

    def assign(start: int) -> Assignment:
        raw = file.read(columns, start, start + CHUNK)
        values = _transformed(raw, markers, transform, file)
        found = assigner.assign(values)
        if interpolator is None:
            return found
        return replace(found, coordinates=interpolator.place(latent_codes(assigner, values)))

    pending: deque[Future[Assignment]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, file.n_events, CHUNK):
                pending.append(pool.submit(assign, start))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
