"""What a reader of a report should know: a warning, one line of advice, and where the page shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportWarning:
    """A warning of a report.

    Attributes
    ----------
    text : str
        What is the case, a sentence without a full stop.
    advice : str
        What to do about it, in one line.
    section : str
        The section of the page that shows it, by the id of its heading.
    """

    text: str
    advice: str
    section: str


def some_of(names: list[str]) -> str:
    """At most three of several names, and how many there are more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
