"""The pictures of a report as PNG and SVG files in a folder."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cytovae.atomic import check_parent, flush_to_disk, hidden_name, output_errors
from cytovae.errors import OutputError

if TYPE_CHECKING:
    from cytovae.report.pictures import Pictures


PICTURE_SUFFIXES = (".png", ".svg")


def check_figures(folder: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` if pictures cannot be written to ``folder``.

    ``folder`` must be new or empty; with ``force`` it may hold files.
    """
    with output_errors(folder):
        if folder.is_symlink() and not folder.exists():
            raise OutputError(f"{folder} is a link that leads nowhere; choose another folder for the figures")
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; choose another one for the figures")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise OutputError(f"{folder} holds files already; use --force to replace pictures there, or another name")
    check_parent(folder, folder if folder.is_dir() else folder.absolute().parent)


def write_figures(pictures: "Pictures", folder: Path, *, force: bool = False) -> int:
    """Write every picture as NAME.png and NAME.svg; returns the number of files.

    They are written to a hidden folder and moved together; other files in ``folder`` stay. Raises :class:`OutputError`
    as :func:`check_figures` does.
    """
    check_figures(folder, force=force)
    partial = hidden_name(folder.absolute(), "partial")
    files = {f"{picture.name}.png": picture.png for picture in pictures.all}
    files |= {f"{picture.name}.svg": picture.svg for picture in pictures.all if picture.svg is not None}
    try:
        with output_errors(folder):
            partial.mkdir()
            for name, content in files.items():
                (partial / name).write_bytes(content)
                flush_to_disk(partial / name)
            if folder.is_dir():
                for name in files:
                    (partial / name).replace(folder / name)
            else:
                partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(files)
