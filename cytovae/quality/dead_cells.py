"""Dead cells: events that took up a viability dye."""

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile
from cytovae.quality.channel_roles import ChannelRoles
from cytovae.quality.check import Check, Curve, not_done
from cytovae.quality.columns import each_column
from cytovae.quality.density import Density, density_of, separated

REASON = "dead"
_LEAST, _DEPTH = 0.02, 0.6  # see density.separated
_FACTOR = float(np.log(5))  # of brightness, between living and dead cells
_SPREADS = 5.0
_FEWEST_VALUES = 10


def check_dead_cells(file: EventFile, roles: ChannelRoles, others: NDArray[np.bool_]) -> Check:
    """Find dead cells; ``others`` (n_events,) are events that failed before and say nothing about the threshold.

    With several dyes, the brightest one of an event decides.
    """
    if not roles.viability:
        return not_done(REASON, "no viability channel")
    if roles.cofactor is None:
        return not_done(REASON, "values are transformed")
    failed = np.zeros(file.n_events, dtype=np.bool_)
    names, picture, most = [], None, -1
    for index, raw in each_column(file, [channel.index for channel in roles.viability]):
        values = np.arcsinh(raw / roles.cofactor)
        usable = values[~others & np.isfinite(values)]
        density = density_of(usable, roles.one_count) if len(np.unique(usable[:1000])) >= _FEWEST_VALUES else None
        if density is None:
            continue
        threshold = dead_threshold(density)
        dead = np.asarray(values > threshold)
        channel = file.channels[index]
        title = channel.label or channel.name
        if int(dead.sum()) > most:
            most = int(dead.sum())
            picture = Curve(title, density.grid, density.height, threshold, above=True)
        names.append(title)
        failed |= dead
    if not names:
        return not_done(REASON, "the viability channel has few values")
    return Check(REASON, failed, channels=tuple(names), picture=picture)


def dead_threshold(density: Density) -> float:
    """The brightness above which cells are dead, on the arcsinh scale.

    It is the valley between the living cells and those that are at least five times as bright. Without such a valley,
    it is five times the brightness of the living cells, or five standard deviations above them if that is more.
    """
    gaps = separated(density, _LEAST, _DEPTH)
    for _, valley, right in gaps:
        if density.grid[right] - density.grid[gaps[0][0]] >= _FACTOR:
            return float(density.grid[valley])
    living = gaps[0][0] if gaps else int(np.argmax(density.height))
    spread = max(density.spread_below(living), density.spread_above(living))
    return float(density.grid[living]) + max(_FACTOR, _SPREADS * spread)
