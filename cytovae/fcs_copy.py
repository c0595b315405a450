"""An FCS file → a copy of it with the cluster of each event, for programs that know FCS only."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from cytovae.cells import Assignment
from cytovae.errors import OutputError
from cytovae.fcs import Channel, FcsFile, write_fcs
from cytovae.outputs import check_target
from cytovae.rows import CLUSTER_CHANNEL, PROBABILITY_CHANNEL, check_assignment, probability_of

_CHUNK = 65_536  # events read at once


class FcsWriter:
    """A copy of an FCS file with two channels more, ``cytovae_cluster`` and ``cytovae_probability``; a context manager.

    The channels of ``file`` keep their order, names, labels and raw values (integers with a log $PnE as the linear
    values they mean, as float32 has none), its keywords stay, and $PnR is at least the largest value plus one. Names of
    ``populations`` go into the keywords CYTOVAE_CLUSTER_1, …. A file that has channels of these names already gets
    ``cytovae_cluster_2`` and so on.

    FlowIO writes whole files only: the events are read chunk by chunk, but held in memory as float32, twice while the
    file is written (8 bytes for each value).
    """

    def __init__(
        self,
        target: Path,
        file: FcsFile,
        n_clusters: int,
        *,
        populations: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        self.target = target
        self.force = force
        self._file = file
        self._n_clusters = n_clusters
        self._populations = tuple(populations)
        self._added = np.zeros((file.n_events, 2), dtype=np.float32)
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
        events = np.empty((file.n_events, n_channels + 2), dtype=np.float32)
        for number, chunk in enumerate(file.chunks(None, _CHUNK)):
            events[number * _CHUNK : number * _CHUNK + len(chunk), :n_channels] = chunk
        events[:, n_channels:] = self._added
        names = self._new_names()
        channels = (
            *file.channels,
            Channel(n_channels, names[0], "", self._n_clusters + 1),
            Channel(n_channels + 1, names[1], "", 2),
        )
        said = {f"CYTOVAE_CLUSTER_{number}": name for number, name in enumerate(self._populations, start=1)}
        # A link stays, what it points to is replaced.
        write_fcs(self.target.resolve(), events, channels, {**file.keywords, **said}, force=self.force)

    def _new_names(self) -> tuple[str, str]:
        taken = {channel.name.casefold() for channel in self._file.channels}
        number, ending = 1, ""
        while {f"{CLUSTER_CHANNEL}{ending}", f"{PROBABILITY_CHANNEL}{ending}"} & taken:
            number += 1
            ending = f"_{number}"
        return f"{CLUSTER_CHANNEL}{ending}", f"{PROBABILITY_CHANNEL}{ending}"
