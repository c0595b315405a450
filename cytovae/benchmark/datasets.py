"""Data sets of the benchmark: their files, markers, transform and gates, and their cells.

Every method gets the same cells. Gates are used for scoring only; no setting of any method depends on them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.label_spec import split_spec
from cytovae.cells import UNGATED, CellTable, GateLabels
from cytovae.errors import InputError, PanelError, UsageError
from cytovae.plain_file import check_plain, folder_exists, is_plain, open_plain, resolved
from cytovae.study.sampling import choose_landmarks, draw_cells
from cytovae.toml_file import read_toml

PUBLIC = Path(__file__).with_name("public.toml")
"""The public data sets with gates that the documentation reports on; ``--datasets public`` selects them."""

BESIDE = "beside"
"""As ``gates``: the same as None, NAME.gates.csv beside each file."""

Kind = Literal["arcsinh", "none"]


@dataclass(frozen=True)
class DataSet:
    """Where the files of a data set are, and how their values become marker values.

    Parameters
    ----------
    name : str
        The name in tables of results.
    files : tuple of str
        FCS files or tables of cells. Their cells are pooled.
    gates : str, optional
        Manual gates: a channel, a column, a file or a folder. Default: NAME.gates.csv beside each file.
    population_names : str, optional
        Table of numbers and names, for gates that are a channel of numbers.
    markers, exclude, panel
        Which channels are markers, see :func:`cytovae.events.panel.resolve_panel`. Default: all that look like one.
    n_markers : int, optional
        The number of markers that the files must have.
    transform, cofactor
        arcsinh(x / cofactor), or "none" for values that are transformed already.
    rare : bool
        The data set has one gated population; nobody gated the other cells.
    group : str, optional
        Data sets with the same group share donors. What is chosen on other data sets is not chosen on these. Default:
        the name.
    reported_only : bool
        The data set has its own table, but does not count in means over data sets.
    types : str, optional
        A marker table, for methods that name populations by one.
    train_files : tuple of str
        Those of ``files`` whose gates teach, for methods that name the cells of the other files.
    """

    name: str
    files: tuple[str, ...]
    gates: str | None = None
    population_names: str | None = None
    markers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    panel: str | None = None
    n_markers: int | None = None
    transform: Kind = "arcsinh"
    cofactor: float = 5.0
    rare: bool = False
    group: str | None = None
    reported_only: bool = False
    types: str | None = None
    train_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.files:
            raise UsageError("a data set needs a name and at least one file")
        if not set(self.train_files) < set(self.files):
            raise UsageError(f"data set {self.name}: train_files must be some of its files, and not all of them")
        kind_of_transform(self.transform)
        if not self.cofactor > 0:
            raise UsageError(f"data set {self.name}: the cofactor must be positive, not {self.cofactor}")


@dataclass(frozen=True, eq=False)
class GatedCells:
    """Cells and their manual gates, row by row."""

    cells: CellTable
    gates: GateLabels

    def take(self, rows: NDArray[np.integer]) -> "GatedCells":
        """The cells at ``rows``, in that order."""
        return GatedCells(self.cells.take(rows), GateLabels(self.gates.population[rows], self.gates.names))


def kind_of_transform(name: str) -> Kind:
    """Check that ``name`` is a kind of transform. Raises :class:`UsageError` if it is not."""
    for kind in get_args(Kind):
        if name == kind:
            return cast(Kind, kind)
    raise UsageError(f"a transform is one of {', '.join(get_args(Kind))}, not {name}")


def read_table(path: Path, folder: Path, only: Sequence[str] = ()) -> tuple[DataSet, ...]:
    """Read the data sets that a TOML file describes in ``[[dataset]]`` entries.

    Parameters
    ----------
    path : Path
        The TOML file. The fields of an entry are those of :class:`DataSet`.
    folder : Path
        The folder that ``files``, ``gates``, ``panel`` and ``population_names`` are relative to. ``files`` may contain
        wildcards.
    only : sequence of str
        The names of the data sets to read; all if empty.

    Raises
    ------
    InputError
        For a field that is missing, unknown or of the wrong type, and for files that do not exist.
    """
    entries = read_toml(path, "table of data sets").get("dataset", [])
    if not isinstance(entries, list) or not entries:
        raise InputError(path, "table of data sets", "no [[dataset]] entry", "at least one")
    wanted = [entry for entry in entries if not only or (isinstance(entry, dict) and entry.get("name") in only)]
    datasets = tuple(_entry(path, folder, entry) for entry in wanted)
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise InputError(path, "name", "the same name twice", "one name for each data set")
    return datasets


def named_datasets(table: str, folder: Path, only: Sequence[str] = ()) -> tuple[DataSet, ...]:
    """The data sets of the table at the path ``table``, or of :data:`PUBLIC` for ``table`` = "public".

    As :func:`read_table`. Raises :class:`UsageError` if a name in ``only`` is not in the table.
    """
    datasets = read_table(PUBLIC if table == "public" else Path(table), folder, only)
    missing = set(only) - {dataset.name for dataset in datasets}
    if missing:
        raise UsageError(f"{table} has no data set called {', '.join(sorted(missing))}")
    return datasets


def dataset_of_files(
    files: Sequence[Path],
    *,
    name: str | None = None,
    gates: str | None = None,
    markers: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    panel: Path | None = None,
    transform: str = "arcsinh",
    cofactor: float = 5.0,
    rare: bool = False,
    types: Path | None = None,
    train_files: Sequence[Path] = (),
) -> DataSet:
    """One data set of ``files``, with absolute paths; see :class:`DataSet`. Its name defaults to the first file's."""
    if panel is not None:
        check_plain(panel, "panel table")
    if types is not None:
        check_plain(types, "marker table")
    return DataSet(
        name=name or files[0].stem,
        files=tuple(str(resolved(file)) for file in files),
        gates=_gates(gates, Path()),
        markers=markers,
        exclude=exclude,
        panel=str(resolved(panel)) if panel else None,
        transform=kind_of_transform(transform),
        cofactor=cofactor,
        rare=rare,
        types=str(resolved(types)) if types else None,
        train_files=tuple(str(resolved(file)) for file in train_files),
    )


