"""All cells as one AnnData file, for scanpy: marker values, latent codes and probabilities."""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.atomic import check_target, whole_file
from cytovae.cells import Assignment, GateLabels, check_assignment, probability_of
from cytovae.errors import OutputError, UsageError
from cytovae.events.marker_file import MarkerFile
from cytovae.events.panel import Panel
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import fits_float32
from cytovae.outputs import columns
from cytovae.outputs.columns import NO_EXTRAS, Extras, optional_values, qc_numbers


class H5adWriter:
    """All cells as one AnnData file; a context manager. Needs the extra ``h5ad``.

    ========== =====================================================================================================
    part       content
    ========== =====================================================================================================
    ``X``      marker values, float32
    ``layers`` ``raw``: marker values before the transform (compensated if the model compensates), float32
    ``obs``    the columns of a table of cells; file, cluster, population and the sample sheet are categories, and so is
               ``gate``, if there are gates; cells in no gate have none. Names are FILE:EVENT
    ``obsm``   ``p`` (n_cells, n_clusters) probabilities, ``z`` (n_cells, d) latent codes, ``X_umap`` if requested,
               ``other_channels``: the channels that are no markers, float64 if float32 does not hold them exactly; NaN
               where a file lacks the channel
    ``var``    channel and cofactor of each marker
    ``uns``    ``cytovae``: the mapping ``about``, without entries that are None, and the names ($PnN) and labels ($PnS)
               of ``obsm["other_channels"]``
    ========== =====================================================================================================

    AnnData is written in one piece, so all of this is held in memory, 4 · (n_markers + n_channels + n_clusters + d)
    bytes per cell and about 150 more for the other columns, twice while it is written.

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
    gates : GateLabels, optional
        The gates of all events of ``files``, in their order.
    extras : Extras
        Optional columns.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    UsageError
        If ``gates`` do not fit ``files``.
    """

    def __init__(
        self,
        target: Path,
        files: Sequence[MarkerFile],
        n_clusters: int,
        encode: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        *,
        about: Mapping[str, object] | None = None,
        gates: GateLabels | None = None,
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
        n_events = [file.n_events for file in files]
        self._n_rows = n_rows = sum(n_events)
        if gates is not None and len(gates) != n_rows:
            raise UsageError(f"gates of {len(gates)} events do not fit {n_rows} events")
        self._gates = gates
        self._first_row = dict(zip(self._files, np.cumsum([0, *n_events]).tolist(), strict=False))
        self._gate = np.empty(n_rows if gates is not None else 0, dtype=np.int32)
        self._raw = np.empty((n_rows, len(self._panel)), dtype=np.float32)
        self._others, self._other_columns = _other_channels(files)
        self._other_values = np.full((n_rows, len(self._others)), np.nan, dtype=np.float32)
        self._novelty = np.empty((n_rows, int(extras.novelty)), dtype=np.float32)
        self._umap = np.empty((n_rows, 2 * extras.umap), dtype=np.float32)
        self._values = np.empty((n_rows, len(self._panel)), dtype=np.float32)
        self._p = np.empty((n_rows, n_clusters), dtype=np.float32)
        self._z: NDArray[np.float32] | None = None  # the first chunk tells the number of columns
        self._cluster = np.empty(n_rows, dtype=np.int32)
        self._further = np.empty((n_rows, len(extras.further)), dtype=np.int32)
        self._probability = np.empty(n_rows, dtype=np.float32)
        self._qc = np.empty(n_rows if extras.qc else 0, dtype=np.int32)
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
        last_event = first_event + n_cells
        values = self._files[file].values(first_event, last_event)
        codes = self._encode(values)
        if self._z is None:
            self._z = np.empty((self._n_rows, codes.shape[1]), dtype=np.float32)
        if file not in self._written_files:
            self._written_files.append(file)
        rows = slice(self._n_written, self._n_written + n_cells)
        self._values[rows], self._z[rows] = values, codes
        self._raw[rows] = self._files[file].raw(first_event, last_event)
        self._put_others(rows, file, self._files[file].file.read(self._other_columns[file][0], first_event, last_event))
        if self._gates is not None:
            first = self._first_row[file]
            self._gate[rows] = self._gates.population[first + first_event : first + last_event]
        self._p[rows], self._cluster[rows] = assignment.probabilities, assignment.cluster
        for place, clusters in enumerate(columns.clusters_of_cuts(assignment, self._extras)[1:]):
            self._further[rows, place] = clusters
        self._probability[rows] = probability_of(assignment)
        self._novelty[rows], self._umap[rows] = optional_values(assignment, self._extras)
        if self._extras.qc:
            self._qc[rows] = qc_numbers(assignment)
        self._event[rows] = np.arange(first_event, last_event)
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

    def _put_others(self, rows: slice, file: str, values: NDArray[Any]) -> None:
        if self._other_values.dtype == np.float32 and not fits_float32(values):
            self._other_values = self._other_values.astype(np.float64)
        self._other_values[rows, self._other_columns[file][1]] = values

    def _anndata(self) -> Any:
        """The AnnData object. Text has the dtype object, because AnnData rejects the default text type of pandas 3."""
        markers = pd.Index(self._panel.names, dtype=object)
        var = {
            columns.VAR_CHANNEL: pd.Series([marker.channel for marker in self._panel.markers], markers, dtype=object),
            columns.VAR_COFACTOR: pd.Series(self._panel.cofactors, markers),
        }
        events = zip(self._file.tolist(), self._event.tolist(), strict=True)
        index = pd.Index([f"{self._written_files[file]}:{event}" for file, event in events], dtype=object)
        others = {columns.OBSM_OTHER: self._other_values} if self._others else {}
        about = _without_none(self._about) | {
            columns.UNS_OTHER_NAMES: np.array([channel.name for channel in self._others], dtype=object),
            columns.UNS_OTHER_LABELS: np.array([channel.label for channel in self._others], dtype=object),
        }
        return import_module("anndata").AnnData(
            X=self._values,
            layers={columns.LAYER_RAW: self._raw},
            obs=pd.DataFrame(self._obs(), index=index),
            var=pd.DataFrame(var, index=markers),
            obsm={
                columns.OBSM_PROBABILITIES: self._present_p(),
                **({columns.OBSM_CODES: self._z} if self._z is not None else {}),
                **({columns.OBSM_UMAP: self._umap} if self._extras.umap else {}),
                **others,
            },
            uns={columns.UNS: about},
        )

    def _present_p(self) -> NDArray[np.float32]:
        """The probabilities of the clusters whose numbers are in use."""
        retired = [number - 1 for number in self._extras.retired]
        return np.delete(self._p, retired, axis=1) if retired else self._p

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
            **({columns.GATE: _categorical(self._gate, self._gates.names)} if self._gates is not None else {}),
            **{
                name: _categorical(clusters - 1, [str(number) for number in range(1, most + 1)])
                for name, clusters, most in zip(
                    self._extras.clusters,
                    (self._cluster, *self._further.T),
                    (n_clusters, *self._extras.further),
                    strict=True,
                )
            },
            columns.PROBABILITY: self._probability,
            **(self._populations() if populations else {}),
            **({columns.QC: _categorical(self._qc, self._extras.qc)} if self._extras.qc else {}),
            **({columns.NOVELTY: self._novelty[:, 0]} if self._extras.novelty else {}),
        }

    def _populations(self) -> dict[str, Any]:
        names = self._extras.names
        if not names.known_below:
            return {
                columns.POPULATION: _text_categorical(self._cluster - 1, names.of_cluster),
                columns.POPULATION_PROBABILITY: names.probability(self._cluster, self._p),
            }
        number = names.numbers_of_cells(self._cluster, self._novelty[:, 0])
        return {
            columns.POPULATION: _text_categorical(number, (UNKNOWN, *names.populations)),
            columns.POPULATION_PROBABILITY: names.probability(self._cluster, self._p, number),
        }


