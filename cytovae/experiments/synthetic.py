"""Figure A1: mixtures of Gaussians in 100 dimensions. A1a: with the number of components known, beside Gaussian
mixtures fitted to the same points; A1b: how many components are found.

The paper says that weights are equal and parameters random, not how they are drawn nor how many points there are. Here
each entry of a mean is drawn from N(0, 1), and each covariance has eigenvalues drawn evenly from 0.5 … 1.5 in random
directions: two means are about 14 apart, where a point lies about 10 from its own, so that no two components overlap.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import CellTable, GateLabels
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, markdown, over_seeds
from cytovae.inference.assigner import assign
from cytovae.metrics import ScoreReport, score
from cytovae.settings import PRESETS, Settings
from cytovae.study.train_model import learn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KNOWN, FOUND = "A1a", "A1b"


PAPER, DEFAULT, FULL, DIAGONAL = "paper's settings", "default", "GMM, full", "GMM, diagonal"


EXPERTS_FOR_FOUND = 40  # Figure A1b


# Steps of covariance estimates: points in a component may be fewer than the numbers in it.
_REGULAR = 1e-3


@dataclass(frozen=True)
class Design:
    """Which mixtures are drawn: numbers of ``components``, ``points`` in each mixture, ``dimensions``."""

    components: tuple[int, ...] = (2, 5, 10, 20, 23, 30, 40, 50, 60, 80, 100)
    points: int = 10_000
    dimensions: int = 100
    steps: int | None = None  # of the paper's settings and the default, instead of theirs


QUICK = Design((2, 10, 40), points=3_000, steps=500)


def draw(components: int, points: int, dimensions: int, seed: int) -> tuple[CellTable, GateLabels]:
    """``points`` of a random mixture with equal weights, as cells (points, dimensions), and their components."""
    rng = np.random.default_rng([seed, components])
    component = np.arange(points) % components
    means = rng.normal(size=(components, dimensions))
    values = np.empty((points, dimensions))
    for index in range(components):
        rotation, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
        spread = np.sqrt(rng.uniform(0.5, 1.5, dimensions))
        own = component == index
        values[own] = means[index] + (rng.normal(size=(int(own.sum()), dimensions)) * spread) @ rotation.T
    order = rng.permutation(points)
    cells = CellTable(
        values[order].astype(np.float32),
        tuple(f"x{index + 1}" for index in range(dimensions)),
        ("mixture",),
        np.zeros(points, dtype=np.int32),
        np.arange(points, dtype=np.int64),
    )
    return cells, GateLabels(component[order].astype(np.int32), tuple(f"{index + 1}" for index in range(components)))


def pieces(design: Design, seeds: int, device: str) -> tuple[Piece, ...]:
    """All runs: each mixture by each method."""
    planned = []
    for seed in range(seeds):
        for method, experts in ((FULL, 0), (DIAGONAL, 0), (DEFAULT, 0), (PAPER, 0), (PAPER, EXPERTS_FOR_FOUND)):
            for components in design.components:
                if experts and components >= experts:  # with as many experts as components, A1a has it
                    continue
                settings = _settings(method, design, experts or components)
                planned.append(
                    Piece(
                        f"{components} components, {method}, seed {seed}" + (f", {experts} experts" if experts else ""),
                        ("synthetic", replace(design, components=(components,)), method, experts, seed, settings),
                        lambda c=components, m=method, e=experts, s=seed: _measure(design, c, m, e, s, device),  # type: ignore[misc]
                    )
                )
    return tuple(planned)


def _settings(method: str, design: Design, experts: int) -> Settings | None:
    if method not in (PAPER, DEFAULT):
        return None
    settings = PRESETS["default"] if method == DEFAULT else replace(PRESETS["paper-synthetic"], experts=experts)
    return settings if design.steps is None else replace(settings, steps=min(design.steps, settings.steps))


def _measure(design: Design, components: int, method: str, experts: int, seed: int, device: str) -> Outcome:
    """One mixture by one method; ``experts`` are those of A1b with the paper's settings, else 0."""
    cells, truth = draw(components, design.points, design.dimensions, seed)
    settings = _settings(method, design, experts or components)
    if settings is None:
        kind: Literal["full", "diag"] = "full" if method == FULL else "diag"
        known = score(_gaussian_mixture(cells.values, components, kind, seed), truth)
        return Outcome(_lines(KNOWN, method, components, seed, known))
    model = learn(cells, settings, seed=seed, device=device)
    found = score(assign(model, cells.values, device).cluster, truth)
    if method == PAPER:
        parts = [FOUND] if experts else [KNOWN, FOUND] if components == EXPERTS_FOR_FOUND else [KNOWN]
        return Outcome(tuple(line for part in parts for line in _lines(part, method, components, seed, found)))
    told = model.with_clusters(min(components, model.tree.n_most))
    known = score(assign(told, cells.values, device).cluster, truth)
    return Outcome(_lines(KNOWN, method, components, seed, known) + _lines(FOUND, method, components, seed, found))