def _gates(spec: str | None, folder: Path) -> str | None:
    """``spec`` as :class:`DataSet` stores it: a path in ``folder`` becomes absolute, because jobs run elsewhere."""
    if spec is None or spec == BESIDE:
        return None
    path = folder / spec
    return str(resolved(path)) if is_plain(path) or folder_exists(path) else spec


_FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": str, "files": list, "gates": str, "population_names": str, "markers": list, "exclude": list, "panel": str,
    "n_markers": int, "transform": str, "cofactor": (int, float), "rare": bool,
    "group": str, "reported_only": bool, "types": str, "train_files": list,
}  # fmt: skip


def _entry(path: Path, folder: Path, entry: Any) -> DataSet:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(path, "[[dataset]]", "an entry without a name", 'name = "..."')
    name = entry["name"]
    for key, value in entry.items():
        if key not in _FIELD_TYPES:
            raise InputError(path, f"{name}.{key}", "an unknown field", f"one of {', '.join(_FIELD_TYPES)}")
        items = value if isinstance(value, list) else []
        if not isinstance(value, _FIELD_TYPES[key]) or not all(isinstance(item, str) for item in items):
            raise InputError(path, f"{name}.{key}", repr(value), "a value of another type")
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    for key in ("files", "train_files"):
        fields[key] = _matching(folder, fields.get(key, ()), f"{key} of data set {name}")
    for key in ("population_names", "panel", "types"):
        if key in fields:
            fields[key] = str(resolved(folder / fields[key]))
    fields["gates"] = _gates(fields.get("gates"), folder)
    return DataSet(**fields)


def _matching(folder: Path, patterns: Sequence[str], what: str) -> tuple[str, ...]:
    """The files in ``folder`` that match the patterns. Raises :class:`InputError` if a pattern matches none."""
    files: list[str] = []
    for pattern in patterns:
        matches = sorted(folder.glob(pattern), key=_natural)
        if not matches:
            raise InputError(folder / pattern, what, "none", "at least one FCS file")
        files.extend(str(resolved(match)) for match in matches)
    return tuple(files)


def _natural(path: Path) -> tuple[int, str]:
    """Sort key: numbered files in the order of their numbers (2 before 10), then all others by name."""
    return (int(path.stem), "") if path.stem.isdigit() else (1 << 62, path.name)


