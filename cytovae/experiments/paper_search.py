"""The search for the reading of A.1.3 that reproduces Table A1 best (:mod:`cytovae.experiments.paper_readings`).

Readings are compared on the wells H05 and H08 with one seed. The best five are run with three seeds on all wells, and
reported apart for the wells that chose nothing. Each run learns from four fifths of a well and is scored on the rest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from torch import Tensor, nn, ones, zeros

from cytovae.benchmark.datasets import DataSet, drop_small_populations, fingerprint, held_out, load, only
from cytovae.benchmark.over_seeds import spread
from cytovae.benchmark.tables import markdown
from cytovae.cells import CellTable
from cytovae.errors import InputError, NumericalError
from cytovae.experiments.cytometry import HELD_OUT, TABLE_A1
from cytovae.experiments.experiment import Finished, Measurement, Outcome, Piece, distinct, do_pieces
from cytovae.experiments.on_coordinates import learn_on_coordinates
from cytovae.experiments.paper_readings import MOST_READINGS, STAGES, START, Reading, readings_of
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import TrainedModel
from cytovae.metrics import score
from cytovae.network.model import MoeSimVae
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.umap_projection import umap_projection

SEARCH = "search"
CONFIRMED = "the best, on all wells"
CHOOSING_WELLS = ("H05", "H08")
BEST = 5
SEEDS = 3

F_WEIGHTED = "F_weighted"
CLUSTERS = "clusters"
MEASURES = (F_WEIGHTED, "F_weighted_clusters", "F1_mean", "ARI", CLUSTERS)


@dataclass(frozen=True)
class Design:
    """What is searched: the wells that choose, the wells that are only reported, and training steps if not printed."""

    choosing: tuple[DataSet, ...]
    reported: tuple[DataSet, ...]
    steps: int | None = None
    device: str = "cpu"

    @property
    def most_runs(self) -> int:
        """The number of runs if every stage has all its readings."""
        wells = len(self.choosing) + len(self.reported)
        return MOST_READINGS * len(self.choosing) + BEST * (SEEDS * wells - len(self.choosing))


def design_of(wells: Sequence[DataSet], folder: Path, *, steps: int | None = None, device: str = "cpu") -> Design:
    """The search over ``wells``. Raises :class:`InputError` if the wells that choose are missing."""
    choosing = tuple(well for well in wells if Path(well.name).name in CHOOSING_WELLS)
    if len(choosing) != len(CHOOSING_WELLS):
        found = ", ".join(well.name for well in wells)
        raise InputError(
            folder, "wells", found, f"{' and '.join(CHOOSING_WELLS)}, which choose the reading, among them"
        )
    return Design(choosing, tuple(well for well in wells if well not in choosing), steps, device)


def search(folder: Path, design: Design, *, at_once: int = 1, threads: int = 1) -> Iterator[Finished]:
    """Run the stages of the search and then the best readings on all wells; yields each run when it is there.

    Runs that ``folder`` has already are not repeated. Options and errors as :func:`do_pieces`.
    """

    def runs(pieces: Sequence[Piece]) -> Iterator[Finished]:
        return do_pieces(folder, SEARCH, pieces, at_once=at_once, threads=threads)

    contents = {well.name: fingerprint(well) for well in (*design.choosing, *design.reported)}

    def piece(reading: Reading, well: DataSet, seed: int, part: str) -> Piece:
        steps = reading.settings.steps if design.steps is None else design.steps
        run = replace(reading, settings=replace(reading.settings, steps=steps))
        identity = (SEARCH, contents[well.name], asdict(run), seed)
        return Piece(f"{well.name} {seed} {run}", identity, partial(measure, well, run, seed, part, design.device))

    finished: list[Finished] = []
    scores: dict[Reading, float] = {}
    best = START
    for stage in STAGES:
        readings = readings_of(stage, best, scores)
        for each in runs([piece(r, well, 0, stage.title) for r in readings for well in design.choosing]):
            finished.append(each)
            yield each
        scores |= {reading: _chosen_by(finished, reading) for reading in readings}
        best = max(scores, key=lambda reading: scores[reading])
    chosen = sorted(scores, key=lambda reading: -scores[reading])[:BEST]
    # The wells that chose come last, and without the seed that they have already.
    wells = [(well, seed) for well in design.reported for seed in range(SEEDS)]
    wells += [(well, seed) for well in design.choosing for seed in range(1, SEEDS)]
    yield from runs([piece(r, well, seed, CONFIRMED) for well, seed in wells for r in chosen])


def _chosen_by(finished: Sequence[Finished], reading: Reading) -> float:
    """The mean that chooses; below any score if a run failed."""
    found = _values(finished, F_WEIGHTED, method=str(reading), seeds=(0,))
    return fmean(-1.0 if value is None else value for value in found)


def _values(
    finished: Sequence[Finished], measure: str, *, method: str, wells: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[float | None]:
    """The values of a measure for a reading; of all wells and seeds, unless some are named."""
    return [
        each.value
        for piece in finished
        for each in piece.outcome.measurements
        if (each.method, each.measure) == (method, measure)
        and (not wells or each.setting in wells)
        and (not seeds or each.seed in seeds)
    ]


# --- one run ----------------------------------------------------------------------------------------------------------


def measure(well: DataSet, reading: Reading, seed: int, part: str, device: str = "cpu") -> Outcome:
    """Learn from 80 % of a well and score the rest, as ``benchmark paper bodenmiller`` does.

    The values are None if training diverges.
    """
    gated = load(well)
    gates = drop_small_populations(gated.gates, HELD_OUT.min_population)
    held = held_out(len(gates), HELD_OUT.holdout or 0.0, seed)
    values: dict[str, float | None] = dict.fromkeys(MEASURES)
    try:
        model = learn(gated.cells.take(np.flatnonzero(~held)), reading, seed, device)
    except NumericalError:
        pass
    else:
        report = score(assign(model, gated.cells.values, device).cluster, only(gates, held))
        found = (report.f_weighted, report.f_weighted_clusters, report.f1_mean, report.ari, float(report.n_clusters))
        values = dict(zip(values, found, strict=True))
    name = str(reading)
    return Outcome(tuple(Measurement(part, name, well.name, seed, measured, v) for measured, v in values.items()))


def learn(cells: CellTable, reading: Reading, seed: int, device: str = "cpu") -> TrainedModel:
    """A model of ``cells`` by a reading of the paper's settings."""
    settings = reading.settings
    neighbors = nearest_neighbors(cells.values, min(settings.umap_neighbors, len(cells)), settings.metric, device)
    coordinates = umap_projection(cells.values, neighbors, settings, seed)
    return learn_on_coordinates(
        cells,
        coordinates,
        settings,
        seed=seed,
        device=device,
        change=(lambda _network: None) if reading.batch_norm else without_statistics,
    )


