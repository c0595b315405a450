"""Valley hierarchies made in a second process meanwhile: they are many small steps, which threads of one process cannot
share.

``python -m cytovae.aside`` reads the cells and partitions from its standard input and writes the hierarchies to its
standard output, as arrays. It imports numpy alone, sees no terminal (an interrupt is the first process's to hear), and
ends when that does.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from cytovae.valleys import ValleyHierarchy, valley_hierarchy

COMMAND = (sys.executable, "-m", "cytovae.aside")
# A file of the user's folder is no module of ours, and one thread is all there is to do.
SURROUNDINGS = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Aside:
    """A second process, if ``wanted`` and to be had; a context manager. What it does not do is done here."""

    def __init__(self, wanted: bool) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._given: tuple[NDArray[np.float32], NDArray[np.int64], Sequence[NDArray[np.int64]], Sequence[int]]
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

    def __enter__(self) -> "Aside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """The number of the second process, None where there is none."""
        return None if self._process is None else self._process.pid

    def begin(
        self,
        values: NDArray[np.float32],
        origin: NDArray[np.int64],
        parts: Sequence[NDArray[np.int64]],
        seeds: Sequence[int],
    ) -> None:
        """Begin the hierarchies of ``parts`` (each (n,)) of cells ``values`` (n, m) from files ``origin`` (n,)."""
        self._given = values, origin, tuple(parts), tuple(seeds)
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError), self._process.stdin as stream:
                _send(stream, values, origin, np.stack(parts), np.array(seeds))

    def result(self) -> list[ValleyHierarchy]:
        """The hierarchies, in the order of the parts."""
        values, origin, parts, seeds = self._given
        if self._process is not None and self._process.stdout is not None:
            with suppress(OSError, ValueError, IndexError):  # it has ended before it was done
                found = _receive(self._process.stdout)
                return [ValleyHierarchy(found[2 * i], found[2 * i + 1]) for i in range(len(parts))]
        return [valley_hierarchy(values, part, origin, seed) for part, seed in zip(parts, seeds, strict=True)]


def _send(stream: IO[bytes], *arrays: NDArray[Any]) -> None:
    piece = BytesIO()
    for array in arrays:
        write_array(piece, array, allow_pickle=False)
    stream.write(piece.getbuffer())
    stream.flush()


def _receive(stream: IO[bytes]) -> list[NDArray[Any]]:
    """All arrays of ``stream``, read to its end first: a pipe has no places to go back to."""
    content = stream.read()
    piece, arrays = BytesIO(content), []
    while piece.tell() < len(content):
        arrays.append(read_array(piece, allow_pickle=False))
    return arrays


def main() -> None:
    """Be the second process."""
    values, origin, parts, seeds = _receive(sys.stdin.buffer)
    found = [valley_hierarchy(values, part, origin, seed) for part, seed in zip(parts, seeds.tolist(), strict=True)]
    _send(sys.stdout.buffer, *(array for one in found for array in (one.groups, one.joined)))


if __name__ == "__main__":
    main()
