"""The HTML page: a filled template with pictures and script inside, all names escaped."""

import base64
import hashlib
import io
import shlex
from dataclasses import fields
from importlib import resources

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from cytovae import __version__
from cytovae.annotations.cluster_gates import percent
from cytovae.comparison.stored import StoredComparison
from cytovae.delimited import is_number
from cytovae.drawing import Picture, colour_of
from cytovae.populations.merge_tree import FAIR_SUPPORT
from cytovae.populations.population_tree import AGREEMENT
from cytovae.report.charts import MOST_BARS
from cytovae.report.cluster_table import cluster_rows
from cytovae.report.comparison_view import comparison_view
from cytovae.report.content import FAIR_NOVELTY, FAIR_PROBABILITY, HIGH_NOVELTY, LOW_PROBABILITY, ReportContent
from cytovae.report.file_differences import FEWEST_CELLS, MOST_ROWS
from cytovae.report.page_data import page_data
from cytovae.report.pictures import Pictures

_FORMULA_BEGINS = ("=", "@", "+", "-")

_SCRIPTS = (
    *("data", "state", "hover", "marks", "tables", "rows", "points", "plots", "map", "scatter", "cuts", "explore"),
    *("search", "main"),
)


def render_page(
    content: ReportContent, pictures: Pictures, model_name: str, comparison: StoredComparison | None = None
) -> str:
    """The page as HTML, with a comparison of groups if there is one.

    It loads nothing: pictures are data URIs, and its content security policy forbids every script but its own. Without
    a script, it shows all its pictures and tables.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_without_formula
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.from_string(_text("page.html"))
    script = _script()
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    probability, novelty, record = content.probability, content.novelty, content.record
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
        low_probability=LOW_PROBABILITY,
        fair_probability=FAIR_PROBABILITY,
        percent=percent,
        high_novelty=HIGH_NOVELTY,
        below=[(limit, int((probability < limit).sum())) for limit in (LOW_PROBABILITY, FAIR_PROBABILITY)],
        from_novelty=[]
        if novelty is None
        else [(limit, int((novelty >= limit).sum())) for limit in (FAIR_NOVELTY, HIGH_NOVELTY)],
        compared=None if comparison is None else comparison_view(content, comparison),
        most_bars=MOST_BARS,
        fewest_cells=FEWEST_CELLS,
        large_shifts=content.differences.large if content.differences is not None else (),
        most_rows=MOST_ROWS,
        has_support=content.saved.model.tree.cluster_support(content.saved.model.n_clusters) is not None,
        fair_support=FAIR_SUPPORT,
        by_views=content.saved.model.tree.support is not None,
        agreement_needed=percent(AGREEMENT),
        has_agreement=bool(np.isfinite(content.saved.model.tree.agreement).any()),
        settings={field.name: getattr(settings, field.name) for field in fields(settings)},
        command=shlex.join(["cytovae", *record.argv[1:]]) if record.argv else "",
        cofactors=[f"{cofactor:g}" for cofactor in sorted(set(content.saved.panel.cofactors.tolist()))],
        colours=[colour_of(index) for index in range(content.n_clusters + 1)],
        style=Markup(_text("page.css").strip()),
        script=Markup(script),
        data=Markup(page_data(content, pictures)),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'",
    )


def _text(name: str) -> str:
    """A file of this package."""
    return resources.files("cytovae.report").joinpath(name).read_text("utf-8")


def _script() -> str:
    """The script of the page: all its files, in a scope of their own."""
    parts = "\n".join(_text(f"script/{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def _without_formula(value: object) -> object:
    """Put an apostrophe before text that a spreadsheet, to which a table is copied, would take for a formula."""
    if isinstance(value, Markup) or not isinstance(value, str) or not value.lstrip().startswith(_FORMULA_BEGINS):
        return value
    return value if is_number(value) or len(value.strip()) == 1 else f"'{value}"


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(_compact(picture.png)).decode()}"


def _compact(png: bytes) -> bytes:
    """The same picture with at most 256 colours: a third of the bytes. Shades differ a little."""
    with Image.open(io.BytesIO(png)) as picture:
        reduced = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, "PNG")
    return min(png, small.getvalue(), key=len)
