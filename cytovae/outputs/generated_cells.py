"""Generated cells → an FCS file or a table, in the units of the files that the model was trained on."""

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.atomic import check_target
from cytovae.errors import UsageError
from cytovae.events.channel_names import find_channels
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import CLUSTER_CHANNEL
from cytovae.outputs.formats import CellFormat
from cytovae.outputs.tables import write_cells

if TYPE_CHECKING:
    from cytovae.inference.generation import GeneratedCells
    from cytovae.inference.trained_model import SavedModel


CLUSTER_COLUMN = "cluster"


def channels_of(saved: "SavedModel") -> tuple[Channel, ...]:
    """The channels of the model's markers, as they were in the file where these were chosen."""
    channels = []
    for index, marker in enumerate(saved.panel.markers):
        label = marker.label or (marker.name if marker.name != marker.channel else "")
        channels.append(Channel(index, marker.channel or marker.name, label, 1.0))
    return tuple(channels)


def stays_compensated(saved: "SavedModel") -> bool:
    """Whether generated values are compensated ones: of files with matrices of their own, or where one matrix for all
    names channels that are no markers, so that nothing is known of what they measured.
    """
    return saved.compensation.source != "none" and _spilling(saved) is None


def measured_values(saved: "SavedModel", values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transformed ``values`` (n, m) as the detectors would have measured them, but see :func:`stays_compensated`."""
    raw = saved.transform.invert(values)
    columns, spillover = _spilling(saved), saved.compensation.spillover
    if columns is not None and spillover is not None:
        raw[:, columns] = (raw[:, columns].astype(np.float64) @ spillover.values).astype(np.float32)
    return raw


def _spilling(saved: "SavedModel") -> list[int] | None:
    """The markers that the channels of the one matrix are, None where there is none or one of them is no marker."""
    if saved.compensation.spillover is None:
        return None
    found = [find_channels(channels_of(saved), name) for name in saved.compensation.spillover.channels]
    return [channels[0].index for channels in found] if all(len(channels) == 1 for channels in found) else None


def write_generated(
    target: Path | IO[bytes], saved: "SavedModel", cells: "GeneratedCells", kind: CellFormat, *, force: bool = False
) -> None:
    """Write ``cells`` with a column or channel for each marker and one of the cluster (from 1).

    In FCS the channels are called as in the file where the markers were chosen, and values that are compensated say so
    by a matrix that changes nothing. Raises :class:`OutputError` where it cannot be written.
    """
    raw = measured_values(saved, cells.values)
    if kind != "fcs":
        columns = [pa.array(np.ascontiguousarray(column)) for column in raw.T]
        name = _free(CLUSTER_COLUMN, saved.panel.names)
        table = pa.table([*columns, pa.array(cells.cluster)], names=[*saved.panel.names, name])
        write_cells(target, table, kind, force=force)
        return
    if not isinstance(target, Path):
        raise UsageError("fcs cannot go to standard output; name a file with --output")
    check_target(target, force=force)
    channels = channels_of(saved)
    name = _free(CLUSTER_CHANNEL, [channel.name for channel in channels])
    keywords = {}
    if stays_compensated(saved):
        parts = [str(len(channels)), *(channel.name.replace(",", "_") for channel in channels)]
        keywords["SPILLOVER"] = ",".join([*parts, *(f"{entry:g}" for entry in np.eye(len(channels)).ravel())])
    events = np.column_stack([raw, cells.cluster.astype(np.float32)])
    channels = (*channels, Channel(len(channels), name, "", saved.model.n_clusters + 1))
    write_fcs(target.resolve(), events, channels, keywords, force=force)


def _free(name: str, taken: "tuple[str, ...] | list[str]") -> str:
    """``name``, with a number behind it where a marker is called so."""
    known = {other.casefold() for other in taken}
    number, free = 1, name
    while free.casefold() in known:
        number += 1
        free = f"{name}_{number}"
    return free
