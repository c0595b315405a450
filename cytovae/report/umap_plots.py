"""Pictures of the UMAP in several colourings; those of markers have their distributions beside it."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from cytovae.cells import UNGATED
from cytovae.drawing import CERTAINTY, EXPRESSION, QUIET, axes_at, bare, colour_of, new_figure, shown
from cytovae.report.content import LandmarkMap, NamedPopulations, ReportContent, population_groups
from cytovae.report.densities import draw_densities
from cytovae.report.row_regions import RowRegion, row_region

_WIDTH, _HEIGHT = 5.7, 5.2  # of a UMAP in inches, without its legend
_GRID = 190  # dots across a small UMAP
_MOST_LABELS = 24  # populations with a label in the UMAP


def draw_umap_clusters(landmarks: LandmarkMap, titles: Sequence[str]) -> Figure:
    """The UMAP by cluster, with the number of each cluster at its densest region and its name in the legend."""
    numbers = [f"{number}" for number in range(1, len(titles) + 1)]
    legend = [shown(title, 28) for title in titles]
    return _categories("cluster", landmarks, landmarks.cells.cluster.astype(np.int64) - 1, legend, labels=numbers)


def draw_umap_names(landmarks: LandmarkMap, named: NamedPopulations) -> Figure:
    """The UMAP by the population of each cell."""
    titles = [shown(title, 28) for title in named.groups.titles]
    labels = [shown(title, 18) for title in named.groups.titles] if len(titles) <= _MOST_LABELS else None
    groups = population_groups(named.names, landmarks.cells.cluster, landmarks.cells.novelty)
    return _categories("named population", landmarks, groups, titles, labels=labels)


def draw_umap_populations(landmarks: LandmarkMap, names: Sequence[str]) -> Figure:
    """The UMAP by manual gate; ungated cells are light grey, behind the others."""
    titles = [shown(name, 28) for name in names]
    labels = [shown(name, 18) for name in names] if len(names) <= _MOST_LABELS else None
    return _categories("manual gate", landmarks, landmarks.cells.population.astype(np.int64), titles, labels=labels)


def draw_umap_files(landmarks: LandmarkMap, names: Sequence[str]) -> Figure:
    """The UMAP by file: files that are apart in every cluster differ in more than abundance."""
    return _categories("file", landmarks, landmarks.source, [shown(name, 36) for name in names], labels=None)


def draw_umap_probability(landmarks: LandmarkMap) -> Figure:
    """The UMAP by the probability of each cell's cluster, the lowest on top."""
    return _shaded("probability of the cluster", landmarks, landmarks.cells.probability, CERTAINTY, 1)


def draw_umap_novelty(landmarks: LandmarkMap, novelty: NDArray[np.float32]) -> Figure:
    """The UMAP by novelty (n,), the highest on top."""
    return _shaded("novelty", landmarks, novelty, CERTAINTY.reversed(), -1)


def _shaded(
    title: str, landmarks: LandmarkMap, values: NDArray[np.float32], colormap: Any, sign: Literal[1, -1]
) -> Figure:
    """The UMAP by values in [0, 1]; with ``sign`` 1 the lowest are on top, with −1 the highest."""
    figure = new_figure(_WIDTH, _HEIGHT + 0.5)
    axes = axes_at(figure, 0.15, 0.6, _WIDTH - 0.25, _HEIGHT - 0.4)
    order = np.argsort(-sign * values, kind="stable")
    points = _points(axes, landmarks.coordinates[order], values[order], colormap, 0.0, 1.0)
    axes.set_title(title)
    bar = figure.colorbar(points, cax=axes_at(figure, 1.4, 0.3, 2.8, 0.11), orientation="horizontal")
    bar.outline.set_visible(False)
    return figure


def draw_marker(content: ReportContent, index: int) -> tuple[Figure, RowRegion]:
    """One marker: its expression on the UMAP, and its distribution in each cluster."""
    height = max(2.9, 0.75 + 0.155 * content.n_clusters)
    has_umap = content.landmarks is not None
    across = 5.5 if has_umap else 3.4
    figure = new_figure(across, height)
    name = shown(content.markers[index])
    if content.landmarks is not None:
        below = height - 2.85
        axes = axes_at(figure, 0.05, below, 2.5, 2.5)
        values, scaling = content.landmarks.cells.values[:, index], content.saved.model.scaling
        image = _dots(
            axes, content.landmarks.coordinates, values, float(scaling.low[index]), float(scaling.high[index])
        )
        bar = figure.colorbar(image, cax=axes_at(figure, 2.6, below + 0.55, 0.07, 1.4))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
    figure.text(0.08 / across, 1 - 0.22 / height, name, fontsize=11.5, fontweight="bold")
    left = 3.25 if has_umap else 0.4
    axes = axes_at(figure, left, 0.4, across - left - 0.1, height - 0.75)
    draw_densities(axes, content, index)
    return figure, row_region(axes, content.n_clusters, -1, content.clusters.clusters)


