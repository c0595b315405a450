"""One process at a time in a folder."""

import contextlib
import os
import shutil
from pathlib import Path

from cytovae.errors import OutputError

try:
    import fcntl
except ImportError:  # not on Windows, where two processes may hold the folder
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = "lock"


class FolderLock:
    """A lock on ``folder``, which is created if missing. It ends with its process, however the process ends.

    The lock is an open descriptor of a file in the folder. On file systems without locks it has no effect.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def acquire(self, if_taken: str) -> None:
        """Take the lock.

        Raises
        ------
        OutputError
            If ``folder`` is not a folder, or with the message ``if_taken`` if another process holds the lock.
        OSError
            If the folder cannot be created or written.
        """
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise OutputError(f"{self.folder} is not a folder; move it away, or name another output")
        path = self.folder / LOCK_NAME
        while self._descriptor is None:
            self.folder.mkdir(exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:  # another process has just removed the folder
                continue
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise OutputError(if_taken) from error
            except OSError:  # a file system without locks
                pass
            if _same_file(descriptor, path):
                self._descriptor = descriptor
            else:  # the folder was removed and created again before the lock was taken
                os.close(descriptor)

    def release(self, *, remove_folder: bool) -> None:
        """Give the lock back, after removing the folder if asked to; does nothing without the lock."""
        if self._descriptor is None:
            return
        if remove_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._descriptor)
        self._descriptor = None

    def empty_folder(self) -> None:
        """Remove every file but the lock itself; what cannot be removed stays."""
        with contextlib.suppress(OSError):
            for entry in self.folder.iterdir():
                if entry.name != LOCK_NAME:
                    entry.unlink()


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
