"""Files and folders that appear whole or not at all."""

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cytovae.errors import OutputError
from cytovae.plain_file import folder_exists, resolved

_LONGEST_NAME = 255  # bytes, on every common file system
_LONGEST_STEM = 150  # bytes; leaves room for hidden names
_HEX_DIGITS = frozenset("0123456789abcdef")


# --- checks before any work -------------------------------------------------------------------------------------------


def check_target(path: Path, *, force: bool = False) -> None:
    """Check that a file can be written at ``path``.

    Parameters
    ----------
    path
        The file to write.
    force
        Accept an existing plain file, which is then replaced.

    Raises
    ------
    OutputError
        If something is in the way, or the parent folder is missing or not writable.
    """
    mode = _mode_of(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder; add a slash at its end to write one output per file there")
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError(f"{path} is not a plain file and is not replaced; use -o - for standard output")
    if mode is not None and not force:
        raise already_exists(path)
    check_parent(path, resolved(path).parent)


def _mode_of(path: Path) -> int | None:
    """Type of the file at ``path``, None if there is none. Raises :class:`OutputError` if there never can be."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a loop of links, a name that is too long, no permission
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        shown = str(path).replace("\0", "\\0")
        raise OutputError(f"{shown} cannot be written: a name cannot contain the character NUL") from error


def check_parent(path: Path, parent: Path) -> None:
    """Raise :class:`OutputError` unless ``parent``, the folder that will hold ``path``, is a writable folder."""
    if not folder_exists(parent):
        raise OutputError(f"{path} cannot be written: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {parent}")


def check_files_in(folder: Path, names: Iterable[str], *, force: bool = False) -> None:
    """Check that files with these ``names`` can be written in ``folder``, which is created with its parents if missing.

    Parameters
    ----------
    folder
        The folder. It may hold other files.
    names
        The files to write.
    force
        Accept existing plain files, which are then replaced.

    Raises
    ------
    OutputError
        If something is in the way, or the folder cannot be created.
    """
    if (mode := _mode_of(folder)) is not None:
        if not stat.S_ISDIR(mode):
            raise OutputError(f"{folder} is not a folder; choose another one")
        for name in names:
            check_target(folder / name, force=force)
        return
    if folder.is_symlink():
        raise OutputError(f"{folder} is a link that leads nowhere; choose another folder")
    parent = folder.absolute().parent
    while _mode_of(parent) is None and parent != parent.parent:
        parent = parent.parent
    check_parent(folder, parent)


def check_own_folder(
    folder: Path, mark: str, belongs: Callable[[str], bool], what: str, *, force: bool = False
) -> None:
    """Check that a folder of results can be written, which replaces an earlier one as a whole.

    Parameters
    ----------
    folder
        The folder. It must be new or empty; with ``force`` it may be an earlier result.
    mark
        The file that every such result has.
    belongs
        Whether a name is that of a file or folder in such a result. A folder with any other entry is never replaced.
    what
        What the result is called, for messages.
    force
        Accept an earlier result.

    Raises
    ------
    OutputError
        If something else is in the way, or the parent folder is missing or not writable.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder; choose another name for the {what}")
    if folder.is_symlink():
        raise OutputError(f"{folder} is a link; name the folder itself, because it is replaced as a whole")
    entries = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in entries if not belongs(name)]
    if others or (entries and mark not in entries):
        shown = (others or entries)[0]
        raise OutputError(f"{folder} holds other files, such as {shown}; choose a new folder for the {what}")
    if entries and not force:
        raise OutputError(f"{folder} holds a {what} already; use --force to replace it, or another name")
    check_parent(folder, folder.absolute().parent)


def already_exists(path: Path | str) -> OutputError:
    """The error for an output that exists and may not be replaced."""
    return OutputError(f"{path} exists already; use --force to replace it, or another name")


