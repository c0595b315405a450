"""Outputs that appear whole or not at all: the hidden names used on the way, and when content is on the disk."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from cytovae.errors import OutputError

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


@contextlib.contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def swap_in(partial: Path, final: Path) -> None:
    """Rename ``partial`` to ``final``; what was there is set aside first and removed last."""
    if not final.exists():
        partial.rename(final)
        return
    aside = hidden_name(final, "replaced")
    final.rename(aside)
    try:
        partial.rename(final)
    except BaseException:
        aside.rename(final)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def finish_rename(final: Path) -> None:
    """Put right what a process that was killed while it replaced the model left: the model it set aside goes back to
    its place if nothing took it, and what else it had in hand is removed. Only who holds the lock may.
    """
    for aside in hidden_names(final, "replaced"):
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(final)
    for partial in hidden_names(final, "partial"):
        shutil.rmtree(partial, ignore_errors=True)


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless a table can be written at ``path``: nothing is there (with ``force``: a plain
    file is allowed), and the folder it goes to can be written to.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; end it with a slash to get one output for each file there")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a plain file and is not replaced; use -o - for standard output")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; use --force to replace it, or another name")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {folder}")


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Another name in the folder of ``path`` to write to; it becomes ``path`` when the block ends without an error.

    Raises :class:`OutputError` where there is something already, or where it cannot be written.
    """
    check_target(path, force=force)
    final = path.resolve()  # a link stays, what it points to is replaced
    partial = hidden_name(final, "partial")
    try:
        yield partial
        check_target(final, force=force)  # it may have appeared in the meantime
        put_in_place(partial, final, force=force)
    except FileExistsError as error:
        raise OutputError(f"{path} exists already; use --force to replace it, or another name") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
