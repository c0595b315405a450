"""A copy of an FCS file with the cluster of each event as channels, for programs that read FCS only."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.atomic import check_target, file_name_of
from cytovae.cells import Assignment, check_assignment
from cytovae.errors import OutputError
from cytovae.events.event_file import EventFile
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile
from cytovae.fcs.write import write_fcs_chunks
from cytovae.fcs.write_text import kept_keywords
from cytovae.outputs.columns import (
    NO_EXTRAS,
    PROBABILITY_OF,
    SPLIT,
    UMAP_CHANNELS,
    UMAP_SHIFT,
    Extras,
    channel_label,
    channel_names,
    channel_values,
    fcs_keywords,
)
from cytovae.outputs.free_names import free_ending, free_name
from cytovae.plain_file import resolved

_EVENTS_PER_CHUNK = 65_536
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class FcsWriter:
    """A copy of an FCS file with the channels ``cytovae_cluster`` and ``cytovae_probability``; a context manager.

    ``extras`` may add ``cytovae_population`` and its probability, ``cytovae_novelty``, the UMAP coordinates, and the
    clusters of further cuts, such as ``cytovae_cluster_8``; CYTOVAE_PROBABILITY_OF is then the channel of the cut that
    probabilities and names belong to. If the file has channels of these names already, all new ones end with ``_2`` and
    so on.

    The channels of ``file`` keep their order, names, labels and raw values. Integers with a logarithmic $PnE become the
    linear values that they stand for, because floats have no $PnE. All values are float64 if float32 cannot hold one of
    them exactly. $PnR is at least the largest value plus one.

    Keywords are kept. The names of clusters go into CYTOVAE_CLUSTER_1, … and CYTOVAE_POPULATION_1, …, the columns of a
    sample sheet into CYTOVAE_SAMPLE and so on. UMAP coordinates are shifted so that none is negative, because FCS
    programs show values from zero; CYTOVAE_UMAP_SHIFT is what was added. $ORIGINALITY, $LAST_MODIFIED and
    $LAST_MODIFIER describe the copy, see :func:`_history`.

    With ``split``, ``target`` is a folder with a file for each name in it that has cells, which holds the cells of the
    clusters of that name; `--gates` reads such a folder. CYTOVAE_SPLIT is the name.

    The new channels are held in memory, 4 bytes per value. The others are read again from ``file``, chunk by chunk.

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
    split : sequence of str, optional
        The name of each cluster.
    force : bool
        Whether an existing file is replaced.
    """

    def __init__(
        self,
        target: Path,
        file: EventFile,
        n_clusters: int,
        *,
        extras: Extras = NO_EXTRAS,
        split: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        self.target = target
        self.force = force
        self._file = file
        self._n_clusters = n_clusters
        self._extras = extras
        self._split = tuple(split)
        self._sample: tuple[str, ...] = ()
        self._added = np.zeros((file.n_events, len(channel_names(extras))), dtype=np.float32)
        self._n_written = 0

    def __enter__(self) -> "FcsWriter":
        if self._split:
            check_split(self.target, self._split, force=self.force)
        else:
            check_target(self.target, force=self.force)
        return self

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on.

        Raises :class:`NumericalError` if probabilities do not sum to 1, or a cluster does not exist.
        """
        check_assignment(assignment, self._n_clusters, file)
        rows = slice(first_event, first_event + len(assignment))
        self._added[rows] = channel_values(assignment, self._extras)
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
        existing, names = file.channels, channel_names(self._extras)
        ending = free_ending(names, [channel.name for channel in existing])
        shift = self._shift_umap()
        keywords = {
            **kept_keywords(file.keywords, len(existing)),
            **_history(file),
            **fcs_keywords(self._extras, self._sample),
            **({f"{PROBABILITY_OF}{ending}": f"{names[0]}{ending}"} if self._extras.further else {}),
            **({f"{UMAP_SHIFT}{ending}": ",".join(f"{value:.9g}" for value in shift)} if self._extras.umap else {}),
        }
        channels = (*existing, *self._new_channels([f"{name}{ending}" for name in names]))
        if not self._split:
            # A link is kept; the file that it points to is replaced.
            write_fcs_chunks(resolved(self.target), self._chunks, channels, keywords, force=self.force)
            return
        self.target.mkdir(parents=True, exist_ok=True)
        cluster = self._added[:, 0].astype(np.int64)
        for name, stem in split_stems(self._split).items():
            number = np.flatnonzero([other == name for other in self._split]) + 1
            rows = np.isin(cluster, number)
            if rows.any():
                of_part = {**keywords, "$ORIGINALITY": "DataModified", SPLIT: name}
                chunks = partial(self._chunks, rows)
                write_fcs_chunks(self.target / f"{stem}.fcs", chunks, channels, of_part, force=self.force)

    def _new_channels(self, names: Sequence[str]) -> list[Channel]:
        first = len(self._file.channels)
        above_cuts = [number + 1 for number in (self._n_clusters, *self._extras.further)]
        ranges = (*above_cuts, *[2] * (len(names) - len(above_cuts)))  # extended to the largest value
        return [
            Channel(first + index, name, channel_label(name), above)
            for index, (name, above) in enumerate(zip(names, ranges, strict=True))
        ]

    def _shift_umap(self) -> tuple[float, ...]:
        """Shift UMAP coordinates; the shift is that of the study, or more if a cell needs more."""
        columns = [index for index, name in enumerate(channel_names(self._extras)) if name in UMAP_CHANNELS]
        shifts = []
        for column, of_study in zip(columns, self._extras.umap_shift, strict=False):
            values = self._added[:, column]
            shifts.append(max(of_study, float(np.ceil(-values.min(initial=0)))))
            values += np.float32(shifts[-1])
        return tuple(shifts)

    def _chunks(self, kept: NDArray[np.bool_] | None = None) -> Iterator[NDArray[Any]]:
        """All events with the new channels, or those where ``kept`` (n_events,) is true."""
        start = 0
        for chunk in self._file.chunks(None, _EVENTS_PER_CHUNK):
            rows = slice(start, start + len(chunk))
            both = np.hstack([chunk, self._added[rows]])
            yield both if kept is None else both[kept[rows]]
            start += len(chunk)


