"""One job of the benchmark: one method on one data set with one seed, run in its own process.

``python -m cytovae.benchmark.job JOB ROWS`` reads a :class:`Job` and writes its results, a list of :class:`Row`, both
as JSON. The runner starts it in a temporary working folder.
"""

import hashlib
import json
import re
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.benchmark.datasets import (
    DataSet,
    GatedCells,
    drop_small_populations,
    fingerprint,
    held_out,
    load,
    only,
    rest_as_population,
    subsample,
)
from cytovae.benchmark.methods import (
    ASSIGNS_NEW_CELLS,
    KNOWING,
    LABELS,
    NEEDS_NUMBER,
    Clustering,
    Run,
    cluster,
    cpu_seconds,
    method_name,
)
from cytovae.benchmark.named_methods import Named, knowledge_of, large_populations, name_cells, taught
from cytovae.cells import CellTable, GateLabels
from cytovae.environment import loaded_versions, machine, process_memory_mb
from cytovae.errors import UsageError
from cytovae.metrics import PopulationScore, ScoreReport, score
from cytovae.name_scores import score_names
from cytovae.settings import PRESETS

METRICS = ("f_weighted", "f_weighted_clusters", "f1_mean", "ari", "nmi", "accuracy", "rare_f1")
"""The scores of a row. Data sets with one rare population have ``rare_f1`` only, others all but ``rare_f1``."""

NAME_METRICS = ("accuracy_by_name", "macro_f1_by_name")
"""Further scores of methods that name cells."""


@dataclass(frozen=True)
class Protocol:
    """Which cells are clustered and which are scored; the same for every method.

    Parameters
    ----------
    max_events : int, optional
        Cluster at most this many random cells of a data set. Default: all.
    holdout : float, optional
        Score only this share of the cells. Methods that can assign new cells do not learn from them.
    min_population : int
        Do not score populations with fewer cells.
    """

    max_events: int | None = None
    holdout: float | None = None
    min_population: int = 0

    def __post_init__(self) -> None:
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise UsageError(f"the held-out share (--holdout) must lie between 0 and 1, not {self.holdout}")

    def __str__(self) -> str:
        parts = ["all cells" if self.max_events is None else f"at most {self.max_events:,} random cells"]
        if self.holdout is not None:
            parts.append(f"scored on {self.holdout:.0%} held out")
        if self.min_population:
            parts.append(f"populations of {self.min_population} cells or more")
        return ", ".join(parts)


