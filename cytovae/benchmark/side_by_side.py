"""cytovae beside FlowSOM: means over data sets, with a number of clusters that no label of a set has chosen for it.

FlowSOM needs the number of clusters, K. For each data set, the other data sets choose it: the K with the largest sum of
mean scores there (leave-one-out). Data sets of one group share donors and are left out together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from cytovae.benchmark.job import Row
from cytovae.benchmark.over_seeds import Spread, oracle, spread

SCORES = ("f_weighted", "f1_mean", "ari")
"""The scores of the comparison; each has the same weight when K is chosen."""

METHODS = ("cytovae", "flowsom")


@dataclass(frozen=True)
class Line:
    """One setting of a method on all data sets.

    Attributes
    ----------
    method : str
        Its name.
    how : str
        How the number of clusters is chosen: "default", "other sets", "fixed" or "labels".
    number : int
        The number of clusters if it is fixed, else 0.
    scores : dict of str to dict of str to Spread
        Mean and standard deviation over seeds, by score and data set. A data set without a result is missing.
    numbers : dict of str to int
        The number of clusters on each data set, where other data sets choose it.
    """

    method: str
    how: str
    number: int
    scores: dict[str, dict[str, Spread]]
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SideBySide:
    """The comparison with one protocol.

    Attributes
    ----------
    protocol : str
        Which cells are clustered and scored.
    datasets : tuple of str
        The data sets that count.
    left_out : tuple of str
        The data sets that do not count: reported only, with one rare population, or without a result of a method.
    lines : tuple of Line
        The settings, in the order of the table.
    """

    protocol: str
    datasets: tuple[str, ...]
    left_out: tuple[str, ...]
    lines: tuple[Line, ...]

    def mean(self, line: Line, metric: str) -> float | None:
        """The mean of a score over all data sets that count; None if one of them has no result."""
        found = [line.scores[metric].get(name, spread(())).mean for name in self.datasets]
        known = [value for value in found if value is not None]
        return fmean(known) if len(known) == len(found) else None

    def deviations(self, line: Line, metric: str) -> dict[str, float]:
        """The standard deviation of a score over seeds, by data set."""
        found = {name: line.scores[metric].get(name, spread(())).sd for name in self.datasets}
        return {name: sd for name, sd in found.items() if sd is not None}


def chosen_elsewhere(scores: Mapping[int, Mapping[str, float]], groups: Mapping[str, str]) -> dict[str, int]:
    """For each data set, the number of clusters that is best on the data sets of other groups.

    Parameters
    ----------
    scores : mapping of int to mapping of str to float
        The sum of the mean scores of each number of clusters on each data set. A number without a score on a data set
        cannot be chosen.
    groups : mapping of str to str
        The group of each data set.

    Returns
    -------
    dict of str to int
        The number with the largest sum over the other data sets, the smaller one on a tie. Empty if no number can be
        chosen. Data sets without others are missing.

    Examples
    --------
    >>> chosen_elsewhere({10: {"a": 1.0, "b": 0.2}, 20: {"a": 0.5, "b": 0.9}}, {"a": "a", "b": "b"})
    {'a': 20, 'b': 10}
    """
    complete = {number: of_set for number, of_set in scores.items() if all(name in of_set for name in groups)}
    chosen = {}
    for name, group in groups.items():
        others = [other for other in groups if groups[other] != group]
        if others and complete:
            sums = {number: sum(of_set[other] for other in others) for number, of_set in complete.items()}
            chosen[name] = max(sums, key=lambda number: (sums[number], -number))
    return chosen


def side_by_side(rows: Sequence[Row]) -> tuple[SideBySide, ...]:
    """Compare cytovae with FlowSOM, for each protocol with results of both on data sets of at least two groups.

    Parameters
    ----------
    rows : sequence of Row
        All rows of a run. Rows of other methods are not used.

    Returns
    -------
    tuple of SideBySide
        One for each protocol; empty for a run of one data set.
    """
    used = [row for row in rows if row.method in METHODS]
    found = []
    for protocol in dict.fromkeys(row.protocol for row in used):
        compared = _compare(protocol, [row for row in used if row.protocol == protocol])
        if compared is not None:
            found.append(compared)
    return tuple(found)


def _compare(protocol: str, rows: Sequence[Row]) -> SideBySide | None:
    by_set: dict[str, list[Row]] = {}
    for row in rows:
        by_set.setdefault(row.dataset, []).append(row)
    counted = {name: of_set for name, of_set in by_set.items() if _counts(of_set)}
    groups = {name: next((row.group for row in of_set if row.group), name) for name, of_set in counted.items()}
    if len(set(groups.values())) < 2:
        return None
    done = [row for of_set in counted.values() for row in of_set if row.status == "ok"]
    ours, other = ([row for row in done if row.method == method] for method in METHODS)
    fixed = {
        method: {number: _line(of_method, number) for number in sorted({row.number for row in of_method} - {0})}
        for method, of_method in zip(METHODS, (ours, other), strict=True)
    }
    lines = [_line(ours, 0)]
    lines += [line for method in reversed(METHODS) for line in _elsewhere(fixed[method], groups)]
    for number in sorted({number for of_method in fixed.values() for number in of_method}):
        lines += [fixed[method][number] for method in METHODS if number in fixed[method]]
    lines += [_best(of_method) for of_method in (ours, other) if any(row.number for row in of_method)]
    left_out = tuple(name for name in by_set if name not in counted)
    return SideBySide(protocol, tuple(counted), left_out, tuple(lines))


def _counts(rows: Sequence[Row]) -> bool:
    """Whether a data set counts in the means: it has scores of both methods and is not reported only."""
    scored = {row.method for row in rows if row.status == "ok" and row.f_weighted is not None}
    return scored == set(METHODS) and not any(row.reported_only for row in rows)


def _line(rows: Sequence[Row], number: int) -> Line:
    """The line of one number of clusters; ``rows`` belong to one method."""
    chosen = [row for row in rows if row.number == number]
    names = dict.fromkeys(row.dataset for row in chosen)
    scores = {
        metric: {name: spread(getattr(row, metric) for row in chosen if row.dataset == name) for name in names}
        for metric in SCORES
    }
    return Line(rows[0].method, "fixed" if number else "default", number, scores)


def _elsewhere(fixed: Mapping[int, Line], groups: Mapping[str, str]) -> Iterable[Line]:
    """The line whose number of clusters is chosen on other data sets; none if there is only one number."""
    sums = {
        number: {
            name: sum(line.scores[metric][name].mean or 0.0 for metric in SCORES) for name in line.scores[SCORES[0]]
        }
        for number, line in fixed.items()
    }
    chosen = chosen_elsewhere(sums, groups) if len(fixed) > 1 else {}
    if chosen:
        scores = {
            metric: {name: fixed[number].scores[metric][name] for name, number in chosen.items()} for metric in SCORES
        }
        yield Line(next(iter(fixed.values())).method, "other sets", 0, scores, chosen)


def _best(rows: Sequence[Row]) -> Line:
    """The bound: for each data set and score, the number of clusters that is best by the labels."""
    scores: dict[str, dict[str, Spread]] = {metric: {} for metric in SCORES}
    for name in dict.fromkeys(row.dataset for row in rows):
        for best in oracle([row for row in rows if row.dataset == name and row.number]):
            if best.metric in SCORES:
                scores[best.metric][name] = best.score
    return Line(rows[0].method, "labels", 0, scores)
