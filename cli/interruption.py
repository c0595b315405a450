"""Signals end the work by an exception, so that every block that is writing something takes it away again."""

import signal
import sys
from types import FrameType

from cytovae.errors import ENDING_SIGNALS

SECONDS_BETWEEN_TRIES = 0.25


class Interruption:
    """Turns signals into KeyboardInterrupt (SIGINT) or SystemExit(143), again and again until one gets through.

    Some libraries swallow exceptions: umap during an optional import, numba during compilation. Once an exception is
    on its way out, further signals are ignored so that cleaning up is not disturbed.
    """

    def __init__(self) -> None:
        self.code: int | None = None  # the exit code, once a signal came

    def install(self) -> None:
        """Listen, but not to what the caller wants ignored, as nohup does."""
        for name in ENDING_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._signalled)
        report = sys.unraisablehook

        def report_unless_interrupted(lost: "sys.UnraisableHookArgs") -> None:
            # After a signal, callbacks lose its exception, and destructors meet objects that are only half built.
            if self.code is None and not isinstance(lost.exc_value, KeyboardInterrupt | SystemExit):
                report(lost)

        sys.unraisablehook = report_unless_interrupted

    def over(self) -> None:
        """Try no more: the process is about to end."""
        if self.code is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.code = 130 if number == signal.SIGINT else 143
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_TRIES, SECONDS_BETWEEN_TRIES)
        self._end()

    def _again(self, _number: int, _frame: FrameType | None) -> None:
        self._end()

    def _end(self) -> None:
        handled = sys.exc_info()[1]
        seen: set[int] = set()
        while handled is not None and id(handled) not in seen:
            if isinstance(handled, KeyboardInterrupt | SystemExit):
                return  # it is on its way out
            seen.add(id(handled))
            handled = handled.__context__
        if self.code == 130:
            raise KeyboardInterrupt
        sys.exit(self.code)
