"""The command-line app; errors become exit codes here."""

import errno
import gc
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from cytovae import __version__
from cytovae.cli import (
    assign,
    benchmark,
    compare,
    console,
    generate,
    inspect,
    paper,
    qc,
    refine,
    report,
    starter_types,
    train,
    workflow,
)
from cytovae.cli.caches import away_from_home
from cytovae.cli.config import ConfiguredCommand
from cytovae.cli.interruption import Interruption
from cytovae.errors import CytovaeError, DeviceError, UsageError

BROKEN_PIPE = 141  # as if SIGPIPE had ended the program

# Python collects garbage after so many new objects. Importing torch, scikit-learn and UMAP creates a million that stay;
# scanning them again and again takes half a second.
NEW_OBJECTS = 100_000
ABOUT = """Find the cell populations in FCS files; their number need not be known.

Options can also be set in the environment (--batch-size is CYTOVAE_BATCH_SIZE) and in a TOML file (--config). The
command line takes precedence over the environment, and the environment over the file.

Example: cytovae train sample_data/*.fcs -o model && cytovae report model -o report.html"""

app = typer.Typer(
    name="cytovae",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(help="\n\n".join(" ".join(part.split()) for part in ABOUT.split("\n\n")))
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run one of the commands."""


app.command("inspect", cls=ConfiguredCommand)(inspect.inspect_cli)
app.command("qc", cls=ConfiguredCommand)(qc.qc_cli)
app.command("types", cls=ConfiguredCommand)(starter_types.types_cli)
app.command("train", cls=ConfiguredCommand)(train.train_cli)
app.command("refine", cls=ConfiguredCommand)(refine.refine_cli)
app.command("assign", cls=ConfiguredCommand)(assign.assign_cli)
app.command("compare", cls=ConfiguredCommand)(compare.compare_cli)
app.command("generate", cls=ConfiguredCommand)(generate.generate_cli)
app.command("report", cls=ConfiguredCommand)(report.report_cli)
app.add_typer(benchmark.app, name="benchmark")
benchmark.app.add_typer(paper.app, name="paper")
app.add_typer(workflow.app, name="workflow")


def run() -> None:
    """Run the command line. Errors of cytovae become one line and an exit code; a traceback is a bug."""
    gc.set_threshold(NEW_OBJECTS)
    console.guard_streams()
    interruption = Interruption()
    interruption.install()
    try:
        code = exit_code_of_command()
        interruption.over()  # a last try may come before
    except BaseException:
        interruption.over()
        if interruption.code is None:
            raise
        code = interruption.code  # the error is a consequence of the interruption
    gc.freeze()  # objects of libraries end with the process; collecting them would take half a second
    sys.exit(code)


def exit_code_of_command() -> int:
    """Run the command in ``sys.argv``; expected errors become their exit codes."""
    try:
        try:
            with away_from_home():
                app()
        except SystemExit as ended:
            if sys.stdout is not None:
                sys.stdout.flush()  # here a failure can still be reported
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except CytovaeError as error:
        if isinstance(error.__cause__, BrokenPipeError):  # the reading end was closed: `| head` ends quietly
            console.let_go_of_stdout()
            return BROKEN_PIPE
        console.let_go_of_stdout()
        if any(map(_out_of_memory, _causes(error))):
            return _say_out_of_memory()
        console.talk.print(f"error: {error}", markup=False, style="red")
        return error.exit_code
    except KeyboardInterrupt:
        console.say("interrupted")
        return 130
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _say_out_of_memory()
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
            raise
        console.talk.print(f"error: {error.filename}: {error.strerror}", markup=False, style="red")
        return UsageError.exit_code
    return 0


def _say_out_of_memory() -> int:
    console.say("error: not enough memory. Use fewer cells (--max-events-per-file, --landmarks) or --device cpu.")
    return DeviceError.exit_code


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to ``error``."""
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, here or on the GPU. torch's own class is known by name: torch may not be loaded."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error) for text in ("allocate memory", "malloc of size", "realloc of size"))
    )
