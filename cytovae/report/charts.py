"""Charts of clusters: heatmap, abundance, probability, novelty, losses, and clusters compared with gates."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram, linkage

from cytovae.drawing import EXPRESSION, FAINT, INK, QUIET, axes_at, bare, colour_of, new_figure, shown
from cytovae.errors import UsageError
from cytovae.model_folder.record import LOSSES, History
from cytovae.report.content import (
    FAIR_NOVELTY,
    FAIR_PROBABILITY,
    HIGH_NOVELTY,
    LOW_PROBABILITY,
    Agreement,
    Groups,
    ReportContent,
)
from cytovae.report.row_regions import RowRegion, row_region

MOST_BARS = 80  # files in the chart of abundances
_MOST_NUMBERS = 900  # fields of a heatmap with a number in each
_ALARM, _NOTICE, _NORMAL = "#d9480f", "#e9a15b", "#8a93a6"


def draw_heatmap(content: ReportContent, groups: Groups) -> tuple[Figure, RowRegion]:
    """Median of each marker in each group; columns are ordered by hierarchical clustering, rows by number."""
    scaled, medians, counts = content.scaled(groups.medians), groups.medians, groups.sizes
    rows = range(len(groups))
    columns, column_tree = _linked(scaled[~np.isnan(scaled).any(axis=1)].T)
    cell_w, cell_h = float(np.clip(9.0 / len(columns), 0.3, 0.62)), float(np.clip(9.0 / len(rows), 0.2, 0.32))
    wide, high = cell_w * len(columns), cell_h * len(rows)
    names = [shown(content.markers[column], 24) for column in columns]
    below = 0.35 + 0.078 * max(len(name) for name in names)
    titles = [shown(title, 26) for title in groups.titles]
    across = max(0.46, 0.35 + 0.072 * max(map(len, titles)))  # inches for the titles
    tree, left = 0.7, across + 0.2
    figure = new_figure(left + wide + 2.6, below + high + tree + 0.3)
    axes = axes_at(figure, left, below, wide, high)
    shade = EXPRESSION.with_extremes(bad="#f7f0e6")
    image = axes.imshow(scaled[:, columns], cmap=shade, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), names, rotation=90, fontsize=9)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(rows) * len(columns) <= _MOST_NUMBERS:
        size = min(7.5, cell_w * 17)
        for row in rows:
            for x, column in enumerate(columns):
                if not np.isnan(scaled[row, column]):
                    colour = "white" if scaled[row, column] > 0.45 else INK if scaled[row, column] > 0.15 else QUIET
                    text = f"{medians[row, column]:.1f}".replace("-0.0", "0.0")
                    axes.text(x, row, text, ha="center", va="center", fontsize=size, color=colour)
    _tree(axes_at(figure, left, below + high + 0.04, wide, tree), column_tree, len(columns))
    labels = axes_at(figure, left - across - 0.04, below, across, high, sharey=axes)
    bare(labels)
    labels.set_xlim(1 - across / 0.46, 1)  # keeps the width of the coloured bar
    labels.barh(range(len(rows)), 0.3, left=0.66, height=0.92, color=[colour_of(row) for row in rows])
    for row, title in enumerate(titles):
        labels.text(0.55, row, title, ha="right", va="center", fontsize=9, fontweight="bold")
    bars = axes_at(figure, left + wide + 0.12, below, 0.95, high, sharey=axes)
    bare(bars)
    bars.barh(rows, counts, height=0.75, color=[colour_of(row) for row in rows])
    bars.set_xlim(0, max(1, counts.max()))
    for row in rows:
        bars.text(counts[row], row, f" {counts[row]:,}", va="center", fontsize=8)
    bars.text(0, -0.62, "cells", fontsize=9, fontweight="bold", va="bottom")
    bars.set_ylim(len(rows) - 0.5, -0.5)
    scale = axes_at(figure, left + wide + 0.12, max(0.3, below - 0.45), 1.5, 0.11)
    figure.colorbar(image, cax=scale, orientation="horizontal").outline.set_visible(False)
    scale.set_title("range in training", fontsize=8, fontweight="normal", color=QUIET)
    scale.set_xticks([0, 1], ["low", "high"], fontsize=8)
    return figure, row_region(axes, -0.5, 1, groups.clusters, tuple(columns.tolist()), medians[:, columns])


def draw_file_shifts(content: ReportContent) -> Figure:
    """Shift of each marker in each file, the median over clusters; at most :data:`MOST_BARS` files."""
    if content.differences is None:
        raise UsageError("one file has no differences to draw")
    shifts = content.differences.of_markers[:MOST_BARS]
    files = [shown(file.title(content.sheet), 36) for file in content.files[:MOST_BARS]]
    names = [shown(marker, 24) for marker in content.markers]
    cell_w, cell_h = float(np.clip(9.0 / len(names), 0.3, 0.62)), 0.26
    below, left = 0.35 + 0.078 * max(map(len, names)), 0.3 + 0.075 * max(map(len, files))
    wide, high = cell_w * len(names), cell_h * len(files)
    figure = new_figure(left + wide + 1.2, below + high + 0.3)
    axes = axes_at(figure, left, below, wide, high)
    axes.set_facecolor("#f7f0e6")  # too few cells
    image = axes.imshow(shifts, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(files)), files, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    scale = axes_at(figure, left + wide + 0.2, below, 0.12, max(high, 0.8))
    figure.colorbar(image, cax=scale, extend="both").outline.set_visible(False)
    scale.set_title("spreads", fontsize=8, fontweight="normal", color=QUIET)
    return figure


def draw_abundance(content: ReportContent, groups: Groups) -> Figure:
    """Share of each group in each file, as stacked bars."""
    files = content.files[:MOST_BARS]
    shares = groups.counts[:MOST_BARS] / np.maximum([[file.n_cells] for file in files], 1)
    names = [shown(file.title(content.sheet), 36) for file in files]
    left = 0.3 + 0.082 * max(len(name) for name in names)
    titles = [shown(title, 26) for title in groups.titles]
    ncols = int(np.clip((left + 8.2) // (0.32 + 0.075 * max(map(len, titles))), 1, 16))
    legend = 0.2 * -(-len(groups) // ncols)
    height = 0.4 * len(files)
    figure = new_figure(left + 9.2, height + 0.85 + legend)
    axes = axes_at(figure, left, 0.55 + legend, 8.2, height)
    start = np.zeros(len(files))
    for index, label in enumerate(groups.numbers):
        width = shares[:, index]
        axes.barh(range(len(files)), width, 0.78, start, color=colour_of(index), edgecolor="white", linewidth=0.5,
                  label=titles[index])  # fmt: skip
        for y, (x, share) in enumerate(zip(start, width, strict=True)):
            if share > max(0.025, 0.011 * len(label)):
                axes.text(
                    x + share / 2,
                    y,
                    label,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=_text_colour(colour_of(index)),
                )
        start = start + width
    for y, file in enumerate(files):
        axes.text(1.008, y, f"{file.n_cells:,}", va="center", fontsize=8, color=QUIET)
    axes.set_yticks(range(len(files)), names)
    axes.set_ylim(len(files) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    start_x = 0.02 if ncols < 16 else left / figure.get_size_inches()[0]
    figure.legend(loc="lower left", bbox_to_anchor=(start_x, 0), ncols=ncols, frameon=False,
                  fontsize=8, handlelength=0.9, handleheight=0.9, handletextpad=0.35, columnspacing=1.1)  # fmt: skip
    return figure


def draw_probabilities(content: ReportContent) -> Figure:
    """Histogram of the probability of each cell's cluster, on a logarithmic axis."""
    probability = content.probability
    figure, axes = _histogram(
        probability, lambda x: _ALARM if x < LOW_PROBABILITY else _NOTICE if x < FAIR_PROBABILITY else _NORMAL
    )
    for limit in (LOW_PROBABILITY, FAIR_PROBABILITY):
        number = int((probability < limit).sum())
        _mark(axes, limit, f"{number:,} cells below {limit:g} ({number / len(probability):.2%}) ")
    axes.set_xlabel("probability of the cell's cluster")
    return figure


