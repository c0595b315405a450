"""Debris: events that are too small for cells, by forward scatter, or by DNA on a mass cytometer."""

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile
from cytovae.quality.channel_roles import ChannelRoles
from cytovae.quality.check import Check, Curve, not_done
from cytovae.quality.columns import read_columns
from cytovae.quality.density import Density, density_of, separated

REASON = "debris"
_LEAST, _DEPTH = 0.02, 0.5  # see density.separated
_TIMES_SMALLER = 3.0  # debris against the next population; lymphocytes are half as large as granulocytes
_DNA_COFACTOR = 5.0
_SPREADS = 4.0
_HALF = float(np.log(2))


def check_debris(file: EventFile, roles: ChannelRoles, others: NDArray[np.bool_]) -> Check:
    """Find debris; ``others`` (n_events,) are events that failed before and say nothing about the threshold."""
    if roles.is_mass:
        return _by_dna(file, roles)
    if roles.size is None:
        return not_done(REASON, "no channel of forward scatter")
    values = read_columns(file, [roles.size.index])[0]
    density = density_of(values[~others & np.isfinite(values)])
    if density is None:
        return not_done(REASON, f"{roles.size.name} has one value")
    threshold = size_threshold(density)
    failed = np.zeros(len(values), dtype=np.bool_) if threshold is None else np.asarray(values < threshold)
    picture = Curve(roles.size.name, density.grid, density.height, threshold, above=False)
    return Check(REASON, failed, channels=(roles.size.name,), picture=picture)


def size_threshold(density: Density) -> float | None:
    """The valley that divides debris from cells on a linear scale; None if there is no debris apart.

    Debris is a population of less than a third of the size of the next one, with a valley between them that is at most
    half as high as the lower of their peaks.
    """
    for left, valley, right in reversed(separated(density, _LEAST, _DEPTH)):
        if density.grid[right] > 0 and density.grid[left] < density.grid[right] / _TIMES_SMALLER:
            return float(density.grid[valley])
    return None


def _by_dna(file: EventFile, roles: ChannelRoles) -> Check:
    if not roles.dna:
        return not_done(REASON, "no channel of DNA")
    amount = dna_content(file, roles)
    density = density_of(amount[np.isfinite(amount)])
    if density is None:
        return not_done(REASON, "DNA has one value")
    peak = int(np.argmax(density.height))
    threshold = float(density.grid[peak]) - max(_HALF, _SPREADS * density.spread_below(peak))
    names = tuple(channel.label or channel.name for channel in roles.dna)
    picture = Curve(" + ".join(names), density.grid, density.height, threshold, above=False)
    return Check(REASON, np.asarray(amount < threshold), channels=names, picture=picture)


def dna_content(file: EventFile, roles: ChannelRoles) -> NDArray[np.floating]:
    """The sum of the channels of DNA on the arcsinh scale, (n_events,): twice the DNA adds log 2.

    If values are transformed already, their mean.
    """
    values = read_columns(file, [channel.index for channel in roles.dna])
    if roles.cofactor is None:
        return np.asarray(values.mean(axis=0))
    return np.asarray(np.arcsinh(values.sum(axis=0) / _DNA_COFACTOR))