def _other_channels(
    files: Sequence[MarkerFile],
) -> tuple[tuple[Channel, ...], dict[str, tuple[list[int], list[int]]]]:
    """The channels that are no markers in any file, and where each file has them.

    Channels of several files are the same if they have the same $PnN, or the same one in the same place among several.

    Returns
    -------
    channels
        The channels, those of the first file first.
    columns
        By the name of a file: indices of its channels, and the indices in ``channels`` of the same.
    """
    found: dict[tuple[str, int], Channel] = {}
    of_files: dict[str, list[tuple[int, tuple[str, int]]]] = {}
    for file in files:
        seen: Counter[str] = Counter()
        of_files[file.name] = []
        for channel in file.file.channels:
            if channel.index not in file.columns:
                key = (channel.name, seen[channel.name])
                seen[channel.name] += 1
                found.setdefault(key, channel)
                of_files[file.name].append((channel.index, key))
    positions = {key: position for position, key in enumerate(found)}
    located = {
        name: ([index for index, _ in channels], [positions[key] for _, key in channels])
        for name, channels in of_files.items()
    }
    return tuple(found.values()), located


def _categorical(codes: Any, names: Sequence[str]) -> Any:
    """A categorical of ``names[code]`` for each of the int32 codes; -1 is missing."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


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
