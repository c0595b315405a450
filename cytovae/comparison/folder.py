"""The folder that holds a comparison: tables, a summary and pictures."""

import json
from importlib.util import find_spec
from pathlib import Path

from cytovae.atomic import check_own_folder, flush_to_disk, whole_folder
from cytovae.comparison.layout import ENTRIES, FIGURES, SUMMARY
from cytovae.comparison.results import Comparison, summary, tables
from cytovae.outputs.tables import write_table


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Check that a comparison can be written to ``folder``.

    The folder must be new or empty. With ``force`` it may be an earlier comparison, which is replaced as a whole;
    a folder with any other file is never replaced.

    Raises :class:`OutputError`.
    """
    check_own_folder(folder, SUMMARY, ENTRIES.__contains__, "comparison", force=force)


def write_comparison(folder: Path, comparison: Comparison, *, force: bool = False) -> tuple[str, ...]:
    """Write a comparison; the folder appears when everything is in it. Returns the names of the files.

    Pictures are written if matplotlib is installed.
    """
    check_folder(folder, force=force)
    with whole_folder(folder) as partial:
        for name, table in tables(comparison).items():
            write_table(partial / name, table)
        text = json.dumps(summary(comparison), indent=2, ensure_ascii=False) + "\n"
        (partial / SUMMARY).write_text(text, encoding="utf-8")
        if find_spec("matplotlib") is not None:
            _write_pictures(partial / FIGURES, comparison)
        return tuple(sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()))


def _write_pictures(folder: Path, comparison: Comparison) -> None:
    from cytovae.comparison.pictures import draw_all
    from cytovae.drawing import render, style

    folder.mkdir()
    with style():
        for name, figure in draw_all(comparison).items():
            path = folder / f"{name}.png"
            path.write_bytes(render(figure, name, "", svg=False).png)
            flush_to_disk(path)