def _gaussian_mixture(
    values: NDArray[np.float32], components: int, kind: Literal["full", "diag"], seed: int
) -> NDArray[np.int32]:
    """Component (n,), from 1, of each of ``values``, by scikit-learn's mixture started from k-means."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianMixture(components, covariance_type=kind, reg_covar=_REGULAR, random_state=seed)
        found: NDArray[np.int32] = model.fit_predict(values.astype(np.float64)).astype(np.int32) + 1
        return found


def _lines(part: str, method: str, components: int, seed: int, report: ScoreReport) -> tuple[Measurement, ...]:
    measures = {
        "F_weighted": report.f_weighted,
        "ARI": report.ari,
        "accuracy": report.accuracy,
        "clusters": float(report.n_clusters),
    }
    return tuple(Measurement(part, method, str(components), seed, name, value) for name, value in measures.items())


def tables(finished: Sequence[Finished]) -> str:
    """Both figures as Markdown tables: mean and standard deviation over seeds."""
    parts = [
        "# Mixtures of Gaussians (Figure A1)",
        f"## A1a: `F_weighted`, the number of components known\n\n{_table(finished, KNOWN, 'F_weighted')}",
        f"## A1b: clusters found, the number not known\n\n{_table(finished, FOUND, 'clusters')}",
        f"## A1b: `F_weighted`, the number not known\n\n{_table(finished, FOUND, 'F_weighted')}",
        "Mean ± standard deviation over seeds; scored on the points that were learned from, as Gaussian mixtures are. "
        "The paper: `F_weighted` near 1 up to 30 components, comparable to a Gaussian mixture up to 40, and the right "
        f"number up to 23. Its settings (A.1.1) get as many experts as there are components in A1a, "
        f"{EXPERTS_FOR_FOUND} in A1b. The default is one configuration for every number of components: in A1a its tree "
        "is cut into that number, in A1b where the data suggest.",
    ]
    return "\n\n".join(parts)


def _table(finished: Sequence[Finished], part: str, measure: str) -> str:
    methods, settings = _methods(finished, part), _components(finished, part)
    form = ".1f" if measure == "clusters" else ".3f"
    lines = [
        [str(number)]
        + [
            over_seeds(finished, part=part, method=method, measure=measure, setting=str(number)).text(form)
            for method in methods
        ]
        for number in settings
    ]
    return markdown(["components", *methods], lines)


def _methods(finished: Sequence[Finished], part: str) -> list[str]:
    there = {line.method for each in finished for line in each.outcome.measurements if line.part == part}
    return [method for method in (PAPER, DEFAULT, FULL, DIAGONAL) if method in there]


def _components(finished: Sequence[Finished], part: str) -> list[int]:
    return sorted({int(line.setting) for each in finished for line in each.outcome.measurements if line.part == part})


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """Figures A1a and A1b, by file name."""
    from matplotlib.figure import Figure

    drawn = {}
    for part, measure, name in ((KNOWN, "F_weighted", "a1a.png"), (FOUND, "clusters", "a1b.png")):
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.subplots()
        numbers = _components(finished, part)
        if part == FOUND:
            axes.plot(numbers, numbers, color="0.6", linestyle=":", label="as many as there are")
        for place, method in enumerate(_methods(finished, part)):
            _curve(axes, finished, part, method, measure, numbers, f"C{place}")
        axes.set_xlabel("components of the mixture")
        axes.set_ylabel("F_weighted" if part == KNOWN else "clusters found")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        drawn[name] = figure
    return drawn


def _curve(
    axes: "Axes", finished: Sequence[Finished], part: str, method: str, measure: str, numbers: Sequence[int], color: str
) -> None:
    means = [over_seeds(finished, part=part, method=method, measure=measure, setting=str(n)) for n in numbers]
    axes.errorbar(
        numbers,
        [np.nan if each.mean is None else each.mean for each in means],
        yerr=[each.sd or 0.0 for each in means],
        marker="o",
        markersize=4,
        capsize=2,
        color=color,
        linestyle="--" if method == DIAGONAL else "-",  # it lies on that of full covariances
        label=method,
    )
