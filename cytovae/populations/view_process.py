"""Small views in worker processes.

Their many small steps cannot be shared by threads of one process. ``python -m cytovae.populations.view_process`` reads
settings and arrays from its standard input (the landmarks, then the cells of each view) and writes the views to its
standard output. It uses one thread, runs in a session of its own (an interrupt goes to the parent alone), and ends with
its parent.
"""

import gc
import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace, TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from cytovae.populations.umap_import import import_umap
from cytovae.populations.valleys import ValleyHierarchy, valley_hierarchy
from cytovae.populations.views import SMALL_PARTITIONS, View, small_view
from cytovae.populations.worker_process import MOST_PROCESSES, end, end_ahead, take_process
from cytovae.settings import LARGEST_SEED, Settings, settings_from_dict, settings_to_dict

# Distance between the seeds of two views.
SEED_STEP = 1_000


class SmallViews:
    """Computes small views in worker processes, and in this one when their results are needed.

    A context manager; the workers end with the block at the latest. They start at once, so that other work can go on
    meanwhile. The result does not depend on the number of workers.

    Parameters
    ----------
    landmarks
        Markers (n, m) of the landmarks.
    samples
        The cells of each view: their markers (v, m) and files (v,).
    settings
        See :func:`cytovae.populations.views.small_view`.
    seed
        Seed of the views.
    workers
        With one, all views are computed in this process.
    """

    def __init__(
        self,
        landmarks: NDArray[np.float32],
        samples: Sequence[tuple[NDArray[np.float32], NDArray[np.int32]]],
        settings: Settings,
        *,
        seed: int,
        workers: int,
    ) -> None:
        self._landmarks, self._samples, self._settings, self._seed = landmarks, samples, settings, seed
        self._waiting = deque(range(len(samples)))  # shared with the threads
        self._views: list[View | None] = [None] * len(samples)
        n_processes = max(0, min(workers - 1, len(samples), MOST_PROCESSES))
        self._workers = [_Worker() for _ in range(n_processes)]
        end_ahead()
        self._threads = ThreadPoolExecutor(max(1, n_processes))
        self._served = [self._threads.submit(self._serve, worker) for worker in self._workers]

    def __enter__(self) -> "SmallViews":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.kill()  # ends the thread that waits for its answer
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def results(self) -> list[View]:
        """The views, in the order of their samples. This process computes those that no worker has begun."""
        while (index := self._take()) is not None:
            self._views[index] = self._compute(index)
        self.join()
        return [self._compute(index) if view is None else view for index, view in enumerate(self._views)]

    def join(self) -> None:
        """Wait until the workers have computed all views that nobody else has begun."""
        for thread in self._served:
            thread.result()

    def _serve(self, worker: "_Worker") -> None:
        """Let a worker compute waiting views, until none is left or the worker fails."""
        sent: deque[int] = deque()
        with suppress(OSError, ValueError):
            description = json.dumps({"settings": settings_to_dict(self._settings), "seed": self._seed})
            worker.send(np.frombuffer(description.encode(), dtype=np.uint8), self._landmarks)
            while True:
                # A second view is sent ahead, because this thread is late while another one computes. Not near the
                # end: this process can compute a view that is still waiting.
                ahead = 2 if len(self._waiting) > len(self._workers) else 1
                while len(sent) < ahead and (index := self._take()) is not None:
                    worker.send(np.array(index), *self._samples[index])
                    sent.append(index)
                if not sent:
                    return
                self._views[sent[0]] = worker.receive()
                sent.popleft()

    def _take(self) -> int | None:
        """The next view that nobody has begun."""
        with suppress(IndexError):
            return self._waiting.popleft()
        return None

    def _compute(self, index: int) -> View:
        seed = _seed_of_view(self._seed, index)
        return small_view(*self._samples[index], self._landmarks, self._settings, seed, index)


class _Worker:
    """One worker process. :meth:`send` and :meth:`receive` raise OSError or ValueError if it has failed."""

    def __init__(self) -> None:
        self._process = take_process()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, *arrays: NDArray[Any]) -> None:
        _write_arrays(self._pipe("stdin"), *arrays)

    def receive(self) -> View:
        answers, numbers = _read_arrays(self._pipe("stdout")), range(SMALL_PARTITIONS)
        partitions = tuple(next(answers) for _ in numbers)
        hierarchies = tuple(ValleyHierarchy(next(answers), next(answers)) for _ in numbers)
        return View(partitions, hierarchies, next(answers))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Remove what is left of the killed process."""
        if self._process is not None:
            end(self._process)

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name, None)
        if pipe is None:
            raise BrokenPipeError("the worker process could not be started")
        return pipe


def _seed_of_view(seed: int, index: int) -> int:
    return (seed * SEED_STEP + index + 1) % (LARGEST_SEED + 1)


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


def _prepare() -> None:
    """Import umap, and compile the search for valleys on a new machine, before the first view is asked for.

    Meanwhile the parent reads files and compiles umap. Each later loads what the other has compiled.
    """
    import_umap()
    rows = np.arange(400)
    values = np.random.default_rng(0).random((len(rows), 2), dtype=np.float32)
    valley_hierarchy(values, rows % 4, rows // 4 % 2, 0)


def main() -> None:
    """Run the worker process: answer each view at once, until the parent closes its pipe."""
    gc.disable()  # libraries create a million objects that stay; looking for garbage among them takes half a second
    _prepare()
    gc.freeze()
    gc.enable()
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
