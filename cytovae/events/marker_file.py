"""One file seen through a panel and a transform: marker values, checked, in chunks or by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.events.compensation import CompensatedFile, has_spillover
from cytovae.events.event_file import EventFile
from cytovae.events.panel import Panel
from cytovae.events.transform import Transform, check_finite
from cytovae.events.value_scale import transform_warning
from cytovae.fcs.file import FcsFile

CHUNK = 32_768  # events read at once


_EVENTS_FOR_SCALE = 20_000


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


def transformed(
    raw: NDArray[Any], markers: Sequence[str], transform: Transform, file: EventFile
) -> NDArray[np.float32]:
    """Raw values on the model's scale, all finite; a float64 may be too large for it."""
    check_finite(raw, markers, file.path)
    with np.errstate(over="ignore"):
        values = transform.apply(raw)
    if raw.dtype != np.float32:
        check_finite(values, markers, file.path)
    return values


def read_rows(file: EventFile, columns: list[int], rows: NDArray[np.int64]) -> NDArray[Any]:
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
