"""Which input a cell of the column `file` means: files are told apart by path, and ambiguous names are refused."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from cytovae.errors import InputError
from cytovae.plain_file import resolved

_HINT = "Give enough of the paths in the column file to tell them apart."


def match_cells(
    cells: Iterable[str],
    paths: Sequence[Path],
    table: Path,
    error: type[InputError] = InputError,
    *,
    names: Sequence[str] = (),
) -> dict[str, tuple[int, ...]]:
    """Find the inputs that cells of a table name.

    A cell is a path, absolute or relative to the working folder or the folder of the table, or the last part of the
    path of an input: at least its name, with or without suffix.

    Parameters
    ----------
    cells
        The cells, repeated or not.
    paths
        The inputs. The parts of a file that holds several may share a path.
    table
        The path of the table.
    error
        The type of error to raise.
    names
        Names of the inputs in outputs, which cells may also be.

    Returns
    -------
    dict
        For each cell that names an input, the indices of the inputs with that path.

    Raises
    ------
    InputError
        Of the type ``error``: if a cell fits several inputs.
    """
    lookups = _Lookups(paths, table.parent, names)
    found = {}
    for cell in dict.fromkeys(cells):
        indices = lookups.find(_normal(cell.strip()))
        if len({paths[index] for index in indices}) > 1:
            inputs = " and ".join(str(paths[index]) for index in indices[:2])
            raise error(table, "file", f"{cell!r}, which fits {inputs}", "rows of one input", _HINT)
        if indices:
            found[cell] = indices
    return found


class _Lookups:
    """The indices of inputs by name, by path, and by the last part of their paths."""

    def __init__(self, paths: Sequence[Path], folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._by_text: list[dict[str, list[int]]] = [{}, {}, {}]  # by name in outputs, by path, without links
        self._by_end: list[dict[str, list[int]]] = [{}, {}]  # by name with and without suffix
        self._parts = [[_normal(part) for part in path.absolute().parts] for path in paths]
        for index, name in enumerate(names):
            self._by_text[0].setdefault(_normal(name), []).append(index)
        for index, path in enumerate(paths):
            self._by_text[1].setdefault(_absolute(path), []).append(index)
            self._by_text[2].setdefault(_normal(str(resolved(path))), []).append(index)
            self._by_end[0].setdefault(_normal(path.name), []).append(index)
            self._by_end[1].setdefault(_normal(path.stem), []).append(index)

    def find(self, cell: str) -> tuple[int, ...]:
        """The inputs that ``cell`` fits best."""
        places = (Path(cell), self._folder / cell)
        keys = ((cell,), map(_absolute, places), (_normal(str(resolved(place))) for place in places))
        for by_text, texts in zip(self._by_text, keys, strict=True):
            if same := {index for text in texts for index in by_text.get(text, ())}:
                return tuple(sorted(same))
        for by_end in self._by_end:
            for parts in ([part for part in cell.split("/") if part != "."], re.split(r"[/\\]", cell)):
                *folders, name = parts or [""]
                ends = [index for index in by_end.get(name, ()) if self._is_in(index, folders)]
                if ends:
                    return tuple(ends)
        return ()

    def _is_in(self, index: int, folders: list[str]) -> bool:
        own = self._parts[index][:-1]
        return not folders or own[-len(folders) :] == folders


def match_files(cells: Sequence[str], files: Sequence[str], table: str) -> list[int]:
    """Find the cell that means each file, where cells and files may come from different folders.

    The cell is the one that shares the longest end of its path with the file; names may differ in their suffix.

    Parameters
    ----------
    cells
        Different cells of the column ``file``.
    files
        The files, as the user calls them.
    table
        The path of the table, for messages.

    Returns
    -------
    list of int
        The index in ``cells`` for each file.

    Raises
    ------
    InputError
        If no cell fits a file, several cells fit a file equally well, or one cell is the best for two files.
    """
    by_stem: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        by_stem.setdefault(_normal(without_suffix(cell)), []).append(index)
    chosen: dict[int, str] = {}
    found = []
    for file in files:
        scores = {index: _common_end(cells[index], file) for index in by_stem.get(_normal(without_suffix(file)), ())}
        best = [index for index, score in scores.items() if score == max(scores.values())]
        if not best:
            known = ", ".join(cells[:5]) + (" …" if len(cells) > 5 else "")
            raise InputError(table, "file", f"rows of {known or 'no file'}", f"rows of {file}")
        if len(best) > 1:
            several = ", ".join(cells[index] for index in best)
            hint = "Give the path as it is in the table."
            raise InputError(table, "file", f"several files like {file}: {several}", "one", hint)
        other = chosen.setdefault(best[0], file)
        if other != file:
            raise InputError(table, "file", f"{cells[best[0]]!r}, which fits {other} and {file}", "one file", _HINT)
        found.append(best[0])
    return found


def _common_end(cell: str, file: str) -> tuple[float, int]:
    """How many parts two paths share at their ends; then 2 for equal names, 1 for names equal without suffix."""
    if cell == file:
        return float("inf"), 2
    (*cell_folders, cell_name), (*folders, name) = (re.split(r"[/\\]", _normal(text)) for text in (cell, file))
    shared = 1
    for one, other in zip(reversed(cell_folders), reversed(folders), strict=False):
        if one != other:
            break
        shared += 1
    return shared, 2 if cell_name == name else 1


def without_suffix(name: str) -> str:
    """The last part of a path, also of Windows, without the suffix of a file of events, labels or gates."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"(\.gates)?\.(fcs|lmd|csv|tsv|txt|parquet|h5ad)$", "", last, flags=re.IGNORECASE)


def _normal(text: str) -> str:
    """Text in one normal form: macOS spells names of files decomposed."""
    return unicodedata.normalize("NFC", text)


def _absolute(path: Path) -> str:
    return _normal(os.path.normpath(path.absolute()))
