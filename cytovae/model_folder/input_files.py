"""The files that a model is trained on: their records in ``run.json`` describe the bytes that were read."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.atomic import readable
from cytovae.errors import InputError
from cytovae.events.event_file import EventFile
from cytovae.model_folder.layout import InputRecord
from cytovae.plain_file import sha256_of

_HINT = "Do not change files during training; run the command again."


@dataclass(frozen=True)
class FileIdentity:
    """What changes if a file is replaced or written: device, inode, size in bytes, time of the last change in ns."""

    device: int
    inode: int
    size: int
    changed: int


def identities(paths: Iterable[Path]) -> dict[Path, FileIdentity]:
    """The identity of each file, to be taken before the files are opened. Paths that cannot be read are left out."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except (OSError, ValueError):  # in memory, or refused when it is opened
            continue
        found[path] = FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def input_records(
    files: Sequence[EventFile],
    cells: Sequence[int],
    before: Mapping[Path, FileIdentity] | None = None,
    *,
    strict: bool = True,
) -> tuple[InputRecord, ...]:
    """The records of files, to be taken right after the events were read.

    Parameters
    ----------
    files
        The files, or events in memory, whose values are then recorded.
    cells
        Number of events of each that were read for training.
    before
        Identities from before the files were opened. Default: now.
    strict
        Raise an error for a file that is gone or is another one than before. Otherwise its checksum is left empty.

    Raises
    ------
    InputError
        With ``strict``, if a file is gone, unreadable, or another one than before.
    """
    before = identities(file.path for file in files) if before is None else before
    digests: dict[Path, str] = {}  # several files may be parts of one
    records = []
    for file, count in zip(files, cells, strict=True):
        if file.path not in before:
            values = file.read()  # in memory: an array, a data frame or an AnnData
            digest = hashlib.sha256(values.tobytes()).hexdigest()
            records.append(InputRecord(file.path.name, digest, values.nbytes, len(values), count))
            continue
        if file.path not in digests:
            try:
                digests[file.path] = _digest(file.path, before[file.path])
            except InputError:
                if strict:
                    raise
                digests[file.path] = ""
        size = before[file.path].size
        records.append(
            InputRecord(readable(file.path), digests[file.path], size, file.n_events, count, readable(file.part))
        )
    return tuple(records)


def _digest(path: Path, before: FileIdentity) -> str:
    """The SHA-256 of a file. Raises :class:`InputError` if it is not the same file as before."""
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "the file that was read", _HINT) from error
    if identities([path]) != {path: before}:
        raise InputError(path, "file", "another content than when it was opened", "the same content", _HINT)
    return digest
