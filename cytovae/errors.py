"""One family of errors. Each says what was found, what was expected and what to do, and knows its exit code."""

from pathlib import Path


class CytovaeError(Exception):
    """Root of every error this package raises on purpose; anything else that escapes is a bug of ours."""

    exit_code = 1


class UsageError(CytovaeError):
    """The request itself was wrong: options that contradict each other, a value out of range."""

    exit_code = 2


class InputError(CytovaeError):
    """Input data cannot be trusted or does not hold what was asked of it.

    The parts are kept as attributes so that callers (and tests) need not parse the sentence.
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
    """An FCS file whose HEADER, TEXT or DATA cannot be trusted."""


class PanelError(InputError):
    """Markers that were asked for cannot be found in a file, or are ambiguous there."""


class GateError(InputError):
    """Manual gates that cannot be read, or that do not fit their file."""


class OutputError(CytovaeError):
    """An output exists already, or cannot be written."""

    exit_code = 4


class ModelError(CytovaeError):
    """A model folder that is damaged, of another schema version, or does not fit the file at hand."""

    exit_code = 5


class DeviceError(CytovaeError):
    """The device asked for is missing, or its memory (or the machine's) is too small."""

    exit_code = 6


class NumericalError(CytovaeError):
    """Training produced values that are not finite."""

    exit_code = 7


ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
"""What asks a process to end: a user, a scheduler, its warning before that, a terminal that was closed."""