@contextlib.contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Convert every :class:`OSError` of the block into an :class:`OutputError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


# --- writing ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool = False, ending: str = "partial") -> Iterator[Path]:
    """Write a file under a hidden name; it becomes ``path`` when the block ends without an error.

    If ``path`` is a symbolic link, the link stays and its target is replaced.

    Parameters
    ----------
    path
        The file to write.
    force
        Replace an existing plain file.
    ending
        The suffix of the hidden name, for writers that choose the format by suffix.

    Yields
    ------
    Path
        The hidden name to write to, in the folder of ``path``. After an error nothing is left there.

    Raises
    ------
    OutputError
        If ``path`` exists (see :func:`check_target`), or if the file cannot be written.
    """
    check_target(path, force=force)
    final = resolved(path)
    partial = hidden_name(final, ending)
    try:
        with output_errors(path):
            yield partial
            check_target(final, force=force)  # it may have appeared in the meantime
            try:
                put_in_place(partial, final, force=force)
            except FileExistsError as error:
                raise already_exists(path) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, replacing an earlier one. Raises :class:`OutputError`."""
    with whole_file(path, force=True) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a hidden folder with files; it becomes ``path`` when the block ends without an error.

    An existing folder at ``path`` is replaced then, and only then. :func:`finish_rename` cleans up after a process
    that was killed in between.

    Yields
    ------
    Path
        The new hidden folder, beside ``path``.

    Raises
    ------
    OutputError
        If the folder or a file in it cannot be written.
    """
    final = path.absolute()
    partial = hidden_name(final, "partial")
    try:
        with output_errors(path):
            partial.mkdir()
            yield partial
            for entry in (*partial.iterdir(), partial):
                flush_to_disk(entry)
            _swap_in(partial, final)
            flush_to_disk(final.parent)
    except BaseException:  # a signal, too
        shutil.rmtree(partial, ignore_errors=True)
        raise


def finish_rename(final: Path) -> None:
    """Clean up after a process that was killed while :func:`whole_folder` wrote ``final``.

    A folder that was set aside returns if nothing replaced it. Partial folders are removed. Call this only while
    holding the lock of the folder.
    """
    for replaced in hidden_names(final, "replaced"):
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(final)
    for partial in hidden_names(final, "partial"):
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, final: Path, *, force: bool) -> None:
    """Flush a finished file to the disk and rename it to ``final``.

    Raises
    ------
    FileExistsError
        If ``final`` exists and ``force`` is not set, even if another process has created it just now.
    OSError
        If the file cannot be flushed or renamed.
    """
    flush_to_disk(partial)
    if force:
        partial.replace(final)
    else:
        try:
            final.hardlink_to(partial)  # a rename would replace a file that another process has just written
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(final):
                raise FileExistsError(f"{final} exists already") from None
            partial.rename(final)
        else:
            partial.unlink()
    flush_to_disk(final.parent)


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk. A rename may otherwise outlive the content.

    Raises :class:`OSError` if a file cannot be flushed. Folders that cannot be flushed (some network disks) are
    skipped.
    """
    folder_exists = path.is_dir()
    if folder_exists and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if folder_exists else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not folder_exists:
            raise
    finally:
        os.close(descriptor)


def _swap_in(partial: Path, final: Path) -> None:
    """Rename the folder ``partial`` to ``final``. An earlier folder is set aside first and removed last."""
    if not final.exists():
        partial.rename(final)
        return
    replaced = hidden_name(final, "replaced")
    final.rename(replaced)
    try:
        partial.rename(final)
    except BaseException:
        replaced.rename(final)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


# --- names ------------------------------------------------------------------------------------------------------------


def hidden_name(path: Path, ending: str) -> Path:
    """A new hidden name in the folder of ``path``: ``.NAME.8 hex digits.ENDING``. A long NAME is shortened."""
    return fixed_hidden_name(path, f"{secrets.token_hex(4)}.{ending}")


def hidden_names(path: Path, ending: str) -> Iterator[Path]:
    """The existing files and folders with a name from :func:`hidden_name`, from any process."""
    pattern = fixed_hidden_name(path, f"{'?' * 8}.{ending}").name
    begin, end = pattern.split("?" * 8)
    for entry in path.parent.iterdir():
        middle = entry.name.removeprefix(begin).removesuffix(end)
        if entry.name == f"{begin}{middle}{end}" and len(middle) == 8 and _HEX_DIGITS.issuperset(middle):
            yield entry


def fixed_hidden_name(path: Path, ending: str) -> Path:
    """The hidden name ``.NAME.ENDING`` in the folder of ``path``, always the same. A long NAME is shortened."""
    tail = f".{ending}"
    # Decoding with "ignore" drops a character that the cut has split.
    name = os.fsencode(path.name)[: _LONGEST_NAME - len(tail) - 1].decode("utf-8", "ignore")
    return path.with_name(f".{os.fsdecode(name.encode())}{tail}")


def file_name_of(name: str) -> str:
    """``name`` as the name of a file on every common system: what is forbidden there becomes an underscore."""
    clean = "".join("_" if c in '<>:"/\\|?*' or not c.isprintable() else c for c in name).strip(" .")
    return os.fsencode(clean)[:_LONGEST_STEM].decode("utf-8", "ignore") or "unnamed"


def readable(path: Path | str) -> str:
    """``path`` as valid Unicode; bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
