"""What all pictures share: colours, type, and a figure turned into PNG and SVG that are the same every time."""

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

PAGE_DPI = 96  # pixels of a page in an inch


DPI = 150


INK, QUIET, FAINT = "#1f2430", "#6a7180", "#d9dce3"


# Okabe and Ito's colours first; each further one is as far as can be from those before it for the nearest of normal,
# protanope and deuteranope eyes (Machado et al. 2009, CIELAB). Beyond a dozen no palette is enough by itself, so
# clusters are labelled with their numbers, too.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#900B16", "#DEC87A", "#007AF4", "#851659"),
    *("#FFB1BC", "#3737A6", "#DE374E", "#852137", "#85007A", "#4E9BF4", "#6FD3E9", "#B14316", "#E97A4E", "#FF6485"),
    *("#FFBC59", "#855985", "#F4BC9B", "#6F6437", "#9B4364", "#4364C8", "#0BB1BC", "#E99037", "#164E85", "#A6B16F"),
    *("#7A85BC", "#164E9B", "#43BC9B", "#D34364", "#16DEBC", "#A66FD3", "#A66485", "#E9C837", "#F49BD3", "#64D3FF"),
)


# Lightness falls all the way, so these read in grey and to any eye.
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
    "text.parse_math": False,  # a $ in the name of a marker is a $
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
    """One picture: the stem of its file name, a sentence for who cannot see it, its PNG, its SVG where that was asked
    for, and its width on the page in pixels.
    """

    name: str
    alt: str
    png: bytes
    svg: bytes | None
    width: int


@contextmanager
def style() -> Iterator[None]:
    """Within it figures look the same whatever the user's own settings of matplotlib are."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # A name in a script the font lacks shows boxes; the page itself has it as text.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph \d+")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    return Figure(figsize=(width, height), dpi=DPI)


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Any:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **options)


def bare(axes: Any) -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def render(figure: Figure, name: str, alt: str, *, svg: bool) -> Picture:
    """The figure as PNG, and with ``svg`` also as SVG (points are rasterised there); no dates in either."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    dots = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    png = io.BytesIO()
    dots.save(png, "PNG", dpi=(DPI, DPI))
    drawn: bytes | None = None
    if svg:
        vector = io.BytesIO()
        figure.savefig(vector, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
        drawn = vector.getvalue()
    return Picture(name, alt, png.getvalue(), drawn, round(figure.get_size_inches()[0] * PAGE_DPI))


def colour_of(index: int) -> str:
    """The colour of cluster ``index`` (from 0); beyond forty they come round again."""
    return PALETTE[index % len(PALETTE)]


def shown(name: str, longest: int = 40) -> str:
    """A name as a picture can hold it: no control characters, which SVG forbids, and not too long."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def file_stem(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:40] or "unnamed"
