"""Doublets: two cells that passed the detector as one event.

Flow cytometry: the area of a pulse is too large for its height, as in PeacoQC's RemoveDoublets (Emmaneel et al. 2022,
Cytometry A 101:325): the ratio lies more than four median absolute deviations above its median. Mass cytometry: the
event has the DNA of two cells.
"""

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile
from cytovae.quality.channel_roles import ChannelRoles
from cytovae.quality.check import MOST_POINTS, Check, Curve, Points, not_done
from cytovae.quality.columns import read_columns
from cytovae.quality.debris import dna_content
from cytovae.quality.density import density_of

REASON = "doublet"
_DEVIATIONS = 4.0
_MAD_TO_SD = 1.4826  # of a normal distribution
_LEAST_RATIO = 1.05  # deviations below this are those of digits, not of cells
_DNA_TIMES = float(np.log(1.5))  # half way from one cell to two, on a log scale a little more
_DNA_SPREADS = 3.0


def check_doublets(file: EventFile, roles: ChannelRoles, others: NDArray[np.bool_]) -> Check:
    """Find doublets; ``others`` (n_events,) are events that failed before and say nothing about the threshold."""
    if roles.is_mass:
        return _by_dna(file, roles, others)
    if roles.area is None or roles.height is None:
        return not_done(REASON, "no detector of scatter with area and height")
    area, height = read_columns(file, [roles.area.index, roles.height.index])
    failed = area_too_large(area, height, others)
    if failed is None:
        return not_done(REASON, f"{roles.area.name} and {roles.height.name} do not vary independently")
    shown = slice(None, None, max(1, -(-len(area) // MOST_POINTS)))
    names = (roles.area.name, roles.height.name)
    picture = Points(names, area[shown].copy(), height[shown].copy(), failed[shown].copy())
    return Check(REASON, failed, channels=names, picture=picture)


def area_too_large(
    area: NDArray[np.floating], height: NDArray[np.floating], others: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Whether the ratio of area to height is too large for one cell; None if all ratios are one value."""
    positive = height > 0
    ratio = np.divide(area, height, out=np.zeros(len(area), dtype=np.float64), where=positive)
    usual = ratio[positive & ~others & np.isfinite(ratio)]
    if not len(usual):
        return None
    middle = float(np.median(usual))
    deviation = _MAD_TO_SD * float(np.median(np.abs(usual - middle)))
    if deviation == 0 or middle <= 0:
        return None
    return np.asarray(ratio > max(middle + _DEVIATIONS * deviation, _LEAST_RATIO * middle))


def _by_dna(file: EventFile, roles: ChannelRoles, others: NDArray[np.bool_]) -> Check:
    """The threshold is 1.5 times the DNA of most events, or three standard deviations above it if that is more."""
    if not roles.dna:
        return not_done(REASON, "no channel of DNA")
    amount = dna_content(file, roles)
    density = density_of(amount[~others & np.isfinite(amount)])
    if density is None:
        return not_done(REASON, "DNA has one value")
    peak = int(np.argmax(density.height))
    spread = min(density.spread_below(peak), density.spread_above(peak))
    threshold = float(density.grid[peak]) + max(_DNA_TIMES, _DNA_SPREADS * spread)
    names = tuple(channel.label or channel.name for channel in roles.dna)
    picture = Curve(" + ".join(names), density.grid, density.height, threshold, above=True)
    return Check(REASON, np.asarray(amount > threshold), channels=names, picture=picture)
