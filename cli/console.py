"""What the user sees. Talk goes to stderr, results to stdout; a progress bar only where someone is watching."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

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

    def __init__(self, title: str, total: int, bar: Progress | None) -> None:
        self.title = title
        self.total = total
        self._bar = bar
        self._task = bar.add_task(title, total=total, note="") if bar else None
        self._last_line = monotonic()

    def update(self, done: int, note: str = "") -> None:
        """``done`` of ``total`` are finished."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif monotonic() - self._last_line > self.SECONDS_BETWEEN_LINES:
            self._last_line = monotonic()
            say(f"{self.title}: {done} of {self.total} {note}")


@contextmanager
def meter(title: str, total: int) -> Iterator[Meter]:
    """A :class:`Meter` that is cleared away when the work is over."""
    if not sys.stderr.isatty():
        yield Meter(title, total, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=talk, transient=True) as bar:
        yield Meter(title, total, bar)
