"""The result of one check of a file, and what its picture shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REASONS = ("margin", "debris", "doublet", "dead", "drift")
"""The checks, in the order in which they give an event its reason."""

PASS = "pass"
"""What the column ``qc`` says of an event without a reason."""

MOST_POINTS = 20_000  # of a picture


@dataclass(frozen=True, eq=False)
class Curve:
    """A density, and the threshold beyond which events fail; None if there is none.

    Attributes
    ----------
    title
        The name of the values.
    x, height : ndarray of shape (n,)
        The density.
    threshold
        Where events begin to fail.
    above
        Whether those above the threshold fail, otherwise those below.
    """

    title: str
    x: NDArray[np.float64]
    height: NDArray[np.float64]
    threshold: float | None
    above: bool


@dataclass(frozen=True, eq=False)
class Points:
    """Events by two values, and which of them fail; each ndarray is of shape (n,)."""

    titles: tuple[str, str]
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    failed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Courses:
    """How the peaks of channels move in the course of a file.

    Attributes
    ----------
    names
        The channel of each course.
    values : ndarray of shape (n_bins, n_courses)
        The position of the peak in each bin, on the transformed scale.
    failed : ndarray of bool, shape (n_bins,)
        Which bins fail.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    failed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Check:
    """The result of one check.

    Attributes
    ----------
    reason
        One of :data:`REASONS`.
    failed : ndarray of bool, shape (n_events,), or None
        Which events fail; None if the check was not done.
    why_not
        Why it was not done, without a full stop.
    channels
        The channels that it looked at.
    warning
        What a user should know beside the events that fail, without a full stop.
    picture
        What a picture of it shows.
    """

    reason: str
    failed: NDArray[np.bool_] | None
    why_not: str = ""
    channels: tuple[str, ...] = ()
    warning: str = ""
    picture: Curve | Points | Courses | None = None


def not_done(reason: str, why_not: str) -> Check:
    """A check that was not done."""
    return Check(reason, None, why_not)
