"""The page: a template filled, every name escaped, pictures and script within it. And the files it is written to."""

import base64
import hashlib
import shlex
import shutil
from dataclasses import fields
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from cytovae import __version__
from cytovae.atomic import check_parent, flush_to_disk, hidden_name, output_errors, whole_file
from cytovae.errors import OutputError
from cytovae.report.content import DOUBTFUL, ODD, STRANGE, SURE, ReportContent, cluster_rows
from cytovae.report.drawing import Picture, colour_of
from cytovae.report.pictures import Pictures

# Shows the markers whose name contains what is typed; names are compared as text and never become HTML.
_SCRIPT = """
const box = document.getElementById("find"), shown = document.getElementById("shown");
const cards = Array.from(document.querySelectorAll("[data-marker]"));
function narrow() {
  const words = box.value.toLowerCase().split(/[\\s,]+/).filter(Boolean);
  let count = 0;
  for (const card of cards) {
    const name = card.dataset.marker.toLowerCase();
    card.hidden = words.length > 0 && !words.some(word => name.includes(word));
    if (!card.hidden) count += 1;
  }
  shown.textContent = count + " of " + cards.length;
}
box.addEventListener("input", narrow);
narrow();
"""


def render_page(content: ReportContent, pictures: Pictures, model_name: str) -> str:
    """The page as HTML that loads nothing: pictures are data URIs, and its policy forbids everything else."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_uri"] = _data_uri
    template = environment.from_string(resources.files("cytovae.report").joinpath("page.html").read_text("utf-8"))
    script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    probability = content.probability
    record = content.record
    command = shlex.join([Path(record.argv[0]).name, *record.argv[1:]]) if record.argv else ""
    settings = content.saved.model.settings
    return template.render(
        version=__version__,
        model_name=model_name,
        content=content,
        record=record,
        pictures=pictures,
        rows=cluster_rows(content),
        n_cells=len(content.cluster),
        n_used=int((content.counts > 0).sum()),
        mean_probability=float(probability.mean(dtype="float64")),
        limits=((DOUBTFUL, int((probability < DOUBTFUL).sum())), (SURE, int((probability < SURE).sum()))),
        strange=STRANGE,
        novelties=()
        if content.novelty is None
        else tuple((limit, int((content.novelty >= limit).sum())) for limit in (ODD, STRANGE)),
        settings={field.name: getattr(settings, field.name) for field in fields(settings)},
        command=command,
        cofactors=", ".join(f"{cofactor:g}" for cofactor in sorted(set(content.saved.panel.cofactors.tolist()))),
        colours=[colour_of(index) for index in range(content.n_clusters)],
        script=_SCRIPT,
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'",
    )


def write_page(page: str, path: Path, *, force: bool = False) -> None:
    """Write the page whole or not at all. Raises :class:`OutputError` where it exists without ``force``."""
    with whole_file(path, force=force) as partial:
        partial.write_text(page, encoding="utf-8")


def check_figures(folder: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` unless pictures can be written to ``folder``: nothing or an empty folder is there, or
    with ``force`` any folder.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder; name another place for the figures")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(f"{folder} holds files already; use --force to replace pictures there, or another name")
    check_parent(folder, folder if folder.is_dir() else folder.absolute().parent)


def write_figures(pictures: Pictures, folder: Path, *, force: bool = False) -> int:
    """Write NAME.png and NAME.svg of every picture; returns how many files.

    They are written beside ``folder`` and moved there together; other files in it are left alone. Raises
    :class:`OutputError` as :func:`check_figures` does.
    """
    check_figures(folder, force=force)
    partial = hidden_name(folder.absolute(), "partial")
    files = {f"{picture.name}.png": picture.png for picture in pictures.drawn}
    files |= {f"{picture.name}.svg": picture.svg for picture in pictures.drawn if picture.svg is not None}
    try:
        with output_errors(folder):
            partial.mkdir()
            for name, drawn in files.items():
                (partial / name).write_bytes(drawn)
                flush_to_disk(partial / name)
            if folder.is_dir():
                for name in files:
                    (partial / name).replace(folder / name)
            else:
                partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(files)


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