class ScaleAndShift(nn.Module):
    """What batch norm does where it never updates its statistics: it multiplies and adds what it learns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(ones(width))
        self.bias = nn.Parameter(zeros(width))

    def forward(self, h: Tensor) -> Tensor:
        """Scaled and shifted ``h`` (b, width)."""
        return h * self.weight + self.bias


def without_statistics(network: MoeSimVae) -> None:
    """Replace batch norm by :class:`ScaleAndShift`."""
    hidden = network.encoder.hidden
    for index, layer in enumerate(hidden):
        if isinstance(layer, nn.BatchNorm1d):
            hidden[index] = ScaleAndShift(layer.num_features)


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(design: Design, finished: Sequence[Finished]) -> str:
    """The readings in the order they were tried, and the best of them on all wells, as Markdown."""
    choosing = [well.name for well in design.choosing]
    head = ["stage", "reading", *choosing, "mean", "clusters"]
    lines = []
    for stage in STAGES:
        for reading in distinct(finished, stage.title, "method"):
            scores = _values(finished, F_WEIGHTED, method=reading, wells=choosing, seeds=(0,))
            clusters = _values(finished, CLUSTERS, method=reading, wells=choosing, seeds=(0,))
            counts = ", ".join("–" if count is None else f"{count:.0f}" for count in clusters)
            lines.append([stage.title, reading, *map(_score, scores), _mean(scores), counts])
    parts = [
        "# Readings of the paper's settings (A.1.3)",
        f"F_weighted on the held-out fifth of {' and '.join(choosing)}, one seed, populations of 30 cells or more. "
        "“As first read” is Canberra, min_dist 0.1, 15 neighbours, π₂ 0.1 from the first step, dropout 0.5, batch "
        "norm, codes that are the posterior's mean, a constant learning rate, and the radius in units of the layout. "
        "The other rows name what they change. A stage starts from the best reading of those before.",
        markdown(head, lines, left=2),
        f"## The best {BEST}, with {SEEDS} seeds",
        _confirmed(design, finished),
        "Mean ± standard deviation over seeds; of several wells, mean of the wells' means. The first columns are wells "
        f"that chose nothing. Table A1 has {TABLE_A1[0].mean:.3f} as the mean of 234 other wells.",
    ]
    return "\n\n".join(parts)


def _confirmed(design: Design, finished: Sequence[Finished]) -> str:
    reported, choosing = ([well.name for well in wells] for wells in (design.reported, design.choosing))
    lines = []
    for reading in distinct(finished, CONFIRMED, "method"):
        of_wells = {
            well: spread(_values(finished, F_WEIGHTED, method=reading, wells=(well,)))
            for well in (*reported, *choosing)
        }
        means = [_mean(of_wells[well].mean for well in wells) for wells in (reported, of_wells)]
        lines.append([reading, *map(str, of_wells.values()), *means])
    head = ["reading", *reported, *choosing, f"mean of {', '.join(reported)}", "mean of all"]
    return markdown(head, lines)


def _score(value: float | None) -> str:
    return "failed" if value is None else f"{value:.3f}"


def _mean(values: Iterable[float | None]) -> str:
    """The mean of values that are all there."""
    known = list(values)
    return "–" if not known or None in known else f"{fmean(value or 0.0 for value in known):.3f}"
