"""What users of the Python API pass as data or labels, as files of events or gate labels."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.cells import UNGATED, GateLabels
from cytovae.errors import UsageError
from cytovae.events.anndata_file import anndata_files
from cytovae.events.array_file import array_file, frame_file
from cytovae.events.event_file import EventFile, open_event_files, with_folders_listed
from cytovae.fcs.placement import Offsets


def as_event_files(
    data: Any,
    *,
    markers: Sequence[str] = (),
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Offsets = "auto",
) -> tuple[EventFile, ...]:
    """Files of events from a path, EventFile, array, data frame or AnnData, or from a list of them.

    Parameters
    ----------
    data
        The data.
    markers : sequence of str
        Names of the columns of an array.
    layer, file_key
        Layer and file key of an AnnData.
    data_set, offsets
        Data set and offsets of FCS files, see :func:`cytovae.fcs.file.open_fcs`.

    Raises
    ------
    UsageError
        If the type is unknown, an array has no names, or a list is empty.
    """
    if isinstance(data, list | tuple) and not _is_table(data):
        if not data:
            raise UsageError("there is no data: the list is empty")
        return tuple(
            file
            for position, item in enumerate(data, start=1)
            for file in _files(item, markers, layer, file_key, data_set, offsets, f"_{position}")
        )
    return _files(data, markers, layer, file_key, data_set, offsets, "")


def is_anndata(data: Any) -> bool:
    """Whether ``data`` is an AnnData object. anndata is not imported for this."""
    return hasattr(data, "obs") and hasattr(data, "var") and hasattr(data, "obsm")


def rows_of(file: EventFile, n_cells: int) -> NDArray[np.int64]:
    """Where the events of a file are in its AnnData of ``n_cells`` cells."""
    rows = getattr(file, "rows", None)
    return np.arange(n_cells) if rows is None else rows


def as_gates(labels: ArrayLike) -> GateLabels:
    """Gate labels from the population of each cell; empty text, NaN and None are ungated."""
    texts = ["" if label is None or label != label else str(label).strip() for label in np.asarray(labels, object)]
    names = sorted(set(texts) - {""})
    index = {name: position for position, name in enumerate(names)} | {"": UNGATED}
    return GateLabels(np.array([index[text] for text in texts], dtype=np.int32), tuple(names))


def _files(
    item: Any,
    markers: Sequence[str],
    layer: str | None,
    file_key: str | None,
    data_set: int | None,
    offsets: Offsets,
    suffix: str,
) -> tuple[EventFile, ...]:
    if isinstance(item, str | PathLike):
        paths = with_folders_listed([Path(item)])
        return open_event_files(paths, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
    if is_anndata(item):
        return anndata_files(item, layer=layer, file_key=file_key, name=f"anndata{suffix}")
    if hasattr(item, "select_dtypes"):
        return (frame_file(item, f"table{suffix}"),)
    if isinstance(item, np.ndarray) or _is_table(item):
        if not markers:
            raise UsageError("an array has no names: give markers=[...], one name per column")
        return (array_file(item, markers, f"array{suffix}"),)
    if hasattr(item, "n_events") and hasattr(item, "channels"):
        return (item,)
    raise UsageError(
        f"{type(item).__name__} is not a kind of data that cytovae reads; expected a path, an EventFile, an array, "
        "a data frame or an AnnData"
    )


def _is_table(data: Any) -> bool:
    """Whether a list or tuple is a table of numbers."""
    return isinstance(data, list | tuple) and bool(data) and isinstance(data[0], list | tuple)
