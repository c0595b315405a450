"""The errors that this package raises on purpose. Each has an exit code."""

from pathlib import Path


class CytovaeError(Exception):
    """Base of every error that this package raises on purpose. Any other exception that escapes is a bug."""

    exit_code = 1


class UsageError(CytovaeError):
    """The request itself is wrong: options that contradict each other, or a value out of range."""

    exit_code = 2


class InputError(CytovaeError):
    """An input file is damaged, or lacks what was requested.

    Parameters
    ----------
    file
        The input file.
    field
        The part of the file that is wrong: a keyword, a column, a line.
    found, expected
        What the file contains there, and what it should contain.
    hint
        What to do about it, as a sentence.
    """

    exit_code = 3

    def __init__(
        self,
        file: str | Path,
        field: str,
        found: str,
        expected: str,
        hint: str = "",
    ) -> None:
        self.file = str(file)
        self.field = field
        self.found = found
        self.expected = expected
        self.hint = hint
        sentence = f"{self.file}: {field}: found {found}, expected {expected}"
        super().__init__(f"{sentence}. {hint}" if hint else f"{sentence}.")


class FcsError(InputError):
    """An FCS file with a damaged or unsupported HEADER, TEXT or DATA segment."""


class PanelError(InputError):
    """Requested markers are missing from a file, or ambiguous there."""


class GateError(InputError):
    """Manual gates cannot be read, or do not fit their file."""


class OutputError(CytovaeError):
    """An output exists already, or cannot be written."""

    exit_code = 4


class ModelError(CytovaeError):
    """A model folder is damaged, has another schema version, or does not fit the files."""

    exit_code = 5


class DeviceError(CytovaeError):
    """The requested device is missing, or its memory (or the machine's) is too small."""

    exit_code = 6


class NumericalError(CytovaeError):
    """Training produced values that are not finite."""

    exit_code = 7


ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
"""Signals that ask a process to end: from a user, a scheduler (also as its early warning), or a closed terminal."""
