"""A copy of an FCS file with the cluster of each event as channels, for programs that read FCS only."""

from pathlib import Path
from types import TracebackType

import numpy as np

from cytovae.atomic import check_target
from cytovae.cells import Assignment, check_assignment, probability_of
from cytovae.errors import OutputError
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import NO_EXTRAS, Extras, channel_names, fcs_keywords, free_ending, optional_values

_EVENTS_PER_CHUNK = 65_536


class FcsWriter:
    """A copy of an FCS file with the channels ``cytovae_cluster`` and ``cytovae_probability``; a context manager.

    ``extras`` may add ``cytovae_novelty`` and ``cytovae_umap_1``, ``cytovae_umap_2``. If the file has channels of these
    names already, all new ones end with ``_2`` and so on. The channels of ``file`` keep their order, names, labels and
    raw values (integers with a logarithmic $PnE become the linear values that they stand for, because float32 has no
    $PnE); $PnR is at least the largest value plus one. Keywords are kept. Names of clusters go into the keywords
    CYTOVAE_CLUSTER_1, …, the columns of a sample sheet into CYTOVAE_SAMPLE and so on.

    FlowIO writes whole files only, so all events are held in memory as float32, twice while the file is written
    (8 bytes per value).

    Parameters
    ----------
    target : Path
        The copy.
    file : EventFile
        The file to copy, not compensated.
    n_clusters : int
        Number of clusters.
    extras : Extras
        Optional channels and keywords.
    force : bool
        Whether an existing file is replaced.
    """

    def __init__(
        self, target: Path, file: EventFile, n_clusters: int, *, extras: Extras = NO_EXTRAS, force: bool = False
    ) -> None:
        self.target = target
        self.force = force
        self._file = file
        self._n_clusters = n_clusters
        self._extras = extras
        self._sample: tuple[str, ...] = ()
        self._added = np.zeros((file.n_events, len(channel_names(extras))), dtype=np.float32)
        self._n_written = 0

    def __enter__(self) -> "FcsWriter":
        check_target(self.target, force=self.force)
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on.

        Raises :class:`NumericalError` if probabilities do not sum to 1, or a cluster does not exist.
        """
        check_assignment(assignment, self._n_clusters, file)
        rows = slice(first_event, first_event + len(assignment))
        self._added[rows, 0] = assignment.cluster
        self._added[rows, 1] = probability_of(assignment)
        self._added[rows, 2:] = np.hstack(optional_values(assignment, self._extras))
        self._sample = self._extras.samples.of(file)
        self._n_written += len(assignment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        file = self._file
        if self._n_written != file.n_events:
            raise OutputError(
                f"{self.target} was not written: {self._n_written} of {file.n_events} cells were assigned"
            )
        n_channels, n_added = len(file.channels), self._added.shape[1]
        events = np.empty((file.n_events, n_channels + n_added), dtype=np.float32)
        for number, chunk in enumerate(file.chunks(None, _EVENTS_PER_CHUNK)):
            start = number * _EVENTS_PER_CHUNK
            events[start : start + len(chunk), :n_channels] = chunk
        events[:, n_channels:] = self._added
        ranges = (self._n_clusters + 1, *[2] * (n_added - 1))  # write_fcs extends them to the largest value
        ending = free_ending(channel_names(self._extras), [channel.name for channel in file.channels])
        added = [
            Channel(n_channels + index, f"{name}{ending}", "", above)
            for index, (name, above) in enumerate(zip(channel_names(self._extras), ranges, strict=True))
        ]
        keywords = {**file.keywords, **fcs_keywords(self._extras, self._sample)}
        # A link is kept; the file that it points to is replaced.
        write_fcs(self.target.resolve(), events, (*file.channels, *added), keywords, force=self.force)
