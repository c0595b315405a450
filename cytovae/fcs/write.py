"""Events to an FCS 3.1 file of float32 values, written by FlowIO and read back before it gets its name."""

import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from pathlib import Path
from typing import BinaryIO

import numpy as np
from flowio import create_fcs
from numpy.typing import ArrayLike, NDArray

from cytovae.atomic import whole_file
from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel, read_channels
from cytovae.fcs.placement import locate_data
from cytovae.fcs.text import read_text

# Keywords that FlowIO writes itself, or that are not true of linear float32 values.
_LAYOUT_KEYWORDS = re.compile(
    r"(?:BEGIN|END)(?:DATA|STEXT|ANALYSIS)|BYTEORD|DATATYPE|MODE|NEXTDATA|PAR|TOT|P\d+(?:[BENRS]|DATATYPE)"
)
_MAX_TRIES = 4


def write_fcs(
    path: str | Path,
    events: ArrayLike,
    channels: Sequence[Channel],
    keywords: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write an FCS file. It appears complete under its name, or not at all.

    Parameters
    ----------
    path
        The file to write.
    events
        Values of shape (n_events, n_channels), stored as float32.
    channels
        Names, labels and ranges of the columns. Names and labels are cleaned, see :func:`clean_name`. $PnR is the
        larger of the range and the largest value plus one.
    keywords
        Keywords to keep. Those that describe the layout are ignored.
    force
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If ``path`` exists and ``force`` is False, or it cannot be written.
    UsageError
        If ``events`` and ``channels`` do not fit.
    """
    path = Path(path)
    values = np.ascontiguousarray(events, dtype="<f4")
    if values.ndim != 2 or values.shape[1] != len(channels) or not channels:
        raise UsageError(f"events of shape {values.shape} do not fit {len(channels)} channels")
    names = [clean_name(channel.name) or f"P{number}" for number, channel in enumerate(channels, start=1)]
    labels = [clean_name(channel.label) for channel in channels]
    metadata = _clean_keywords(keywords or {}, len(channels)) | {
        f"$P{number}R": _range(channel, values[:, number - 1]) for number, channel in enumerate(channels, start=1)
    }
    with whole_file(path, force=force) as partial:
        with partial.open("xb") as file:
            _write(file, values, names, labels, metadata)
        _check(partial, len(values), names, path)


def clean_name(name: str) -> str:
    """Change a channel name so that this package, FlowIO and fcsparser all read it back unchanged.

    FlowIO writes the delimiter "/" doubled inside a value, which is ambiguous at the ends of a value, and drops every
    "$" on reading. Both become "_". Control characters become spaces, and blanks at the ends are removed.
    """
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = "".join(" " if unicodedata.category(character) == "Cc" else character for character in name)
    name = name.strip().replace("$", "_")
    inner = name.strip("/")
    return name.replace("/", "_") if not inner else name.replace(inner, "\0", 1).replace("/", "_").replace("\0", inner)


def _clean_keywords(keywords: Mapping[str, str], n_channels: int) -> dict[str, str]:
    """The keywords that do not describe the layout, in a form that can be read back."""
    cleaned = {}
    for name, value in keywords.items():
        name = clean_name(name.strip().lstrip("$")).replace("/", "_").upper()
        value = value.encode("utf-8", "replace").decode("utf-8")
        channel = re.match(r"P(\d+)[A-Z]", name)
        if not name or not value.strip() or _LAYOUT_KEYWORDS.fullmatch(name):
            continue
        if channel and not 1 <= int(channel[1]) <= n_channels:
            continue
        # A delimiter at either end of a value is ambiguous; a space separates it.
        cleaned[name] = f"{' ' * value.startswith('/')}{value}{' ' * value.endswith('/')}"
    return cleaned


def _range(channel: Channel, values: NDArray[np.float32]) -> str:
    finite = values[np.isfinite(values)]
    needed = ceil(float(finite.max())) + 1 if len(finite) else 1
    given = float(channel.range)
    if not isfinite(given) or given <= needed:
        return str(max(needed, 1))
    return str(int(given)) if given.is_integer() else repr(given)


def _write(
    file: BinaryIO, values: NDArray[np.float32], names: list[str], labels: list[str], metadata: dict[str, str]
) -> None:
    flat = array("f")
    flat.frombytes(values.data.cast("B") if values.size else b"")
    for attempt in range(_MAX_TRIES):
        # FlowIO miscounts TEXT, and raises, if an offset gains a digit in the last step; a longer TEXT avoids it.
        padding = {"CYTOVAE_PADDING": "-" * 16 * attempt} if attempt else {}
        try:
            create_fcs(file, flat, names, opt_channel_names=labels, metadata_dict=metadata | padding)
        except Exception as error:
            if "text offset" not in str(error) or attempt == _MAX_TRIES - 1:
                raise
        else:
            return


def _check(written: Path, n_events: int, names: list[str], path: Path) -> None:
    """Read the header and channels back and compare them with what was to be written."""
    text = read_text(written, None)
    channels = read_channels(text, [])
    n_written, _ = locate_data(text, 4 * len(channels), "auto", [])
    if n_written != n_events or [channel.name for channel in channels] != names:
        raise OutputError(f"{path} was not written: the file read back differs from the given events and names")
