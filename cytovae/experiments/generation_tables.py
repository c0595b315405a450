"""Tables and figure of the experiment on generated cells (:mod:`cytovae.experiments.generation`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytovae.benchmark.tables import markdown
from cytovae.experiments.experiment import Finished, distinct, over_seeds
from cytovae.experiments.generation import (
    ASSIGNED,
    AUC,
    HELD_OUT,
    LIKENESS,
    METHODS,
    MMD,
    POPULATIONS,
    QUANTILES,
    WORST,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tables(finished: Sequence[Finished]) -> str:
    """One Markdown table for each measure, with a row for each population."""
    populations = distinct(finished, POPULATIONS, "setting")
    methods = _methods(finished)
    parts = ["# Generated cells beside held-out cells of the same clusters"]
    for measure, number_format in ((AUC, ".3f"), (QUANTILES, ".3f"), (WORST, ".3f"), (MMD, ".4f"), (ASSIGNED, ".3f")):
        lines = []
        for name in populations:
            spreads = (
                over_seeds(finished, part=LIKENESS, method=method, measure=measure, setting=name) for method in methods
            )
            lines.append([name, *(each.text(number_format) for each in spreads)])
        parts.append(f"## {measure}\n\n{markdown(['population', *methods], lines)}")
    about = ("clusters", "experts", "landmarks", "compared", "of this gate")
    lines = [
        [
            name,
            *(
                over_seeds(finished, part=POPULATIONS, method="", measure=each, setting=name).text(
                    ".0%" if each == "of this gate" else ",.0f"
                )
                for each in about
            ),
        ]
        for name in populations
    ]
    parts.append(f"## What was compared\n\n{markdown(['population', *about], lines)}")
    parts.append(
        f"Mean ± standard deviation over seeds. The model learns from {1 - HELD_OUT:.0%} of the cells, without gates. "
        "The clusters of a population are those in which it is the most frequent gated population; the real cells are "
        "the held-out cells that the model assigns to these clusters. *of this gate*: the share of the population "
        "among the gated training cells of these clusters. AUC: of a random forest in five-fold cross-validation; 0.5 "
        "means that it cannot tell generated from real cells. *training cells*, which are real, show the best "
        "possible values. Quantile distance: mean over 199 quantiles and over markers on the arcsinh scale. MMD²: eq. "
        "14 in Gretton's normalisation with the median distance as bandwidth. All methods are fitted to the same "
        "landmarks of these clusters. The Gaussian has a full covariance. The single decoder (two layers, as wide as "
        "the encoder) learns from all landmarks, with as many components in its code as there are clusters, or "
        "experts. Its cells are drawn as in VaDE, with Gaussian noise that has the deviation of a marker's residuals, "
        "or with the recipe of cytovae (Gaussian of the codes, residuals, marginals), with components instead of "
        "experts."
    )
    return "\n\n".join(parts)


def _methods(finished: Sequence[Finished]) -> list[str]:
    """The methods that have results, in the order of :data:`METHODS`."""
    present = distinct(finished, LIKENESS, "method")
    return [name for name in METHODS if name in present]


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """A figure of the AUC of each population and method."""
    from matplotlib.figure import Figure

    populations = distinct(finished, POPULATIONS, "setting")
    methods = _methods(finished)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(methods)
    for index, method in enumerate(methods):
        spreads = [
            over_seeds(finished, part=LIKENESS, method=method, measure=AUC, setting=name) for name in populations
        ]
        axes.bar(
            np.arange(len(populations)) + (index - (len(methods) - 1) / 2) * width,
            [np.nan if each.mean is None else each.mean for each in spreads],
            width,
            yerr=[each.sd or 0.0 for each in spreads],
            color=f"C{index}",
            label=method,
        )
    axes.axhline(0.5, color="0.4", linewidth=0.8)
    axes.set_ylim(0.4, 1.0)
    axes.set_xticks(np.arange(len(populations)), populations, rotation=12)
    axes.set_ylabel("AUC of the two-sample test")
    figure.legend(loc="outside upper center", frameon=False, fontsize="small", ncols=3)
    return {"auc.png": figure}
