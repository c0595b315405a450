"""What the paper's experiments share: pieces, resuming, and the files of results.

An experiment is a list of pieces that each take some minutes. The outcome of a finished piece is a file in
``NAME.pieces``, so that the same command continues a run that was stopped. When all pieces are finished, the folder
gets ``results.parquet`` (one row for each measurement), ``table.md``, figures and ``run.json``.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.atomic import whole_file, write_whole
from cytovae.benchmark.over_seeds import Spread, spread
from cytovae.benchmark.tables import can_draw
from cytovae.environment import loaded_versions, machine
from cytovae.errors import InputError, OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Measurement:
    """One number of an experiment.

    Parameters
    ----------
    part : str
        The figure or table that the number belongs to.
    method : str
        The method, or the variant of a method.
    setting : str
        What varies within the part: a number of components, a threshold, a data set.
    seed : int
        The seed of the run.
    measure : str
        What is measured.
    value : float or None
        None if there is no value.
    """

    part: str
    method: str
    setting: str
    seed: int
    measure: str
    value: float | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The measurements of a piece, and the arrays that figures are drawn from (images, matrices, coordinates)."""

    measurements: tuple[Measurement, ...]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of an experiment that runs in one go. ``identity`` (plain values) is all that determines its outcome."""

    title: str
    identity: tuple[object, ...]
    do: Callable[[], Outcome]

    @property
    def key(self) -> str:
        """The stem of its file: readable, and different for every identity."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True, default=asdict).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9_+-]+', '_', self.title)[:80]}-{digest}"


@dataclass(frozen=True, eq=False)
class Finished:
    """A piece with its outcome, the seconds it took, and the versions and machine it ran with."""

    piece: Piece
    outcome: Outcome
    seconds: float
    versions: str
    machine: str


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment: its pieces, and how its results are shown.

    ``tables`` makes Markdown of all finished pieces, ``figures`` makes figures by file name.
    """

    name: str
    pieces: Sequence[Piece]
    tables: Callable[[Sequence[Finished]], str]
    figures: "Callable[[Sequence[Finished]], Mapping[str, Figure]]"


@dataclass(frozen=True)
class Conditions:
    """How an experiment was run, for its record: seeds 0 … ``seeds`` − 1, and ``quick`` for the smaller version."""

    seeds: int
    device: str
    threads: int
    quick: bool


def prepare(folder: Path, experiment: str, *, force: bool = False) -> None:
    """Create the folder of an experiment if it does not exist.

    With ``force``, remove the finished pieces; other files in the folder stay. Raises :class:`OutputError` if the
    folder cannot be created, or (without ``force``) if it contains something other than this experiment.
    """
    pieces = _pieces_folder(folder, experiment)
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
        raise OutputError(f"{folder} cannot be created: {error.strerror}") from error


def do_pieces(
    folder: Path, experiment: str, pieces: Sequence[Piece], *, at_once: int = 1, threads: int = 1
) -> Iterator[Finished]:
    """Run the pieces that are not finished, and yield all of them in their order.

    Parameters
    ----------
    folder : Path
        The folder of the experiment.
    experiment : str
        Its name.
    pieces : sequence of Piece
        The pieces.
    at_once : int
        With two or more, so many processes of their own run the pieces, which then must be picklable.
    threads : int
        Threads of each of those processes.

    Raises
    ------
    OutputError
        If an outcome cannot be written.
    InputError
        If one is damaged.
    """
    paths = {piece.key: _pieces_folder(folder, experiment) / f"{piece.key}.json" for piece in pieces}
    if at_once == 1:
        for piece in pieces:
            if not paths[piece.key].exists():
                _finish(paths[piece.key], piece)
            yield _load_outcome(paths[piece.key], piece)
        return
    pool = ProcessPoolExecutor(at_once, get_context("spawn"), initializer=_start_process, initargs=(threads,))
    try:
        missing = [piece for piece in pieces if not paths[piece.key].exists()]
        running = {piece.key: pool.submit(_finish, paths[piece.key], piece) for piece in missing}
        for piece in pieces:
            if piece.key in running:
                running[piece.key].result()
            yield _load_outcome(paths[piece.key], piece)
    except BaseException:
        for process in active_children():  # nobody waits for pieces that are running
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process(threads: int) -> None:
    from cytovae.network.device import use_threads

    use_threads(threads, with_umap=True)


def _finish(path: Path, piece: Piece) -> None:
    started = time.monotonic()
    outcome = piece.do()
    _save_outcome(path, outcome, time.monotonic() - started)


def write_results(
    folder: Path,
    experiment: Experiment,
    finished: Sequence[Finished],
    conditions: Conditions,
    *,
    argv: Sequence[str] | None = None,
) -> tuple[Path, ...]:
    """Write the table, figures and record of an experiment.

    Parameters
    ----------
    folder : Path
        Where to write them.
    experiment : Experiment
        The experiment.
    finished : sequence of Finished
        All of its pieces.
    conditions : Conditions
        How they were run.
    argv : sequence of str, optional
        Arguments of the command, for the record. Default: those of this process.

    Returns
    -------
    tuple of Path
        The files written. There are no figures without matplotlib.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    command = ["cytovae", *(sys.argv[1:] if argv is None else argv)]
    packages = sorted({package for each in finished for package in each.versions.split(", ")})
    machines = sorted({each.machine for each in finished})
    seconds = sum(each.seconds for each in finished)
    about = (
        f"Made by `{' '.join(command)}` in {seconds:,.0f} s on {conditions.device}, {conditions.threads} thread(s).\n\n"
        f"Machine: {' / '.join(machines)}.\n\nVersions: {', '.join(packages)}.\n"
    )
    record = {
        "experiment": experiment.name,
        "argv": command,
        "seeds": list(range(conditions.seeds)),
        "device": conditions.device,
        "threads": conditions.threads,
        "quick": conditions.quick,
        "seconds": seconds,
        "versions": {name: version for name, _, version in (package.partition(" ") for package in packages)},
        "cytovae": __version__,
        "machine": machines,
        "pieces": {each.piece.title: each.seconds for each in finished},
    }
    written = [folder / "results.parquet", folder / "table.md"]
    rows = [asdict(measurement) for each in finished for measurement in each.outcome.measurements]
    with whole_file(written[0], force=True) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), partial)
    write_whole(written[1], f"{experiment.tables(finished).rstrip()}\n\n{about}")
    for name, figure in (experiment.figures(finished) if can_draw() else {}).items():
        written.append(folder / name)
        with whole_file(written[-1], force=True) as partial:
            # Without the name of the software, so that the same figure is the same bytes.
            figure.savefig(partial, format="png", dpi=100, bbox_inches="tight", metadata={"Software": ""})
    written.append(folder / "run.json")
    write_whole(written[-1], json.dumps(record, indent=1) + "\n")
    return tuple(written)


