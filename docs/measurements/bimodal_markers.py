"""Does the number of bimodal markers tell how many populations to look for? Scores with each data set left out.

    python docs/measurements/bimodal_markers.py --data ../shared/data --cache consensus.cache --seeds 5

A marker counts if Ashman's D of two normal distributions fitted to it is above a threshold (Ashman, Bird and Zepf
1994). The number of populations is a + b times this count, or a constant. The rule is chosen by the sum of the mean
scores of the other data sets. The distributions are fitted in two ways, by scikit-learn from k-means, and to a
histogram from Otsu's threshold, because a good rule would not depend on that. Views are those of ``consensus.py``, in
the same cache. Labels are used for scores only. Takes three minutes on one core, once the views are there.
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from consensus import DEFAULT, SETS, TOGETHER, kept_studies, scores, tree_of
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]

NUMBERS = np.array([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24])  # of populations
THRESHOLDS = (2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0)
OFFSETS = (0, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15)  # a
SLOPES = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)  # b
BINS, ROUNDS = 256, 200


def separation(mean: Array, variance: Array) -> Array:
    """Ashman's D of two distributions, both (2, …)."""
    d: Array = np.abs(mean[1] - mean[0]) * np.sqrt(2 / variance.sum(0))
    return d


def by_library(values: NDArray[np.float32]) -> Array:
    """D of each marker of ``values`` (n, m), as scikit-learn fits every second cell."""
    fits = [GaussianMixture(2, random_state=0).fit(column[::2, None]) for column in values.T]
    mean = np.stack([fit.means_.ravel() for fit in fits], 1)  # (2, m)
    variance = np.stack([fit.covariances_.ravel() for fit in fits], 1)
    return separation(mean, variance)


def by_histogram(values: NDArray[np.float32]) -> Array:
    """D of each marker of ``values`` (n, m), by expectation-maximisation on a histogram from Otsu's threshold."""
    low, high = np.quantile(values, [0.0005, 0.9995], axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1)
    place = np.clip((scaled * BINS).astype(int), 0, BINS - 1)
    share = np.stack([np.bincount(column, minlength=BINS) for column in place.T]) / len(values)  # (m, bins)
    x = (np.arange(BINS) + 0.5) / BINS
    below, first = share.cumsum(1), (share * x).cumsum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((first[:, -1:] * below - first) ** 2 / (below * (1 - below)))
    of_second = (np.arange(BINS) > between.argmax(1)[:, None]).astype(float)
    for _ in range(ROUNDS):
        p = np.stack([share * (1 - of_second), share * of_second])  # (2, m, bins)
        size = p.sum(2) + 1e-12
        mean = (p * x).sum(2) / size
        variance = (p * (x - mean[..., None]) ** 2).sum(2) / size + 1e-6
        log = np.log(size / np.sqrt(variance))[..., None] - (x - mean[..., None]) ** 2 / variance[..., None] / 2
        of_second = 1 / (1 + np.exp(np.clip(log[0] - log[1], -50, 50)))
    return separation(mean, variance)


FITS: dict[str, Callable[[NDArray[np.float32]], Array]] = {
    "scikit-learn, from k-means": by_library,
    "histogram, from Otsu's threshold": by_histogram,
}


def at_numbers(found: dict[str, list[Array]], numbers: dict[str, list[float]]) -> Array:
    """Mean scores (sets, 3) at the nearest of NUMBERS to the ``numbers`` of populations of each set and seed."""
    seeds = {name: zip(found[name], numbers[name], strict=True) for name in SETS}
    return np.array([np.mean([each[np.abs(NUMBERS - n).argmin()] for each, n in seeds[name]], 0) for name in SETS])


def left_out(of_rule: dict[object, Array]) -> Array:
    """Mean scores (3,) of the rules that are best on the other sets; ``of_rule`` has those of each set (sets, 3)."""
    rows = []
    for index, name in enumerate(SETS):
        others = [other for other, each in enumerate(SETS) if each not in TOGETHER.get(name, (name,))]
        rows.append(max(of_rule.values(), key=lambda scored: float(scored[others].sum()))[index])
    mean: Array = np.mean(rows, axis=0)
    return mean


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("consensus.cache"))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    found: dict[str, list[Array]] = {name: [] for name in SETS}  # of each seed: scores (numbers, 3)
    bimodal: dict[str, dict[str, list[Array]]] = {fit: {name: [] for name in SETS} for fit in FITS}  # D (m,)
    cuts = [replace(DEFAULT, populations=int(number)) for number in NUMBERS]
    for name, study in kept_studies(arguments.data, arguments.cache, arguments.seeds):
        found[name].append(np.array([scores(study, tree_of(study, cut)) for cut in cuts]))
        for fit, function in FITS.items():
            bimodal[fit][name].append(function(study.cells.cells.values))

    constant: dict[object, Array] = {
        int(number): np.array([np.mean([seed[index] for seed in found[name]], 0) for name in SETS])
        for index, number in enumerate(NUMBERS)
    }
    print("| rule | best on all sets | chosen without the set |\n|---|---|---|")
    print(f"| a constant | {best(constant)} | {spelled(left_out(constant))} |")
    for fit, of_set in bimodal.items():
        rules = dict(constant)
        for threshold, a, b in itertools.product(THRESHOLDS, OFFSETS, SLOPES):
            numbers = {name: [a + b * (d > threshold).sum() for d in of_set[name]] for name in SETS}
            rules[f"{a} + {b:g} × markers with D > {threshold:g}"] = at_numbers(found, numbers)
        print(f"| {fit} | {best(rules)} | {spelled(left_out(rules))} |")


def best(of_rule: dict[object, Array]) -> str:
    """The rule with the largest sum of mean scores, and these."""
    rule = max(of_rule, key=lambda each: float(of_rule[each].sum()))
    return f"{rule}: {spelled(of_rule[rule].mean(0))}"


def spelled(values: Array) -> str:
    """Three scores."""
    return " / ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
