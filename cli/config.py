"""Where a command's options come from: command line > environment (CYTOVAE_…) > --config FILE > default.

Every command is a :class:`ConfiguredCommand`, which adds ``--config`` and ``--print-config``. An option ``--max-cells``
is ``CYTOVAE_MAX_CELLS`` in the environment and ``max-cells`` in a TOML file: in a table named as the command is, or
above all tables, where it is for every command that has it.
"""

import difflib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from cytovae.errors import InputError, UsageError
from cytovae.toml_file import read_toml

PREFIX = "CYTOVAE_"
LARGEST_NUMBER = 10**12
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
        """Parse and check the values. Required options may be missing if options are only printed."""
        if any("\0" in word for word in args):
            raise UsageError("an argument contains the character NUL")
        required = [param for param in self.params if param.required]
        printing = "--print-config" in args
        for param in required:
            param.required = not printing
        try:
            rest = super().parse_args(ctx, args)
        finally:
            for param in required:
                param.required = True
        for option in self._options():
            _check_number(option, ctx.params.get(str(option.name)))
        return rest

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

    @property
    def names(self) -> frozenset[str]:
        """Names of the options that a file may set."""
        return frozenset(option_name(option) for option in self._options()) - _NOT_SET

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
    """Turn the options in the file into the defaults of this command. The whole file is checked."""
    command = ctx.command
    if path is None or ctx.resilient_parsing or not isinstance(command, ConfiguredCommand):
        return path
    content, words, commands = read_toml(path, "config"), _command_words(ctx), _all_commands(ctx.find_root().command)
    _check_names(content, path, (), commands)
    known = {option_name(option): option for option in command._options()}
    defaults: dict[str, Any] = {}
    for name, value, where in _settings(content, words, frozenset(known)):
        option = known[name]
        if isinstance(value, list):
            text = value if option.multiple else ",".join(map(str, value))
        else:
            text = [value] if option.multiple else value
        try:
            if any("\0" in str(word) for word in (text if isinstance(text, list) else [text])):
                raise ValueError("the character NUL")
            option.process_value(ctx, text)
        except Exception as error:
            raise InputError(path, where, repr(value)[:80], getattr(error, "message", str(error))) from error
        defaults[str(option.name)] = text
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _check_number(option: TyperOption, value: Any) -> None:
    """Raise :class:`UsageError` for a number that no option means: NaN, infinity, or a huge one."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--{option_name(option)} takes a finite number, not {value}")
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise UsageError(f"--{option_name(option)} takes a number up to {LARGEST_NUMBER:,}")


Commands = Mapping[tuple[str, ...], ConfiguredCommand]


def _check_names(table: Mapping[str, Any], path: Path, words: tuple[str, ...], commands: Commands) -> None:
    """Raise :class:`InputError` for a table that is no command, or a name that is no option of its command."""
    deeper = {name[len(words)] for name in commands if name[: len(words)] == words and len(name) > len(words)}
    if words in commands:
        options = commands[words].names
    else:
        options = frozenset() if words else frozenset().union(*(command.names for command in commands.values()))
    for key, value in table.items():
        where = ".".join((*words, key))
        if isinstance(value, dict):
            if key not in deeper:
                raise _unknown(path, where, "table", deeper or options)
            _check_names(value, path, (*words, key), commands)
        elif not options:
            example = ".".join((*words, min(deeper)))
            raise InputError(path, where, "an option of a group of commands", f"a table of one, such as [{example}]")
        elif key.replace("_", "-") not in options:
            raise _unknown(path, where, "option", options)


def _settings(
    content: Mapping[str, Any], words: tuple[str, ...], known: frozenset[str]
) -> Iterator[tuple[str, Any, str]]:
    """Name, value and place of each option for the command ``words``: those for all commands first, then its own."""
    own: Any = content
    for word in words:
        own = own.get(word, {})
    for table, before in ((content, ""), (own, f"{'.'.join(words)}.")):
        for key, value in table.items():
            name = key.replace("_", "-")
            if not isinstance(value, dict) and name in known and name not in _NOT_SET:
                yield name, value, before + key


def _unknown(path: Path, where: str, kind: str, names: Iterable[str]) -> InputError:
    near = difflib.get_close_matches(where.rpartition(".")[2].replace("_", "-"), sorted(names), n=3)
    return InputError(path, where, f"an unknown {kind}", f"one of {', '.join(near or sorted(names))}")


def _all_commands(root: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], ConfiguredCommand]:
    """Every command that takes ``--config``, by its words."""
    if isinstance(root, ConfiguredCommand):
        return {words: root}
    found: dict[tuple[str, ...], ConfiguredCommand] = {}
    for name, command in getattr(root, "commands", {}).items():
        found |= _all_commands(command, (*words, name))
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    text = value.value if hasattr(value, "value") else os.fspath(value) if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=False)
