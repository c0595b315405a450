"""Table and picture of how like real cells generated ones are (:mod:`cytovae.experiments.generation`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytovae.experiments.experiment import Finished, markdown, over_seeds
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
    """One Markdown table for each measure, a line for each population."""
    populations = _names(finished, POPULATIONS, "setting")
    methods = [name for name in METHODS if name in _names(finished, LIKENESS, "method")]
    parts = ["# Generated cells beside held-out cells of the same clusters"]
    for measure, form in ((AUC, ".3f"), (QUANTILES, ".3f"), (WORST, ".3f"), (MMD, ".4f"), (ASSIGNED, ".3f")):
        lines = []
        for name in populations:
            found = [
                over_seeds(finished, part=LIKENESS, method=method, measure=measure, setting=name).text(form)
                for method in methods
            ]
            lines.append([name, *found])
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
        f"Mean ± standard deviation over seeds. A model learned from {1 - HELD_OUT:.0%} of the cells without gates; "
        "a population's clusters are those in which it is the most frequent gated one, and real cells those held out "
        "that the model assigns to these clusters (*of this gate*: the share of the gated ones among them that are of "
        "the population). AUC is a random forest's in five-fold cross-validation, 0.5 = it cannot tell generated from "
        "real; *training cells*, which are real, show what can be reached. Quantile distance is the mean over 199 "
        "quantiles, and over markers, on the arcsinh scale; MMD² is eq. 14 in Gretton's normalisation with the median "
        "distance as bandwidth. All are fitted to the same landmarks of these clusters. The Gaussian has a full "
        "covariance. The single decoder (two layers, as wide as the encoder) learned from all landmarks, with as many "
        "components in its code as there are clusters, or experts; its cells are drawn as VaDE draws them, with "
        "Gaussian noise as wide as a marker's residuals, or by the same recipe as cytovae's (Gaussian of the codes, "
        "residuals, marginals), with components in the place of experts."
    )
    return "\n\n".join(parts)


def _names(finished: Sequence[Finished], part: str, field: str) -> list[str]:
    """What stands in ``field`` of the lines of a part, in order of appearance."""
    lines = [line for each in finished for line in each.outcome.measurements if line.part == part]
    return list(dict.fromkeys(str(getattr(line, field)) for line in lines))


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """AUC of each population and method."""
    from matplotlib.figure import Figure

    populations = _names(finished, POPULATIONS, "setting")
    methods = [name for name in METHODS if name in _names(finished, LIKENESS, "method")]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        found = [over_seeds(finished, part=LIKENESS, method=method, measure=AUC, setting=name) for name in populations]
        axes.bar(
            np.arange(len(populations)) + (place - (len(methods) - 1) / 2) * width,
            [np.nan if each.mean is None else each.mean for each in found],
            width,
            yerr=[each.sd or 0.0 for each in found],
            color=f"C{place}",
            label=method,
        )
    axes.axhline(0.5, color="0.4", linewidth=0.8)
    axes.set_ylim(0.4, 1.0)
    axes.set_xticks(np.arange(len(populations)), populations, rotation=12)
    axes.set_ylabel("AUC of the two-sample test")
    figure.legend(loc="outside upper center", frameon=False, fontsize="small", ncols=3)
    return {"auc.png": figure}
