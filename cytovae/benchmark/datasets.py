"""Data sets of the benchmark: which files, markers, transform and gates; and their cells, read the same way for every
method.

Gates are read to score with. Nothing here, and no method, chooses a setting by them.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import UNGATED, CellTable, GateLabels
from cytovae.errors import InputError, PanelError, UsageError

PUBLIC = Path(__file__).with_name("public.toml")
"""The gated public data sets that figures in the documentation come from, as ``--datasets public``."""


Kind = Literal["arcsinh", "none"]


@dataclass(frozen=True)
class DataSet:
    """Where a data set is and how its values become marker values.

    ``files`` are paths of FCS files, or of tables of cells, whose cells are pooled. ``gates`` says where the manual
    gates are (a channel, a column, a file, a folder), None where they lie beside each file. ``population_names`` is
    a table of numbers and names for gates that are a channel of numbers. ``markers``, ``exclude`` and ``panel`` are
    as the panel reads them: without any, the channels that look like markers. ``n_markers`` is how many there must
    be (None = any). ``rare`` marks a set with one gated population among cells that nobody gated.
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

    def __post_init__(self) -> None:
        if not self.name or not self.files:
            raise UsageError("a data set needs a name and at least one file")
        kind_of_transform(self.transform)
        if not self.cofactor > 0:
            raise UsageError(f"data set {self.name}: the cofactor must be positive, not {self.cofactor}")


@dataclass(frozen=True, eq=False)
class GatedCells:
    """Cells and their manual gates, row-aligned."""

    cells: CellTable
    gates: GateLabels

    def take(self, rows: NDArray[np.integer]) -> "GatedCells":
        """The cells at ``rows``, in that order."""
        return GatedCells(self.cells.take(rows), GateLabels(self.gates.population[rows], self.gates.names))


def kind_of_transform(name: str) -> Kind:
    """``name`` as the kind of a transform. Raises :class:`UsageError` if it is none."""
    for kind in get_args(Kind):
        if name == kind:
            return cast(Kind, kind)
    raise UsageError(f"a transform is one of {', '.join(get_args(Kind))}, not {name}")


def read_table(path: Path, folder: Path, only: Sequence[str] = ()) -> tuple[DataSet, ...]:
    """Data sets described by a TOML file of ``[[dataset]]`` entries, their files found below ``folder``.

    The fields are those of :class:`DataSet`; ``files`` are relative to ``folder`` and may hold wildcards, and so are
    ``gates`` where they are a file or folder there. ``only`` names the entries wanted; without it, all. Raises
    :class:`InputError` for a field that is missing, unknown or of the wrong kind, and for files that are not there.
    """
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("dataset", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(path, "table of data sets", str(error), "a readable TOML file") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(path, "table of data sets", "no [[dataset]] entry", "at least one")
    wanted = [entry for entry in entries if not only or (isinstance(entry, dict) and entry.get("name") in only)]
    found = tuple(_entry(path, folder, entry) for entry in wanted)
    names = [dataset.name for dataset in found]
    if len(set(names)) < len(names):
        raise InputError(path, "name", "the same name twice", "one name for each data set")
    return found


_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "files": list, "gates": str, "population_names": str, "markers": list, "exclude": list, "panel": str,
    "n_markers": int, "transform": str, "cofactor": (int, float), "rare": bool,
}  # fmt: skip


def _entry(path: Path, folder: Path, entry: Any) -> DataSet:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(path, "[[dataset]]", "an entry without a name", 'name = "..."')
    name = entry["name"]
    for key, value in entry.items():
        if key not in _KINDS:
            raise InputError(path, f"{name}.{key}", "an unknown field", f"one of {', '.join(_KINDS)}")
        listed = value if isinstance(value, list) else []
        if not isinstance(value, _KINDS[key]) or not all(isinstance(item, str) for item in listed):
            raise InputError(path, f"{name}.{key}", repr(value), "a value of another kind")
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
    files: list[str] = []
    for pattern in fields.get("files", ()):
        matches = sorted(folder.glob(pattern), key=_natural)
        if not matches:
            raise InputError(folder / pattern, f"files of data set {name}", "none", "at least one FCS file")
        files.extend(str(match.resolve()) for match in matches)
    fields["files"] = tuple(files)
    for key in ("population_names", "panel"):
        if key in fields:
            fields[key] = str((folder / fields[key]).resolve())
    if "gates" in fields and (folder / fields["gates"]).exists():
        fields["gates"] = str((folder / fields["gates"]).resolve())
    return DataSet(**fields)


def _natural(path: Path) -> tuple[int, str]:
    """1, 2, … 10 before names, so that numbered files keep their order."""
    return (int(path.stem), "") if path.stem.isdigit() else (1 << 62, path.name)


