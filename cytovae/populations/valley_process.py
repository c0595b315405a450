"""Valley hierarchies in a worker process.

They are many small steps that threads of one process cannot share. ``python -m cytovae.populations.valley_process``
reads arrays from its standard input (the cells, then the partitions) and writes the hierarchies to its standard output.
It imports numpy only, runs in a session of its own (an interrupt goes to the parent alone), and ends with its parent.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace, TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from cytovae.populations.valleys import ValleyHierarchy, valley_hierarchy

COMMAND = (sys.executable, "-m", "cytovae.populations.valley_process")

# Modules in the user's working directory are not imported, and numpy uses one thread.
ENVIRONMENT = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ValleyProcess:
    """Computes valley hierarchies in a worker process, or in this one if the worker is unavailable.

    A context manager; the worker ends with the block at the latest.

    Parameters
    ----------
    values
        Markers (n, m).
    origin
        File (n,) of each cell; see :func:`valley_hierarchy`.
    seeds
        One seed for each partition that will be added.
    enabled
        Whether to start the worker process.
    """

    def __init__(
        self, values: NDArray[np.float32], origin: NDArray[np.int64], seeds: Sequence[int], *, enabled: bool
    ) -> None:
        self._values, self._origin, self._seeds = values, origin, seeds
        self._partitions: list[NDArray[np.int64]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._sender = ThreadPoolExecutor(1)  # a pipe blocks when it is full, until the worker reads
        if enabled:
            with suppress(OSError):
                self._process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    env=os.environ | ENVIRONMENT,
                )
        self._send(values, origin, np.array(seeds))

    def __enter__(self) -> "ValleyProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
        self._sender.shutdown(cancel_futures=True)
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None without one."""
        return None if self._process is None else self._process.pid

    def add(self, partition: NDArray[np.int64]) -> None:
        """Queue the next partition (n,); the worker takes one after the other."""
        self._partitions.append(partition)
        self._send(partition)

    def results(self) -> list[ValleyHierarchy]:
        """The hierarchies, in the order of the partitions. Waits for the worker."""
        if self._process is not None and self._process.stdout is not None:
            with suppress(OSError, ValueError):  # the worker ended early: computed below
                arrays = _read_arrays(self._process.stdout)
                return [ValleyHierarchy(next(arrays), next(arrays)) for _ in self._partitions]
        tasks = zip(self._partitions, self._seeds, strict=True)
        return [valley_hierarchy(self._values, partition, self._origin, seed) for partition, seed in tasks]

    def _send(self, *arrays: NDArray[Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            # Errors are not looked at: if sending fails, results() misses an answer.
            self._sender.submit(_write_arrays, self._process.stdin, *arrays)


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
    """Run the worker process."""
    arrays = _read_arrays(sys.stdin.buffer)
    values, origin, seeds = next(arrays), next(arrays), next(arrays)
    hierarchies = [valley_hierarchy(values, next(arrays), origin, seed) for seed in seeds.tolist()]
    for hierarchy in hierarchies:  # written at the end: the parent reads then, and a pipe holds little
        _write_arrays(sys.stdout.buffer, hierarchy.groups, hierarchy.joined)


if __name__ == "__main__":
    main()
