"""AnnData, in memory or as an .h5ad file, as files of events: variables are channels, observations are events."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import InputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.selection import chunk_starts, selected_columns, selected_rows

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".h5ad"
_ROWS_AT_ONCE = 16_384  # of a matrix on disk: bounds the memory of a sparse matrix that becomes dense


@dataclass(frozen=True, eq=False)
class AnnDataFile:
    """Some or all observations of an AnnData, with the interface of :class:`cytovae.events.event_file.EventFile`.

    Attributes
    ----------
    path : Path
        The .h5ad file, or a name if the AnnData is in memory.
    part : str
        The value of the file key that these observations share; empty if there is no file key.
    channels : tuple of Channel
        The variables. Where ``var`` has a column ``channel``, it is the name and the variable is the label.
    observations : DataFrame
        The rows of ``obs`` of these events. They are annotations, never markers.
    dtype : dtype
        Type of the values.
    rows : ndarray of int64 or None
        Where the events are in the AnnData, ascending; None if they are all.
    """

    path: Path
    part: str
    channels: tuple[Channel, ...]
    observations: "pd.DataFrame" = field(repr=False)
    dtype: np.dtype[Any]
    rows: NDArray[np.int64] | None = field(repr=False)
    _matrix: Any = field(repr=False)
    version: str = "AnnData"
    notes: tuple[str, ...] = ()

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.observations)

    @property
    def keywords(self) -> Mapping[str, str]:
        """An AnnData has no keywords."""
        return {}

    def read(self, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Events ``start`` to ``stop`` − 1 of the given columns, (n, n_columns). Sparse values become dense."""
        selected = selected_columns(columns, len(self.channels), self.path)
        events = selected_rows(start, stop, self.n_events, self.path)
        values = np.empty((len(events), len(selected)), self.dtype)
        if not events:
            return values
        rows = np.asarray(events) if self.rows is None else self.rows[events.start : events.stop]
        wanted = slice(None) if columns is None else selected
        # The rows of one file may lie anywhere in the matrix: read the blocks that hold any of them.
        for first in range(int(rows[0]), int(rows[-1]) + 1, _ROWS_AT_ONCE):
            low, high = np.searchsorted(rows, [first, first + _ROWS_AT_ONCE])
            if low == high:
                continue
            block = self._matrix[first : int(rows[high - 1]) + 1]
            dense = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
            values[low:high] = dense[rows[low:high] - first][:, wanted]
        return values

    def chunks(self, columns: Sequence[int] | None, chunk_size: int) -> Iterator[NDArray[Any]]:
        """Read events in consecutive chunks of at most ``chunk_size``."""
        for start in chunk_starts(self.n_events, chunk_size):
            yield self.read(columns, start, start + chunk_size)


def open_h5ad(path: Path, *, layer: str | None = None, file_key: str | None = None) -> tuple[AnnDataFile, ...]:
    """The files of events in an .h5ad file. The matrix stays on disk and is read in chunks.

    Parameters
    ----------
    path : Path
        The file.
    layer : str, optional
        Take values from this layer. Default: X.
    file_key : str, optional
        Column of ``obs``; the events of each of its values become a file. Default: one file.

    Raises
    ------
    UsageError
        If anndata is not installed.
    InputError
        If the file cannot be read, or has no such layer or column.
    """
    try:
        h5py, io = import_module("h5py"), import_module("anndata.io")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reading {path} needs {error.name}; install cytovae with its extra: pip install '.[h5ad]' in a checkout"
        ) from error
    if not path.is_file():
        raise InputError(path, "file", "no such file" if not path.exists() else "not a plain file", "an .h5ad file")
    try:
        stored = h5py.File(path, "r")
        observations, variables = io.read_elem(stored["obs"]), io.read_elem(stored["var"])
        layers = sorted(stored["layers"]) if "layers" in stored else []
        matrix = None
        if layer is None and "X" in stored:
            matrix = stored["X"]
        elif layer in layers:
            matrix = stored["layers"][layer]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(path, "file", str(error), "an .h5ad file that anndata can read") from error
    if matrix is not None and not isinstance(matrix, h5py.Dataset):
        matrix = io.sparse_dataset(matrix)
    return _files(path, matrix, layer, layers, observations, variables, file_key)


def anndata_files(
    adata: Any, *, layer: str | None = None, file_key: str | None = None, name: str = "anndata"
) -> tuple[AnnDataFile, ...]:
    """The files of events in an AnnData object; see :func:`open_h5ad`."""
    layers = sorted(adata.layers)
    matrix = adata.X if layer is None else adata.layers[layer] if layer in layers else None
    if matrix is not None and hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()  # rows of other sparse formats cannot be sliced
    return _files(Path(name), matrix, layer, layers, adata.obs, adata.var, file_key)


def _files(
    path: Path,
    matrix: Any,
    layer: str | None,
    layers: Sequence[str],
    observations: "pd.DataFrame",
    variables: "pd.DataFrame",
    file_key: str | None,
) -> tuple[AnnDataFile, ...]:
    if matrix is None:
        found = f"no layer {layer!r}" if layer is not None else "no X"
        raise InputError(path, "layers", f"{found}; layers are {', '.join(layers) or 'none'}", "values of the markers")
    if matrix.dtype.kind not in "fiub":
        raise InputError(path, "X" if layer is None else f"layer {layer}", f"values of type {matrix.dtype}", "numbers")
    dtype = np.dtype(np.float32 if matrix.dtype in (np.float32, np.float16) else np.float64)
    names = [str(name) for name in variables.index]
    detectors = [str(text) for text in variables["channel"]] if "channel" in variables.columns else None
    channels = tuple(
        Channel(index, name, "", math.nan) if detectors is None else Channel(index, detectors[index], name, math.nan)
        for index, name in enumerate(names)
    )
    if file_key is None:
        return (AnnDataFile(path, "", channels, observations, dtype, None, matrix),)
    if file_key not in observations.columns:
        columns = ", ".join(map(str, observations.columns)) or "none"
        raise InputError(path, "obs", f"no column {file_key!r}; columns are {columns}", "the column that names files")
    keys = observations[file_key]
    if keys.isna().any():
        found = f"{int(keys.isna().sum())} empty values"
        raise InputError(path, f"obs column {file_key}", found, "the file of each event")
    texts = keys.astype(str).to_numpy()
    return tuple(
        AnnDataFile(path, part, channels, observations[texts == part], dtype, np.flatnonzero(texts == part), matrix)
        for part in dict.fromkeys(texts.tolist())
    )
