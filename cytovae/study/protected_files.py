"""Which files no output may replace, not even with --force: the inputs of a command and those of its model."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.annotations.gates import table_beside
from cytovae.atomic import readable
from cytovae.errors import ModelError, UsageError
from cytovae.plain_file import folder_exists, is_plain, open_plain, resolved


@dataclass(frozen=True)
class ProtectedFiles:
    """Files that no output may replace.

    Attributes
    ----------
    files
        Absolute paths without links, and the links on the way to them.
    folders
        Folders whose existing files are protected, such as a folder of gates.
    models
        Model folders, in which nothing else may be written.
    contents
        Size in bytes and SHA-256 of the inputs that a model records. They are protected wherever they are.
    """

    files: frozenset[Path] = frozenset()
    folders: tuple[Path, ...] = ()
    models: tuple[Path, ...] = ()
    contents: frozenset[tuple[int, str]] = frozenset()

    def check(self, *targets: Path) -> None:
        """Raise :class:`UsageError` if one of the ``targets`` would replace a protected file."""
        for target in targets:
            if any(resolved(target).is_relative_to(model) for model in self.models):
                raise UsageError(f"{readable(target)} lies in the model's folder; name another output")
            if self._protects(target):
                raise UsageError(f"{readable(target)} would write over an input; name another output")

    def check_names(self, folder: Path, suffixes: Sequence[str]) -> None:
        """Raise :class:`UsageError` if ``folder`` is a model, or holds a protected file with one of these suffixes."""
        place = resolved(folder)
        taken = [path for path in sorted(self.files) if path.parent == place and path.suffix in suffixes]
        if taken or any(place.is_relative_to(model) for model in self.models):
            raise UsageError(f"{readable(folder)} would write over an input; name another output")

    def check_folder(self, folder: Path) -> None:
        """Raise :class:`UsageError` if ``folder``, which will be replaced as a whole, is or holds an input.

        An input is a protected file, a link to one, a protected folder, a model, or a file with the content of an
        input of the model. A folder inside a model is refused, too.
        """
        place = resolved(folder)
        if any(place.is_relative_to(model) for model in self.models):
            raise UsageError(f"{readable(folder)} lies in the model's folder; name another output")
        held = [path for path in sorted(self.files) if path.is_relative_to(place) and is_plain(path)]
        held += [path for path in (*self.folders, *self.models) if path.is_relative_to(place)]
        if self.contents and not held and folder_exists(place):
            held += [path for path in sorted(place.rglob("*")) if is_plain(path) and self._is_recorded(path)]
        if held:
            raise UsageError(f"{readable(folder)} holds the input {readable(held[0])}; name another output")

    def _protects(self, target: Path) -> bool:
        path = resolved(target)
        if path in self.files:
            return True
        if not is_plain(path):
            return False
        return (
            any(path.is_relative_to(folder) for folder in self.folders)
            or any(_same(path, file) for file in self.files)
            or self._is_recorded(path)
            or any(self._is_recorded(file) for file in _files_with_table(path))
        )

    def _is_recorded(self, path: Path) -> bool:
        """Whether the content of a file is that of an input of the model."""
        size = path.stat().st_size
        if not any(size == recorded for recorded, _ in self.contents):
            return False
        with open_plain(path) as stream:
            return (size, hashlib.file_digest(stream, "sha256").hexdigest()) in self.contents


NOTHING = ProtectedFiles()
"""For callers that have no inputs to protect."""


def protected_files(
    *,
    files: Iterable[Path] = (),
    tables: Iterable[Path | str | None] = (),
    model: Path | None = None,
) -> ProtectedFiles:
    """Collect the files that the outputs of a command must not replace.

    Parameters
    ----------
    files
        The files of events. The gates beside them, ``NAME.gates.csv``, are protected, too.
    tables
        Other inputs: sample sheets, names, panels, gates. A folder protects the files in it. Names that are no path,
        such as a channel, and None are ignored.
    model
        The model folder. Its ``run.json`` records the training files; the tables that its command line names are
        protected, too. So is what the parts of a refined model record.
    """
    named = [Path(table) for table in tables if table is not None]
    events = list(files)
    contents: set[tuple[int, str]] = set()
    if model is not None:
        for folder in (model, *sorted(model.glob("part_*"))):
            recorded, words, more = _recorded(folder)
            events += recorded
            named += words
            contents |= more
    plain = {place for path in (*events, *map(table_beside, events)) for place in _places(path)}
    plain |= {place for path in named if is_plain(path) for place in _places(path)}
    folders = tuple(resolved(path) for path in named if folder_exists(path))
    return ProtectedFiles(frozenset(plain), folders, () if model is None else (resolved(model),), frozenset(contents))


def _recorded(model: Path) -> tuple[list[Path], list[Path], set[tuple[int, str]]]:
    """Training files, other files on the command line, and contents of training files that a model records.

    A damaged record protects nothing here; reading the model reports it.
    """
    from cytovae.model_folder.json_fields import read_json  # loads torch
    from cytovae.model_folder.layout import RUN, STARTED_IN, member_path, recorded_path

    try:
        run = read_json(member_path(model, RUN))
        inputs = run.entries("inputs", "a list of input files", "a record of a file")
        started_in = run.text(STARTED_IN) if STARTED_IN in run else ""
        files = [recorded_path(entry.text("file"), model, started_in) for entry in inputs]
        contents = {(entry.integer("bytes"), entry.text("sha256")) for entry in inputs}
        argv: Sequence[object] = run.of_type("argv", list, "a list of words")
    except ModelError:
        return [], [], set()
    words = [str(word) for word in argv[1:]]
    values = [word.partition("=")[2] if word.startswith("--") else word for word in words]
    named = [recorded_path(value, model, started_in) for value in values if value]
    return files, [path for path in named if is_plain(path)], contents


def _places(path: Path) -> set[Path]:
    """The file at ``path`` without links, and each link on the way to it: a folder that holds one must stay."""
    places = {resolved(path)}
    link = resolved(path.parent) / path.name
    while link not in places:
        places.add(link)
        try:
            target = link.parent / link.readlink()
        except (OSError, ValueError):  # no link
            break
        link = resolved(target.parent) / target.name
    return places


def _files_with_table(path: Path) -> list[Path]:
    """The files beside which ``path`` is the table of gates."""
    if not path.name.endswith(".gates.csv"):
        return []
    stem = path.name.removesuffix(".gates.csv")
    return [file for file in path.parent.glob("*.*") if file.stem == stem and file != path and file.is_file()]


def _same(path: Path, other: Path) -> bool:
    """Whether two existing names are one file, for file systems that ignore case."""
    try:
        return path.samefile(other)
    except OSError:
        return False
