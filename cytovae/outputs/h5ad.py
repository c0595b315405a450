"""All cells as one AnnData file, for scanpy: marker values, latent codes and probabilities."""

import io
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytovae.atomic import check_target, whole_file
from cytovae.cells import Assignment, check_assignment, probability_of
from cytovae.errors import OutputError
from cytovae.events.marker_file import MarkerFile
from cytovae.events.panel import Panel
from cytovae.outputs import columns
from cytovae.outputs.columns import NO_EXTRAS, Extras, optional_values


class H5adWriter:
    """All cells as one AnnData file; a context manager. Needs the extra ``h5ad``.

    ======== =======================================================================================================
    part     content
    ======== =======================================================================================================
    ``X``    marker values, float32
    ``obs``  the columns of a table of cells; file, cluster, population and the sample sheet are categories
    ``obsm`` ``p`` (n_cells, n_clusters) probabilities, ``z`` (n_cells, d) latent codes, ``X_umap`` if requested
    ``var``  channel and cofactor of each marker
    ``uns``  ``cytovae``: the mapping ``about``, without entries that are None
    ======== =======================================================================================================

    AnnData is written in one piece, so all of this is held in memory, 4 · (n_markers + n_clusters + d) bytes per cell
    and about 100 more for the other columns, twice while it is written.

    Parameters
    ----------
    target : Path
        The file to write.
    files : sequence of MarkerFile
        The files whose cells it will hold, at least one.
    n_clusters : int
        Number of clusters.
    encode : callable
        Latent codes (n, d) of marker values (n, n_markers).
    about : mapping, optional
        What the file says about the model.
    extras : Extras
        Optional columns.
    force : bool
        Whether an existing file is replaced.
    """

    def __init__(
        self,
        target: Path,
        files: Sequence[MarkerFile],
        n_clusters: int,
        encode: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        *,
        about: Mapping[str, object] | None = None,
        extras: Extras = NO_EXTRAS,
        force: bool = False,
    ) -> None:
        self.target = target
        self.force = force
        self._files = {file.name: file for file in files}
        self._panel: Panel = files[0].panel
        self._encode = encode
        self._about = dict(about or {})
        self._extras = extras
        self._n_rows = n_rows = sum(file.n_events for file in files)
        self._novelty = np.empty((n_rows, int(extras.novelty)), dtype=np.float32)
        self._umap = np.empty((n_rows, 2 * extras.umap), dtype=np.float32)
        self._values = np.empty((n_rows, len(self._panel)), dtype=np.float32)
        self._p = np.empty((n_rows, n_clusters), dtype=np.float32)
        self._z: NDArray[np.float32] | None = None  # the first chunk tells the number of columns
        self._cluster = np.empty(n_rows, dtype=np.int32)
        self._probability = np.empty(n_rows, dtype=np.float32)
        self._event = np.empty(n_rows, dtype=np.int64)
        self._file = np.empty(n_rows, dtype=np.int32)
        self._written_files: list[str] = []
        self._n_written = 0

    def __enter__(self) -> "H5adWriter":
        check_target(self.target, force=self.force)
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on; reads their marker values.

        Raises :class:`NumericalError` if probabilities do not sum to 1, or a cluster does not exist.
        """
        check_assignment(assignment, self._p.shape[1], file)
        n_cells = len(assignment)
        if self._n_written + n_cells > self._n_rows:
            raise OutputError(f"{self.target} was not written: there are more than {self._n_rows} cells")
        values = self._files[file].values(first_event, first_event + n_cells)
        codes = self._encode(values)
        if self._z is None:
            self._z = np.empty((self._n_rows, codes.shape[1]), dtype=np.float32)
        if file not in self._written_files:
            self._written_files.append(file)
        rows = slice(self._n_written, self._n_written + n_cells)
        self._values[rows], self._z[rows] = values, codes
        self._p[rows], self._cluster[rows] = assignment.probabilities, assignment.cluster
        self._probability[rows] = probability_of(assignment)
        self._novelty[rows], self._umap[rows] = optional_values(assignment, self._extras)
        self._event[rows] = np.arange(first_event, first_event + n_cells)
        self._file[rows] = self._written_files.index(file)
        self._n_written += n_cells

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._n_written != self._n_rows:
            raise OutputError(f"{self.target} was not written: {self._n_written} of {self._n_rows} cells were assigned")
        # Written to memory first: HDF5 ends the process if the disk is full.
        content = io.BytesIO()
        with import_module("h5py").File(content, "w") as file:
            import_module("anndata.io").write_elem(file, "/", self._anndata())
        with whole_file(self.target, force=self.force) as partial, partial.open("xb") as stream:
            stream.write(content.getbuffer())

    def _anndata(self) -> Any:
        """The AnnData object. Text has the dtype object, because AnnData rejects the default text type of pandas 3."""
        markers = pd.Index(self._panel.names, dtype=object)
        var = {
            columns.VAR_CHANNEL: pd.Series([marker.channel for marker in self._panel.markers], markers, dtype=object),
            columns.VAR_COFACTOR: pd.Series(self._panel.cofactors, markers),
        }
        index = pd.Index(np.arange(self._n_rows).astype(str), dtype=object)
        return import_module("anndata").AnnData(
            X=self._values,
            obs=pd.DataFrame(self._obs(), index=index),
            var=pd.DataFrame(var, index=markers),
            obsm={
                columns.OBSM_PROBABILITIES: self._p,
                **({columns.OBSM_CODES: self._z} if self._z is not None else {}),
                **({columns.OBSM_UMAP: self._umap} if self._extras.umap else {}),
            },
            uns={columns.UNS: _without_none(self._about)},
        )

    def _obs(self) -> dict[str, Any]:
        n_clusters = self._p.shape[1]
        populations, samples = self._extras.populations, self._extras.samples
        of_files = [samples.of(file) for file in self._written_files]
        return {
            columns.FILE: _categorical(self._file, self._written_files),
            **{
                name: _text_categorical(self._file, [texts[position] for texts in of_files])
                for position, name in enumerate(samples.columns)
            },
            columns.EVENT: self._event,
            columns.CLUSTER: _categorical(self._cluster - 1, [str(number) for number in range(1, n_clusters + 1)]),
            columns.PROBABILITY: self._probability,
            **(self._populations() if populations else {}),
            **({columns.NOVELTY: self._novelty[:, 0]} if self._extras.novelty else {}),
        }

    def _populations(self) -> dict[str, Any]:
        names = self._extras.names
        return {
            columns.POPULATION: _text_categorical(self._cluster - 1, names.of_cluster),
            columns.POPULATION_PROBABILITY: names.probability(self._cluster, self._p),
        }


def _categorical(codes: Any, names: Sequence[str]) -> Any:
    """A categorical of ``names[code]`` for each of the int32 codes."""
    categories = pd.Index(np.array(names, dtype=object))
    return pd.Categorical.from_codes(codes, categories=categories.astype(object))


def _text_categorical(codes: NDArray[np.int32], texts: Sequence[str]) -> Any:
    """A categorical of ``texts[code]``; several codes may have the same text."""
    names = list(dict.fromkeys(texts))
    positions = np.array([names.index(text) for text in texts], dtype=np.int32)
    return _categorical(positions[codes], names)


def _without_none(content: Mapping[str, object]) -> dict[str, object]:
    """``content`` without entries that are None, which HDF5 cannot store."""
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
        if value is not None
    }
