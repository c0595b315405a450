"""The app and the one door where errors become exit codes."""

import sys
from typing import Annotated

import typer

from cytovae import __version__
from cytovae.cli import benchmark, console, inspect
from cytovae.errors import CytovaeError

app = typer.Typer(
    name="cytovae",
    help="Cell populations from FCS files, found without being told how many.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Cell populations from FCS files, found without being told how many."""


app.command("inspect")(inspect.inspect_cli)
app.add_typer(benchmark.app, name="benchmark")


def run() -> None:
    """Run the command line. Errors of our family become one line and their exit code; a traceback is a bug of ours."""
    try:
        app()
    except CytovaeError as error:
        console.talk.print(f"error: {error}", markup=False, style="red")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.say("interrupted")
        sys.exit(130)
    except MemoryError:
        console.say("error: not enough memory. Use fewer cells (--max-events-per-file) or a larger machine.")
        sys.exit(6)