def _categories(
    title: str, landmarks: LandmarkMap, group: NDArray[np.int64], titles: Sequence[str], labels: Sequence[str] | None
) -> Figure:
    """The UMAP with a colour for each group, 0, 1, …; −1 is grey. ``titles`` are for the legend."""
    counts = np.bincount(group[group != UNGATED], minlength=len(titles))
    columns = int(np.clip(_WIDTH // (0.75 + 0.08 * max(len(name) for name in titles)), 1, 6))
    legend = 0.2 * -(-len(titles) // columns) + 0.1
    height = _HEIGHT + legend
    figure = new_figure(_WIDTH, height)
    axes = axes_at(figure, 0.15, legend + 0.1, _WIDTH - 0.25, _HEIGHT - 0.4)
    colours = np.array([*(colour_of(index) for index in range(len(titles))), "#dcdfe5"])
    order = np.random.default_rng(0).permutation(len(group))
    order = order[np.argsort(group[order] != UNGATED, kind="stable")]
    _points(axes, landmarks.coordinates[order], colours[group[order]])
    if labels is not None:
        used = np.flatnonzero(counts)[np.argsort(-counts[counts > 0], kind="stable")].tolist()
        _label(axes, [landmarks.coordinates[group == index] for index in used], [labels[index] for index in used])
    axes.set_title(title)
    shares = counts / max(len(group), 1)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour_of(index), markersize=6, label=f"{name}  {share:.1%}")
        for index, (name, share) in enumerate(zip(titles, shares, strict=True))
    ]
    options: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handletextpad": 0.1, "columnspacing": 0.8}
    position = (0.1 / _WIDTH, legend / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=position, ncols=columns, borderpad=0, **options)
    return figure


def _label(axes: Any, groups: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    """Write a name on each group, or beside it if it would hide a small group or an earlier name.

    Names stay within the width of the picture.
    """
    axes.apply_aspect()
    height = float(np.ptp(axes.get_ylim()))
    width = axes.figure.get_size_inches()[0] * 72  # points
    taken: list[tuple[float, float, float]] = []  # x, y and half the width of the names, in points
    for points, name in zip(groups, names, strict=True):
        x, y, spread = _centre(points)
        across, up = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
        half = 3.3 * len(name) + 1.5
        beside = [(0.0, 9.5), (0.0, -9.5), (half + 5, 0.0), (-half - 5, 0.0), (half, 11.0), (-half, -11.0), (0.0, 20.0)]
        offsets = [(0.0, 0.0), *beside] if spread > 0.02 * height else beside
        dx, dy = next(
            (
                offset
                for offset in offsets
                if half <= across + offset[0] <= width - half
                and all(
                    abs(across + offset[0] - other[0]) > half + other[2] or abs(up + offset[1] - other[1]) > 10
                    for other in taken
                )
            ),
            offsets[0],
        )
        dx = min(max(dx, half - across), width - half - across)
        taken.append((across + dx, up + dy, half))
        label = axes.annotate(name, (x, y), (dx, dy), textcoords="offset points", ha="center", va="center")
        label.set(fontweight="bold", fontsize=9, path_effects=[withStroke(linewidth=2.6, foreground="white")])


def _points(
    axes: Any,
    coordinates: NDArray[np.float32],
    colours: NDArray[Any],
    colormap: Any = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    bare(axes)
    axes.set_aspect("equal", adjustable="datalim")
    across = axes.get_position().width * axes.figure.get_size_inches()[0]
    size = float(np.clip(2.0 * (across / len(coordinates) ** 0.5 * 20) ** 2, 0.25, 16))
    options: dict[str, Any] = {} if colormap is None else {"cmap": colormap, "vmin": low, "vmax": high}
    axes.set_xlabel("UMAP 1", fontsize=7.5, color=QUIET, loc="left", labelpad=1)
    axes.set_ylabel("UMAP 2", fontsize=7.5, color=QUIET, loc="bottom", labelpad=1)
    return axes.scatter(*coordinates.T, c=colours, s=size, linewidths=0, rasterized=True, **options)


def _dots(axes: Any, coordinates: NDArray[np.float32], values: NDArray[np.float32], low: float, high: float) -> Any:
    """A small UMAP as a grid of dots, each with the highest value of its cells; many times faster than points."""
    bare(axes)
    corner = coordinates.min(axis=0)
    side = max(float(np.ptp(coordinates, axis=0).max()), 1e-6)
    inset = (1 - np.ptp(coordinates, axis=0) / side) / 2
    position = ((coordinates - corner) / side + inset) * (_GRID - 1)
    column, row = np.rint(position).astype(np.int64).T
    grid = np.full((_GRID, _GRID), np.nan, dtype=np.float32)
    order = np.argsort(values, kind="stable")
    grid[row[order], column[order]] = values[order]
    return axes.imshow(grid, cmap=EXPRESSION, vmin=low, vmax=high, origin="lower", interpolation="nearest")


def _centre(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """The middle (x, y) of the densest region of a group, and the width of that region between its quartiles.

    Unlike the mean, this lies within the group even if the group is curved or in several pieces.
    """
    counts, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=max(2, min(12, int(len(points) ** 0.5 / 2))))
    padded = np.pad(counts, 1)
    neighborhood = sum(
        padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    row, column = divmod(int(np.argmax(neighborhood)), counts.shape[1])
    left, right = x[max(row - 1, 0)], x[min(row + 2, len(x) - 1)]
    below, above = y[max(column - 1, 0)], y[min(column + 2, len(y) - 1)]
    inside = (points[:, 0] >= left) & (points[:, 0] <= right) & (points[:, 1] >= below) & (points[:, 1] <= above)
    region = points[inside] if inside.any() else points
    middle = np.median(region, axis=0)
    quartiles = np.quantile(region, [0.25, 0.75], axis=0)
    return float(middle[0]), float(middle[1]), float((quartiles[1] - quartiles[0]).max())
