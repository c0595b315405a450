"""Margin events: values that the detector could not measure, because they lie at an end of its scale.

After PeacoQC's RemoveMargins (Emmaneel et al. 2022, Cytometry A 101:325), which compares values with the range in the
file. Two differences: an end of the scale that the keywords do not tell is recognised by the events that pile up there,
and the lower end counts for scatter only, because a marker at the lower end is a negative cell.
"""

import numpy as np
from numpy.typing import NDArray

from cytovae.events.event_file import EventFile
from cytovae.events.instrument import top_of_channel
from cytovae.fcs.channels import Channel
from cytovae.quality.channel_roles import ChannelRoles
from cytovae.quality.check import Check, not_done
from cytovae.quality.columns import each_column

REASON = "margin"
_PILE = 0.0005  # share of events with one value that makes a pile; continuous values never do by chance
_STEP = 1.5  # the highest value of integers is one below the range


def check_margins(file: EventFile, roles: ChannelRoles) -> Check:
    """Find the events at an end of the scale of a scatter or fluorescence channel."""
    if roles.is_mass:
        return not_done(REASON, "a mass cytometer has no end of scale")
    if roles.cofactor is None:
        return not_done(REASON, "values are transformed")
    scatter = {channel.index for channel in roles.scatter}
    channels = {channel.index: channel for channel in (*roles.scatter, *roles.viability, *roles.markers)}
    if not channels:
        return not_done(REASON, "no scatter or fluorescence channel")
    failed = np.zeros(file.n_events, dtype=np.bool_)
    concerned = []
    for index, values in each_column(file, list(channels)):
        if (values == values[0]).all():  # nothing is measured
            continue
        at_end = at_upper_end(values, top_of_channel(file, channels[index]))
        if index in scatter:
            at_end |= at_lower_end(values)
        if at_end.any():
            concerned.append((int(at_end.sum()), index))
        failed |= at_end
    names = tuple(_name(channels[index]) for _, index in sorted(concerned, reverse=True))
    return Check(REASON, failed, channels=names)


def at_upper_end(values: NDArray[np.floating], top: float) -> NDArray[np.bool_]:
    """Whether each value is at the upper end of the scale, whose range is ``top`` (NaN if unknown).

    A range that values exceed is not that of the detector. Then, or if no value reaches it, the largest value is the
    end if many events have exactly this value.
    """
    highest = float(np.nanmax(values, initial=-np.inf))
    if highest <= top and highest >= top - _STEP:
        return np.asarray(values >= top - _STEP)
    at_end = np.asarray(values == highest)
    return at_end if is_pile(at_end) else np.zeros(len(values), dtype=np.bool_)


def at_lower_end(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each value is the lowest one, if many events have exactly this value."""
    at_end = np.asarray(values == np.nanmin(values, initial=np.inf))
    return at_end if is_pile(at_end) else np.zeros(len(values), dtype=np.bool_)


def is_pile(at_end: NDArray[np.bool_]) -> bool:
    """Whether enough events lie at one value to be no chance."""
    return int(at_end.sum()) >= max(5, _PILE * len(at_end))


def _name(channel: Channel) -> str:
    return channel.label or channel.name
