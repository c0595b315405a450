"""Files, arrays, data frames and AnnData to marker values."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae.api.data import as_event_files
from cytovae.cells import CellTable
from cytovae.events.compensation import NO_COMPENSATION, Compensation
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import files_of_study
from cytovae.events.panel import Panel, resolve_panel
from cytovae.events.transform import Logicle
from cytovae.fcs.placement import Offsets
from cytovae.study.sampling import Sampling, draw_cells
from cytovae.study.study_transform import TransformOption, panel_and_transform
from cytovae.study.train_study import TrainStudy

if TYPE_CHECKING:
    from cytovae.study.inspect_files import FileSummary


@dataclass(frozen=True, eq=False)
class StudyCells:
    """Marker values of cells, and how they were read.

    Attributes
    ----------
    table : CellTable
        Transformed values and the origin of each cell.
    study : TrainStudy
        Files, panel, transform and compensation.
    """

    table: CellTable
    study: TrainStudy

    def __len__(self) -> int:
        return len(self.table)

    @property
    def values(self) -> NDArray[np.float32]:
        """Transformed marker values, (n_cells, n_markers)."""
        return self.table.values

    @property
    def markers(self) -> tuple[str, ...]:
        """Names of the markers."""
        return self.table.markers


def open_events(
    path: str | PathLike[str],
    *,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Offsets = "auto",
) -> "EventFile | tuple[EventFile, ...]":
    """Open an FCS file, a CSV or Parquet table, or an .h5ad file, without reading its events.

    Parameters
    ----------
    path : path
        The file. The FCS files in a folder are opened as a tuple.
    layer, file_key
        For .h5ad files, see :func:`read_cells`. With ``file_key`` the result is a tuple of files.
    data_set, offsets
        For FCS files, see :func:`cytovae.fcs.file.open_fcs`.

    Raises
    ------
    InputError
        If the file cannot be read.

    Examples
    --------
    >>> import cytovae as cv
    >>> cv.open_events("sample_data/donor1_baseline.fcs").n_events
    2200
    """
    files = as_event_files(path, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
    return files if file_key is not None or Path(path).is_dir() else files[0]


def inspect(data: Any, *, layer: str | None = None, file_key: str | None = None) -> "tuple[FileSummary, ...]":
    """Summaries of the channels, values and warnings of files, arrays, data frames or AnnData.

    Parameters
    ----------
    data, layer, file_key
        See :func:`read_cells`.

    Examples
    --------
    >>> import cytovae as cv
    >>> cv.inspect("sample_data/donor1_baseline.fcs")[0].events
    2200
    """
    from cytovae.study.inspect_files import summarise

    return tuple(summarise(file) for file in as_event_files(data, layer=layer, file_key=file_key))


def choose_panel(
    data: Any,
    *,
    markers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    cofactor: float | None = None,
    state_markers: bool = False,
) -> Panel:
    """Choose the markers in a file, array, data frame or AnnData.

    Parameters
    ----------
    data : path, EventFile, DataFrame, AnnData or StudyCells
        The data; of several files, the first.
    markers : sequence of str
        The markers to use. Default: all channels that look like type markers.
    exclude : sequence of str
        Markers to leave out.
    cofactor : float, optional
        Cofactor of arcsinh(x / cofactor). Default: by the instrument and the values; 5 is usual for mass cytometry, 150
        for flow cytometry, and 3000 for spectral flow cytometry.
    state_markers : bool
        Whether the default includes state markers: signalling, cytokines, cell cycle.

    Returns
    -------
    Panel
        The markers in column order.

    Raises
    ------
    PanelError
        If a name is unknown or ambiguous, or no marker is left.

    Examples
    --------
    >>> import cytovae as cv
    >>> cv.choose_panel("sample_data/donor1_baseline.fcs", exclude=["CD45"]).names[:3]
    ('CD3', 'CD4', 'CD8a')
    """
    files = as_event_files(data)

    def resolve(cofactor: float) -> Panel:
        return resolve_panel(files[0], markers=markers, exclude=exclude, cofactor=cofactor, state_markers=state_markers)

    return panel_and_transform(files, resolve, cofactor=cofactor)[0]


def read_cells(
    data: Any,
    panel: Panel | None = None,
    *,
    markers: Sequence[str] = (),
    transform: TransformOption = "auto",
    cofactor: float | None = None,
    logicle: Logicle | None = None,
    compensation: Compensation = NO_COMPENSATION,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Offsets = "auto",
    at_most: int | None = None,
    max_events_per_file: int | None = None,
    sampling: Sampling = "proportional",
    seed: int = 0,
) -> StudyCells:
    """Read marker values of cells from files, arrays, data frames or AnnData.

    Parameters
    ----------
    data : path, EventFile, array of shape (n_cells, n_markers), DataFrame, AnnData, or a list of them
        The cells. An array needs ``markers``.
    panel : Panel, optional
        The markers. Default: those of :func:`choose_panel` with ``markers`` and ``cofactor``.
    markers : sequence of str
        The markers to use; for an array, the names of its columns.
    transform : {"auto", "arcsinh", "logicle", "none"}
        Transform of the values. "auto" is arcsinh, or none for values that are already transformed.
    cofactor : float, optional
        Cofactor of arcsinh, if no ``panel`` is given. Default: by the instrument and the values.
    logicle : Logicle, optional
        Parameters of the logicle scale.
    compensation : Compensation
        Compensation before the transform.
    layer : str, optional
        Layer of an AnnData that holds the values. Default: X.
    file_key : str, optional
        Column of ``obs`` of an AnnData: the cells of each of its values are a file of their own.
    data_set, offsets
        Data set and offsets of FCS files, see :func:`cytovae.fcs.file.open_fcs`.
    at_most, max_events_per_file, sampling, seed
        Random sample of the cells, see :func:`cytovae.study.sampling.sample_sizes`. Default: all cells.

    Raises
    ------
    PanelError
        If a file lacks a marker.
    InputError
        If a file cannot be read, or a value is not finite.

    Examples
    --------
    >>> import cytovae as cv
    >>> cells = cv.read_cells(["sample_data/donor1_baseline.fcs"], markers=["CD3", "CD19"], at_most=100)
    >>> cells.values.shape
    (100, 2)
    """
    raw = as_event_files(data, markers=markers, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
    compensated = tuple(compensation.of(file) for file in raw)

    def resolve(cofactor: float) -> Panel:
        return panel or resolve_panel(compensated[0], markers=markers, cofactor=cofactor)

    chosen, scale, choice = panel_and_transform(compensated, resolve, transform, cofactor, logicle=logicle)
    study = TrainStudy(raw, files_of_study(compensated, chosen, scale), chosen, scale, compensation, choice=choice)
    table = draw_cells(
        study.files, at_most=at_most, max_events_per_file=max_events_per_file, sampling=sampling, seed=seed
    )
    return StudyCells(table, study)
