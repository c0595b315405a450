"""The app and the one door where errors become exit codes."""

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from cytovae import __version__
from cytovae.cli import assign, benchmark, console, inspect, report, train, workflow
from cytovae.errors import CytovaeError, Interrupted, UsageError

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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Cell populations from FCS files, found without being told how many."""
    several = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    if several and context.invoked_subcommand != "train":
        raise UsageError(f"torchrun starts several processes for `train` only, not for {context.invoked_subcommand}")


app.command("inspect")(inspect.inspect_cli)
app.command("train")(train.train_cli)
app.command("assign")(assign.assign_cli)
app.command("report")(report.report_cli)
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(workflow.app, name="workflow")


def run() -> None:
    """Run the command line. Errors of our family become one line and their exit code; a traceback is a bug of ours."""
    # An exception on the way out lets every block that is writing something take it away again.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except CytovaeError as error:
        console.talk.print(f"error: {error}", markup=False, style="red")
        _let_go_of_stdout()
        sys.exit(error.exit_code)
    except Interrupted as stop:
        console.say("interrupted")
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        console.say("interrupted")
        sys.exit(130)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        console.say("error: not enough memory. Use fewer cells (--max-events-per-file, --landmarks) or --device cpu.")
        sys.exit(6)


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, here or on the GPU. torch's own class is known by name: torch may not be loaded."""
    return (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    )


def _let_go_of_stdout() -> None:
    """What could not be written to a closed pipe is not tried again at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
