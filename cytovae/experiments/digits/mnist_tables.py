"""Tables and figures of the experiment on MNIST: Table 1 with the paper's rows and ours, Figures 2, A2, A5 and A6."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae.benchmark.over_seeds import Spread
from cytovae.benchmark.tables import markdown
from cytovae.experiments.digits.images import COMPONENTS, SHIFT, TURN
from cytovae.experiments.digits.mnist import (
    CLASSIFIER,
    EDGES_GMM,
    EDGES_TREE,
    OURS,
    PAPER,
    PIXELS,
    PIXELS_GMM,
    REQUESTS,
    TABLE,
    THRESHOLDS,
    VADE,
)
from cytovae.experiments.digits.recipe import DIGITS, OUR_SETTINGS, POSTERIOR_SD
from cytovae.experiments.experiment import Finished, over_seeds
from cytovae.settings import PRESETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# NMI and accuracy as printed in Table 1 of the paper, which took most of them from Aljalbout et al. (2018).
PUBLISHED: tuple[tuple[str, str, str], ...] = (
    ("JULE, Yang et al. 2016", "0.915", "–"),
    ("CCNN, Hsu & Lin 2017", "0.876", "–"),
    ("DEC, Xie et al. 2016", "0.8", "0.843"),
    ("DBC, Li et al. 2017", "0.917", "0.964"),
    ("DEPICT, Dizaji et al. 2017", "0.916", "0.965"),
    ("DCN, Yang et al. 2017", "0.81", "0.83"),
    ("Neural Clustering, Saito & Tan 2017", "–", "0.966"),
    ("UMMC, Chen et al. 2017", "0.864", "–"),
    ("VaDE, Jiang et al. 2017", "–", "0.945"),
    ("TAGnet, Wang et al. 2016", "0.651", "0.692"),
    ("IMSAT, Hu et al. 2017", "–", "0.984"),
    ("Aljalbout et al. 2018", "0.923", "0.961"),
    ("MIXAE, Zhang et al. 2017", "–", "0.945"),
    ("Spectral clustering, Shaham et al. 2018", "0.754", "0.717"),
    ("SpectralNet (input space, Euclidean)", "0.687 ± 0.004", "0.622 ± 0.008"),
    ("SpectralNet (input space, Siamese)", "0.884 ± 0.02", "0.826 ± 0.03"),
    ("SpectralNet (code space, Euclidean)", "0.814 ± 0.008", "0.800 ± 0.003"),
    ("SpectralNet (code space, Siamese)", "0.924 ± 0.001", "0.971 ± 0.001"),
    ("MoE-Sim-VAE (the paper)", "0.935", "0.975"),
)

METHODS = (OURS, PIXELS, PAPER, VADE, EDGES_TREE, EDGES_GMM, PIXELS_GMM)

# The paper on Figure A5: accuracy by the model itself, with one run for each image and over all thresholds.
PAPER_REQUESTS = "0.971 at best and 0.970 on average over repeated runs, VaDE 0.944 on average"

_PAPER_SETTINGS = PRESETS["paper-mnist"]

NOTES = f"""\
Mean ± standard deviation over seeds. All images are clustered and scored, in {DIGITS} clusters; this number is given,
as in the paper. Labels are used only for scores, and to name clusters by the one-to-one matching with the most images.
The method below was chosen with the labels in view, because there are no other data of this kind to choose it on.

- `{OURS}`: the similarity is a free input of the method. Images are straightened with their moments; their features are
  blurred edges in eight directions; UMAP uses the Euclidean distances of these. S joins images of the same population
  of the density tree: the {DIGITS} largest populations are the clusters, and a smaller one joins the cluster of most of
  the nearest neighbours of its images. The network sees the original images, augmented in training (rotated by up to
  {TURN:g} rad, shifted by up to {SHIFT:.0%} of the width, …). Other differences from A.1.2: batches of
  {OUR_SETTINGS.batch} (instead of {_PAPER_SETTINGS.batch}), {OUR_SETTINGS.steps:,} steps (instead of
  {_PAPER_SETTINGS.steps:,}) on a one-cycle schedule, the weights of KL {OUR_SETTINGS.kl_weight:g} (instead of
  {_PAPER_SETTINGS.kl_weight:g}) and DEPICT {OUR_SETTINGS.depict_weight:g} (not stated), and posteriors with a fixed
  standard deviation of {POSTERIOR_SD:g}.
