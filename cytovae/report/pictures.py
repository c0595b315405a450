"""All pictures of a report, in the order of the page."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from cytovae.report.charts import (
    draw_abundance,
    draw_confusion,
    draw_heatmap,
    draw_novelty,
    draw_probabilities,
    draw_training,
)
from cytovae.report.content import ReportContent
from cytovae.report.dendrogram import draw_tree
from cytovae.report.drawing import Picture, file_stem, render, style
from cytovae.report.umap_plots import draw_clusters, draw_files, draw_marker, draw_populations, draw_probability
from cytovae.report.umap_plots import draw_novelty as draw_novelty_map

_MOST_FILES = 24  # colours of files that can be told apart


@dataclass(frozen=True)
class Pictures:
    """The pictures by what they show; None where there is nothing to show. ``markers`` has one for each marker."""

    heatmap: Picture
    tree: Picture | None
    map_clusters: Picture | None
    map_populations: Picture | None
    map_probability: Picture | None
    map_novelty: Picture | None
    map_files: Picture | None
    abundance: Picture
    probabilities: Picture
    novelty: Picture | None
    training: Picture | None
    confusion: Picture | None
    markers: tuple[Picture, ...]

    @property
    def drawn(self) -> tuple[Picture, ...]:
        """All that there are."""
        single = (
            *(self.heatmap, self.tree, self.map_clusters, self.map_populations, self.map_probability),
            *(self.map_novelty, self.map_files),
            *(self.abundance, self.probabilities, self.novelty, self.training, self.confusion),
        )
        return (*(picture for picture in single if picture is not None), *self.markers)


def draw_all(content: ReportContent, *, svg: bool = False, progress: Callable[[int], None] | None = None) -> Pictures:
    """Draw every picture, with ``svg`` as SVG, too; ``progress`` is told how many markers are drawn."""
    landmarks, agreement, model = content.landmarks, content.agreement, content.saved.model

    samples = [sample.title(content.sheet) for sample in content.samples]

    def drawn_tree() -> Figure:
        return draw_tree(model.tree, model.n_clusters, None if content.names is None else content.names.merged)

    def draw(name: str, alt: str, figure: Figure) -> Picture:
        return render(figure, name, alt, svg=svg)

    with style():
        markers = []
        for index, marker in enumerate(content.markers):
            name = f"marker_{index + 1:02d}_{file_stem(marker)}"
            alt = f"{marker}: expression on the UMAP, and distribution in each cluster"
            markers.append(draw(name, alt, draw_marker(content, index)))
            if progress is not None:
                progress(index + 1)
        return Pictures(
            heatmap=draw("heatmap", "Median expression of each marker in each cluster", draw_heatmap(content)),
            tree=draw("merge_tree", "The merge tree of the experts", drawn_tree()) if model.tree.n_most > 1 else None,
            map_clusters=draw("umap_clusters", "UMAP by cluster", draw_clusters(landmarks, content.titles))
            if landmarks
            else None,
            map_populations=draw(
                "umap_populations", "UMAP by manual gate", draw_populations(landmarks, agreement.names)
            )
            if landmarks and agreement
            else None,
            map_probability=draw("umap_probability", "UMAP by probability", draw_probability(landmarks))
            if landmarks
            else None,
            map_novelty=draw("umap_novelty", "UMAP by novelty", draw_novelty_map(landmarks, landmarks.cells.novelty))
            if landmarks and landmarks.cells.novelty is not None
            else None,
            map_files=draw("umap_files", "UMAP by file", draw_files(landmarks, samples))
            if landmarks and 2 <= len(content.samples) <= _MOST_FILES
            else None,
            abundance=draw("abundance", "Share of each cluster in each file", draw_abundance(content)),
            probabilities=draw("probabilities", "Histogram of probabilities", draw_probabilities(content)),
            novelty=draw("novelty", "Histogram of novelty", draw_novelty(content.novelty))
            if content.novelty is not None
            else None,
            training=draw("training", "Losses during training", draw_training(content.record.history))
            if len(content.record.history.step)
            else None,
            confusion=draw("confusion", "Populations against clusters", draw_confusion(agreement, content.titles))
            if agreement
            else None,
            markers=tuple(markers),
        )
