"""Figure A1: mixtures of Gaussians in 100 dimensions, with a known (A1a) and an unknown number of components (A1b).

The paper states equal weights and random parameters, but neither their distribution nor the number of points. Here the
entries of means are N(0, 1), and covariances have random directions and eigenvalues uniform in [0.5, 1.5]. Two means
are about 14 apart, and a point about 10 from its own mean, so components do not overlap.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cytovae.benchmark.tables import markdown
from cytovae.cells import CellTable, GateLabels
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, distinct, over_seeds
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

_REGULARIZATION = 1e-3  # of covariances: a component may have fewer points than dimensions


@dataclass(frozen=True)
class Design:
    """The mixtures to draw: their numbers of ``components``, and the ``points`` and ``dimensions`` of each.

    ``steps`` limits the training steps of the paper's settings and of the default (None = no limit).
    """

    components: tuple[int, ...] = (2, 5, 10, 20, 23, 30, 40, 50, 60, 80, 100)
    points: int = 10_000
    dimensions: int = 100
    steps: int | None = None


QUICK = Design((2, 10, 40), points=3_000, steps=500)


def draw(components: int, points: int, dimensions: int, seed: int) -> tuple[CellTable, GateLabels]:
    """Draw ``points`` from a random mixture with equal weights; return them as cells, with their components."""
    rng = np.random.default_rng([seed, components])
    component = np.arange(points) % components
    means = rng.normal(size=(components, dimensions))
    values = np.empty((points, dimensions))
    for index in range(components):
        rotation, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
        deviations = np.sqrt(rng.uniform(0.5, 1.5, dimensions))
        members = component == index
        noise = rng.normal(size=(int(members.sum()), dimensions)) * deviations
        values[members] = means[index] + noise @ rotation.T
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
    """One piece for each mixture, method and seed."""
    planned = []
    for seed in range(seeds):
        for method, experts in ((FULL, 0), (DIAGONAL, 0), (DEFAULT, 0), (PAPER, 0), (PAPER, EXPERTS_FOR_FOUND)):
            for components in design.components:
                if experts and components >= experts:  # A1a covers as many experts as components
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
    """Cluster one mixture with one method. ``experts`` are those of A1b for the paper's settings, otherwise 0."""
    cells, truth = draw(components, design.points, design.dimensions, seed)
    settings = _settings(method, design, experts or components)
    if settings is None:
        kind: Literal["full", "diag"] = "full" if method == FULL else "diag"
        known = score(_gaussian_mixture(cells.values, components, kind, seed), truth)
        return Outcome(_measurements(KNOWN, method, components, seed, known))
    model = learn(cells, settings, seed=seed, device=device)
    found = score(assign(model, cells.values, device).cluster, truth)
    if method == PAPER:
        parts = [FOUND] if experts else [KNOWN, FOUND] if components == EXPERTS_FOR_FOUND else [KNOWN]
        return Outcome(tuple(each for part in parts for each in _measurements(part, method, components, seed, found)))
    cut = model.with_clusters(min(components, model.tree.n_most))
    known = score(assign(cut, cells.values, device).cluster, truth)
    return Outcome(
        _measurements(KNOWN, method, components, seed, known) + _measurements(FOUND, method, components, seed, found)
    )


def _gaussian_mixture(
    values: NDArray[np.float32], components: int, kind: Literal["full", "diag"], seed: int
) -> NDArray[np.int32]:
    """Component (n,), from 1, of each row of ``values``, by scikit-learn's mixture initialised with k-means."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianMixture(components, covariance_type=kind, reg_covar=_REGULARIZATION, random_state=seed)
        component: NDArray[np.int32] = model.fit_predict(values.astype(np.float64)).astype(np.int32) + 1
        return component


def _measurements(part: str, method: str, components: int, seed: int, report: ScoreReport) -> tuple[Measurement, ...]:
    measures = {
        "F_weighted": report.f_weighted,
        "ARI": report.ari,
        "accuracy": report.accuracy,
        "clusters": float(report.n_clusters),
    }
    return tuple(Measurement(part, method, str(components), seed, name, value) for name, value in measures.items())


def tables(finished: Sequence[Finished]) -> str:
    """Figures A1a and A1b as Markdown tables: mean and standard deviation over seeds."""
    parts = [
        "# Mixtures of Gaussians (Figure A1)",
        f"## A1a: `F_weighted`, the number of components known\n\n{_table(finished, KNOWN, 'F_weighted')}",
        f"## A1b: clusters found, the number not known\n\n{_table(finished, FOUND, 'clusters')}",
        f"## A1b: `F_weighted`, the number not known\n\n{_table(finished, FOUND, 'F_weighted')}",
        "Mean ± standard deviation over seeds. All methods, Gaussian mixtures too, are scored on the points they learn "
        "from. The paper reports `F_weighted` near 1 up to 30 components, comparable to a Gaussian mixture up to 40, "
        "and the right number up to 23. Its settings (A.1.1) have as many experts as components in A1a and "
        f"{EXPERTS_FOR_FOUND} in A1b. The default has the same settings for every number of components: its tree is "
        "cut into that number in A1a, and where the data suggest in A1b.",
    ]
    return "\n\n".join(parts)


def _table(finished: Sequence[Finished], part: str, measure: str) -> str:
    methods = _methods(finished, part)
    number_format = ".1f" if measure == "clusters" else ".3f"
    lines = []
    for number in _components(finished, part):
        spreads = (
            over_seeds(finished, part=part, method=method, measure=measure, setting=str(number)) for method in methods
        )
        lines.append([str(number), *(each.text(number_format) for each in spreads)])
    return markdown(["components", *methods], lines)


def _methods(finished: Sequence[Finished], part: str) -> list[str]:
    present = distinct(finished, part, "method")
    return [method for method in (PAPER, DEFAULT, FULL, DIAGONAL) if method in present]


def _components(finished: Sequence[Finished], part: str) -> list[int]:
    return sorted(int(setting) for setting in distinct(finished, part, "setting"))


def figures(finished: Sequence[Finished]) -> "dict[str, Figure]":
    """Figures A1a and A1b by file name."""
    from matplotlib.figure import Figure

    drawn = {}
    for part, measure, name in ((KNOWN, "F_weighted", "a1a.png"), (FOUND, "clusters", "a1b.png")):
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.subplots()
        numbers = _components(finished, part)
        if part == FOUND:
            axes.plot(numbers, numbers, color="0.6", linestyle=":", label="true number")
        for index, method in enumerate(_methods(finished, part)):
            _curve(axes, finished, part, method, measure, numbers, f"C{index}")
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
        linestyle="--" if method == DIAGONAL else "-",  # it would hide the line of full covariances
        label=method,
    )
