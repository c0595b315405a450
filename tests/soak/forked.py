"""The command line in processes of its own that start at once: forked from one that has loaded everything already.

Everything here runs on one thread: what has several cannot be forked.
"""

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

from cytovae.cli.main import run


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (minus the number of the signal that killed it), all that it said, and the
    seconds from the signal that it was sent, or from its start, to its end.
    """

    code: int
    said: str
    seconds: float


@dataclass
class Started:
    """A process at work."""

    pid: int
    output: int  # the end of a pipe; what is said fits into it
    began: float
    heard: str = ""

    def hear(self, words: str) -> bool:
        """Wait until it has said ``words``; false where it ended without."""
        os.set_blocking(self.output, False)
        while words not in self.heard:
            over = self._over()
            try:
                said = os.read(self.output, 1 << 16)
            except BlockingIOError:
                said = b""
            self.heard += said.decode(errors="replace")
            if over and not said:
                return False
            if not said:
                time.sleep(0.002)
        return True

    def end(self, number: int | None = None, after: float = 0.0, words: str = "") -> Ended:
        """Send it a signal, if one is given, so many seconds ``after`` it said ``words`` (its start where there are
        none), and wait for its end (at most two minutes).
        """
        if number is not None:
            if words and self.hear(words):
                self.began = time.monotonic()
            until = self.began + after
            while time.monotonic() < until and not self._over():
                time.sleep(0.002)
            self.began = time.monotonic()
            os.kill(self.pid, number)  # a zombie takes it, too
        deadline = time.monotonic() + 120
        while not self._over() and time.monotonic() < deadline:
            time.sleep(0.002)
        seconds = time.monotonic() - self.began
        if not self._over():
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.set_blocking(self.output, True)
        with os.fdopen(self.output, errors="replace") as output:
            return Ended(os.waitstatus_to_exitcode(status), self.heard + output.read(), seconds)

    def _over(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start(arguments: list[str], folder: Path | None = None, largest_file: int | None = None) -> Started:
    """Begin ``cytovae ARGUMENTS`` in ``folder``; it can write no file of more than ``largest_file`` bytes."""
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    reading, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            if folder is not None:
                os.chdir(folder)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
            sys.argv = ["cytovae", *arguments]
            run()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException as error:  # noqa: BLE001 (what escapes is what is looked for)
            import traceback

            traceback.print_exception(error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(out)
    return Started(pid, reading, began)


def whole(arguments: list[str], folder: Path | None = None, largest_file: int | None = None) -> Ended:
    """The command, let run to its end."""
    return start(arguments, folder, largest_file).end()


def warm_up(arguments: list[str]) -> None:
    """Run a command in this process, so that everything it compiles is there in the forked ones."""
    sys.argv = ["cytovae", *arguments]
    try:
        run()
    except SystemExit as exit_:
        if exit_.code:
            raise
    finally:  # this process goes on
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
