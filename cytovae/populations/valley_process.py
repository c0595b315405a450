"""Valley hierarchies made in a second process meanwhile: they are many small steps, which threads of one process cannot
share.

``python -m cytovae.populations.valley_process`` reads the cells and partitions from its standard input and writes the
hierarchies to its standard output, as arrays. It imports numpy alone,
sees no terminal (an interrupt is the first process's to hear), and ends when that does.
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


# A file of the user's folder is no module of ours, and one thread is all there is to do.
SURROUNDINGS = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Aside:
    """A second process, if ``wanted`` and to be had; a context manager. What it does not do is done here.

    It is told of cells ``values`` (n, m) from files ``origin`` (n,); a partition is added for each of ``seeds``.
    """

    def __init__(
        self, values: NDArray[np.float32], origin: NDArray[np.int64], seeds: Sequence[int], *, wanted: bool
    ) -> None:
        self._values, self._origin, self._seeds = values, origin, seeds
        self._parts: list[NDArray[np.int64]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._feeder = ThreadPoolExecutor(1)  # a pipe is full until the other end reads
        if wanted:
            with suppress(OSError):
                self._process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    env=os.environ | SURROUNDINGS,
                )
        self._feed(values, origin, np.array(seeds))

    def __enter__(self) -> "Aside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
        self._feeder.shutdown(cancel_futures=True)
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """The number of the second process, None where there is none."""
        return None if self._process is None else self._process.pid

    def add(self, part: NDArray[np.int64]) -> None:
        """The next partition (n,); its hierarchy is begun as soon as those before it are done."""
        self._parts.append(part)
        self._feed(part)

    def result(self) -> list[ValleyHierarchy]:
        """The hierarchies, in the order of the partitions."""
        if self._process is not None and self._process.stdout is not None:
            with suppress(OSError, ValueError):  # it has ended before it was done
                arrays = _arrays(self._process.stdout)
                return [ValleyHierarchy(next(arrays), next(arrays)) for _ in self._parts]
        given = zip(self._parts, self._seeds, strict=True)
        return [valley_hierarchy(self._values, part, self._origin, seed) for part, seed in given]

    def _feed(self, *arrays: NDArray[Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._feeder.submit(_send, self._process.stdin, *arrays)  # what fails is seen by what does not come back


def _send(stream: IO[bytes], *arrays: NDArray[Any]) -> None:
    for array in arrays:
        piece = BytesIO()  # written to a pipe itself, numpy would ask for its place
        write_array(piece, array, allow_pickle=False)
        stream.write(piece.getbuffer())
    stream.flush()


def _arrays(stream: IO[bytes]) -> Iterator[NDArray[Any]]:
    """The arrays that come. Raises ValueError where there is no more."""
    only_read = SimpleNamespace(read=stream.read)
    while True:
        yield read_array(only_read, allow_pickle=False)


def main() -> None:
    """Be the second process."""
    arrays = _arrays(sys.stdin.buffer)
    values, origin, seeds = next(arrays), next(arrays), next(arrays)
    found = [valley_hierarchy(values, next(arrays), origin, seed) for seed in seeds.tolist()]
    for one in found:  # at the end: nobody reads before, and the pipe would soon be full
        _send(sys.stdout.buffer, one.groups, one.joined)


if __name__ == "__main__":
    main()
