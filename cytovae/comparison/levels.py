"""Differences in the levels of state markers: medians of samples and populations, from the files of events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.file_column import without_suffix
from cytovae.comparison.abundance import FEWEST_CELLS, Difference
from cytovae.comparison.assigned_cells import AssignedCells
from cytovae.comparison.design import FEWEST_SAMPLES, Design
from cytovae.comparison.samples import Samples
from cytovae.comparison.statistics import Effect, false_discovery_rates, level_effects
from cytovae.errors import InputError
from cytovae.events.antigen_names import antigen_key
from cytovae.events.channel_use import channel_uses
from cytovae.events.event_file import EventFile, open_events
from cytovae.events.panel import Panel, columns_of
from cytovae.events.transform import Transform, check_finite

if TYPE_CHECKING:
    from cytovae.inference.trained_model import SavedModel

_EVENTS_PER_CHUNK = 262_144


@dataclass(frozen=True, eq=False)
class Levels:
    """Medians of state markers.

    Attributes
    ----------
    markers : tuple of str
        The markers that all files share and the model does not use.
    left_out : tuple of str
        Markers that only some files have.
    medians : ndarray of float64, shape (n_samples, n_populations, n_markers)
        Medians on the scale of the model; NaN without cells.
    """

    markers: tuple[str, ...]
    left_out: tuple[str, ...]
    medians: NDArray[np.float64]


def read_levels(
    folder: Path,
    saved: "SavedModel",
    assigned: AssignedCells,
    samples: Samples,
    progress: Callable[[int], None] = lambda _done: None,
) -> Levels:
    """Read the files of ``assigned`` from ``folder`` and take medians.

    State markers are all marker channels that are not in the panel of the model. They are compensated and transformed
    like the panel; with arcsinh, the cofactor is the median of the panel's.

    Parameters
    ----------
    folder : Path
        The folder with the files of events.
    saved : SavedModel
        The model that assigned the cells.
    assigned : AssignedCells
        The cells, with the population of each event.
    samples : Samples
        The sample of each file.
    progress : callable
        Receives the number of files that are done.

    Raises
    ------
    InputError
        If a file is missing, has fewer events than its table, or no marker besides those of the model.
    """
    files = [saved.compensation.of(open_events(_path_of(folder, name))) for name in assigned.files]
    markers, left_out, columns = _state_channels(files, saved.panel)
    cofactor = np.float32(np.median(saved.panel.cofactors))
    transform = Transform(
        saved.transform.kind, np.full(len(markers), cofactor, dtype=np.float32), saved.transform.logicle
    )
    n_populations = len(assigned.populations)
    medians = np.full((len(samples.names), n_populations, len(markers)), np.nan)
    done = 0
    for sample in range(len(samples.names)):
        values, codes = [], []
        for index in np.flatnonzero(samples.of_file == sample).tolist():
            values.append(_values(files[index], columns[index], transform, markers))
            codes.append(_codes_of(assigned, index, files[index].n_events))
            progress(done := done + 1)
        medians[sample] = _medians(np.concatenate(values), np.concatenate(codes), n_populations)
    return Levels(markers, left_out, medians)


def compare_levels(
    levels: Levels, cells: NDArray[np.int64], design: Design, *, describe: bool = False
) -> tuple[Difference, ...]:
    """Compare the medians of every marker in every population between conditions.

    A sample counts for a population if it has at least ten of its cells. Each group needs three such samples.

    Parameters
    ----------
    levels : Levels
        The medians.
    cells : ndarray of int, shape (n_samples, n_populations)
        Number of cells.
    design : Design
        The samples.
    describe : bool
        Estimate effects without tests.

    Returns
    -------
    tuple of Difference
        Population by population and marker by marker, each with all compared levels.
    """
    rows: list[tuple[int, int, str, Effect]] = []
    for population in range(cells.shape[1]):
        usable, notes = _usable_samples(design, cells[:, population], describe=describe)
        for marker in range(len(levels.markers)):
            effects = {level: Effect(note=note) for level, note in notes.items()}
            if len(effects) < len(design.compared):
                values, part = levels.medians[usable, population, marker], design.subset(usable)
                effects |= zip(part.compared, level_effects(values, part, describe=describe), strict=True)
            rows += [(population, marker, level, effects[level]) for level in design.compared]
    rates = false_discovery_rates([effect.p for *_, effect in rows])
    return tuple(
        Difference(population, level, effect, float(rate), marker)
        for (population, marker, level, effect), rate in zip(rows, rates, strict=True)
    )


def _usable_samples(
    design: Design, cells: NDArray[np.int64], *, describe: bool
) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """The samples (n_samples,) whose medians are compared, and why a level is not compared.

    ``cells`` (n_samples,) are the cells of the population.
    """
    usable = cells >= FEWEST_CELLS
    fewest = 1 if describe else FEWEST_SAMPLES
    small = [level for level, size in design.group_sizes(usable).items() if size < fewest]
    if design.reference in small:
        small = list(design.condition.levels)
    note = f"not tested: a group with fewer than {fewest} samples of at least {FEWEST_CELLS} cells"
    notes = {level: note for level in design.compared if level in small}
    for level in small:
        usable = usable & ~design.condition.rows(level)
    if len(notes) < len(design.compared) and not design.subset(usable).is_estimable(describe=describe):
        note = f"not tested: too few samples of at least {FEWEST_CELLS} cells for all blocks and batches"
        notes = dict.fromkeys(design.compared, note)
    return usable, notes


# --- files ----------------------------------------------------------------------------------------------------------


def _path_of(folder: Path, name: str) -> Path:
    """The file that tables call ``name``: by its path below ``folder``, its name, or its name with another suffix."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    for candidate in (folder / name, folder / last):
        if candidate.is_file():
            return candidate
    similar = [path for path in sorted(folder.glob("*")) if without_suffix(path.name) == without_suffix(last)]
    files = [path for path in similar if path.suffix.casefold() in (".fcs", ".lmd")]
    if len(files) == 1:
        return files[0]
    raise InputError(folder, "files", f"no file {last}", "the file of events of each assigned file")


