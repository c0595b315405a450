"""The pictures of a comparison, as matplotlib figures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cytovae.comparison.abundance import Difference
from cytovae.comparison.layout import FDR
from cytovae.comparison.levels import Levels
from cytovae.comparison.results import Comparison
from cytovae.drawing import FAINT, INK, QUIET, colour_of, new_figure, shown

MOST_PANELS = 60
ODDS, MEDIANS = "log2 odds ratio", "difference of medians"
_ACROSS = 6
_MOST_LABELS = 15


def draw_all(comparison: Comparison) -> dict[str, Figure]:
    """Every figure by the stem of its file name; call it within :func:`cytovae.drawing.style`."""
    names, levels = comparison.populations, comparison.levels
    figures = {
        "abundance_dots": draw_dots(comparison),
        "abundance_effects": draw_abundance_effects(comparison),
        "samples_mds": draw_samples(comparison),
    }
    if levels is not None:
        figures["levels_effects"] = draw_level_effects(comparison, levels)
    if comparison.described:
        return figures
    titles = {difference: names[difference.population] for difference in comparison.abundance}
    figures["abundance_volcano"] = draw_volcano(comparison, titles, ODDS)
    if levels is not None:
        titles = {d: f"{levels.markers[d.marker]}, {names[d.population]}" for d in comparison.level_differences}
        figures["levels_volcano"] = draw_volcano(comparison, titles, MEDIANS)
    return figures


def draw_dots(comparison: Comparison) -> Figure:
    """The share of each population in each sample, by condition; the smallest p values come first."""
    design = comparison.samples.design
    best = _smallest_p(comparison)
    drawn = sorted(range(len(comparison.populations)), key=lambda population: (best[population], population))
    drawn = drawn[:MOST_PANELS]
    across = min(_ACROSS, len(drawn))
    down = math.ceil(len(drawn) / across)
    figure = _figure(max(2.1 * across, 4.5), 1.9 * down + 0.8)
    grid = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    colors = _colors(design.levels)
    for axes, population in zip(grid, drawn, strict=False):
        percent = 100 * comparison.fractions[:, population]
        for position, level in enumerate(design.levels):
            own = percent[design.condition.rows(level)]
            spread = np.linspace(-0.18, 0.18, len(own)) if len(own) > 1 else np.zeros(1)
            axes.plot(position + spread, own, "o", ms=4, mew=0, alpha=0.85, color=colors[level])
            axes.plot([position - 0.28, position + 0.28], [np.median(own)] * 2, color=INK, lw=1.1)
        axes.set_xticks(range(len(colors)), [shown(level, 10) for level in colors])
        axes.set_xlim(-0.5, len(colors) - 0.5)
        axes.set_ylim(bottom=0, top=max(float(percent.max()) * 1.08, 1e-3))
        star = " *" if any(d.fdr <= FDR for d in comparison.abundance if d.population == population) else ""
        axes.set_title(shown(comparison.populations[population], 22) + star)
    hidden = len(comparison.populations) - len(drawn)
    note = f"; {hidden} more in the tables" if hidden else ""
    figure.supylabel("% of cells", fontsize=9)
    tests = "" if comparison.described else f"  * FDR ≤ {FDR:.0%}"
    figure.suptitle(f"A dot is a sample, a line the median{tests}{note}", fontsize=9, color=QUIET)
    return figure


def draw_volcano(comparison: Comparison, titles: dict[Difference, str], unit: str) -> Figure:
    """Effect and p value of every test. ``titles`` names the differences."""
    design = comparison.samples.design
    figure = _figure(6.5, 5.0)
    axes = figure.subplots()
    colors = _colors(design.compared)
    tested = sorted((d for d in titles if np.isfinite(d.effect.p)), key=lambda d: d.effect.p)
    for difference in tested:
        found = difference.fdr <= FDR
        color = colors[difference.level] if found else "#b4bac6"
        axes.plot(difference.effect.effect, _height(difference), "o", ms=6 if found else 4.5, mew=0, color=color)
    axes.axvline(0, color=FAINT, lw=1, zorder=0)
    axes.set_xlabel(f"{unit}, against {design.reference}")
    axes.set_ylabel("−log10 p")
    axes.margins(0.14)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{len(tested)} tests, {sum(d.fdr <= FDR for d in tested)} with an FDR of at most {FDR:.0%}")
    if len(colors) > 1:
        _legend(axes, colors)
    figure.draw_without_rendering()  # fixes the positions of points
    several = len(design.compared) > 1
    labels = {d: shown(titles[d], 34) + (f" ({d.level})" if several else "") for d in tested if d.fdr <= FDR}
    _label_points(axes, {label: (d.effect.effect, _height(d)) for d, label in labels.items()})
    return figure


def _label_points(axes: Any, points: dict[str, tuple[float, float]]) -> None:
    """Write labels beside points, without those that would cover a point or an earlier label."""
    size = 7.5
    pixel = axes.figure.dpi / 72
    half = 3 * pixel  # of a point
    pixels = axes.transData.transform(np.array(list(points.values())).reshape(-1, 2))
    taken = [(x - half, y - half, x + half, y + half) for x, y in pixels.tolist()]
    for label, (x, y) in points.items():
        if len(taken) == len(points) + _MOST_LABELS:
            return
        left, bottom = axes.transData.transform((x, y)) + np.array([6.0, -2.5]) * pixel
        right, top = left + 0.62 * size * pixel * len(label), bottom + 1.2 * size * pixel
        if any(
            left < behind and before < right and bottom < above and below < top
            for before, below, behind, above in taken
        ):
            continue
        taken.append((left, bottom, right, top))
        axes.annotate(label, (x, y), xytext=(6, -2.5), textcoords="offset points", fontsize=size, annotation_clip=False)


def draw_abundance_effects(comparison: Comparison) -> Figure:
    """A heatmap of the effects on abundance: populations by level."""
    compared = comparison.samples.design.compared
    effects = np.full((1, len(comparison.populations), len(compared)), np.nan)
    stars = np.zeros(effects.shape, dtype=np.bool_)
    for difference in comparison.abundance:
        where = 0, difference.population, compared.index(difference.level)
        effects[where], stars[where] = difference.effect.effect, difference.fdr <= FDR
    return _heatmaps(comparison, effects, stars, [""], compared, ODDS, least=1.0)


def draw_level_effects(comparison: Comparison, levels: Levels) -> Figure:
    """A heatmap of the effects on state markers: populations by marker, a panel for each level."""
    compared = comparison.samples.design.compared
    effects = np.full((len(compared), len(comparison.populations), len(levels.markers)), np.nan)
    stars = np.zeros(effects.shape, dtype=np.bool_)
    for difference in comparison.level_differences:
        where = compared.index(difference.level), difference.population, difference.marker
        effects[where], stars[where] = difference.effect.effect, difference.fdr <= FDR
    return _heatmaps(comparison, effects, stars, compared, levels.markers, MEDIANS, least=0.5)


def _heatmaps(
    comparison: Comparison,
    effects: NDArray[np.float64],
    stars: NDArray[np.bool_],
    panels: Sequence[str],
    columns: Sequence[str],
    unit: str,
    *,
    least: float,
) -> Figure:
    """Heatmaps of ``effects`` (n_panels, n_populations, n_columns) with a colour scale of at least ±``least``."""
    limit = max(float(np.abs(effects[np.isfinite(effects)]).max(initial=0)), least)
    n_populations, width = len(comparison.populations), max(0.34 * len(columns), 0.9)
    size = (2.6 + len(panels) * (width + 0.4) + 1.2, max(0.21 * n_populations, 1.6) + 1.6)
    figure = _figure(*size)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, title, values, starred in zip(grid, panels, effects, stars, strict=True):
        axes.set_facecolor(FAINT)  # not tested
        image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
        for row, column in zip(*np.nonzero(starred), strict=True):
            ink = "white" if abs(values[row, column]) > 0.6 * limit else INK
            axes.text(column, row, "*", ha="center", va="center", fontsize=10, color=ink)
        axes.set_xticks(range(len(columns)), [shown(name, 18) for name in columns], rotation=90)
        axes.set_yticks(range(n_populations), [shown(name, 30) for name in comparison.populations])
        axes.set_title(shown(title, 16))
        axes.tick_params(length=0)
    figure.colorbar(image, ax=list(grid), label=f"{unit}, against {shown(comparison.samples.design.reference, 20)}")
    return figure


def draw_samples(comparison: Comparison) -> Figure:
    """Samples by the similarity of their abundances, see :func:`sample_positions`."""
    design = comparison.samples.design
    positions, explained = sample_positions(comparison.cells)
    figure = _figure(6.0, 5.0)
    axes = figure.subplots()
    colors = _colors(design.levels)
    for level, color in colors.items():
        rows = design.condition.rows(level)
        axes.plot(positions[rows, 0], positions[rows, 1], "o", ms=7, mew=0, color=color)
    for name, (x, y) in zip(comparison.samples.names, positions, strict=True):
        axes.annotate(shown(name, 20), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7, color=QUIET)
    axes.set_xlabel(f"dimension 1 ({explained[0]:.0%})")
    axes.set_ylabel(f"dimension 2 ({explained[1]:.0%})")
    axes.margins(0.15)
    axes.set_title("Samples by their abundances")
    _legend(axes, colors)
    return figure


def sample_positions(cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Classical multidimensional scaling of the Aitchison distances between samples.

    These are Euclidean distances of centred log-ratios, with half a cell added to every count.

    Parameters
    ----------
    cells : ndarray of int, shape (n_samples, n_populations)
        Number of cells.

    Returns
    -------
    positions : ndarray of shape (n_samples, 2)
        The first two dimensions.
    explained : ndarray of shape (2,)
        Their shares of the squared distances.
    """
    logs = np.log(cells + 0.5)
    ratios = logs - logs.mean(axis=1, keepdims=True)
    left, lengths, right = np.linalg.svd(ratios - ratios.mean(axis=0), full_matrices=False)
    signs = np.where(right[np.arange(len(right)), np.abs(right).argmax(axis=1)] < 0, -1.0, 1.0)
    positions, explained = np.zeros((len(cells), 2)), np.zeros(2)
    n = min(2, len(lengths))
    positions[:, :n] = (left * lengths * signs)[:, :n]
    if lengths.any():
        explained[:n] = (lengths**2 / (lengths**2).sum())[:n]
    return positions, explained


def _smallest_p(comparison: Comparison) -> dict[int, float]:
    """The smallest p value of each population; infinite without a test."""
    best = dict.fromkeys(range(len(comparison.populations)), math.inf)
    for difference in comparison.abundance:
        if np.isfinite(difference.effect.p):
            best[difference.population] = min(best[difference.population], difference.effect.p)
    return best


def _height(difference: Difference) -> float:
    return -math.log10(max(difference.effect.p, 1e-300))


def _colors(levels: Sequence[str]) -> dict[str, str]:
    return {level: colour_of(position) for position, level in enumerate(levels)}


def _legend(axes: Any, colors: dict[str, str]) -> None:
    handles = [Line2D([], [], marker="o", ls="", mew=0, color=color, label=level) for level, color in colors.items()]
    axes.legend(handles=handles, frameon=False, fontsize=8)


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts matplotlib arranges."""
    figure = new_figure(width, height)
    figure.set_layout_engine("constrained")
    return figure
