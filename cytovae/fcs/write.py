"""Events to an FCS 3.1 file, chunk by chunk, read back before it gets its name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytovae.atomic import whole_file
from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel, read_channels
from cytovae.fcs.placement import locate_data
from cytovae.fcs.text import read_text
from cytovae.fcs.write_text import clean_name, header_and_text, kept_keywords

_EXACT_INTEGERS = 1 << 53  # float64 holds every whole number up to here


def write_fcs(
    path: str | Path,
    events: ArrayLike,
    channels: Sequence[Channel],
    keywords: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write an array as an FCS file of float32 values. It appears complete under its name, or not at all.

    Parameters
    ----------
    path
        The file to write.
    events
        Values of shape (n_events, n_channels), stored as float32.
    channels, keywords, force
        See :func:`write_fcs_chunks`.

    Raises
    ------
    OutputError
        If ``path`` exists and ``force`` is False, or it cannot be written.
    UsageError
        If ``events`` and ``channels`` do not fit.
    """
    values = np.asarray(events, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != len(channels) or not channels:
        raise UsageError(f"events of shape {values.shape} do not fit {len(channels)} channels")
    write_fcs_chunks(path, lambda: (values,), channels, keywords, force=force)


def write_fcs_chunks(
    path: str | Path,
    chunks: Callable[[], Iterable[NDArray[Any]]],
    channels: Sequence[Channel],
    keywords: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write events to an FCS file in bounded memory. It appears complete under its name, or not at all.

    Values are stored as float32 ($DATATYPE F), or all as float64 ($DATATYPE D) if float32 cannot hold one of them
    exactly. The same events, channels and keywords give the same bytes.

    Parameters
    ----------
    path
        The file to write.
    chunks
        Gives the events, arrays of shape (n, n_channels) of float32 or float64. It is called twice: the first pass
        finds the number of events, their ranges and their precision.
    channels
        Names, labels and ranges of the columns. Names and labels are cleaned, see
        :func:`cytovae.fcs.write_text.clean_name`. $PnR is the larger of the range and the largest value plus one.
    keywords
        Keywords to keep, with their "$". Those that describe the layout are ignored.
    force
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If ``path`` exists and ``force`` is False, or it cannot be written.
    """
    path = Path(path)
    names = [clean_name(channel.name) or f"P{number}" for number, channel in enumerate(channels, start=1)]
    with whole_file(path, force=force) as partial:
        found = _survey(chunks(), len(channels))
        layout = _layout(channels, names, found)
        dtype = np.dtype("<f4" if found.fits_float32 else "<f8")
        n_bytes = found.n_events * len(channels) * dtype.itemsize
        with partial.open("xb") as file:
            file.write(header_and_text(layout, kept_keywords(keywords or {}, len(channels)), n_bytes))
            for chunk in chunks():
                file.write(np.ascontiguousarray(chunk, dtype=dtype).data.cast("B") if chunk.size else b"")
        _check(partial, found.n_events, names, dtype, path)


def fits_float32(values: NDArray[Any]) -> bool:
    """Whether float32 holds every value exactly. NaN is held."""
    if values.dtype == np.float32:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        same = values.astype(np.float32) == values
    return bool(same.all() or (same | np.isnan(values)).all())


@dataclass(frozen=True)
class _Survey:
    """What the first pass finds: the number of events, the largest finite value of each channel, the precision."""

    n_events: int
    largest: NDArray[np.float64]
    fits_float32: bool


def _survey(chunks: Iterable[NDArray[Any]], n_channels: int) -> _Survey:
    n_events, fits, largest = 0, True, np.full(n_channels, -np.inf)
    for chunk in chunks:
        n_events += len(chunk)
        fits = fits and fits_float32(chunk)
        np.maximum(largest, chunk.max(axis=0, initial=-np.inf, where=np.isfinite(chunk)), out=largest)
    return _Survey(n_events, largest, fits)


def _layout(channels: Sequence[Channel], names: Sequence[str], found: _Survey) -> dict[str, str]:
    """The keywords that describe the layout, without the offsets of DATA."""
    segments = ("$BEGINANALYSIS", "$ENDANALYSIS", "$BEGINSTEXT", "$ENDSTEXT", "$NEXTDATA")
    layout = dict.fromkeys(segments, "0") | {
        "$BYTEORD": "1,2,3,4",
        "$DATATYPE": "F" if found.fits_float32 else "D",
        "$MODE": "L",
        "$PAR": str(len(channels)),
        "$TOT": str(found.n_events),
    }
    for number, (channel, name, largest) in enumerate(zip(channels, names, found.largest, strict=True), start=1):
        layout |= {
            f"$P{number}N": name,
            f"$P{number}B": "32" if found.fits_float32 else "64",
            f"$P{number}E": "0,0",
            f"$P{number}R": _range(float(channel.range), float(largest)),
        }
        if label := clean_name(channel.label):
            layout[f"$P{number}S"] = label
    return layout


def _range(given: float, largest: float) -> str:
    """$PnR: the given range if it exceeds the largest value, else that value plus one."""
    needed = max(largest, 0.0)
    needed = ceil(needed) + 1 if needed < _EXACT_INTEGERS else needed
    if not isfinite(given) or given <= needed:
        return str(needed)
    return str(int(given)) if given.is_integer() and given < _EXACT_INTEGERS else repr(given)


def _check(written: Path, n_events: int, names: Sequence[str], dtype: np.dtype[Any], path: Path) -> None:
    """Read the header and channels back and compare them with what was to be written."""
    text = read_text(written, None)
    channels = read_channels(text, [])
    n_written, _ = locate_data(text, dtype.itemsize * len(channels), "auto", [])
    if n_written != n_events or [channel.name for channel in channels] != list(names):
        raise OutputError(f"{path} was not written: the file read back differs from the given events and names")