def _state_channels(
    files: Sequence[EventFile], panel: Panel
) -> tuple[tuple[str, ...], tuple[str, ...], list[list[int]]]:
    """Markers that all files have and the panel lacks, markers that some files lack, and the columns in each file."""
    found: list[dict[str, tuple[str, int]]] = []
    for file in files:
        used = set(columns_of(panel, file).tolist())
        uses = channel_uses(file.channels, state_markers=True)
        found.append(
            {
                antigen_key(use.marker): (use.marker, use.channel.index)
                for use in uses
                if use.used and use.channel.index not in used
            }
        )
    shared = [key for key in found[0] if all(key in others for others in found)]
    if not shared:
        expected = "at least one marker channel that the model does not use, in all files"
        hint = "Without --files and --model, abundance alone is compared."
        raise InputError(files[0].path, "channels", "no state marker", expected, hint)
    everything = {key: marker for markers in reversed(found) for key, (marker, _) in markers.items()}
    left_out = tuple(marker for key, marker in everything.items() if key not in shared)
    columns = [[markers[key][1] for key in shared] for markers in found]
    return tuple(found[0][key][0] for key in shared), left_out, columns


def _values(
    file: EventFile, columns: Sequence[int], transform: Transform, markers: Sequence[str]
) -> NDArray[np.float32]:
    """The transformed values (n_events, n_markers) of a file."""
    parts = [np.empty((0, len(columns)), dtype=np.float32)]
    for raw in file.chunks(columns, _EVENTS_PER_CHUNK):
        check_finite(raw, markers, file.path)
        parts.append(transform.apply(raw))
    return np.concatenate(parts)


def _codes_of(assigned: AssignedCells, index: int, n_events: int) -> NDArray[np.int32]:
    """The population of each of the ``n_events`` events of a file."""
    codes = assigned.codes[index]
    if len(codes) > n_events or (len(codes) < n_events and not assigned.has_events[index]):
        found = f"{len(codes)} events of {assigned.files[index]}"
        raise InputError(assigned.sources[index], "rows", found, f"{n_events}, as in the file of events")
    return np.concatenate([codes, np.full(n_events - len(codes), -1, dtype=np.int32)])


def _medians(values: NDArray[np.float32], codes: NDArray[np.int32], n_populations: int) -> NDArray[np.float64]:
    """The medians (n_populations, n_markers) of the cells of each population."""
    medians = np.full((n_populations, values.shape[1]), np.nan)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(n_populations + 1))
    for population, (start, stop) in enumerate(pairwise(ends.tolist())):
        if stop > start:
            medians[population] = np.median(values[order[start:stop]], axis=0)
    return medians