- `{PIXELS}`: the same with UMAP of the first {COMPONENTS} principal components of the pixels, without straightening.
- `{PAPER}`: preset `paper-mnist`, S from the {_PAPER_SETTINGS.neighbors} nearest neighbours within a batch on that UMAP
  of pixels. The widths of encoder ({_PAPER_SETTINGS.encoder_depth} × {_PAPER_SETTINGS.encoder_width}) and experts
  ({_PAPER_SETTINGS.expert_width}) are ours, because the paper does not state them.
- `{VADE}`: one decoder and a Gaussian mixture learned in the code, initialised with an autoencoder and scikit-learn's
  mixture.
- Rows that begin with UMAP have no network: the populations of UMAP alone, by the density tree or ten Gaussians (GMM).\
"""

REQUEST_NOTES = f"""\
Codes are drawn from the cluster's Gaussian and decoded (ours by the cluster's expert). A threshold φ accepts codes
whose probability of the cluster, by clustering network or mixture, is at least φ; φ = 0 accepts all: one run for each
image.
“By the model” is the model's own assignment of the image it generates; “by the classifier” that of a small
convolutional network trained on the real training images and labels. The paper, by the model: {PAPER_REQUESTS}.
It applies φ to VaDE only."""


def tables(finished: Sequence[Finished]) -> str:
    """Table 1 and the table of Figure A5, as Markdown."""
    accuracy = over_seeds(finished, part=CLASSIFIER, method=CLASSIFIER, measure="accuracy")
    return "\n\n".join(
        [
            "# Handwritten digits (MNIST)",
            f"## Table 1\n\n{_table_1(finished)}",
            NOTES,
            f"## Images on request (Figure A5)\n\n{_table_requests(finished)}",
            f"{REQUEST_NOTES} The classifier's accuracy on the real test images: "
            f"{accuracy.text('.4f').partition(' ')[0]}.",
        ]
    )


def _table_1(finished: Sequence[Finished]) -> str:
    lines = [[name, nmi, accuracy, "–", ""] for name, nmi, accuracy in PUBLISHED]
    for method in METHODS:
        spreads = [over_seeds(finished, part=TABLE, method=method, measure=name) for name in ("NMI", "accuracy", "ARI")]
        if spreads[0].n:
            name = f"**{method}**" if method == OURS else method
            lines.append([name, *(each.text(".4f") for each in spreads), str(spreads[0].n)])
    return markdown(["method", "NMI", "accuracy", "ARI", "seeds"], lines)


def _requested(finished: Sequence[Finished], method: str, threshold: float, measure: str) -> Spread:
    return over_seeds(finished, part=REQUESTS, method=method, measure=measure, setting=f"{threshold:g}")


def _table_requests(finished: Sequence[Finished]) -> str:
    head = ["φ"]
    methods = [method for method in (OURS, VADE) if _requested(finished, method, 0.0, "runs").n]
    for method in methods:
        head += [f"{method}: by the model", "by the classifier", "runs an image"]
    lines = []
    for threshold in THRESHOLDS:
        line = [f"{threshold:g}"]
        for method in methods:
            for measure, number_format in (("by the model", ".4f"), ("by the classifier", ".4f"), ("runs", ".2f")):
                line.append(_requested(finished, method, threshold, measure).text(number_format))
        lines.append(line)
    return markdown(head, lines)


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """The figures by file name: of the first seed, but Figure A5 of all seeds."""
    first = {each.piece.identity[4]: each.outcome.arrays for each in reversed(finished) if each.outcome.arrays}
    ours, vade = first.get(OURS), first.get(VADE)
    drawn = {}
    if ours is not None:
        drawn["figure2.png"] = _digits(ours["made"], f"{OURS}: drawn from each cluster, decoded by its expert")
        if "map" in ours:
            drawn["a2.png"] = _map(ours["map"], ours["map_digit"], ours["by_model"])
        drawn["a6.png"] = _confusion(
            ours["requested"], "requested digit", "digit by the classifier", "Images on request"
        )
        drawn["confusion.png"] = _confusion(ours["confusion"], "cluster, by its digit", "label", "Real images")
    if vade is not None:
        drawn["vade.png"] = _digits(vade["made"], f"{VADE}: drawn from each component, one decoder")
    if ours is not None:
        drawn["a5.png"] = _requests(finished)
    return drawn


def _new(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _digits(images: NDArray[np.uint8], title: str) -> "Figure":
    """A row of ``images`` (10, n, 784) for each digit."""
    rows, columns, _ = images.shape
    sheet = images.reshape(rows, columns, 28, 28).transpose(0, 2, 1, 3).reshape(rows * 28, columns * 28)
    figure = _new(5, 5.2)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray_r", interpolation="nearest", extent=(0, columns, rows, 0))
    axes.set_yticks(np.arange(rows) + 0.5, labels=[str(digit) for digit in range(rows)])
    axes.set_xticks([])
    axes.set_ylabel("cluster, by its digit")
    axes.set_title(title, fontsize=9)
    return figure


def _map(coordinates: NDArray[np.float32], digit: NDArray[np.uint8], by_model: NDArray[np.int64]) -> "Figure":
    figure = _new(10, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    images, centres = coordinates[: len(digit)], coordinates[len(digit) :]
    for value in range(DIGITS):
        points = images[digit == value]
        left.scatter(points[:, 0], points[:, 1], s=2, linewidths=0, color=f"C{value}", label=str(value))
    left.scatter(centres[:, 0], centres[:, 1], marker="x", s=40, color="red", zorder=3)
    left.legend(frameon=False, markerscale=5, fontsize=8, title="label", loc="center left", bbox_to_anchor=(1, 0.5))
    left.set_title("UMAP of codes; crosses: means of the experts' Gaussians", fontsize=9)
    left.set_xticks([])
    left.set_yticks([])
    _matrix(
        right, by_model, "cluster drawn from", "cluster by the model", "Generated images, assigned by the model itself"
    )
    return figure


def _confusion(counts: NDArray[np.int64], rows: str, columns: str, title: str) -> "Figure":
    figure = _new(5, 4.8)
    _matrix(figure.subplots(), counts, rows, columns, title)
    return figure


def _matrix(axes: Any, counts: NDArray[np.int64], rows: str, columns: str, title: str) -> None:
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if share[row, column] > 0.5 else "0.3"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(range(counts.shape[1]))
    axes.set_yticks(range(counts.shape[0]))
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    axes.set_title(title, fontsize=9)


def _requests(finished: Sequence[Finished]) -> "Figure":
    figure = _new(10, 4)
    left, right = figure.subplots(1, 2)
    for index, method in enumerate((OURS, VADE)):
        if not _requested(finished, method, 0.0, "runs").n:
            continue
        for measure, line in (("by the model", "-"), ("by the classifier", "--")):
            left.plot(THRESHOLDS, _means(finished, method, measure), line, marker="o", markersize=3, color=f"C{index}")
            left.lines[-1].set_label(f"{method}, {measure}")
        right.plot(THRESHOLDS, _means(finished, method, "runs"), marker="o", markersize=3, color=f"C{index}")
        right.lines[-1].set_label(method)
    left.set_ylabel("share of images that show the requested digit")
    right.set_ylabel("runs for each image")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("threshold φ")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _means(finished: Sequence[Finished], method: str, measure: str) -> list[float]:
    means = [_requested(finished, method, threshold, measure).mean for threshold in THRESHOLDS]
    return [np.nan if mean is None else mean for mean in means]