def over_seeds(
    finished: Sequence[Finished], *, part: str, method: str, measure: str, setting: str | None = None
) -> Spread:
    """Mean and standard deviation over seeds of one measure, of one setting or of all."""
    return spread(
        each.value
        for each in measurements_of(finished, part)
        if (each.method, each.measure) == (method, measure) and setting in (None, each.setting)
    )


def measurements_of(finished: Sequence[Finished], part: str) -> list[Measurement]:
    """All measurements of one part of an experiment."""
    return [each for piece in finished for each in piece.outcome.measurements if each.part == part]


def distinct(finished: Sequence[Finished], part: str, attribute: str) -> list[str]:
    """The distinct values of an attribute of the measurements of a part, in order of appearance."""
    return list(dict.fromkeys(str(getattr(each, attribute)) for each in measurements_of(finished, part)))


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("part", "method", "setting")),
        ("seed", pa.int64()),
        ("measure", pa.string()),
        ("value", pa.float64()),
    ]
)


def _pieces_folder(folder: Path, experiment: str) -> Path:
    return folder / f"{experiment}.pieces"


def _save_outcome(path: Path, outcome: Outcome, seconds: float) -> None:
    arrays = dict(outcome.arrays)
    if arrays:
        # Before the JSON file, whose existence marks the piece as finished.
        with whole_file(path.with_suffix(".npz"), force=True, ending="npz") as partial:
            np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    content = {
        "seconds": seconds,
        "versions": loaded_versions(),
        "machine": machine(),
        "arrays": sorted(arrays),
        "measurements": [asdict(measurement) for measurement in outcome.measurements],
    }
    write_whole(path, json.dumps(content, indent=1))


def _load_outcome(path: Path, piece: Piece) -> Finished:
    try:
        content = json.loads(path.read_text("utf-8"))
        measurements = tuple(Measurement(**raw) for raw in content["measurements"])
        arrays = {}
        if content["arrays"]:
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in content["arrays"]}
        outcome = Outcome(measurements, arrays)
        return Finished(piece, outcome, content["seconds"], content["versions"], content["machine"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            path, "piece", str(error), "what a finished piece holds", "Remove it and run again."
        ) from error