def split_stems(names: Sequence[str]) -> dict[str, str]:
    """The name of the file of each different name, without its suffix."""
    stems: dict[str, str] = {}
    for name in dict.fromkeys(names):
        stems[name] = free_name(file_name_of(name), list(stems.values()))
    return stems


def check_split(folder: Path, names: Sequence[str], *, force: bool = False) -> None:
    """Check that a file for each of ``names`` can be written to ``folder``.

    The folder must be new or empty; with ``force`` it may hold files that will be replaced, but no others.

    Raises :class:`OutputError`.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder, so the files of its populations cannot be written there")
    entries = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    known = {f"{stem}.fcs" for stem in split_stems(names).values()}
    if entries and not (force and known.issuperset(entries)):
        other = next((name for name in entries if name not in known), entries[0])
        advice = "choose another output" if force else "use --force to replace its files, or another output"
        raise OutputError(f"{folder} holds files already, such as {other}; {advice}")


def _history(file: EventFile) -> dict[str, str]:
    """$ORIGINALITY, $LAST_MODIFIED and $LAST_MODIFIER of a copy of ``file`` (FCS 3.1).

    The copy is "Appended", because channels were added and all others have their values; "DataModified" if the file
    says so itself or if logarithmic integers became linear. So that the same input gives the same bytes, the time is
    not that of the run: it is SOURCE_DATE_EPOCH if that is set, otherwise when ``file`` was last modified, in UTC.
    """
    modified = file.keywords.get("$ORIGINALITY", "").strip().casefold() == "datamodified"
    modified |= isinstance(file, FcsFile) and file.is_logarithmic
    history = {
        "$ORIGINALITY": "DataModified" if modified else "Appended",
        "$LAST_MODIFIER": f"cytovae {__version__}",
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isdecimal() else int(file.path.stat().st_mtime)
    moment = datetime.fromtimestamp(seconds, UTC)
    month = _MONTHS[moment.month - 1]  # strftime depends on the locale
    return history | {"$LAST_MODIFIED": f"{moment.day:02}-{month}-{moment.year} {moment:%H:%M:%S}"}