def draw_novelty(novelty: NDArray[np.float32]) -> Figure:
    """Histogram of novelty, on a logarithmic axis."""
    figure, axes = _histogram(
        novelty, lambda x: _ALARM if x >= HIGH_NOVELTY else _NOTICE if x >= FAIR_NOVELTY else _NORMAL
    )
    for limit in (FAIR_NOVELTY, HIGH_NOVELTY):
        number = int((novelty >= limit).sum())
        _mark(axes, limit, f" {number:,} cells at {limit:g} or more ({number / len(novelty):.2%}) ")
    axes.set_xlabel("novelty (1: unlike every cell in training)")
    return figure


def _mark(axes: Any, limit: float, text: str) -> None:
    """Draw a limit in a histogram, with a text to its left."""
    axes.axvline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(limit, 1.0, text, ha="right", va="bottom", fontsize=8.5, transform=axes.get_xaxis_transform())


def _histogram(values: NDArray[np.float32], colour: Callable[[float], str]) -> tuple[Figure, Any]:
    """Values in [0, 1] in fifty bins; ``colour`` maps the middle of a bin to its colour."""
    figure = new_figure(9.5, 3.0)
    axes = axes_at(figure, 0.8, 0.55, 8.4, 2.15)
    counts, edges = np.histogram(np.clip(values, 0, 1), bins=50, range=(0, 1))
    middle = (edges[:-1] + edges[1:]) / 2
    axes.bar(middle, counts, width=0.018, color=[colour(x) for x in middle.tolist()])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.yaxis.set_minor_formatter(lambda _count, _position: "")
    axes.set_ylim(0.7, max(2.0, counts.max() * 2.5))
    axes.set_xlim(0, 1)
    axes.set_ylabel("cells")
    return figure, axes


