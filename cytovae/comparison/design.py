"""The design of a comparison: which samples are in which group, and the matrix of the models."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import InputError

FEWEST_SAMPLES = 3
"""The smallest group that is tested."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A column of the sample sheet.

    Attributes
    ----------
    name : str
        The name of the column.
    values : tuple of str
        Its cell for each sample.
    """

    name: str
    values: tuple[str, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """The different values in alphabetical order."""
        return tuple(sorted(set(self.values)))

    def rows(self, level: str) -> NDArray[np.bool_]:
        """Which samples have the value ``level``, shape (n_samples,)."""
        return np.array([value == level for value in self.values], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Design:
    """Samples in groups.

    Attributes
    ----------
    condition : Factor
        The groups.
    reference : str
        The level of ``condition`` that every other level is compared with.
    others : tuple of Factor
        Blocks and batches. They have fixed effects.
    """

    condition: Factor
    reference: str
    others: tuple[Factor, ...] = field(default=())

    @property
    def compared(self) -> tuple[str, ...]:
        """The levels that are compared with the reference."""
        return tuple(level for level in self.condition.levels if level != self.reference)

    @property
    def levels(self) -> tuple[str, ...]:
        """The groups, the reference first."""
        return (self.reference, *self.compared)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Condition, blocks and batches."""
        return (self.condition, *self.others)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The matrix of the models, shape (n_samples, n_columns).

        A column of ones, an indicator for each of ``compared``, and one for each value of ``others`` but its first.
        """
        return np.column_stack(
            [
                np.ones(len(self.condition.values)),
                *(self.condition.rows(level) for level in self.compared),
                *(factor.rows(level) for factor in self.others for level in factor.levels[1:]),
            ]
        ).astype(np.float64)

    def group_sizes(self, rows: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """The number of samples of each level of the condition, of all samples or of ``rows``."""
        counts = Counter(
            value for position, value in enumerate(self.condition.values) if rows is None or rows[position]
        )
        return {level: counts[level] for level in self.condition.levels}

    def subset(self, rows: NDArray[np.bool_]) -> "Design":
        """The design of some of the samples."""

        def part(factor: Factor) -> Factor:
            return Factor(factor.name, tuple(v for v, kept in zip(factor.values, rows, strict=True) if kept))

        return Design(part(self.condition), self.reference, tuple(map(part, self.others)))

    def is_estimable(self, *, describe: bool = False) -> bool:
        """Whether every effect can be told apart; unless ``describe``, with at least one degree of freedom left."""
        n_samples, n_columns = self.matrix.shape
        return n_samples >= n_columns + (not describe) and not self.is_confounded()

    def is_confounded(self) -> bool:
        """Whether the columns of the matrix are linearly dependent."""
        return bool(np.linalg.matrix_rank(self.matrix) < self.matrix.shape[1])


def check_design(design: Design, sheet: Path, *, describe: bool = False) -> None:
    """Check that the effects of the condition can be estimated and, unless ``describe``, tested.

    ``sheet`` is for messages.

    Raises
    ------
    InputError
        If the condition is constant, the condition, blocks and batches are confounded, a group has fewer than three
        samples, or no degree of freedom is left.
    """
    name, sizes = design.condition.name, design.group_sizes()
    if len(sizes) < 2:
        found = f"{next(iter(sizes), 'no value')!r} for every sample"
        raise InputError(sheet, f"column {name}", found, "at least two different conditions")
    if design.reference not in sizes:
        known = ", ".join(design.condition.levels)
        raise InputError(sheet, f"column {name}", f"no sample with {design.reference!r}", f"one of {known}")
    _check_rank(design, sheet)
    if describe:
        return
    advice = "With --describe, effects are given without tests."
    small = [f"{level!r} has {size}" for level, size in sizes.items() if size < FEWEST_SAMPLES]
    if small:
        expected = f"at least {FEWEST_SAMPLES} samples in each group"
        raise InputError(sheet, f"column {name}", f"groups that are too small: {', '.join(small)}", expected, advice)
    n_samples, n_columns = design.matrix.shape
    if n_samples <= n_columns:
        found = f"{n_samples} samples for {n_columns} effects"
        raise InputError(sheet, f"column {name}", found, "more samples than effects", advice)


def _check_rank(design: Design, sheet: Path) -> None:
    """Raise :class:`InputError` if the columns of the matrix are linearly dependent, and say which factors are."""
    if not design.is_confounded():
        return
    for factor in design.others:
        if Design(design.condition, design.reference, (factor,)).is_confounded():
            raise InputError(
                sheet,
                f"column {factor.name}",
                f"values that are confounded with {design.condition.name}",
                f"samples of several conditions within each {factor.name}",
                f"The effect of {design.condition.name} cannot be told apart from that of {factor.name}.",
            )
    names = " and ".join(factor.name for factor in design.others)
    raise InputError(
        sheet,
        f"columns {names}",
        "values that are confounded with each other",
        "values that vary independently",
        f"If one determines the other, leave that one out: a block accounts for its batch. ({names})",
    )