def fingerprint(dataset: DataSet) -> str:
    """SHA-256 of what the data set holds: its files, their gates, and how values are read; not of where it lies."""
    digest = hashlib.sha256()
    reading = (dataset.markers, dataset.exclude, dataset.n_markers, dataset.transform, dataset.cofactor, dataset.rare)
    digest.update(repr(reading).encode())
    for file in dataset.files:
        _feed(digest, Path(file))
        beside = Path(file).with_suffix(".gates.csv")
        if dataset.gates is None and beside.is_file():
            _feed(digest, beside)
    for place in (dataset.gates, dataset.population_names, dataset.panel):
        if place is None:
            continue
        if Path(place).is_file():
            _feed(digest, Path(place))
        elif Path(place).is_dir():
            for member in sorted(Path(place).iterdir()):
                if member.is_file():
                    _feed(digest, member)
        else:
            digest.update(place.encode())
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", path: Path) -> None:
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(path, "file", error.strerror or str(error), "a readable file") from error


def load(dataset: DataSet) -> GatedCells:
    """Read all cells of a data set, transformed, with their gates.

    Every file has the markers of the first. Raises the errors of the FCS, panel and gate readers, and
    :class:`PanelError` if the number of markers is not the one stated.
    """
    from cytovae.annotations.gates import read_gates_of_files
    from cytovae.events.event_file import open_events
    from cytovae.events.panel import columns_in_study, resolve_panel
    from cytovae.events.transform import Transform, check_finite

    files = [open_events(Path(path)) for path in dataset.files]
    panel = resolve_panel(
        files[0],
        markers=dataset.markers,
        exclude=dataset.exclude,
        panel_csv=Path(dataset.panel) if dataset.panel else None,
        cofactor=dataset.cofactor,
    )
    if dataset.n_markers is not None and len(panel) != dataset.n_markers:
        found = f"{len(panel)}: {', '.join(panel.names)}"
        raise PanelError(
            files[0].path, f"markers of {dataset.name}", found, str(dataset.n_markers), "Is this the published file?"
        )
    transform = Transform(dataset.transform, panel.cofactors)
    values = []
    for file in files:
        raw = file.read(columns_in_study(panel, file).tolist())
        check_finite(raw, panel.names, file.path)
        values.append(transform.apply(raw))
    names = Path(dataset.population_names) if dataset.population_names else None
    gates = read_gates_of_files(files, dataset.gates, names=names, zero_is_ungated=dataset.rare)
    sizes = [len(part) for part in values]
    cells = CellTable(
        np.concatenate(values),
        panel.names,
        tuple(file.path.name for file in files),
        np.repeat(np.arange(len(files), dtype=np.int32), sizes),
        np.concatenate([np.arange(size, dtype=np.int64) for size in sizes]),
    )
    return GatedCells(cells, gates)


def subsample(gated: GatedCells, max_events: int | None) -> GatedCells:
    """At most ``max_events`` cells, drawn at random with a fixed seed and kept in order: the same for every method
    and every seed.
    """
    if max_events is None or len(gated.cells) <= max_events:
        return gated
    rows = np.random.default_rng(0).choice(len(gated.cells), size=max_events, replace=False)
    return gated.take(np.sort(rows))


def drop_small_populations(gates: GateLabels, smallest: int) -> GateLabels:
    """Populations with fewer than ``smallest`` gated cells become ungated (their cells are clustered, not scored)."""
    sizes = np.bincount(gates.population[gates.population != UNGATED], minlength=len(gates.names))
    small = np.append(sizes < smallest, False)  # the last entry is where −1 looks
    return GateLabels(np.where(small[gates.population], UNGATED, gates.population).astype(np.int32), gates.names)


def held_out(n_cells: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which cells a method must not learn from: ``share`` of them at random, (n_cells,), different with each seed."""
    if not 0 < share < 1:
        raise UsageError(f"the held-out share must lie between 0 and 1, not {share}")
    held = np.zeros(n_cells, dtype=np.bool_)
    held[np.random.default_rng([seed, 20]).permutation(n_cells)[: round(share * n_cells)]] = True
    return held


def rest_as_population(gates: GateLabels, name: str) -> GateLabels:
    """The gates of a set with one rare population: ungated cells become the population ``rest``.

    Without it a cluster of everything would have perfect precision. Raises :class:`UsageError` unless exactly one
    population is gated.
    """
    present: Sequence[int] = np.unique(gates.population[gates.population != UNGATED]).tolist()
    if len(present) != 1:
        raise UsageError(f"data set {name} is marked rare, but has {len(present)} gated populations, not one")
    return GateLabels((gates.population != present[0]).astype(np.int32), (gates.names[present[0]], "rest"))
