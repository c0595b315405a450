"""Where a command's options come from: command line > environment (CYTOVAE_…) > --config FILE > default.

Every command is a :class:`ConfiguredCommand`, which adds ``--config`` and ``--print-config``. An option ``--max-cells``
is ``CYTOVAE_MAX_CELLS`` in the environment and ``max-cells`` in a TOML file: in a table named as the command is, or
above all tables, where it is for every command that has it.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from cytovae.errors import InputError

PREFIX = "CYTOVAE_"
_NOT_SET = {"config", "print-config", "help", "version"}


class ConfiguredCommand(TyperCommand):
    """A command whose options may stand in the environment and in a TOML file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.help:  # a paragraph is broken where the terminal ends, not where its source did
            self.help = "\n\n".join(" ".join(part.split()) for part in self.help.split("\n\n"))
        for option in self._options():
            option.envvar = f"{PREFIX}{option_name(option).replace('-', '_').upper()}"
            option.show_envvar = False
        self.params += _added_options()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As for any command, but what is required may be missing where options are only printed."""
        required = [param for param in self.params if param.required]
        printing = "--print-config" in args
        for param in required:
            param.required = not printing
        try:
            return super().parse_args(ctx, args)
        finally:
            for param in required:
                param.required = True

    def invoke(self, ctx: Any) -> Any:
        """Run the command, or print its options."""
        if ctx.meta.get("cytovae.print_config"):
            typer.echo(self.as_toml(ctx))
            return None
        return super().invoke(ctx)

    def as_toml(self, ctx: typer.Context) -> str:
        """The options of this run, those without a value left out."""
        lines = [f"[{'.'.join(_command_words(ctx))}]"]
        for option in self._options():
            value = ctx.params.get(str(option.name))
            if value is not None and option_name(option) not in _NOT_SET:
                lines.append(f"{option_name(option)} = {_toml(value)}")
        return "\n".join(lines)

    def _options(self) -> Iterator[TyperOption]:
        yield from (param for param in self.params if isinstance(param, TyperOption))


def option_name(option: TyperOption) -> str:
    """An option as users know it: its first long name, without dashes in front."""
    long = [name for name in option.opts if name.startswith("--")]
    return (long or option.opts)[0].lstrip("-")


def _command_words(ctx: typer.Context) -> tuple[str, ...]:
    """The words of the command after the program's name: ("benchmark", "run")."""
    words: list[str] = []
    at: typer.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, str(at.info_name))
        at = at.parent  # type: ignore[assignment]
    return tuple(words)


def _added_options() -> list[Any]:
    """``--config`` and ``--print-config``, made by typer as those of any command are."""

    def template(
        config: Annotated[
            Path | None,
            typer.Option(
                metavar="TOML",
                envvar=f"{PREFIX}CONFIG",
                show_envvar=False,
                expose_value=False,
                is_eager=True,
                callback=_take_config,
                help="Options in a file: in a table named as the command, or above all tables.",
            ),
        ] = None,
        print_config: Annotated[
            bool,
            typer.Option(
                "--print-config",
                expose_value=False,
                callback=_note_print_config,
                help="Print all options as TOML, as --config reads it, and do nothing.",
            ),
        ] = False,
    ) -> None:
        """Carry the two options."""

    app = typer.Typer(add_completion=False)
    app.command()(template)
    return [param for param in typer.main.get_command(app).params if param.name in ("config", "print_config")]


def _note_print_config(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta["cytovae.print_config"] = wanted
    return wanted


def _take_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make what the file says the defaults of this command."""
    command = ctx.command
    if path is None or ctx.resilient_parsing or not isinstance(command, ConfiguredCommand):
        return path
    content = _read(path)
    known = {option_name(option): option for option in command._options()}
    defaults: dict[str, Any] = {}
    for name, value, where in _settings(content, path, _command_words(ctx), known, _all_names(ctx)):
        option = known[name]
        text = ",".join(map(str, value)) if isinstance(value, list) and not option.multiple else value
        try:
            option.process_value(ctx, text)
        except Exception as error:
            raise InputError(path, where, repr(value), getattr(error, "message", str(error))) from error
        defaults[str(option.name)] = text
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(path, "config", str(error), "a readable TOML file") from error


def _settings(
    content: Mapping[str, Any],
    path: Path,
    words: tuple[str, ...],
    known: Mapping[str, TyperOption],
    everywhere: frozenset[str],
) -> Iterator[tuple[str, Any, str]]:
    """Name, value and place of each option for the command ``words``: those for all first, then its own."""
    for key, value in content.items():
        name = key.replace("_", "-")
        if isinstance(value, dict):
            continue
        if name not in everywhere:
            raise _unknown(path, key, everywhere)
        if name in known and name not in _NOT_SET:
            yield name, value, key
    own: Any = content
    for word in words:
        own = own.get(word, {}) if isinstance(own, dict) else {}
    for key, value in own.items() if isinstance(own, dict) else ():
        name, where = key.replace("_", "-"), f"{'.'.join(words)}.{key}"
        if isinstance(value, dict) or name not in known or name in _NOT_SET:
            raise _unknown(path, where, frozenset(known) - _NOT_SET)
        yield name, value, where


def _unknown(path: Path, where: str, names: frozenset[str]) -> InputError:
    near = difflib.get_close_matches(where.rpartition(".")[2].replace("_", "-"), sorted(names), n=3)
    return InputError(path, where, "an unknown option", f"one of {', '.join(near or sorted(names))}")


def _all_names(ctx: typer.Context) -> frozenset[str]:
    """The names of the options of all commands."""
    waiting: list[Any] = [ctx.find_root().command]
    names: set[str] = set()
    while waiting:
        command = waiting.pop()
        waiting.extend(getattr(command, "commands", {}).values())
        if isinstance(command, ConfiguredCommand):
            names |= {option_name(option) for option in command._options()}
    return frozenset(names) - _NOT_SET


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    text = value.value if hasattr(value, "value") else os.fspath(value) if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=False)
