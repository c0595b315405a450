"""Processes that compute small views, see :mod:`cytovae.populations.view_process`. Imports nothing heavy.

A process imports libraries for several seconds. A command that will need one starts it early, and reads files
meanwhile.
"""

import atexit
import os
import subprocess
import sys
from contextlib import suppress

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

Process = subprocess.Popen[bytes]

_ahead: list[Process] = []  # started, and not yet taken


def start_ahead(n_processes: int) -> None:
    """Start processes that :func:`take_process` will return. They end with this process at the latest."""
    for _ in range(min(n_processes, MOST_PROCESSES) - len(_ahead)):
        if (process := _start()) is not None:
            _ahead.append(process)


def take_process() -> Process | None:
    """A process that was started ahead, else a new one; None if none can be started."""
    return _ahead.pop() if _ahead else _start()


@atexit.register
def end_ahead() -> None:
    """End the processes that nobody has taken."""
    while _ahead:
        end(_ahead.pop())


def end(process: Process) -> None:
    """Kill a process, and remove what is left of it."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()


def _start() -> Process | None:
    with suppress(OSError):
        return subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )
    return None