def draw_training(history: History) -> Figure:
    """The losses during training."""
    figure = new_figure(11.0, 2.5)
    for index, name in enumerate(LOSSES):
        axes = axes_at(figure, 0.5 + index * 2.12, 0.5, 1.7, 1.65)
        axes.plot(history.step, history.losses[:, index], color=colour_of(index), linewidth=1.5)
        axes.set_title(name)
        axes.tick_params(labelsize=7.5)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_xlabel("step", fontsize=8)
        axes.margins(x=0.02)
    return figure


def draw_confusion(agreement: Agreement, titles: Sequence[str], what: str = "cluster") -> Figure:
    """The share of each population (row) in each cluster (column).

    Large populations come first; clusters are in the order of their numbers. ``titles`` names all of them.
    """
    table = agreement.table
    row_order = np.argsort(-table.population_sizes, kind="stable")
    shares = table.counts / np.maximum(table.population_sizes[:, None], 1)
    columns = range(len(table.clusters))
    names = [f"{shown(table.names[row], 32)}  ({table.population_sizes[row]:,})" for row in row_order]
    left = 0.25 + 0.08 * max(len(name) for name in names)
    cell_w = float(np.clip(9.0 / max(len(columns), 1), 0.3, 0.6))
    wide, high = cell_w * len(columns), 0.34 * len(names)
    labels = [shown(titles[table.clusters[column] - 1], 26) for column in columns]
    below = 0.6 if not any(len(label) > 3 for label in labels) else 0.4 + 0.078 * max(map(len, labels))
    figure = new_figure(left + wide + 1.4, high + 0.5 + below)
    axes = axes_at(figure, left, below, wide, high)
    axes.imshow(shares[row_order], cmap=EXPRESSION, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for y, row in enumerate(row_order):
        for x, share in enumerate(shares[row]):
            if share >= 0.005:
                colour = "white" if share > 0.45 else INK
                axes.text(x, y, f"{share * 100:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(columns)), labels, rotation=0 if below == 0.6 else 90)
    axes.set_xlabel(what)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    scores = {score.name: score for score in agreement.scores.populations}
    axes.text(len(columns) - 0.3, -0.6, "F1", fontsize=9, fontweight="bold", va="bottom")
    for y, row in enumerate(row_order):
        axes.text(len(columns) - 0.3, y, f"{scores[table.names[row]].f1:.3f}", va="center", fontsize=9)
    figure.text(left / (left + wide + 1.4), 1 - 0.25 / (high + 0.5 + below), "% of the gate", fontsize=9, color=QUIET)
    return figure


def _linked(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], dict[str, Any] | None]:
    """The order of rows by average linkage, similar rows next to each other, and the tree to draw."""
    if len(values) < 3:
        return np.arange(len(values)), None
    tree = linkage(values.astype(np.float64), "average", optimal_ordering=True)
    lines: dict[str, Any] = dendrogram(tree, no_plot=True)
    return np.array(lines["leaves"], dtype=np.int64), lines


def _tree(axes: Any, tree: dict[str, Any] | None, n_leaves: int) -> None:
    """Draw a tree of columns above them."""
    bare(axes)
    if tree is None:
        return
    along = (np.array(tree["icoord"]) - 5) / 10  # scipy draws leaf i at 10 i + 5
    up = np.array(tree["dcoord"])
    pairs = np.stack([along, up], axis=-1)
    axes.add_collection(LineCollection(list(pairs), colors=QUIET, linewidths=0.9))
    top = float(up.max()) * 1.04 or 1.0
    axes.set_xlim(-0.5, n_leaves - 0.5)
    axes.set_ylim(0, top)


def _text_colour(colour: str) -> str:
    """White or dark text, whichever is readable on ``colour``."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK
