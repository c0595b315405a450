"""Distributions of markers in each cluster, as curves and as a picture."""

from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray

from cytovae.drawing import INK, colour_of
from cytovae.report.content import ReportContent

BINS = 96
OVERLAP = 1.5
"""Height of a distribution, relative to the distance between two."""


def densities(content: ReportContent, index: int) -> NDArray[np.float64]:
    """The distribution of a marker in each cluster, shape (n_clusters, BINS), from 0 to 1 at its peak.

    The bins cover the range of the marker in training; values beyond count at its ends.
    """
    low, high = _range(content, index)
    values = np.clip(content.cells.values[:, index], low, high)
    bins = np.minimum(((values - low) / (high - low) * BINS).astype(np.int64), BINS - 1)
    n_clusters = content.n_clusters
    counts = np.bincount((content.cells.cluster.astype(np.int64) - 1) * BINS + bins, minlength=n_clusters * BINS)
    density = _smooth(counts.reshape(n_clusters, BINS).astype(np.float64))
    return np.asarray(density / np.maximum(density.max(axis=1, keepdims=True), 1e-12))


def draw_densities(axes: Any, content: ReportContent, index: int) -> None:
    """Draw the distribution of a marker in each cluster, cluster 1 on top, all scaled to the same height."""
    low, high = _range(content, index)
    density, n_clusters = densities(content, index), content.n_clusters
    x = low + (np.arange(BINS) + 0.5) / BINS * (high - low)
    ends = np.array([x[0], x[-1]])
    shapes = []
    for row in range(n_clusters):
        floor = n_clusters - 1 - row
        top = np.column_stack([x, floor + density[row] * OVERLAP])
        shapes.append(np.vstack([[ends[0], floor], top, [ends[1], floor]]))
    colours = [colour_of(row) for row in range(n_clusters)]
    axes.add_collection(PolyCollection(shapes, facecolors=colours, edgecolors="white", linewidths=0.6, alpha=0.9))
    axes.set_xlim(low, high)
    axes.set_ylim(-0.15, n_clusters - 1 + OVERLAP + 0.1)
    axes.set_yticks([])
    for row in range(n_clusters):  # ticks would take most of the time
        axes.text(low - 0.02 * (high - low), n_clusters - 1 - row, f"{row + 1}", ha="right", va="center", fontsize=7.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(scale_name(content), fontsize=8, color=INK)


def scale_name(content: ReportContent) -> str:
    """What marker values are, for an axis."""
    return {"arcsinh": "arcsinh(x / cofactor)", "logicle": "logicle(x), decades"}.get(
        content.saved.transform.kind, "value"
    )


def _range(content: ReportContent, index: int) -> tuple[float, float]:
    scaling = content.saved.model.scaling
    return float(scaling.low[index]), float(scaling.high[index])


def _smooth(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of counts, smoothed by a Gaussian of 1.5 bins and mirrored at the ends."""
    offsets = np.arange(-4, 5)
    kernel = np.exp(-0.5 * (offsets / 1.5) ** 2)
    padded = np.pad(counts, ((0, 0), (4, 4)), mode="symmetric")
    return np.apply_along_axis(np.convolve, 1, padded, kernel / kernel.sum(), mode="valid")