def fingerprint(dataset: DataSet, labels: str = "", *, knowledge: str | None = None) -> str:
    """SHA-256 of the content of a data set (files, gates, and how values are read), whatever the paths are.

    ``labels``, a file of labels of another tool as ``FILE`` or ``FILE:COLUMN``, is included if it is given, and the
    field ``knowledge``, "types" or "train_files", if a method uses it.
    """
    digest = hashlib.sha256()
    reading = (dataset.markers, dataset.exclude, dataset.n_markers, dataset.transform, dataset.cofactor, dataset.rare)
    digest.update(repr(reading).encode())
    for file in dataset.files:
        _feed(digest, Path(file))
        gates_beside = Path(file).with_suffix(".gates.csv")
        if dataset.gates is None and gates_beside.is_file():
            _feed(digest, gates_beside)
    for source in (dataset.gates, dataset.population_names, dataset.panel):
        if source is None:
            continue
        if is_plain(Path(source)):
            _feed(digest, Path(source))
        elif folder_exists(Path(source)):
            for member in sorted(Path(source).iterdir()):
                if member.is_file():
                    _feed(digest, member)
        else:  # the name of a channel
            digest.update(source.encode())
    if labels:
        path, column = split_spec(labels)
        digest.update(repr(column).encode())
        _feed(digest, path)
    if knowledge == "types" and dataset.types is not None:
        _feed(digest, Path(dataset.types))
    elif knowledge == "train_files":
        digest.update(repr([dataset.files.index(file) for file in dataset.train_files]).encode())
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", path: Path) -> None:
    try:
        with open_plain(path) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "a readable file") from error


def load(dataset: DataSet) -> GatedCells:
    """Read all cells of a data set, transformed, with their gates.

    The markers are those of the first file; every file must have them. Raises the errors of the readers of files,
    panels and gates, and :class:`PanelError` if the number of markers is not ``n_markers``.
    """
    from cytovae.annotations.gates import read_gates_of_files
    from cytovae.events.event_file import open_events
    from cytovae.events.marker_file import files_of_study
    from cytovae.events.panel import resolve_panel
    from cytovae.events.transform import Transform

    files = [open_events(Path(path)) for path in dataset.files]
    panel = resolve_panel(
        files[0],
        markers=dataset.markers,
        exclude=dataset.exclude,
        panel_csv=Path(dataset.panel) if dataset.panel else None,
        cofactor=dataset.cofactor,
    )
    if dataset.n_markers is not None and len(panel) != dataset.n_markers:
        markers = f"{len(panel)}: {', '.join(panel.names)}"
        raise PanelError(
            files[0].path, f"markers of {dataset.name}", markers, str(dataset.n_markers), "Is this the published file?"
        )
    transform = Transform(dataset.transform, panel.cofactors)
    cells = draw_cells(files_of_study(files, panel, transform), at_most=None)
    names = Path(dataset.population_names) if dataset.population_names else None
    return GatedCells(cells, read_gates_of_files(files, dataset.gates, names=names, zero_is_ungated=dataset.rare))


def subsample(gated: GatedCells, max_events: int | None) -> GatedCells:
    """At most ``max_events`` random cells in their order (None = all): the same for every method and every seed."""
    if max_events is None or len(gated.cells) <= max_events:
        return gated
    return gated.take(choose_landmarks(len(gated.cells), max_events, seed=0))


def drop_small_populations(gates: GateLabels, smallest: int) -> GateLabels:
    """Make populations of fewer than ``smallest`` cells ungated: their cells are clustered but not scored."""
    sizes = np.bincount(gates.population[gates.population != UNGATED], minlength=len(gates.names))
    small = np.append(sizes < smallest, False)  # the last entry is for ungated cells, −1
    return GateLabels(np.where(small[gates.population], UNGATED, gates.population).astype(np.int32), gates.names)


def only(gates: GateLabels, rows: NDArray[np.bool_]) -> GateLabels:
    """Make all cells but those of the mask ``rows`` (n_cells,) ungated, so that only these are scored."""
    return GateLabels(np.where(rows, gates.population, UNGATED).astype(np.int32), gates.names)


def held_out(n_cells: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Draw a ``share`` of the cells that no method may learn from, as a mask (n_cells,); another with each seed."""
    if not 0 < share < 1:
        raise UsageError(f"the held-out share must lie between 0 and 1, not {share}")
    held = np.zeros(n_cells, dtype=np.bool_)
    held[np.random.default_rng([seed, 20]).permutation(n_cells)[: round(share * n_cells)]] = True
    return held


def rest_as_population(gates: GateLabels, name: str) -> GateLabels:
    """Make the ungated cells of a data set with one rare population a population of their own, "rest".

    Otherwise a single cluster of all cells would have perfect precision. Raises :class:`UsageError` unless exactly
    one population is gated.
    """
    present: Sequence[int] = np.unique(gates.population[gates.population != UNGATED]).tolist()
    if len(present) != 1:
        raise UsageError(f"data set {name} is marked rare, but has {len(present)} gated populations, not one")
    return GateLabels((gates.population != present[0]).astype(np.int32), (gates.names[present[0]], "rest"))
