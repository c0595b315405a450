"""One file seen through a panel and a transform: marker values, checked, in chunks or by row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.events.compensation import CompensatedFile, CompensationState, compensation_state
from cytovae.events.event_file import EventFile, file_names
from cytovae.events.panel import Panel, columns_in_study, columns_of
from cytovae.events.transform import Transform, check_finite
from cytovae.events.value_scale import file_scale, scale_warning
from cytovae.fcs.file import FcsFile

EVENTS_PER_CHUNK = 32_768


@dataclass(frozen=True, eq=False)
class MarkerFile:
    """A file of events as a model sees it: its markers, in the order of the panel, on the scale of the model.

    Attributes
    ----------
    file : EventFile
        The events, compensated if the study asks for it.
    panel : Panel
        The markers.
    transform : Transform
        What turns raw values into marker values.
    columns : tuple of int
        The channel index of each marker in ``file``.
    name : str
        How tables name the file.
    """

    file: EventFile
    panel: Panel
    transform: Transform
    columns: tuple[int, ...]
    name: str

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.file.n_events

    def raw(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Values of the markers of events ``start`` to ``stop`` − 1 before the transform, (n, n_markers)."""
        return self.file.read(self.columns, start, stop)

    def values(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Marker values of events ``start`` to ``stop`` − 1.

        Returns
        -------
        ndarray of shape (n, n_markers)
            Transformed values, all finite.

        Raises
        ------
        InputError
            If a marker has a value that is not finite, before or after the transform.
        """
        return self._transformed(self.raw(start, stop))

    def values_at(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Marker values (len(rows), n_markers) of the events at ascending ``rows``; see :meth:`values`."""
        return self._transformed(self._raw_at(rows))

    def chunks(self, n_events: int = EVENTS_PER_CHUNK) -> Iterator[NDArray[np.float32]]:
        """All marker values in chunks of at most ``n_events`` rows; see :meth:`values`."""
        for start in range(0, self.n_events, n_events):
            yield self.values(start, min(start + n_events, self.n_events))

    def warnings(self) -> tuple[str, ...]:
        """What a user should know about the file, one sentence each.

        These are oddities that the reader tolerated, a spillover matrix that is not applied, and values that do not
        suit the transform (judged by the first 20,000 events).
        """
        found = list(self.file.notes)
        applies = (CompensationState.NOT_COMPENSATED, CompensationState.UNUSABLE)
        if not isinstance(self.file, CompensatedFile) and compensation_state(self.file, self.columns) in applies:
            found.append(
                "it carries a spillover matrix, which is not applied; --compensate file does, if values are raw."
            )
        warning = scale_warning(file_scale(self.file, self.columns), self.transform.cofactors, self.transform.kind)
        return (*found, f"{warning}.") if warning else tuple(found)

    def _transformed(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        check_finite(raw, self.panel.names, self.file.path)
        with np.errstate(over="ignore"):
            values = self.transform.apply(raw)
        if raw.dtype != np.float32:  # a float64 may be too large for a float32
            check_finite(values, self.panel.names, self.file.path)
        return values

    def _raw_at(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        raw = np.empty((len(rows), len(self.columns)), dtype=self.file.dtype)
        if not len(rows):
            return raw
        step, columns = EVENTS_PER_CHUNK, list(self.columns)
        if isinstance(self.file, FcsFile):
            return self.file.read_at(rows, columns)  # reads these rows only
        for number, chunk in enumerate(self.file.chunks(columns, step)):
            low, high = np.searchsorted(rows, [number * step, (number + 1) * step])
            raw[low:high] = chunk[rows[low:high] - number * step]
        return raw


def files_of_study(files: Sequence[EventFile], panel: Panel, transform: Transform) -> tuple[MarkerFile, ...]:
    """The files of a training run through the panel of the first one.

    Raises :class:`PanelError` if a file lacks a marker.
    """
    return _marker_files(files, panel, transform, columns_in_study)


def files_for_model(files: Sequence[EventFile], panel: Panel, transform: Transform) -> tuple[MarkerFile, ...]:
    """Files through the panel of a trained model. Raises :class:`ModelError` if a file lacks a marker."""
    return _marker_files(files, panel, transform, columns_of)


def _marker_files(
    files: Sequence[EventFile],
    panel: Panel,
    transform: Transform,
    locate: Callable[[Panel, EventFile], NDArray[np.int64]],
) -> tuple[MarkerFile, ...]:
    return tuple(
        MarkerFile(file, panel, transform, tuple(locate(panel, file).tolist()), name)
        for file, name in zip(files, file_names(files), strict=True)
    )
