"""Pictures of single cells: the UMAP in several colourings, and the distributions of markers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from cytovae.cells import UNGATED
from cytovae.report.content import LandmarkMap, ReportContent
from cytovae.report.drawing import CERTAINTY, EXPRESSION, INK, QUIET, axes_at, bare, colour_of, new_figure, shown

_BINS = 96
_OVERLAP = 1.5  # height of a ridge over the distance of two
_MOST_LABELS = 24  # populations that are written into the map


def draw_clusters(landmarks: LandmarkMap, n_clusters: int) -> Figure:
    """The map coloured by cluster, each one's number where most of its cells are."""
    titles = [f"{index + 1}" for index in range(n_clusters)]
    return _categories("cluster", landmarks, landmarks.cells.cluster.astype(np.int64) - 1, titles, labels=titles)


def draw_populations(landmarks: LandmarkMap, names: Sequence[str]) -> Figure:
    """The map coloured by manual gate; ungated cells are light grey, behind the others."""
    titles = [shown(name, 28) for name in names]
    labels = [shown(name, 18) for name in names] if len(names) <= _MOST_LABELS else None
    return _categories("population", landmarks, landmarks.cells.population.astype(np.int64), titles, labels=labels)


def draw_probability(landmarks: LandmarkMap) -> Figure:
    """The map coloured by the probability of each cell's cluster, the least sure on top."""
    figure = new_figure(6.2, 5.4)
    axes = axes_at(figure, 0.15, 0.15, 5.3, 5.0)
    probability = landmarks.cells.probability
    order = np.argsort(-probability, kind="stable")
    drawn = _points(axes, landmarks.coordinates[order], probability[order], CERTAINTY, 0.0, 1.0)
    axes.set_title("probability of the cluster")
    bar = figure.colorbar(drawn, cax=axes_at(figure, 5.55, 1.4, 0.12, 2.6))
    bar.outline.set_visible(False)
    return figure


def draw_marker(content: ReportContent, index: int) -> Figure:
    """One marker: where on the map it is expressed, and its distribution in each cluster."""
    n_clusters = content.n_clusters
    height = max(3.1, 0.75 + 0.155 * n_clusters)
    wide = content.landmarks is not None
    figure = new_figure(6.9 if wide else 3.8, height)
    low, high = (float(bound[index]) for bound in (content.saved.model.scaling.low, content.saved.model.scaling.high))
    name = shown(content.markers[index])
    if content.landmarks is not None:
        values = content.landmarks.cells.values[:, index]
        order = np.argsort(values, kind="stable")
        axes = axes_at(figure, 0.1, max(0.1, height - 3.0), 3.1, 2.65)
        drawn = _points(axes, content.landmarks.coordinates[order], values[order], EXPRESSION, low, high)
        bar = figure.colorbar(drawn, cax=axes_at(figure, 3.22, max(0.1, height - 3.0) + 0.5, 0.08, 1.6))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
    figure.text(0.1 / figure.get_size_inches()[0], 1 - 0.22 / height, name, fontsize=12, fontweight="bold")
    _ridges(
        axes_at(figure, 4.15 if wide else 0.7, 0.38, 2.6 if wide else 2.9, height - 0.75), content, index, low, high
    )
    return figure


