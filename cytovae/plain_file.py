"""Input files: only plain local files are opened, never pipes, devices, folders or names of remote stores."""

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from cytovae.errors import InputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_plain(path: Path, field: str = "file", error: type[InputError] = InputError) -> None:
    """Raise ``error`` about ``field`` unless ``path`` is a plain file, or a link to one.

    Reading a pipe would wait for a writer, and no reader of this package can read a file only once.
    """
    expected = "a plain file"
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as cause:  # ValueError: a NUL character
        raise error(_shown(path), field, _reason(cause), expected) from cause
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise error(path, field, name, expected)


def open_plain(path: Path, field: str = "file", error: type[InputError] = InputError) -> BufferedReader:
    """Open a plain file for reading bytes; see :func:`check_plain`.

    Readers of other libraries get this stream instead of the name: pyarrow takes ``s3://`` and ``hdfs://`` for remote
    stores.
    """
    check_plain(path, field, error)
    try:
        return path.open("rb")
    except OSError as cause:
        raise error(path, field, _reason(cause), "a readable file") from cause


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises :class:`OSError` if it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_plain(path: Path) -> bool:
    """Whether ``path`` is a plain file, or a link to one. False for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or no permission
        return False


def folder_exists(path: Path) -> bool:
    """Whether ``path`` is a folder, or a link to one. False for a name that no folder can have."""
    try:
        return path.is_dir()
    except OSError:
        return False


def resolved(path: Path) -> Path:
    """``path`` as an absolute path without links. Never raises: a loop of links stays as it is."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path.absolute()


def _reason(cause: OSError | ValueError) -> str:
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(cause)


def _shown(path: Path) -> str:
    return str(path).replace("\0", "\\0")