@dataclass(frozen=True)
class Job:
    """The work of one process. ``content`` is the fingerprint of the data set, which detects files that change."""

    dataset: DataSet
    protocol: Protocol
    run: Run
    content: str

    @property
    def title(self) -> str:
        """A description for lists of jobs."""
        numbers = f" K={','.join(map(str, self.run.numbers))}" if self.run.numbers else ""
        return f"{self.dataset.name} {method_name(self.run)}{numbers} seed={self.run.seed} ({self.scored})"

    @property
    def scored(self) -> str:
        """Which cells are clustered and scored, in words."""
        if knowledge_of(self.run) != "train_files":
            return str(self.protocol)
        teachers = ", ".join(Path(file).stem for file in self.dataset.train_files)
        return f"{self.protocol}, labels of {teachers} name the other files"

    @property
    def key(self) -> str:
        """The stem of the name of the job's file: readable, and unique for all that may change the result."""
        run = asdict(self.run) | {"threads": None, "device": None}
        run.pop("labels")  # where the file is; its content is in ``content``
        has_settings = self.run.method == "cytovae" and self.run.variant in ("", *KNOWING, *PRESETS)
        settings = [asdict(self.run.settings())] if has_settings else []
        identity = json.dumps([self.content, asdict(self.protocol), run, *settings], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        number = f"-K{self.run.numbers[0]}" if len(self.run.numbers) == 1 else ""
        name = f"{self.dataset.name}-{method_name(self.run)}{number}-seed{self.run.seed}"
        return f"{re.sub(r'[^A-Za-z0-9_+-]+', '_', name)[:120]}-{digest}"

    def to_json(self) -> str:
        """The job as JSON text, which :meth:`from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read the text that :meth:`to_json` wrote."""
        raw = json.loads(text)
        lists = ("files", "markers", "exclude", "train_files")
        dataset: dict[str, Any] = {
            key: tuple(v) if key in lists and v is not None else v for key, v in raw["dataset"].items()
        }
        run = raw["run"] | {"numbers": tuple(raw["run"]["numbers"])}
        return cls(DataSet(**dataset), Protocol(**raw["protocol"]), Run(**run), raw["content"])


@dataclass(frozen=True)
class Row:
    """One line of the results: one method with one setting and seed on one data set.

    Attributes
    ----------
    number : int
        The number of clusters that the method was given; 0 if it finds the number itself.
    status, reason : str
        "ok", or "failed" and why.
    n_learned, n_gated : int or None
        The number of cells that the method learned from, and of cells that are scored.
    cluster_wall_seconds, cluster_cpu_seconds : float or None
        Of the clustering alone, without reading files and importing libraries. None for a cut of cytovae's tree, whose
        training belongs to the row with number 0.
    process_wall_seconds, process_cpu_seconds : float or None
        Of the whole process. A process that clusters for several numbers has the same value in all of its rows.
    peak_memory_mb : float or None
        Peak resident memory of the process, or of its largest child.
    f_weighted, ..., rare_f1, accuracy_by_name, macro_f1_by_name : float or None
        Scores; None if the job failed or the score does not apply.
    group : str
        The group of the data set, see :class:`DataSet`; "" in rows of earlier versions.
    reported_only : bool
        Whether the data set does not count in means over data sets.
    """

    dataset: str
    protocol: str
    method: str
    number: int
    seed: int
    status: str
    reason: str = ""
    n_cells: int | None = None
    n_learned: int | None = None
    n_gated: int | None = None
    n_unassigned: int | None = None
    n_populations: int | None = None
    n_clusters: int | None = None
    f_weighted: float | None = None
    f_weighted_clusters: float | None = None
    f1_mean: float | None = None
    ari: float | None = None
    nmi: float | None = None
    accuracy: float | None = None
    rare_f1: float | None = None
    cluster_wall_seconds: float | None = None
    cluster_cpu_seconds: float | None = None
    process_wall_seconds: float | None = None
    process_cpu_seconds: float | None = None
    peak_memory_mb: float | None = None
    threads: int = 1
    versions: str = ""
    machine: str = ""
    populations: tuple[PopulationScore, ...] = ()
    group: str = ""
    reported_only: bool = False
    accuracy_by_name: float | None = None
    macro_f1_by_name: float | None = None


def row_from(raw: Any) -> Row:
    """Make a row of its JSON object. Unknown fields, of later versions, are ignored."""
    known = {field.name for field in fields(Row)}
    populations = tuple(PopulationScore(**population) for population in raw.get("populations", ()))
    return Row(**{key: value for key, value in raw.items() if key in known} | {"populations": populations})


def failed_rows(job: Job, reason: str, wall_seconds: float) -> tuple[Row, ...]:
    """The rows of a job that failed, one for each number of clusters that its method needs."""
    blank = Row(job.dataset.name, job.scored, method_name(job.run), 0, job.run.seed, "failed", reason)
    blank = replace(blank, group=job.dataset.group or job.dataset.name, reported_only=job.dataset.reported_only)
    blank = replace(blank, process_wall_seconds=wall_seconds, threads=job.run.threads, machine=machine())
    numbers = job.run.numbers if job.run.method in NEEDS_NUMBER else ()
    return tuple(replace(blank, number=number) for number in numbers or (0,))


def execute(job: Job) -> tuple[Row, ...]:
    """Read the data set, cluster it and score the clusters.

    Raises :class:`UsageError` if the files have changed since the job was planned, and the errors of reading,
    clustering and scoring.
    """
    knowledge = knowledge_of(job.run)
    if fingerprint(job.dataset, job.run.labels, knowledge=knowledge) != job.content:
        raise UsageError(f"the files of data set {job.dataset.name} have changed since the job was planned")
    whole = load(job.dataset)
    gated = subsample(whole, job.protocol.max_events)
    gates = drop_small_populations(gated.gates, job.protocol.min_population)
    if job.dataset.rare:
        gates = rest_as_population(gates, job.dataset.name)
    held = held_out(len(gates), job.protocol.holdout, job.run.seed) if job.protocol.holdout is not None else None
    if job.run.method == LABELS:
        found = Clustering(0, _labels_of(job, whole.cells, gated.cells), 0.0, 0.0)
        row = _row(job, gated, gates, held, None, found)
        return (replace(row, n_learned=None, cluster_wall_seconds=None, cluster_cpu_seconds=None),)
    learn = None if held is None or job.run.method not in ASSIGNS_NEW_CELLS else ~held
    if knowledge == "train_files":
        teach = taught(job.dataset, gated.cells)
        learn, held = (teach, ~teach) if held is None else (teach & ~held, ~teach & held)
    if knowledge is None:
        results = list(cluster(job.run, gated.cells, learn))
        rows = [_row(job, gated, gates, held, learn, result) for result in results]
    else:
        named = name_cells(job.run, job.dataset, gated.cells, gated.gates, learn)
        found = Clustering(0, named.cluster, named.wall_seconds, named.cpu_seconds)
        row = _row(job, gated, gates, held, learn, found)
        if not job.dataset.rare:  # there, the other cells have no name
            scored = gates if held is None else only(gates, held)
            teaching = only(gated.gates, learn) if knowledge == "train_files" and learn is not None else None
            row = _with_names(row, named, scored, teaching)
        rows = [row]
    memory = process_memory_mb()
    return tuple(replace(row, process_cpu_seconds=cpu_seconds(), peak_memory_mb=memory) for row in rows)


def _labels_of(job: Job, whole: CellTable, cells: CellTable) -> NDArray[np.int32]:
    """The labels of ``cells`` in a file, which has a row for each cell of the data set, ``whole``."""
    from cytovae.annotations.cluster_labels import align_labels, read_labels

    sizes = np.bincount(whole.source, minlength=len(job.dataset.files))
    labels = align_labels(read_labels(job.run.labels), job.dataset.files, sizes.tolist())
    first = np.cumsum([0, *sizes[:-1]])
    return labels[first[cells.source] + cells.event]


def _row(
    job: Job,
    gated: GatedCells,
    gates: GateLabels,
    held: NDArray[np.bool_] | None,
    learn: NDArray[np.bool_] | None,
    result: Clustering,
) -> Row:
    report = score(result.cluster, gates if held is None else only(gates, held))
    return Row(
        dataset=job.dataset.name,
        protocol=job.scored,
        method=method_name(job.run),
        number=result.number,
        seed=job.run.seed,
        status="ok",
        n_cells=report.n_cells,
        n_learned=len(gated.cells) if learn is None else int(learn.sum()),
        n_gated=report.n_gated,
        n_unassigned=report.n_unassigned,
        n_populations=len(report.populations),
        n_clusters=report.n_clusters,
        cluster_wall_seconds=result.wall_seconds,
        cluster_cpu_seconds=result.cpu_seconds,
        threads=job.run.threads,
        versions=loaded_versions(),
        machine=machine(),
        populations=report.populations,
        group=job.dataset.group or job.dataset.name,
        reported_only=job.dataset.reported_only,
        **_scores(report, job.dataset.rare),
    )


def _scores(report: ScoreReport, rare: bool) -> dict[str, Any]:
    """The scores that apply. On a data set with one rare population, the others would measure the ungated cells."""
    if rare:
        return {"rare_f1": report.populations[0].best_f1}
    return {name: getattr(report, name) for name in METRICS if name != "rare_f1"}


def _with_names(row: Row, named: Named, scored: GateLabels, teaching: GateLabels | None) -> Row:
    """The row with scores by name, over populations that are large enough in both groups of gates."""
    counted = large_populations(scored) & large_populations(scored if teaching is None else teaching)
    found = score_names(named.number, named.names, scored, counted)
    return row if found is None else replace(row, accuracy_by_name=found.accuracy, macro_f1_by_name=found.macro_f1)


def main(arguments: list[str]) -> None:
    """Run the job in the first file and write its rows to the second."""
    job_path, rows_path = map(Path, arguments)
    rows = execute(Job.from_json(job_path.read_text("utf-8")))
    rows_path.write_text(json.dumps([asdict(row) for row in rows]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
