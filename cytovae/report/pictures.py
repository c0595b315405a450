"""All pictures of a report, in the order of the page."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from cytovae.drawing import Picture, file_stem, render, style
from cytovae.report.charts import (
    draw_abundance,
    draw_confusion,
    draw_file_shifts,
    draw_heatmap,
    draw_novelty,
    draw_probabilities,
    draw_training,
)
from cytovae.report.content import ReportContent
from cytovae.report.dendrogram import draw_tree
from cytovae.report.row_regions import RowRegion
from cytovae.report.umap_plots import (
    draw_marker,
    draw_umap_clusters,
    draw_umap_files,
    draw_umap_names,
    draw_umap_novelty,
    draw_umap_populations,
    draw_umap_probability,
)

_MOST_FILES = 24  # whose colours can be distinguished
Draw = Callable[[str, str, Figure], Picture]
DrawRows = Callable[[str, str, tuple[Figure, RowRegion]], Picture]


@dataclass(frozen=True)
class Pictures:
    """The pictures by content; None if there is nothing to show. ``markers`` has one picture for each marker.

    ``rows`` are the pictures whose rows are clusters: their names, and where the rows are.
    """

    heatmap: Picture
    heatmap_populations: Picture | None
    tree: Picture | None
    umap_clusters: Picture | None
    umap_names: Picture | None
    umap_populations: Picture | None
    umap_probability: Picture | None
    umap_novelty: Picture | None
    umap_files: Picture | None
    abundance: Picture
    abundance_populations: Picture | None
    probabilities: Picture
    novelty: Picture | None
    training: Picture | None
    confusion: Picture | None
    confusion_populations: Picture | None
    file_shifts: Picture | None
    markers: tuple[Picture, ...]
    rows: tuple[tuple[str, RowRegion], ...]

    @property
    def all(self) -> tuple[Picture, ...]:
        """Every picture."""
        single = (
            *(self.heatmap_populations, self.abundance_populations, self.confusion_populations, self.heatmap),
            *(self.tree, self.umap_clusters, self.umap_names, self.umap_populations, self.umap_probability),
            *(self.umap_novelty, self.umap_files),
            *(self.abundance, self.probabilities, self.novelty, self.training, self.confusion, self.file_shifts),
        )
        return (*(picture for picture in single if picture is not None), *self.markers)


def draw_all(
    content: ReportContent, *, svg: bool = False, progress: Callable[[int], None] = lambda _done: None
) -> Pictures:
    """Draw every picture as PNG, with ``svg`` also as SVG; ``progress`` receives the number of markers drawn."""
    landmarks, agreement, model, named = content.landmarks, content.agreement, content.saved.model, content.named

    rows: list[tuple[str, RowRegion]] = []

    def draw(name: str, alt: str, figure: Figure) -> Picture:
        return render(figure, name, alt, svg=svg)

    def draw_rows(name: str, alt: str, drawn: tuple[Figure, RowRegion]) -> Picture:
        rows.append((name, drawn[1]))
        return draw(name, alt, drawn[0])

    with style():
        markers = _draw_markers(content, draw_rows, progress)
        of_names = _draw_named(content, draw, draw_rows)
        return Pictures(
            heatmap=draw_rows(
                "heatmap", "Median expression of each marker in each cluster", draw_heatmap(content, content.clusters)
            ),
            heatmap_populations=of_names[0],
            tree=draw("merge_tree", "Merge tree of the experts", draw_tree(model.tree, model.n_clusters))
            if model.tree.n_most > 1
            else None,
            umap_clusters=draw("umap_clusters", "UMAP by cluster", draw_umap_clusters(landmarks, content.titles))
            if landmarks
            else None,
            umap_names=draw("umap_names", "UMAP by named population", draw_umap_names(landmarks, named))
            if landmarks and named
            else None,
            umap_populations=draw(
                "umap_populations", "UMAP by manual gate", draw_umap_populations(landmarks, agreement.names)
            )
            if landmarks and agreement
            else None,
            umap_probability=draw("umap_probability", "UMAP by probability", draw_umap_probability(landmarks))
            if landmarks
            else None,
            umap_novelty=draw("umap_novelty", "UMAP by novelty", draw_umap_novelty(landmarks, landmarks.cells.novelty))
            if landmarks and landmarks.cells.novelty is not None
            else None,
            umap_files=draw(
                "umap_files",
                "UMAP by file",
                draw_umap_files(landmarks, [file.title(content.sheet) for file in content.files]),
            )
            if landmarks and 2 <= len(content.files) <= _MOST_FILES
            else None,
            abundance=draw(
                "abundance", "Share of each cluster in each file", draw_abundance(content, content.clusters)
            ),
            abundance_populations=of_names[1],
            probabilities=draw("probabilities", "Histogram of probabilities", draw_probabilities(content)),
            novelty=draw("novelty", "Histogram of novelty", draw_novelty(content.novelty))
            if content.novelty is not None
            else None,
            training=draw("training", "Losses during training", draw_training(content.record.history))
            if len(content.record.history.step)
            else None,
            confusion=draw("confusion", "Manual gates and clusters", draw_confusion(agreement, content.titles))
            if agreement
            else None,
            confusion_populations=of_names[2],
            file_shifts=_draw_shifts(content, draw),
            markers=markers,
            rows=tuple(rows),
        )


def _draw_named(content: ReportContent, draw: Draw, draw_rows: DrawRows) -> tuple[Picture | None, ...]:
    """Heatmap, abundance and agreement with gates of the named populations."""
    if content.named is None:
        return (None, None, None)
    groups, agreement = content.named.groups, content.named.agreement
    heatmap = draw_rows(
        "heatmap_populations",
        "Median expression of each marker in each named population",
        draw_heatmap(content, groups),
    )
    abundance = draw(
        "abundance_populations", "Share of each named population in each file", draw_abundance(content, groups)
    )
    if agreement is None:
        return heatmap, abundance, None
    drawn = draw_confusion(agreement, groups.titles, "named population")
    return heatmap, abundance, draw("confusion_populations", "Manual gates and named populations", drawn)


def _draw_shifts(content: ReportContent, draw: Draw) -> Picture | None:
    if content.differences is None:
        return None
    return draw("file_shifts", "Shift of each marker in each file", draw_file_shifts(content))


def _draw_markers(content: ReportContent, draw: DrawRows, progress: Callable[[int], None]) -> tuple[Picture, ...]:
    where = "expression on the UMAP, and distribution" if content.landmarks else "distribution"
    markers = []
    for index, marker in enumerate(content.markers):
        name = f"marker_{index + 1:02d}_{file_stem(marker)}"
        markers.append(draw(name, f"{marker}: {where} in each cluster", draw_marker(content, index)))
        progress(index + 1)
    return tuple(markers)
