"""The picture of a file's quality control: a panel for each check that was done."""

from typing import Any

import numpy as np

from cytovae.drawing import FAINT, INK, PALETTE, QUIET, new_figure, render, shown, style
from cytovae.quality.check import Check, Courses, Curve, Points
from cytovae.quality.file_quality import FileQuality

_FAILED, _PASSED = "#D55E00", "#4f93c8"
_WIDTH, _HEIGHT = 3.6, 3.0  # inches of a panel
_TITLES = {
    "margin": "Margin events",
    "debris": "Debris",
    "doublet": "Doublets",
    "dead": "Dead cells",
    "drift": "Drift over time",
}


_PLACES: dict[str, Any] = {  # row and columns
    "debris": (0, 1),
    "doublet": (0, 2),
    "dead": (1, 0),
    "drift": (1, slice(1, 3)),
}


def quality_picture(quality: FileQuality) -> bytes:
    """A PNG of the checks of a file: how many events fail, and where the thresholds are."""
    with style():
        figure = new_figure(3 * _WIDTH, 2 * _HEIGHT + 0.4)
        figure.set_layout_engine("constrained")
        grid = figure.add_gridspec(2, 3)
        _draw_counts(figure.add_subplot(grid[0, 0]), quality)
        for check in quality.checks:
            if check.picture is not None:
                _draw(figure.add_subplot(grid[_PLACES[check.reason]]), check)
        share = f"{quality.n_failed / quality.n_events:.1%}" if quality.n_events else "none"
        figure.suptitle(
            f"{shown(quality.name, 80)}: {share} of {quality.n_events:,} events fail", x=0.01, ha="left", color=INK
        )
        return render(figure, "quality", "", svg=False).png


def _draw_counts(axes: Any, quality: FileQuality) -> None:
    """The share of events that fail each check."""
    largest = 0.0
    for row, check in enumerate(quality.checks):
        if check.failed is None:
            axes.text(0, row, f" not done: {shown(check.why_not, 38)}", va="center", fontsize=7, color=QUIET)
            continue
        percent = 100 * int(check.failed.sum()) / max(quality.n_events, 1)
        largest = max(largest, percent)
        axes.barh(row, percent, color=_FAILED, height=0.6)
        axes.text(percent, row, f" {percent:.1f} %", va="center", fontsize=8)
    axes.set_yticks(range(len(quality.checks)), [_TITLES[check.reason] for check in quality.checks])
    axes.set_ylim(len(quality.checks) - 0.5, -0.5)
    axes.set_xlim(0, max(1.3 * largest, 1))
    axes.set_xlabel("% of the events")


def _draw(axes: Any, check: Check) -> None:
    axes.set_title(_TITLES[check.reason])
    if isinstance(check.picture, Curve):
        _draw_curve(axes, check.picture)
    elif isinstance(check.picture, Points):
        _draw_points(axes, check.picture)
    elif isinstance(check.picture, Courses):
        _draw_courses(axes, check.picture)


def _draw_curve(axes: Any, curve: Curve) -> None:
    axes.fill_between(curve.x, curve.height, color=_PASSED, lw=0)
    if curve.threshold is not None:
        beyond = curve.x > curve.threshold if curve.above else curve.x < curve.threshold
        axes.fill_between(curve.x, curve.height, where=beyond, color=_FAILED, lw=0)
        axes.axvline(curve.threshold, color=INK, lw=0.8)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.set_xlabel(shown(curve.title))


def _draw_points(axes: Any, points: Points) -> None:
    for failed, color in ((False, _PASSED), (True, _FAILED)):
        rows = points.failed == failed
        axes.plot(points.x[rows], points.y[rows], ",", color=color)
    for limit, values in ((axes.set_xlim, points.x), (axes.set_ylim, points.y)):
        finite = values[np.isfinite(values)]
        limit(0, float(np.quantile(finite, 0.995)) * 1.1 if len(finite) else 1)
    axes.set_xlabel(shown(points.titles[0]))
    axes.set_ylabel(shown(points.titles[1]))
    axes.ticklabel_format(style="sci", scilimits=(0, 4), axis="both")


def _draw_courses(axes: Any, courses: Courses) -> None:
    """Each course on a strip of its own, as high as its range."""
    n_bins = len(courses.failed)
    for row, course in enumerate(courses.values.T):
        span = float(np.ptp(course)) or 1.0
        axes.plot(np.arange(n_bins), row + 0.4 - 0.8 * (course - course.min()) / span, lw=0.7, color=PALETTE[0])
        axes.axhline(row + 0.5, color=FAINT, lw=0.5)
    for bin_ in np.flatnonzero(courses.failed).tolist():
        axes.axvspan(bin_ - 0.5, bin_ + 0.5, color=_FAILED, alpha=0.25, lw=0)
    axes.set_yticks(range(len(courses.names)), [shown(name, 16) for name in courses.names])
    axes.set_ylim(len(courses.names) - 0.5, -0.5)
    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.set_xlabel("bins of events, in the order of time")
