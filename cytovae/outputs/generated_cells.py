"""Generated cells as an FCS file or a table, in the units of the files that the model was trained on."""

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.atomic import check_target
from cytovae.errors import UsageError
from cytovae.events.channel_names import find_channels
from cytovae.events.spillover import identity_spillover
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import CLUSTER_CHANNEL, channel_label, generated_schema
from cytovae.outputs.formats import CellFormat
from cytovae.outputs.free_names import free_name
from cytovae.outputs.tables import write_cells
from cytovae.plain_file import resolved

if TYPE_CHECKING:
    from cytovae.inference.generation import GeneratedCells
    from cytovae.inference.trained_model import SavedModel


def channels_of(saved: "SavedModel") -> tuple[Channel, ...]:
    """The channels of the model's markers, named as in the file in which the markers were chosen."""
    channels = []
    for index, marker in enumerate(saved.panel.markers):
        label = marker.label or (marker.name if marker.name != marker.channel else "")
        channels.append(Channel(index, marker.channel or marker.name, label, 1.0))
    return tuple(channels)


def stays_compensated(saved: "SavedModel") -> bool:
    """Whether generated values stay compensated, because the compensation cannot be undone.

    That is so if each file was compensated by its own matrix, or if the one matrix for all files has a channel that is
    not a marker, because the model does not generate its values.
    """
    return saved.compensation.source != "none" and _spillover_markers(saved) is None


def measured_values(saved: "SavedModel", values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw values for transformed ``values`` (n, n_markers), with spillover; see :func:`stays_compensated`."""
    raw = saved.transform.invert(values)
    markers, spillover = _spillover_markers(saved), saved.compensation.spillover
    if markers is not None and spillover is not None:
        raw[:, markers] = (raw[:, markers].astype(np.float64) @ spillover.values).astype(np.float32)
    return raw


def write_generated(
    target: Path | IO[bytes], saved: "SavedModel", cells: "GeneratedCells", kind: CellFormat, *, force: bool = False
) -> None:
    """Write generated cells with a column or channel for each marker, and one for the cluster (from 1).

    In FCS the channels have the names of the file in which the markers were chosen. Values that stay compensated are
    accompanied by an identity spillover matrix.

    Raises
    ------
    OutputError
        If the output exists already (without ``force``) or cannot be written.
    UsageError
        If the format is FCS and ``target`` is a stream.
    """
    raw = measured_values(saved, cells.values)
    if kind == "fcs":
        if not isinstance(target, Path):
            raise UsageError("fcs cannot go to standard output; name a file with --output")
        _write_fcs(target, saved, raw, cells.cluster, force=force)
        return
    columns = [pa.array(np.ascontiguousarray(column)) for column in (*raw.T, cells.cluster)]
    write_cells(target, pa.table(columns, schema=generated_schema(saved.panel.names)), kind, force=force)


def _write_fcs(
    target: Path, saved: "SavedModel", raw: NDArray[np.float32], cluster: NDArray[np.int32], *, force: bool
) -> None:
    check_target(target, force=force)
    channels = channels_of(saved)
    names = [channel.name for channel in channels]
    keywords = identity_spillover(names) if stays_compensated(saved) else {}
    events = np.column_stack([raw, cluster.astype(np.float32)])
    name = free_name(CLUSTER_CHANNEL, names)
    channels = (*channels, Channel(len(channels), name, channel_label(name), saved.model.highest_cluster + 1))
    write_fcs(resolved(target), events, channels, keywords, force=force)


def _spillover_markers(saved: "SavedModel") -> list[int] | None:
    """The marker of each channel of the one matrix for all files; None if there is none, or a channel is no marker."""
    if saved.compensation.spillover is None:
        return None
    matches = [find_channels(channels_of(saved), name) for name in saved.compensation.spillover.channels]
    return [channels[0].index for channels in matches] if all(len(channels) == 1 for channels in matches) else None
