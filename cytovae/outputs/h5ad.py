"""All cells as one AnnData file, for scanpy: markers, codes and probabilities beside the rows of the other tables."""

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
from cytovae.events.panel import Panel
from cytovae.outputs.columns import PLAIN, Extras, measured


class H5adWriter:
    """All cells as one AnnData file, for scanpy; a context manager. Needs the extra ``h5ad``.

    X holds the transformed markers (float32); ``obs`` file, event, cluster (as text, so that it is plotted as a
    category), population where there are names, probability, and what else ``extras`` name; ``obsm`` the probabilities
    "p" (n_cells, n_clusters), the latent codes "z" (n_cells, d) and, where they were asked for, the UMAP coordinates
    "X_umap" (n_cells, 2); ``var`` channel and cofactor of each marker; ``uns["cytovae"]`` what ``about`` says, without
    what is None. ``read`` gives transformed values and codes of the events of a file from a
    first one to before a last one.

    The format is written in one piece: all of this is held in memory, 4 · (n_markers + n_clusters + d) bytes a cell and
    some 100 more for the rest of its row, twice while it is written.
    """

    def __init__(
        self,
        target: Path,
        panel: Panel,
        n_clusters: int,
        n_rows: int,
        read: Callable[[str, int, int], tuple[NDArray[np.float32], NDArray[np.float32]]],
        *,
        about: Mapping[str, object] | None = None,
        extras: Extras = PLAIN,
        force: bool = False,
    ) -> None:
        self.target = target
        self.force = force
        self._panel = panel
        self._n_rows = n_rows
        self._read = read
        self._about = dict(about or {})
        self._extras = extras
        self._novelty = np.empty((n_rows, int(extras.novelty)), dtype=np.float32)
        self._umap = np.empty((n_rows, 2 * extras.umap), dtype=np.float32)
        self._values = np.empty((n_rows, len(panel)), dtype=np.float32)
        self._p = np.empty((n_rows, n_clusters), dtype=np.float32)
        self._z: NDArray[np.float32] | None = None
        self._cluster = np.empty(n_rows, dtype=np.int32)
        self._probability = np.empty(n_rows, dtype=np.float32)
        self._event = np.empty(n_rows, dtype=np.int64)
        self._file = np.empty(n_rows, dtype=np.int32)
        self._files: list[str] = []
        self._done = 0

    def __enter__(self) -> "H5adWriter":
        check_target(self.target, force=self.force)
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Take the cells ``first_event``, ``first_event`` + 1, … of ``file``.

        Raises :class:`NumericalError` where probabilities do not sum to 1 or do not fit the cluster.
        """
        check_assignment(assignment, self._p.shape[1], file)
        n_cells = len(assignment)
        if self._done + n_cells > self._n_rows:
            raise OutputError(f"{self.target} was not written: there are more than {self._n_rows} cells")
        values, codes = self._read(file, first_event, first_event + n_cells)
        if self._z is None:
            self._z = np.empty((self._n_rows, codes.shape[1]), dtype=np.float32)
        if file not in self._files:
            self._files.append(file)
        rows = slice(self._done, self._done + n_cells)
        self._values[rows], self._z[rows] = values, codes
        self._p[rows], self._cluster[rows] = assignment.probabilities, assignment.cluster
        self._probability[rows] = probability_of(assignment)
        self._novelty[rows], self._umap[rows] = measured(assignment, self._extras)
        self._event[rows] = np.arange(first_event, first_event + n_cells)
        self._file[rows] = self._files.index(file)
        self._done += n_cells

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._done != self._n_rows:
            raise OutputError(f"{self.target} was not written: {self._done} of {self._n_rows} cells were assigned")
        # Into memory first: HDF5 ends the process where a disk is full.
        content = io.BytesIO()
        with import_module("h5py").File(content, "w") as file:
            import_module("anndata.io").write_elem(file, "/", self._annotated())
        with whole_file(self.target, force=self.force) as partial, partial.open("xb") as stream:
            stream.write(content.getbuffer())

    def _annotated(self) -> Any:
        """The AnnData object. Text has the dtype object: pandas 3 has another by default, which is refused there."""
        n_clusters = self._p.shape[1]
        index = pd.Index(np.arange(self._n_rows).astype(str), dtype=object)
        populations, samples = self._extras.populations, self._extras.samples
        of_file = [samples.of(file) for file in self._files]
        obs = {
            "file": _categories(self._file, self._files),
            **{
                name: _texts(self._file, [texts[place] for texts in of_file])
                for place, name in enumerate(samples.columns)
            },
            "event": self._event,
            "cluster": _categories(self._cluster - 1, [str(number) for number in range(1, n_clusters + 1)]),
            **({"population": _categories(self._cluster - 1, populations)} if populations else {}),
            "probability": self._probability,
            **({"novelty": self._novelty[:, 0]} if self._extras.novelty else {}),
        }
        markers = pd.Index(self._panel.names, dtype=object)
        var = {
            "channel": pd.Series([marker.channel for marker in self._panel.markers], markers, dtype=object),
            "cofactor": pd.Series(self._panel.cofactors, markers),
        }
        return import_module("anndata").AnnData(
            X=self._values,
            obs=pd.DataFrame(obs, index=index),
            var=pd.DataFrame(var, index=markers),
            obsm={
                "p": self._p,
                **({"z": self._z} if self._z is not None else {}),
                **({"X_umap": self._umap} if self._extras.umap else {}),
            },
            uns={"cytovae": _without_none(self._about)},
        )


def _categories(codes: NDArray[np.int32], names: Sequence[str]) -> Any:
    categories = pd.Index(np.array(names, dtype=object))
    return pd.Categorical.from_codes(codes, categories=categories.astype(object))


def _texts(codes: NDArray[np.int32], texts: Sequence[str]) -> Any:
    """A text for each code as a category; several codes may have the same one."""
    names = list(dict.fromkeys(texts))
    place = np.array([names.index(text) for text in texts], dtype=np.int32)
    return _categories(place[codes], names)


def _without_none(content: Mapping[str, object]) -> dict[str, object]:
    """The same, without entries that are None, which HDF5 cannot hold."""
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
        if value is not None
    }
