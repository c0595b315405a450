"""Scores over seeds: mean, standard deviation, and the number of clusters that is best by the labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev

from cytovae.benchmark.job import METRICS, Row


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of ``n`` values; the latter is None for one value, both are for none."""

    mean: float | None
    sd: float | None
    n: int

    def __str__(self) -> str:
        return self.text(".3f")

    def text(self, number_format: str) -> str:
        """Format as "mean ± standard deviation", "mean" for a single value, or a dash for none."""
        if self.mean is None:
            return "–"
        return f"{self.mean:{number_format}}" + (f" ± {self.sd:{number_format}}" if self.sd is not None else "")


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and standard deviation of the values that are not None."""
    known = [value for value in values if value is not None]
    if not known:
        return Spread(None, None, 0)
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Oracle:
    """For one score, the number of clusters with the highest mean over seeds: chosen with the labels."""

    metric: str
    number: int
    score: Spread


def oracle(rows: Sequence[Row]) -> tuple[Oracle, ...]:
    """The best number of clusters for each score, by the mean over seeds; the smaller number on a tie.

    ``rows`` belong to one method that needs the number of clusters, one data set and one protocol. A number is
    eligible only if no other number has more successful seeds.
    """
    done = sorted((row for row in rows if row.status == "ok"), key=lambda row: row.number)
    by_number = {number: list(group) for number, group in groupby(done, key=lambda row: row.number)}
    most = max((len(group) for group in by_number.values()), default=0)
    full = {number: group for number, group in by_number.items() if len(group) == most}
    oracles = []
    for metric in METRICS:
        scores = {number: spread(getattr(row, metric) for row in group) for number, group in full.items()}
        means = {number: score.mean for number, score in scores.items() if score.mean is not None}
        if means:
            best = max(means, key=lambda number: (means[number], -number))
            oracles.append(Oracle(metric, best, scores[best]))
    return tuple(oracles)


def chosen_by_labels(rows: Sequence[Row]) -> bool:
    """Whether these rows of one method have several numbers of clusters, of which the labels choose one."""
    return len({row.number for row in rows if row.status == "ok"}) > 1
