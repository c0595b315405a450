"""Small views in worker processes.

Their many small steps cannot be shared by threads of one process. ``python -m cytovae.populations.view_process`` reads
settings and arrays from its standard input (the landmarks, then the cells of each view) and writes the views to its
standard output. It uses one thread, runs in a session of its own (an interrupt goes to the parent alone), and ends with
its parent.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace, TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from cytovae.populations.valleys import ValleyHierarchy
from cytovae.populations.views import SMALL_PARTITIONS, View, small_view
from cytovae.settings import LARGEST_SEED, Settings, settings_from_dict, settings_to_dict

COMMAND = (sys.executable, "-m", "cytovae.populations.view_process")

# Modules in the user's working directory are not imported, and libraries use one thread.
ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}

# Each takes about 700 MB, most of it libraries (measured by docs/scaling/speed.py).
MOST_PROCESSES = 4

# With one worker process, this process takes none of the first views, and one of each two after that: it has other
# work that takes as long.
VIEWS_OF_WORKER = 4

# Distance between the seeds of two views.
SEED_STEP = 1_000


class SmallViews:
    """Computes small views in worker processes, or in this one where a worker is unavailable.

    A context manager; the workers end with the block at the latest. The result does not depend on the number of
    workers.

    Parameters
    ----------
    landmarks
        Markers (n, m) of the landmarks.
    settings
        See :func:`cytovae.populations.views.small_view`.
    n_views
        How many views will be added.
    seed
        Seed of the views.
    workers
        With one, all views are computed in this process.
    """

    def __init__(
        self, landmarks: NDArray[np.float32], settings: Settings, n_views: int, *, seed: int, workers: int
    ) -> None:
        self._landmarks, self._settings, self._seed = landmarks, settings, seed
        self._cells: list[tuple[NDArray[np.float32], NDArray[np.int32]]] = []
        n_processes = max(0, min(workers - 1, n_views, MOST_PROCESSES))
        self._processes = [_Worker(landmarks, settings, seed) for _ in range(n_processes)]
        self._worker_of: list[_Worker | None] = [self._choose(index) for index in range(n_views)]

    def __enter__(self) -> "SmallViews":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._processes:
            worker.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._processes if worker.pid is not None]

    def add(self, values: NDArray[np.float32], source: NDArray[np.int32]) -> None:
        """Request the next view, of cells with markers ``values`` (v, m) and file ``source`` (v,)."""
        index = len(self._cells)
        self._cells.append((values, source))
        worker = self._worker_of[index]
        if worker is not None:
            worker.send(np.array(index), values, source)

    def results(self) -> list[View]:
        """The views, in the order in which they were added. Waits for the workers."""
        views: list[View | None] = [
            None if worker is not None else self._compute(index) for index, worker in enumerate(self._worker_of)
        ]
        for worker in self._processes:
            worker.finish()
        for index, chosen in enumerate(self._worker_of):
            if chosen is not None:
                views[index] = chosen.receive()
        return [self._compute(index) if view is None else view for index, view in enumerate(views)]

    def _choose(self, index: int) -> "_Worker | None":
        """The worker that computes the view number ``index``; None for this process."""
        if not self._processes:
            return None
        if len(self._processes) == 1:
            own_turn = index >= VIEWS_OF_WORKER and (index - VIEWS_OF_WORKER) % 2 == 0
            return None if own_turn else self._processes[0]
        return self._processes[index % len(self._processes)]

    def _compute(self, index: int) -> View:
        seed = _seed_of_view(self._seed, index)
        return small_view(*self._cells[index], self._landmarks, self._settings, seed, index)


class _Worker:
    """One worker process. After any failure it answers with None."""

    def __init__(self, landmarks: NDArray[np.float32], settings: Settings, seed: int) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._sender = ThreadPoolExecutor(1)  # a pipe blocks when it is full, until the worker reads
        self._answers: Iterator[NDArray[Any]] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | ENVIRONMENT,
            )
            assert self._process.stdout is not None
            self._answers = _read_arrays(self._process.stdout)
        description = json.dumps({"settings": settings_to_dict(settings), "seed": seed})
        self.send(np.frombuffer(description.encode(), dtype=np.uint8), landmarks)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, *arrays: NDArray[Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            # Errors are not looked at: if sending fails, an answer is missing.
            self._sender.submit(_write_arrays, self._process.stdin, *arrays)

    def finish(self) -> None:
        """Tell the worker that no more views follow."""
        if self._process is not None and self._process.stdin is not None:
            self._sender.submit(_close, self._process.stdin)

    def receive(self) -> View | None:
        """The next view; None if the worker has failed."""
        if self._answers is None:
            return None
        with suppress(OSError, ValueError, StopIteration):
            numbers = range(SMALL_PARTITIONS)
            partitions = tuple(next(self._answers) for _ in numbers)
            hierarchies = tuple(ValleyHierarchy(next(self._answers), next(self._answers)) for _ in numbers)
            return View(partitions, hierarchies, next(self._answers))
        self._answers = None
        return None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._sender.shutdown(cancel_futures=True)
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    _close(pipe)
            self._process.wait()


def _seed_of_view(seed: int, index: int) -> int:
    return (seed * SEED_STEP + index + 1) % (LARGEST_SEED + 1)


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError):
        pipe.close()


def _write_arrays(stream: IO[bytes], *arrays: NDArray[Any]) -> None:
    for array in arrays:
        buffer = BytesIO()  # numpy cannot write to a pipe, which has no position
        write_array(buffer, array, allow_pickle=False)
        stream.write(buffer.getbuffer())
    stream.flush()


def _read_arrays(stream: IO[bytes]) -> Iterator[NDArray[Any]]:
    """The arrays of a stream, one by one. Raises ValueError at its end."""
    pipe = SimpleNamespace(read=stream.read)  # without a position, as numpy reads from a pipe
    while True:
        yield read_array(pipe, allow_pickle=False)


def main() -> None:
    """Run the worker process: answer each view at once, until the parent closes its pipe."""
    arrays = _read_arrays(sys.stdin.buffer)
    description = json.loads(next(arrays).tobytes())
    settings, seed = settings_from_dict(description["settings"]), description["seed"]
    landmarks = next(arrays)
    # The parent reads late and a pipe holds little, so a thread writes while the next view is computed.
    with ThreadPoolExecutor(1) as writer, suppress(ValueError):  # the end of the requests
        while True:
            index, values, source = int(next(arrays)), next(arrays), next(arrays)
            view = small_view(values, source, landmarks, settings, _seed_of_view(seed, index), index)
            parts = [array for hierarchy in view.hierarchies for array in (hierarchy.groups, hierarchy.joined)]
            writer.submit(_write_arrays, sys.stdout.buffer, *view.partitions, *parts, view.nearest)


if __name__ == "__main__":
    main()
