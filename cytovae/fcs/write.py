"""Events → an FCS 3.1 file of float32 values, written by FlowIO under a temporary name, checked, then renamed."""

import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil, isfinite
from pathlib import Path
from typing import BinaryIO

import numpy as np
from flowio import create_fcs
from numpy.typing import ArrayLike, NDArray

from cytovae.atomic import hidden_name, put_in_place
from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel, read_channels
from cytovae.fcs.placement import place_data
from cytovae.fcs.text import read_text

# What FlowIO sets itself, or what would no longer be true of float32 values on a linear scale.
_SET_BY_THE_WRITER = re.compile(
    r"(?:BEGIN|END)(?:DATA|STEXT|ANALYSIS)|BYTEORD|DATATYPE|MODE|NEXTDATA|PAR|TOT|P\d+(?:[BENRS]|DATATYPE)"
)


def write_fcs(
    path: str | Path,
    events: ArrayLike,
    channels: Sequence[Channel],
    keywords: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write ``events`` (n_events, n_channels) as float32, with the channels' names, labels and ranges.

    $PnR is the channel's range or the largest value plus one, whichever is more. Names are made such that this
    package, FlowIO and fcsparser read the same ones back: see :func:`clean_name`. Of ``keywords`` those are kept that
    do not describe the layout. The file appears whole under its name, or not at all.

    Raises :class:`OutputError` where ``path`` exists and ``force`` is not set, or cannot be written, and
    :class:`UsageError` where events and channels do not fit each other.
    """
    path = Path(path)
    values = np.ascontiguousarray(events, dtype="<f4")
    if values.ndim != 2 or values.shape[1] != len(channels) or not channels:
        raise UsageError(f"events of shape {values.shape} do not fit {len(channels)} channels")
    if not force and path.exists():
        raise OutputError(f"{path} exists already. Choose another name or allow overwriting with --force.")
    names = [clean_name(channel.name) or f"P{number}" for number, channel in enumerate(channels, start=1)]
    labels = [clean_name(channel.label) for channel in channels]
    metadata = _clean_keywords(keywords or {}, len(channels)) | {
        f"$P{number}R": _range(channel, values[:, number - 1]) for number, channel in enumerate(channels, start=1)
    }
    temporary = hidden_name(path, "partial")
    try:
        with temporary.open("xb") as file:
            _write(file, values, names, labels, metadata)
        _check(temporary, len(values), names, path)
        put_in_place(temporary, path, force=force)
    except FileExistsError as error:
        raise OutputError(f"{path} exists already. Choose another name or allow overwriting with --force.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def clean_name(name: str) -> str:
    """A channel's name as every reader gives it back.

    FlowIO writes TEXT with the delimiter "/" and doubles it inside a value, which cannot be undone at the ends of one,
    and drops every "$" when it reads: both become "_" there. Control characters become spaces, and blanks at
    the ends go.
    """
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = "".join(" " if unicodedata.category(character) == "Cc" else character for character in name)
    name = name.strip().replace("$", "_")
    inner = name.strip("/")
    return name.replace("/", "_") if not inner else name.replace(inner, "\0", 1).replace("/", "_").replace("\0", inner)


def _clean_keywords(keywords: Mapping[str, str], n_channels: int) -> dict[str, str]:
    """Keywords that may be written beside the writer's own, in a form that can be read back."""
    kept = {}
    for name, value in keywords.items():
        name = clean_name(name.strip().lstrip("$")).replace("/", "_").upper()
        value = value.encode("utf-8", "replace").decode("utf-8")
        channel = re.match(r"P(\d+)[A-Z]", name)
        if not name or not value.strip() or _SET_BY_THE_WRITER.fullmatch(name):
            continue
        if channel and not 1 <= int(channel[1]) <= n_channels:
            continue
        # A delimiter at the end of a value cannot be told from the one that ends it.
        kept[name] = f"{' ' * value.startswith('/')}{value}{' ' * value.endswith('/')}"
    return kept


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
    for padding in range(4):
        # FlowIO miscounts TEXT where an offset in it would just gain a digit, and says so; another length helps.
        more = {"CYTOVAE_PADDING": "-" * 16 * padding} if padding else {}
        try:
            create_fcs(file, flat, names, opt_channel_names=labels, metadata_dict=metadata | more)
        except Exception as error:
            if "text offset" not in str(error) or padding == 3:
                raise
        else:
            return


def _check(written: Path, n_events: int, names: list[str], path: Path) -> None:
    """What was written must be what is read back, before it gets its name."""
    text = read_text(written, None)
    channels = read_channels(text, [])
    found, _ = place_data(text, 4 * len(channels), "auto", [])
    if found != n_events or [channel.name for channel in channels] != names:
        raise OutputError(f"{path} was not written: what was read back differs from the events and names given")
