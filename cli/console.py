"""What the user sees. Talk goes to stderr, results to stdout; a progress bar only where someone is watching."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cytovae.errors import OutputError

talk = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of talk, never read as markup."""
    talk.print(text, markup=False)


def warn(text: str) -> None:
    """One warning."""
    talk.print(f"warning: {text}", markup=False, style="yellow")


class Meter:
    """A count that moves: a bar with time left on a terminal, else a line now and then."""

    SECONDS_BETWEEN_LINES = 30.0

    def __init__(self, title: str, total: int, bar: Progress | None, *, quarters: bool = False) -> None:
        self.title = title
        self.total = total
        self._bar = bar
        self._task = bar.add_task(title, total=total, note="") if bar else None
        self._last_line = monotonic()
        self._quarters = quarters
        self._last_quarter = 0

    def update(self, done: int, note: str = "") -> None:
        """``done`` of ``total`` are finished."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        quarter = 4 * done // self.total if self._quarters and self.total else 0
        if quarter > self._last_quarter or monotonic() - self._last_line > self.SECONDS_BETWEEN_LINES:
            self._last_line, self._last_quarter = monotonic(), quarter
            share = f" ({done / self.total:.0%})" if self.total else ""
            say(f"{self.title}: {done:,} of {self.total:,}{share} {note}".rstrip())


@contextmanager
def meter(title: str, total: int, *, quarters: bool = False) -> Iterator[Meter]:
    """A :class:`Meter` that is cleared away when the work is over.

    Without a terminal it prints a line every 30 seconds; with ``quarters`` also after each quarter of the work.
    """
    if not sys.stderr.isatty():
        yield Meter(title, total, None, quarters=quarters)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=talk, transient=True) as bar:
        yield Meter(title, total, bar)


@contextmanager
def stages(*, quiet: bool, announce: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A callback for stage, steps done and steps in total; shows a bar for each stage.

    Without a terminal ``announce`` prints a line at the beginning of each stage and after each quarter of it.
    """
    if quiet:
        yield lambda _stage, _done, _total: None
        return
    with ExitStack() as shown:
        current: dict[str, Meter] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in current:
                shown.close()
                current.clear()
                current[stage] = shown.enter_context(meter(stage, total, quarters=announce))
                if announce and not talk.is_terminal:
                    say(f"{stage} ...")
            current[stage].update(done)

        yield progress


# --- standard streams -------------------------------------------------------------------------------------------------


class _Results(io.TextIOWrapper):
    """Standard output: that it cannot be written (a pipe that was closed, a full disk) is an error of our family."""

    def write(self, text: str) -> int:
        """Write, or raise :class:`OutputError`."""
        try:
            return super().write(text)
        except OSError as error:
            raise _unwritable(error) from error

    def flush(self) -> None:
        """Flush, or raise :class:`OutputError`."""
        try:
            super().flush()
        except OSError as error:
            raise _unwritable(error) from error


class _Talk(io.TextIOWrapper):
    """Standard error: what cannot be said there is lost, and the work goes on."""

    def write(self, text: str) -> int:
        """Write if that is possible."""
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError):
            super().flush()


class _Nowhere(io.RawIOBase):
    """What stands for a standard output that the caller has closed."""

    def writable(self) -> bool:
        return True

    def write(self, _data: object) -> int:
        raise OSError(None, "it is closed")


def guard_streams() -> None:
    """Make failures of the standard streams ones that are understood, whatever the caller did to them."""
    for number in range(3):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # else the next file that is opened would be a standard stream
    if sys.stderr is not None and not isinstance(sys.stderr, _Talk):
        sys.stderr = _wrapped(_Talk, sys.stderr.buffer, sys.stderr.encoding, line_buffering=True)
    if sys.stdout is None:
        sys.stdout = _Results(io.BufferedWriter(_Nowhere(), 1), "utf-8", write_through=True)
    elif not isinstance(sys.stdout, _Results):
        sys.stdout = _wrapped(_Results, sys.stdout.buffer, sys.stdout.encoding, line_buffering=sys.stdout.isatty())


def let_go_of_stdout() -> None:
    """What could not be written is not tried again at exit."""
    try:
        sys.stdout.flush()
    except OutputError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _wrapped(
    kind: type[io.TextIOWrapper], buffer: BinaryIO, encoding: str, *, line_buffering: bool
) -> io.TextIOWrapper:
    # Names of files may hold bytes that are no text, and an encoding may not have every character.
    return kind(buffer, encoding, errors="backslashreplace", line_buffering=line_buffering)


def _unwritable(error: OSError) -> OutputError:
    return OutputError(f"standard output cannot be written: {error.strerror or error}")
