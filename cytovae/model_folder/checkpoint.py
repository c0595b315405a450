"""Unfinished training ↔ a folder beside the model, so that training that was broken off goes on to the same bytes.

``.MODEL.state`` holds ``state.json``, which says what was asked for, and one safetensors file for each finished stage
and for the training loop. Each appears whole or not at all, carries a SHA-256 of its arrays, and is read without
pickle. One process at a time may hold the folder; the model's name is its alone for that time. The folder goes when
the model is written.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cytovae.atomic import finish_rename, fixed_hidden_name, hidden_name, put_in_place
from cytovae.errors import ModelError, NumericalError, OutputError, UsageError
from cytovae.model_folder.training_key import TrainingKey
from cytovae.network.training_loop import LoopState, ProgressRecord

try:
    import fcntl
except ImportError:  # where there is none, nobody is kept from running the same training twice
    fcntl = None  # type: ignore[assignment]


STATE_VERSION = 1


SECONDS_BETWEEN_SAVES = 60.0


_ASKED, _LOCK, _LOOP = "state.json", "lock", "training"


Arrays = dict[str, NDArray[Any]]


class Checkpoint:
    """The state folder of one model while it is trained; a context manager.

    Entering takes the folder, or raises :class:`OutputError` where another process has it, or where one that was broken
    off left its state and neither ``resume`` nor ``force`` says what to do with that. Leaving without an error removes
    it; leaving with one (a signal is one, too) writes what the training loop had reached. ``saved`` says whether there
    is anything to go on from.
    """

    def __init__(
        self,
        model: Path,
        *,
        resume: bool = False,
        force: bool = False,
        every: float = SECONDS_BETWEEN_SAVES,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.model = model
        self.folder = fixed_hidden_name(model.absolute(), "state")
        self.earlier: dict[str, float] = {}  # seconds that stages took in processes before this one
        self.resumed = False
        self._resume, self._force, self._every, self._warn = resume, force, every, warn
        self._lock: int | None = None
        self._records: list[ProgressRecord] = []
        self._pending: tuple[Arrays, dict[str, object]] | None = None  # of the last record, not yet written
        self._began = perf_counter()
        self._written = monotonic()

    def __enter__(self) -> "Checkpoint":
        try:
            self._take()
            finish_rename(self.model.absolute())
            if self._force and not self._resume:
                self._empty()
            elif self.saved and not self._resume:
                raise OutputError(
                    f"{self.folder} holds the state of training that was broken off; "
                    "use --resume to go on with it, or --force to begin anew"
                )
        except OSError as error:
            self._let_go()
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or issubclass(kind, NumericalError):  # going on would end there again
                self._empty()
            elif self._pending is not None:
                self._write_loop()
        finally:
            self._let_go()

    @property
    def saved(self) -> bool:
        """Whether the folder holds anything that took time."""
        return any(self.folder.glob("*.safetensors"))

    def begin(self, key: TrainingKey) -> None:
        """Say what is trained. Raises :class:`UsageError` where the state in the folder is of other training."""
        if self.saved:
            different = key.differences(self._asked())
            if different:
                raise UsageError(
                    f"{self.folder} was left by training with {', '.join(different)}; repeat the command that was "
                    "broken off to go on with it, or use --force without --resume to begin anew"
                )
            self.resumed = True
            return
        content = {"state_version": STATE_VERSION, "asked": dict(key.parts)}
        with self._refused_on_failure():
            self._replace(_ASKED, json.dumps(content, indent=2).encode())

    # --- what learning asks for ---

    def stage(self, name: str, make: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
        """The arrays that ``make`` gives: those in the folder, or made now and kept there."""
        if (found := self._read(name)) is not None:
            arrays, said = found
            self.earlier[name] = float(said["seconds"])
            return tuple(arrays[str(index)] for index in range(len(arrays)))
        began = perf_counter()
        made = make()
        said = {"seconds": perf_counter() - began}
        self._keep(name, {str(index): np.array(array, order="C") for index, array in enumerate(made)}, said)
        return made

    def restore(self, loop: LoopState) -> tuple[ProgressRecord, ...]:
        """Put ``loop`` where it was when it was kept last; the records up to there, none where it was not."""
        self._began, self._written = perf_counter(), monotonic()
        if (found := self._read(_LOOP)) is None:
            return ()
        arrays, said = found
        try:
            loop.load(arrays)
            self._records = [ProgressRecord(*record) for record in said["records"]]
            self.earlier[_LOOP] = float(said["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._damaged(_LOOP, error) from error
        return tuple(self._records)

    def note(self, loop: LoopState, record: ProgressRecord, *, last: bool) -> None:
        """Remember where ``loop`` is; written every minute, at the end, and when training is broken off."""
        self._records.append(record)
        said = {
            "records": [astuple(entry) for entry in self._records],
            "seconds": self.earlier.get(_LOOP, 0.0) + perf_counter() - self._began,
        }
        self._pending = loop.arrays(), said
        if last or monotonic() - self._written >= self._every:
            self._write_loop()

    # --- files ---

    def _write_loop(self) -> None:
        if self._pending is not None:
            arrays, said = self._pending
            self._keep(_LOOP, arrays, said)
            self._pending, self._written = None, monotonic()

    def _keep(self, name: str, arrays: Arrays, said: Mapping[str, object]) -> None:
        """Write, or warn: training that cannot be kept is still worth finishing."""
        about = {"said": json.dumps(said), "sha256": _digest(arrays)}
        try:
            self._replace(f"{name}.safetensors", save(arrays, about))
        except OSError as error:
            self._warn(f"{self.folder / name} could not be kept, going on without: {error.strerror or error}")

    def _read(self, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        path = self.folder / f"{name}.safetensors"
        if not self.resumed or not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as stored:
                about = stored.metadata() or {}
                arrays: Arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (no mapping)
            if about.get("sha256") != _digest(arrays):
                raise ValueError("its SHA-256 is not that of what was written")
            said = json.loads(about["said"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self._damaged(name, error) from error
        return arrays, said

    def _asked(self) -> dict[str, str]:
        try:
            content = json.loads((self.folder / _ASKED).read_text(encoding="utf-8"))
            if content["state_version"] != STATE_VERSION:
                raise ValueError(f"its version is {content['state_version']}, expected {STATE_VERSION}")
            return {str(name): str(value) for name, value in content["asked"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(_ASKED, error) from error

    def _damaged(self, name: str, error: Exception) -> ModelError:
        return ModelError(
            f"{self.folder}: {name} cannot be read ({error}); begin anew with --force in place of --resume"
        )

    def _replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        partial = hidden_name(path, "partial")
        try:
            partial.write_bytes(content)
            put_in_place(partial, path, force=True)
        finally:
            partial.unlink(missing_ok=True)

    def _empty(self) -> None:
        """Remove all but the lock, which goes last."""
        with contextlib.suppress(OSError):
            for entry in self.folder.iterdir():
                if entry.name != _LOCK:
                    entry.unlink()

    @contextlib.contextmanager
    def _refused_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error

    # --- one process at a time ---

    def _take(self) -> None:
        """Make the folder and lock it; a lock ends with its process, however that ends."""
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise OutputError(f"{self.folder} is not a folder; move it away, the state of training goes there")
        while self._lock is None:
            self.folder.mkdir(exist_ok=True)
            try:
                lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:  # whoever had the folder has just removed it
                continue
            try:
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock)
                raise OutputError(f"{self.model} is being written by another process; name another output") from error
            except OSError:  # a disk without locks
                pass
            if _same_file(lock, self.folder / _LOCK):
                self._lock = lock
            else:
                os.close(lock)

    def _let_go(self) -> None:
        if self._lock is None:
            return
        if not self.saved:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _digest(arrays: Arrays) -> str:
    content = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        content.update(array.tobytes())
    return content.hexdigest()
