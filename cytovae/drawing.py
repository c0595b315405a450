"""Colours, style and rendering of all pictures; the same figure gives the same PNG and SVG bytes."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

PAGE_DPI = 96  # of the page: CSS pixels per inch
DPI = 150  # of the PNG files

INK, QUIET, FAINT = "#1f2430", "#6a7180", "#d9dce3"

# The colours of Okabe and Ito come first. Each further colour has the largest distance from all before it, the smallest
# of its distances in normal, protanope and deuteranope vision (Machado et al. 2009, CIELAB). No palette of more than a
# dozen colours is sufficient by itself, so clusters are labelled with their numbers, too.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#900B16", "#DEC87A", "#007AF4", "#851659"),
    *("#FFB1BC", "#3737A6", "#DE374E", "#852137", "#85007A", "#4E9BF4", "#6FD3E9", "#B14316", "#E97A4E", "#FF6485"),
    *("#FFBC59", "#855985", "#F4BC9B", "#6F6437", "#9B4364", "#4364C8", "#0BB1BC", "#E99037", "#164E85", "#A6B16F"),
    *("#7A85BC", "#164E9B", "#43BC9B", "#D34364", "#16DEBC", "#A66FD3", "#A66485", "#E9C837", "#F49BD3", "#64D3FF"),
)

# Lightness decreases monotonically, so these are readable in grey and with any colour vision.
EXPRESSION = LinearSegmentedColormap.from_list("expression", ["#ececf0", "#a9c9e6", "#4f93c8", "#2b55a0", "#2a1a5e"])

CERTAINTY = LinearSegmentedColormap.from_list("certainty", ["#7a0403", "#d9480f", "#f4a259", "#dfe3ea", "#dfe3ea"])

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a $ in the name of a marker is a dollar sign
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "svg.hashsalt": "cytovae",
    "svg.fonttype": "path",
    "figure.facecolor": "white",
    "agg.path.chunksize": 20_000,
}


@dataclass(frozen=True)
class Picture:
    """A rendered picture.

    Attributes
    ----------
    name : str
        Stem of its file name.
    alt : str
        Alternative text.
    png, svg : bytes
        Its content; ``svg`` is None if it was not requested.
    width : int
        Its width on the page in CSS pixels.
    """

    name: str
    alt: str
    png: bytes
    svg: bytes | None
    width: int


@contextmanager
def style() -> Iterator[None]:
    """A context in which figures do not depend on the user's settings of matplotlib."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # Letters that the font lacks are drawn as boxes; the page has the names as text, too.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph \d+")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; its size is in inches."""
    return Figure(figsize=(width, height), dpi=DPI)


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Any:
    """Axes at a position in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **options)


def bare(axes: Any) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def render(figure: Figure, name: str, alt: str, *, svg: bool) -> Picture:
    """Render a figure as PNG, and with ``svg`` also as SVG (its points are rasterised); neither contains a date."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    png = io.BytesIO()
    pixels.save(png, "PNG", dpi=(DPI, DPI))
    svg_bytes: bytes | None = None
    if svg:
        vector = io.BytesIO()
        figure.savefig(vector, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
        svg_bytes = vector.getvalue()
    return Picture(name, alt, png.getvalue(), svg_bytes, round(figure.get_size_inches()[0] * PAGE_DPI))


def colour_of(index: int) -> str:
    """The colour of cluster ``index`` (from 0); colours repeat after forty."""
    return PALETTE[index % len(PALETTE)]


def shown(name: str, longest: int = 40) -> str:
    """A name for a picture, shortened and without control characters, which SVG forbids."""
    clean = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def file_stem(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:40] or "unnamed"
