"""The state of unfinished training, in a folder beside the model; resumed training ends in the same bytes.

The folder ``.MODEL.state`` holds ``state.json``, which names the training, and one safetensors file for each finished
stage and for the training loop. Each file appears whole or not at all, carries a SHA-256 of its arrays, and is read
without pickle. One process at a time holds the folder, and with it the name of the model. The folder is removed when
the model is complete.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cytovae.atomic import finish_rename, fixed_hidden_name, hidden_name, output_errors, put_in_place
from cytovae.errors import ModelError, NumericalError, OutputError, UsageError
from cytovae.model_folder.folder_lock import FolderLock
from cytovae.model_folder.training_key import TrainingKey, key_of
from cytovae.network.training_loop import LoopState, ProgressRecord

STATE_VERSION = 1

SECONDS_BETWEEN_SAVES = 60.0

_KEY_FILE = "state.json"
_LOOP = "training"  # the stage whose state is the one of the training loop

Arrays = dict[str, NDArray[Any]]


class Checkpoint:
    """The state folder of one model during its training; a context manager.

    On entry the folder is locked. On exit without an error it is removed; on exit with one, also from a signal, the
    last state of the training loop is written and the folder stays.

    Parameters
    ----------
    model : Path
        The model folder that training will write.
    resume : bool
        Continue from the state in the folder.
    force : bool
        Discard the state in the folder, unless ``resume`` is set.
    every : float
        Seconds between two saves of the training loop.
    warn : callable
        Receives a warning if a state could not be saved; training continues.

    Attributes
    ----------
    folder : Path
        The state folder.
    resumed : bool
        Whether training continues from an earlier state; known after :meth:`begin`.
    earlier : dict
        Seconds that earlier processes spent on each stage.

    Raises
    ------
    OutputError
        On entry: if another process holds the folder, if it cannot be written, or if it holds the state of an
        interrupted training and neither ``resume`` nor ``force`` is set.
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
        self.earlier: dict[str, float] = {}
        self.resumed = False
        self._resume, self._force, self._every, self._warn = resume, force, every, warn
        self._lock = FolderLock(self.folder)
        self._digest: str | None = None  # of the key of this training
        self._records: list[ProgressRecord] = []
        self._unsaved: tuple[Arrays, dict[str, object]] | None = None  # state of the loop after the last record
        self._loop_began = perf_counter()
        self._last_save = monotonic()

    def __enter__(self) -> "Checkpoint":
        try:
            with output_errors(self.folder):
                self._lock.acquire(f"{self.model} is being written by another process; name another output")
                finish_rename(self.model.absolute())
                if self._force and not self._resume:
                    self._lock.empty_folder()
                elif self.saved and not self._resume:
                    raise OutputError(
                        f"{self.folder} holds the state of an interrupted training; "
                        "use --resume to continue it, or --force to start again"
                    )
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            diverged = kind is not None and issubclass(kind, NumericalError)  # resuming would diverge again
            if kind is None or diverged or self._complete():
                self._lock.empty_folder()
            elif self._unsaved is not None:
                self._save_loop()
        finally:
            self._release()

    @property
    def saved(self) -> bool:
        """Whether the folder holds a finished stage or a state of the training loop."""
        return any(self.folder.glob("*.safetensors"))

    def begin(self, key: TrainingKey) -> None:
        """Start or resume the training that ``key`` identifies.

        Raises
        ------
        UsageError
            If the folder holds the state of another training.
        """
        self._digest = key.digest
        if self.saved:
            different = key.differences(self._read_key())
            if different:
                raise UsageError(
                    f"{self.folder} was left by training with {', '.join(different)}; repeat the interrupted command "
                    "to continue it, or use --force without --resume to start again"
                )
            self.resumed = True
            return
        content = {"state_version": STATE_VERSION, "asked": dict(key.parts)}
        with output_errors(self.folder):
            self._replace(_KEY_FILE, json.dumps(content, indent=2).encode())

    def _complete(self) -> bool:
        """Whether the model is there already, because an interruption came after it was written."""
        return self._digest is not None and key_of(self.model) == self._digest

    # --- called during training ---

    def stage(self, name: str, compute: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
        """The arrays of a stage: read from the folder if they are there, else computed and saved."""
        if (stored := self._read(name)) is not None:
            arrays, about = stored
            self.earlier[name] = float(about["seconds"])
            return tuple(arrays[str(index)] for index in range(len(arrays)))
        began = perf_counter()
        computed = compute()
        seconds = {"seconds": perf_counter() - began}
        self._save(name, {str(index): np.array(array, order="C") for index, array in enumerate(computed)}, seconds)
        return computed

    def restore(self, loop: LoopState) -> tuple[ProgressRecord, ...]:
        """Return ``loop`` to its last saved state, with the records up to there; no records without such a state."""
        self._loop_began, self._last_save = perf_counter(), monotonic()
        if (stored := self._read(_LOOP)) is None:
            return ()
        arrays, about = stored
        try:
            loop.load(arrays)
            self._records = [ProgressRecord(*record) for record in about["records"]]
            self.earlier[_LOOP] = float(about["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._damaged(_LOOP, error) from error
        return tuple(self._records)

    def note(self, loop: LoopState, record: ProgressRecord, *, last: bool) -> None:
        """Take the state of ``loop`` after ``record``. It is saved at intervals, at the end, and on interruption."""
        self._records.append(record)
        about = {
            "records": [astuple(entry) for entry in self._records],
            "seconds": self.earlier.get(_LOOP, 0.0) + perf_counter() - self._loop_began,
        }
        self._unsaved = loop.arrays(), about
        if last or monotonic() - self._last_save >= self._every:
            self._save_loop()

    # --- files ---

    def _save_loop(self) -> None:
        if self._unsaved is not None:
            arrays, about = self._unsaved
            self._save(_LOOP, arrays, about)
            self._unsaved, self._last_save = None, monotonic()

    def _save(self, name: str, arrays: Arrays, about: Mapping[str, object]) -> None:
        """Write the state of a stage. A failure is only a warning, because training can finish without it."""
        metadata = {"said": json.dumps(about), "sha256": _digest(arrays)}
        try:
            self._replace(f"{name}.safetensors", save(arrays, metadata))
        except OSError as error:
            self._warn(f"{self.folder / name} could not be saved, continuing without: {error.strerror or error}")

    def _read(self, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """The arrays of a stage and what :meth:`_save` wrote about them; None if there is nothing to resume from."""
        path = self.folder / f"{name}.safetensors"
        if not self.resumed or not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as stored:
                metadata = stored.metadata() or {}
                arrays: Arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (no mapping)
            if metadata.get("sha256") != _digest(arrays):
                raise ValueError("its content changed after it was written, its SHA-256 is another one")
            about = json.loads(metadata["said"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self._damaged(name, error) from error
        return arrays, about

    def _read_key(self) -> dict[str, str]:
        """The parts of the key of the training that left the state."""
        try:
            content = json.loads((self.folder / _KEY_FILE).read_text(encoding="utf-8"))
            if content["state_version"] != STATE_VERSION:
                raise ValueError(f"its version is {content['state_version']}, expected {STATE_VERSION}")
            return {str(name): str(value) for name, value in content["asked"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(_KEY_FILE, error) from error

    def _damaged(self, name: str, error: Exception) -> ModelError:
        return ModelError(
            f"{self.folder}: {name} cannot be read ({error}); use --force without --resume to start again"
        )

    def _replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        partial = hidden_name(path, "partial")
        try:
            partial.write_bytes(content)
            put_in_place(partial, path, force=True)
        finally:
            partial.unlink(missing_ok=True)

    def _release(self) -> None:
        self._lock.release(remove_folder=not self.saved)


def _digest(arrays: Arrays) -> str:
    content = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        content.update(array.tobytes())
    return content.hexdigest()