def _categories(
    title: str, landmarks: LandmarkMap, group: NDArray[np.int64], titles: Sequence[str], labels: Sequence[str] | None
) -> Figure:
    """The map with a colour for each group, 0 …; −1 is grey."""
    counts = np.bincount(group[group != UNGATED], minlength=len(titles))
    rows = 22
    columns = -(-len(titles) // rows)
    across = 0.75 + 0.085 * max(len(name) for name in titles)
    figure = new_figure(6.9 + columns * across, 5.9)
    axes = axes_at(figure, 0.15, 0.15, 6.5, 5.4)
    colours = np.array([*(colour_of(index) for index in range(len(titles))), "#dcdfe5"])
    order = np.random.default_rng(0).permutation(len(group))
    order = order[np.argsort(group[order] != UNGATED, kind="stable")]
    _points(axes, landmarks.coordinates[order], colours[group[order]])
    for index in np.flatnonzero(counts) if labels is not None else []:
        x, y = _centre(landmarks.coordinates[group == index])
        text = axes.text(x, y, labels[index] if labels else "", ha="center", va="center", fontweight="bold", fontsize=9)
        text.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
    axes.set_title(f"{title} of {len(group):,} cells")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour_of(index), markersize=6, label=f"{name}  {share:.1%}")
        for index, (name, share) in enumerate(zip(titles, counts / max(len(group), 1), strict=True))
    ]
    options: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handletextpad": 0.1, "columnspacing": 0.8}
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(6.7 / figure.get_size_inches()[0], 0.95),
                  ncols=columns, **options)  # fmt: skip
    return figure


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
    size = float(np.clip(1.4 * (across / len(coordinates) ** 0.5 * 20) ** 2, 0.25, 16))
    options: dict[str, Any] = {} if colormap is None else {"cmap": colormap, "vmin": low, "vmax": high}
    axes.set_xlabel("UMAP 1", fontsize=7.5, color=QUIET, loc="left")
    axes.set_ylabel("UMAP 2", fontsize=7.5, color=QUIET, loc="bottom")
    return axes.scatter(*coordinates.T, c=colours, s=size, linewidths=0, rasterized=True, **options)


def _centre(points: NDArray[np.float32]) -> tuple[float, float]:
    """A place within a group, also where it is bent or in several pieces: the middle of its densest part."""
    counts, x, y = np.histogram2d(*points.T, bins=max(2, min(12, int(len(points) ** 0.5 / 2))))
    padded = np.pad(counts, 1)
    near = sum(
        padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    row, column = np.unravel_index(int(np.argmax(near)), counts.shape)
    left, right = x[max(row - 1, 0)], x[min(row + 2, len(x) - 1)]
    below, above = y[max(column - 1, 0)], y[min(column + 2, len(y) - 1)]
    inside = (points[:, 0] >= left) & (points[:, 0] <= right) & (points[:, 1] >= below) & (points[:, 1] <= above)
    middle = np.median(points[inside] if inside.any() else points, axis=0)
    return float(middle[0]), float(middle[1])


def _ridges(axes: Any, content: ReportContent, index: int, low: float, high: float) -> None:
    """The distribution of a marker in each cluster, cluster 1 on top; each as high as the others."""
    values = np.clip(content.cells.values[:, index], low, high)
    n_clusters = content.n_clusters
    place = np.minimum(((values - low) / (high - low) * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount((content.cells.cluster.astype(np.int64) - 1) * _BINS + place, minlength=n_clusters * _BINS)
    density = _smooth(counts.reshape(n_clusters, _BINS).astype(np.float64))
    density /= np.maximum(density.max(axis=1, keepdims=True), 1e-12)
    x = low + (np.arange(_BINS) + 0.5) / _BINS * (high - low)
    ends = np.array([x[0], x[-1]])
    shapes = []
    for row in range(n_clusters):
        floor = n_clusters - 1 - row
        top = np.column_stack([x, floor + density[row] * _OVERLAP])
        shapes.append(np.vstack([[ends[0], floor], top, [ends[1], floor]]))
    colours = [colour_of(row) for row in range(n_clusters)]
    axes.add_collection(PolyCollection(shapes, facecolors=colours, edgecolors="white", linewidths=0.6, alpha=0.9))
    axes.set_xlim(low, high)
    axes.set_ylim(-0.15, n_clusters - 1 + _OVERLAP + 0.1)
    axes.set_yticks(range(n_clusters), [f"{n_clusters - row}" for row in range(n_clusters)], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_scale_name(content), fontsize=8, color=INK)


def _smooth(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of counts under a Gaussian of 1.5 bins, mirrored at the ends."""
    offsets = np.arange(-4, 5)
    kernel = np.exp(-0.5 * (offsets / 1.5) ** 2)
    padded = np.pad(counts, ((0, 0), (4, 4)), mode="symmetric")
    return np.apply_along_axis(np.convolve, 1, padded, kernel / kernel.sum(), mode="valid")


def _scale_name(content: ReportContent) -> str:
    return "arcsinh(x / cofactor)" if content.saved.transform.kind == "arcsinh" else "value"
