"""What the paper's experiments share: a folder of finished pieces, and the table, pictures and record made of them.

An experiment is a list of pieces, each a run or two of some minutes. A finished piece is a file in ``NAME.pieces``,
which appears whole or not at all, so that a run that was stopped goes on there. When all are done the folder gets
``results.parquet`` (one line for each measure of each run), ``table.md``, pictures and ``run.json``.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.atomic import whole_file, write_whole
from cytovae.benchmark.tables import Spread, spread
from cytovae.environment import loaded_versions, machine
from cytovae.errors import InputError, OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Measurement:
    """One number: ``measure`` of ``method`` with one seed in one ``part`` (figure or table) of an experiment.

    ``setting`` is what varies along that part: a number of components, a threshold, a data set. ``value`` is None where
    the measure could not be taken.
    """

    part: str
    method: str
    setting: str
    seed: int
    measure: str
    value: float | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a piece found. ``arrays`` are for pictures: images, matrices, coordinates, by name."""

    measurements: tuple[Measurement, ...]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of an experiment that is done at one go. ``identity`` (plain values) is all that decides its outcome."""

    title: str
    identity: tuple[object, ...]
    do: Callable[[], Outcome]

    @property
    def key(self) -> str:
        """The stem of its file: readable, and another one wherever the outcome may be another."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True, default=asdict).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9_+-]+', '_', self.title)[:80]}-{digest}"


@dataclass(frozen=True, eq=False)
class Finished:
    """A piece with its outcome, the seconds it took, and the versions and machine it was done with."""

    piece: Piece
    outcome: Outcome
    seconds: float
    versions: str
    machine: str


def prepare(folder: Path, experiment: str, *, force: bool = False) -> None:
    """Make the folder of an experiment, or go on with one made before; with ``force`` begin anew.

    With ``force`` any folder will do: what is there under other names stays. Raises :class:`OutputError` for a folder
    that is not this experiment's, or that cannot be made.
    """
    pieces = _pieces(folder, experiment)
    try:
        if folder.is_dir() and not force and not pieces.is_dir() and any(folder.iterdir()):
            raise OutputError(
                f"{folder} is neither empty nor of an earlier run of {experiment}; name another with -o, or use --force"
            )
        pieces.mkdir(parents=True, exist_ok=True)
        if force:
            for path in pieces.iterdir():
                path.unlink()
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error


def do_pieces(folder: Path, experiment: str, pieces: Sequence[Piece]) -> Iterator[Finished]:
    """Do those of ``pieces`` that are not done, and yield all of them in their order.

    Raises :class:`OutputError` if one cannot be written, :class:`InputError` for a damaged one.
    """
    for piece in pieces:
        path = _pieces(folder, experiment) / f"{piece.key}.json"
        if not path.exists():
            began = time.monotonic()
            outcome = piece.do()
            _keep(path, outcome, time.monotonic() - began)
        yield _kept(path, piece)


def write_results(
    folder: Path,
    experiment: str,
    finished: Sequence[Finished],
    table: str,
    figures: "Mapping[str, Figure]",
    *,
    seeds: int,
    device: str,
    threads: int,
    quick: bool,
    argv: Sequence[str] | None = None,
) -> tuple[Path, ...]:
    """Write what an experiment leaves, and return the files. ``table`` is Markdown, ``figures`` are named by their
    files. Raises :class:`OutputError` if one cannot be written.
    """
    command = ["cytovae", *(sys.argv[1:] if argv is None else argv)]
    done_with = sorted({part for each in finished for part in each.versions.split(", ")})
    machines = sorted({each.machine for each in finished})
    seconds = sum(each.seconds for each in finished)
    about = (
        f"Made by `{' '.join(command)}` in {seconds:,.0f} s on {device}, {threads} thread(s).\n\n"
        f"Machine: {' / '.join(machines)}.\n\nVersions: {', '.join(done_with)}.\n"
    )
    record = {
        "experiment": experiment,
        "argv": command,
        "seeds": list(range(seeds)),
        "device": device,
        "threads": threads,
        "quick": quick,
        "seconds": seconds,
        "versions": {name: version for name, _, version in (part.partition(" ") for part in done_with)},
        "cytovae": __version__,
        "machine": machines,
        "pieces": {each.piece.title: each.seconds for each in finished},
    }
    written = [folder / "results.parquet", folder / "table.md"]
    lines = [asdict(line) for each in finished for line in each.outcome.measurements]
    _replace(written[0], lambda path: pq.write_table(pa.Table.from_pylist(lines, schema=_SCHEMA), path))
    write_whole(written[1], f"{table.rstrip()}\n\n{about}")
    for name, figure in figures.items():
        written.append(folder / name)
        _replace(written[-1], partial(_draw, figure))
    written.append(folder / "run.json")
    write_whole(written[-1], json.dumps(record, indent=1) + "\n")
    return tuple(written)


def can_draw() -> bool:
    """Whether matplotlib, which pictures need, is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def over_seeds(
    finished: Sequence[Finished], *, part: str, method: str, measure: str, setting: str | None = None
) -> Spread:
    """Mean and standard deviation over seeds of one measure (of all settings, where none is named)."""
    return spread(
        line.value
        for each in finished
        for line in each.outcome.measurements
        if (line.part, line.method, line.measure) == (part, method, measure) and setting in (None, line.setting)
    )


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines))


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("part", "method", "setting")),
        ("seed", pa.int64()),
        ("measure", pa.string()),
        ("value", pa.float64()),
    ]
)


def _pieces(folder: Path, experiment: str) -> Path:
    return folder / f"{experiment}.pieces"


def _keep(path: Path, outcome: Outcome, seconds: float) -> None:
    arrays = dict(outcome.arrays)
    if arrays:
        # Before the lines: a piece with lines is a piece that is done.
        _replace(path.with_suffix(".npz"), lambda temporary: np.savez_compressed(temporary, **arrays))  # type: ignore[arg-type]
    content = {
        "seconds": seconds,
        "versions": loaded_versions(),
        "machine": machine(),
        "arrays": sorted(arrays),
        "measurements": [asdict(line) for line in outcome.measurements],
    }
    write_whole(path, json.dumps(content, indent=1))


def _kept(path: Path, piece: Piece) -> Finished:
    try:
        content = json.loads(path.read_text("utf-8"))
        lines = tuple(Measurement(**line) for line in content["measurements"])
        arrays = {}
        if content["arrays"]:
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in content["arrays"]}
        return Finished(piece, Outcome(lines, arrays), content["seconds"], content["versions"], content["machine"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            path, "piece", str(error), "what a finished piece holds", "Remove it and run again."
        ) from error


def _draw(figure: "Figure", path: Path) -> None:
    """Without the name of the program that drew it, so that the same figure is the same bytes."""
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": ""})


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all. Raises :class:`OutputError`."""
    with whole_file(path, force=True, ending=path.suffix.removeprefix(".")) as partial:
        write(partial)
