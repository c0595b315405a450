"""The command line in this process, as `cytovae` would be called."""

from dataclasses import dataclass

from typer.testing import CliRunner, Result

from cytovae.cli.main import app
from cytovae.errors import CytovaeError


@dataclass(frozen=True)
class Command:
    """`cytovae` with the words ``first`` before and ``last`` after what each call gives."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    def run(self, *arguments: object) -> Result:
        """What comes of it, an error included."""
        return CliRunner().invoke(app, [*self.first, *map(str, arguments), *self.last])

    def done(self, *arguments: object) -> Result:
        """What comes of it, which must be a success."""
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    def refused(self, kind: type[CytovaeError], *arguments: object) -> str:
        """The message of the error of this kind that it must end with; outside the app it becomes an exit code."""
        result = self.run(*arguments)
        assert isinstance(result.exception, kind), (result.output, result.exception)
        return str(result.exception)
