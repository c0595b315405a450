"""An FCS file → a copy of it with the cluster of each event, for programs that know FCS only."""

from pathlib import Path
from types import TracebackType

import numpy as np

from cytovae.atomic import check_target
from cytovae.cells import Assignment, check_assignment, probability_of
from cytovae.errors import OutputError
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import (
    CLUSTER_CHANNEL,
    NOVELTY_CHANNEL,
    PLAIN,
    PROBABILITY_CHANNEL,
    UMAP_CHANNELS,
    Extras,
    measured,
)

_CHUNK = 65_536  # events read at once


class FcsWriter:
    """A copy of an FCS file with two channels more, ``cytovae_cluster`` and ``cytovae_probability``; a context manager.
    ``extras`` may add ``cytovae_novelty`` and ``cytovae_umap_1``, ``cytovae_umap_2``.

    The channels of ``file`` keep their order, names, labels and raw values (integers with a log $PnE as the linear
    values they mean, as float32 has none), its keywords stay, and $PnR is at least the largest value plus one. Names of
    populations go into the keywords CYTOVAE_CLUSTER_1, …, the columns of a sample sheet into CYTOVAE_SAMPLE and so on.
    A file that has channels of these names already gets ``cytovae_cluster_2`` and so on.

    FlowIO writes whole files only: the events are read chunk by chunk, but held in memory as float32, twice while the
    file is written (8 bytes for each value).
    """

    def __init__(
        self,
        target: Path,
        file: EventFile,
        n_clusters: int,
        *,
        extras: Extras = PLAIN,
        force: bool = False,
    ) -> None:
        self.target = target
        self.force = force
        self._file = file
        self._n_clusters = n_clusters
        self._extras = extras
        self._sample: tuple[str, ...] = ()
        n_added = 2 + extras.novelty + 2 * extras.umap
        self._added = np.zeros((file.n_events, n_added), dtype=np.float32)
        self._done = 0

    def __enter__(self) -> "FcsWriter":
        check_target(self.target, force=self.force)
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Take the cells ``first_event``, ``first_event`` + 1, … of ``file``.

        Raises :class:`NumericalError` where probabilities do not sum to 1 or do not fit the cluster.
        """
        check_assignment(assignment, self._n_clusters, file)
        rows = slice(first_event, first_event + len(assignment))
        self._added[rows, 0] = assignment.cluster
        self._added[rows, 1] = probability_of(assignment)
        self._added[rows, 2:] = np.hstack(measured(assignment, self._extras))
        self._sample = self._extras.samples.of(file)
        self._done += len(assignment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._done != self._file.n_events:
            raise OutputError(
                f"{self.target} was not written: {self._done} of {self._file.n_events} cells were assigned"
            )
        file = self._file
        n_channels = len(file.channels)
        events = np.empty((file.n_events, n_channels + self._added.shape[1]), dtype=np.float32)
        for number, chunk in enumerate(file.chunks(None, _CHUNK)):
            events[number * _CHUNK : number * _CHUNK + len(chunk), :n_channels] = chunk
        events[:, n_channels:] = self._added
        # The writer makes a range larger where values are.
        ranges = (self._n_clusters + 1, 2, *[2] * (self._added.shape[1] - 2))
        added = [
            Channel(n_channels + place, name, "", above)
            for place, (name, above) in enumerate(zip(self._new_names(), ranges, strict=True))
        ]
        channels = (*file.channels, *added)
        said = {f"CYTOVAE_CLUSTER_{number}": name for number, name in enumerate(self._extras.populations, start=1)}
        said |= {
            f"CYTOVAE_{column.upper()}": text
            for column, text in zip(self._extras.samples.columns, self._sample, strict=False)
        }
        # A link stays, what it points to is replaced.
        write_fcs(self.target.resolve(), events, channels, {**file.keywords, **said}, force=self.force)

    def _new_names(self) -> tuple[str, ...]:
        names = (
            *(CLUSTER_CHANNEL, PROBABILITY_CHANNEL),
            *([NOVELTY_CHANNEL] if self._extras.novelty else []),
            *(UMAP_CHANNELS if self._extras.umap else ()),
        )
        taken = {channel.name.casefold() for channel in self._file.channels}
        number, ending = 1, ""
        while {f"{name}{ending}" for name in names} & taken:
            number += 1
            ending = f"_{number}"
        return tuple(f"{name}{ending}" for name in names)
