"""Run the command line in forked processes, which start at once because this one has loaded all libraries.

Everything runs on one thread, because a process with several threads cannot be forked safely.
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
    """How a process ended: its exit code (negative: the signal that killed it), its output, and seconds to its end.

    The seconds count from the signal that was sent to it, or else from its start.
    """

    code: int
    said: str
    seconds: float


@dataclass
class Started:
    """A running process."""

    pid: int
    output: int  # reading end of a pipe, which is large enough for all output
    started_at: float
    heard: str = ""

    def hear(self, words: str) -> bool:
        """Wait until its output contains ``words``; False if it ends without them."""
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
        """Wait for its end, for at most two minutes.

        If a signal ``number`` is given, send it first: ``after`` seconds after ``words`` appear in the output, or after
        its start without ``words``.
        """
        if number is not None:
            if words and self.hear(words):
                self.started_at = time.monotonic()
            until = self.started_at + after
            while time.monotonic() < until and not self._over():
                time.sleep(0.002)
            self.started_at = time.monotonic()
            os.kill(self.pid, number)  # works for a zombie, too
        deadline = time.monotonic() + 120
        while not self._over() and time.monotonic() < deadline:
            time.sleep(0.002)
        seconds = time.monotonic() - self.started_at
        if not self._over():
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.set_blocking(self.output, True)
        with os.fdopen(self.output, errors="replace") as output:
            return Ended(os.waitstatus_to_exitcode(status), self.heard + output.read(), seconds)

    def _over(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start(arguments: list[str], folder: Path | None = None, largest_file: int | None = None) -> Started:
    """Start ``cytovae ARGUMENTS`` in ``folder``; it cannot write files of more than ``largest_file`` bytes."""
    sys.stdout.flush()
    sys.stderr.flush()
    started_at = time.monotonic()
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
        except BaseException as error:  # noqa: BLE001 (any other error is a failure)
            import traceback

            traceback.print_exception(error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(out)
    return Started(pid, reading, started_at)


def whole(arguments: list[str], folder: Path | None = None, largest_file: int | None = None) -> Ended:
    """Run the command to its end."""
    return start(arguments, folder, largest_file).end()


def warm_up(arguments: list[str]) -> None:
    """Run a command in this process, so that forked processes inherit all that it compiles."""
    sys.argv = ["cytovae", *arguments]
    try:
        run()
    except SystemExit as exit_:
        if exit_.code:
            raise
    finally:  # restore the signal handlers of this process
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
