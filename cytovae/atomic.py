"""Outputs that appear whole or not at all: the hidden names used on the way, and when content is on the disk."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_LONGEST_NAME = 255  # bytes, on every file system in use


def hidden_name(path: Path, ending: str) -> Path:
    """A new name in the folder of ``path`` for what is not yet (or no longer) ``path``: ``.NAME.8 hex digits.ENDING``.

    Of a long NAME the beginning is taken, so that the whole still can be a name.
    """
    return beside(path, f"{secrets.token_hex(4)}.{ending}")


def hidden_names(path: Path, ending: str) -> Iterator[Path]:
    """What is there under names that :func:`hidden_name` gave, also in processes that are gone."""
    pattern = beside(path, f"{'?' * 8}.{ending}").name
    begin, end = pattern.split("?" * 8)
    for entry in path.parent.iterdir():
        middle = entry.name.removeprefix(begin).removesuffix(end)
        if entry.name == f"{begin}{middle}{end}" and len(middle) == 8 and not set(middle) - set("0123456789abcdef"):
            yield entry


def beside(path: Path, ending: str) -> Path:
    """``.NAME.ENDING`` in the folder of ``path``, always the same."""
    tail = f".{ending}"
    name = os.fsencode(path.name)[: _LONGEST_NAME - len(tail) - 1].decode("utf-8", "ignore")  # no half characters
    return path.with_name(f".{os.fsdecode(name.encode())}{tail}")


def readable(path: Path | str) -> str:
    """A path as text that can be written anywhere; bytes of it that are no text are spelled with a backslash."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk: before that a rename may outlive its content.

    Raises :class:`OSError` where a file cannot be written. Folders that cannot be flushed (some network disks) are let
    be.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:
            raise
    finally:
        os.close(descriptor)


def put_in_place(partial: Path, final: Path, *, force: bool) -> None:
    """Give a file that is whole its name, once it is on the disk; without ``force`` only where nothing has that name.

    Raises :class:`FileExistsError` where something has it, whoever came first, and :class:`OSError` where it cannot be.
    """
    flush_to_disk(partial)
    if force:
        partial.replace(final)
    else:
        try:
            final.hardlink_to(partial)  # unlike a rename it never replaces what another process has just written
        except FileExistsError:
            raise
        except OSError:  # a disk without links
            if os.path.lexists(final):
                raise FileExistsError(f"{final} exists already") from None
            partial.rename(final)
        else:
            partial.unlink()
    flush_to_disk(final.parent)
