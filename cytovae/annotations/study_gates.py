"""Gates of the files of a study that are named one by one: which input each of them belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.annotations.file_column import match_files, without_suffix
from cytovae.annotations.gate_tables import files_in_gate_table
from cytovae.annotations.gated_files import BESIDE, GATE
from cytovae.annotations.gates import gates_from_labels, labels_of_events, read_gates_of_files, table_beside
from cytovae.annotations.label_spec import split_spec
from cytovae.cells import GateLabels
from cytovae.errors import GateError, UsageError
from cytovae.events.anndata_file import SUFFIX as ANNDATA_SUFFIX
from cytovae.events.event_file import FCS_SUFFIXES, EventFile, open_events
from cytovae.plain_file import folder_exists, is_plain, resolved


@dataclass(frozen=True)
class _Source:
    """Gates as the user named them: their path, and the channel or column of ``obs`` if one is named."""

    spec: str
    path: Path
    column: str | None

    @property
    def is_events(self) -> bool:
        """Whether it is a file of events, with gates in it or beside it."""
        return self.column is not None or self.path.suffix.casefold() in (*FCS_SUFFIXES, ANNDATA_SUFFIX)


def read_study_gates(specs: Sequence[str], files: Sequence[EventFile], *, zero_is_ungated: bool = False) -> GateLabels:
    """Read the gates of the files of a study.

    Parameters
    ----------
    specs
        One for all files: "beside", or what :func:`cytovae.annotations.gates.read_gates_of_files` takes. Or several, or
        one file of events: tables, folders of populations, FCS files with gates beside them, ``FILE.fcs:CHANNEL`` and
        ``FILE.h5ad:COLUMN``. Each belongs to the input of the same name, in whatever folder; a table of another name to
        the inputs in its column ``file``. If none of these tells, they are in the order of the files.
    files
        The files of the study.
    zero_is_ungated
        The label 0 means in no gate.

    Returns
    -------
    GateLabels
        With one label for each event of each file.

    Raises
    ------
    GateError
        If gates cannot be read, do not fit the events, belong to no file, or a file has none or two.
    UsageError
        If "beside" is named with others.

    Examples
    --------
    >>> read_study_gates(["gates/a.gates.csv", "gates/b.gates.csv"], files).names  # doctest: +SKIP
    ('B', 'NK', 'T')
    """
    sources = [_Source(spec, *split_spec(spec)) for spec in specs]
    if len(sources) == 1 and not (sources[0].is_events and is_plain(sources[0].path)):
        spec = None if specs[0] == BESIDE else specs[0]
        return read_gates_of_files(files, spec, zero_is_ungated=zero_is_ungated)
    for source in sources:
        if source.spec == BESIDE:
            raise UsageError("--gates beside means the gates of all files; name it alone")
        if not folder_exists(source.path) and not is_plain(source.path):
            expected = "a table, a folder, or an FCS file" if len(sources) > 1 else "a file"
            raise GateError(source.spec, "gates", "no such file or folder", expected)
    labels: list[list[str]] = [[] for _ in files]
    for source, indices in zip(sources, _files_of(sources, files), strict=True):
        read = _labels_of(source, [files[index] for index in indices], zero_is_ungated)
        start = 0
        for index in indices:
            labels[index] = read[start : start + files[index].n_events]
            start += files[index].n_events
    return gates_from_labels(label for of_file in labels for label in of_file)


def _labels_of(source: _Source, files: Sequence[EventFile], zero_is_ungated: bool) -> list[str]:
    """The labels of all events of ``files``, from the gates that belong to them."""
    if not source.is_events:
        return labels_of_events(str(source.path), files, zero_is_ungated)
    column = source.column or (GATE if source.path.suffix.casefold() == ANNDATA_SUFFIX else None)
    if column is None:
        return labels_of_events(table_beside(source.path), files, zero_is_ungated)
    if all(resolved(file.path) == resolved(source.path) for file in files):
        return labels_of_events(column, files, zero_is_ungated)
    labels = labels_of_events(column, (open_events(source.path),), zero_is_ungated)
    n_events = sum(file.n_events for file in files)
    if len(labels) != n_events:
        raise GateError(source.path, "events", f"{len(labels)}", f"{n_events}, as in {files[0].path}")
    return labels


def _files_of(sources: Sequence[_Source], files: Sequence[EventFile]) -> list[tuple[int, ...]]:
    """The indices of the files that each source belongs to. Every file has exactly one source."""
    paths = [str(file.path / file.part if file.part else file.path) for file in files]
    stems = {without_suffix(path) for path in paths}
    found: list[tuple[int, ...]] = [_parts_in(source, files) for source in sources]
    by_name = [
        number
        for number, source in enumerate(sources)
        if not found[number] and without_suffix(source.path.name) in stems
    ]
    matched = match_files(paths, [str(sources[number].path) for number in by_name], "--gates")
    for number, index in zip(by_name, matched, strict=True):
        found[number] = (index,)
    for number, source in enumerate(sources):
        if not found[number] and not source.is_events and is_plain(source.path):
            found[number] = files_in_gate_table(source.path, files)
    if not any(found) and len(sources) == len(files):
        return [(index,) for index in range(len(files))]
    _check_one_each(sources, found, paths)
    return found


def _parts_in(source: _Source, files: Sequence[EventFile]) -> tuple[int, ...]:
    """The inputs that are parts of the file that ``source`` names; () if that is no file with parts."""
    same = [index for index, file in enumerate(files) if file.part and resolved(file.path) == resolved(source.path)]
    return tuple(same)


def _check_one_each(sources: Sequence[_Source], found: Sequence[tuple[int, ...]], paths: Sequence[str]) -> None:
    """Raise an error unless every source belongs to a file, and every file has one source."""
    of_file: dict[int, str] = {}
    shown = ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
    for source, indices in zip(sources, found, strict=True):
        if not indices:
            hint = f"The files are {shown}."
            expected = "the name of one of the files, or a column file that names some of them"
            raise GateError(source.spec, "gates", "gates of another file", expected, hint)
        for index in indices:
            if index in of_file:
                both = f"{of_file[index]} and {source.spec}"
                raise GateError(both, "gates", f"two for {paths[index]}", "one for each file")
            of_file[index] = source.spec
    missing = [path for index, path in enumerate(paths) if index not in of_file]
    if missing:
        named = ", ".join(source.spec for source in sources[:3]) + (", …" if len(sources) > 3 else "")
        raise GateError(named, "gates", f"none for {', '.join(missing[:3])}", "gates of every file")
