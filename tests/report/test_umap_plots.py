"""Names on the UMAP."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cytovae.report import umap_plots


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_names_stay_within_the_picture(edge: float) -> None:
    """A long name at the edge: matplotlib's own measure of the text is the truth, to a point."""
    rng = np.random.default_rng(0)
    points = [rng.normal(0, 1, (300, 2)), np.column_stack([rng.normal(edge * 30, 0.01, 20), rng.normal(0, 0.01, 20)])]
    figure = umap_plots.new_figure(5.7, 5.2)
    axes = umap_plots.axes_at(figure, 0.15, 0.1, 5.45, 4.8)
    umap_plots._points(axes, np.concatenate(points).astype(np.float32), np.full(320, "#000000"))
    umap_plots._label(axes, points, ["B cells", "Plasmacytoid dend…"])
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
