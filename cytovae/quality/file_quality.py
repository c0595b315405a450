"""All checks of one file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile
from cytovae.quality.channel_roles import channel_roles
from cytovae.quality.check import REASONS, Check, not_done
from cytovae.quality.dead_cells import check_dead_cells
from cytovae.quality.debris import check_debris
from cytovae.quality.doublets import check_doublets
from cytovae.quality.drift import check_drift
from cytovae.quality.margins import check_margins

FEW_EVENTS = 1_000
"""A file with fewer events is warned about."""

_FEWEST_EVENTS = 100  # for a threshold
_SUSPICIOUS = 0.5


@dataclass(frozen=True, eq=False)
class FileQuality:
    """What quality control found in one file.

    Attributes
    ----------
    name
        The name of the file.
    reason : ndarray of uint8, shape (n_events,)
        The reason of each event: 0 if it passes, otherwise one more than an index into :data:`REASONS`. An event that
        fails several checks has the first reason.
    checks
        The checks, in the order of :data:`REASONS`.
    warnings
        What a user should know, sentences without a full stop.
    """

    name: str
    reason: NDArray[np.uint8]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.reason)

    @property
    def n_failed(self) -> int:
        """Number of events that fail a check."""
        return int(np.count_nonzero(self.reason))


def check_file(file: EventFile, name: str) -> FileQuality:
    """Run all checks on a file.

    Columns are read a few at a time, so memory is bounded by about 150 bytes for each event.

    Parameters
    ----------
    file
        The file, not compensated.
    name
        What outputs call it.
    """
    if file.n_events < _FEWEST_EVENTS:
        few = f"fewer than {_FEWEST_EVENTS} events"
        checks = tuple(not_done(reason, few) for reason in REASONS)
        return FileQuality(name, np.zeros(file.n_events, dtype=np.uint8), checks, _warnings(file.n_events, 0, checks))
    roles = channel_roles(file)
    margin = check_margins(file, roles)
    failed = _also(np.zeros(file.n_events, dtype=np.bool_), margin)
    debris = check_debris(file, roles, failed)
    failed = _also(failed, debris)
    doublet = check_doublets(file, roles, failed)
    failed = _also(failed, doublet)
    dead = check_dead_cells(file, roles, failed)
    checks = (margin, debris, doublet, dead, check_drift(file, roles))
    reason = np.zeros(file.n_events, dtype=np.uint8)
    for number, check in reversed(list(enumerate(checks, start=1))):
        if check.failed is not None:
            reason[check.failed] = number
    return FileQuality(name, reason, checks, _warnings(file.n_events, int(np.count_nonzero(reason)), checks))


def _also(failed: NDArray[np.bool_], check: Check) -> NDArray[np.bool_]:
    return failed if check.failed is None else failed | check.failed


def _warnings(n_events: int, n_failed: int, checks: tuple[Check, ...]) -> tuple[str, ...]:
    found = [check.warning for check in checks if check.warning]
    if n_events < FEW_EVENTS:
        found.insert(0, f"few events: {n_events:,}")
    if n_failed > _SUSPICIOUS * n_events:
        largest = max((check for check in checks if check.failed is not None), key=_n_failed)
        found.insert(0, f"{n_failed / n_events:.0%} of the events fail, most by {largest.reason}; look at the picture")
    return tuple(found)


def _n_failed(check: Check) -> int:
    return 0 if check.failed is None else int(check.failed.sum())
