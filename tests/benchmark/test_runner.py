import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import flowio
import numpy as np
import pytest
from sklearn.cluster import KMeans

from cytovae.benchmark.datasets import DataSet, fingerprint, held_out, load
from cytovae.benchmark.job import Job, Protocol, Row, execute, failed_rows
from cytovae.benchmark.methods import Run
from cytovae.benchmark.runner import count_failed, plan, prepare, read_rows, row_file, run_jobs
from cytovae.cells import GateLabels
from cytovae.errors import InputError, OutputError, UsageError
from cytovae.inference.assigner import assign
from cytovae.metrics import score
from cytovae.settings import preset
from cytovae.study.train_model import learn

pytestmark = pytest.mark.slow

ALL = Protocol()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSet, np.ndarray, np.ndarray]:
    """Three well separated populations of 200 cells on the arcsinh scale, thirty of the first ungated."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("blobs")
    population = np.repeat([0, 1, 2], 200)
    values = (rng.normal(0, 0.3, (600, 4)) + np.array([[0, 0, 5, 5], [5, 0, 0, 5], [0, 5, 5, 0]])[population]).astype(
        np.float32
    )
    population[:30] = -1
    with (folder / "blobs.fcs").open("wb") as stream:
        flowio.create_fcs(stream, values.ravel().tolist(), ["CD3", "CD4", "CD8", "CD19"])
    names = {-1: "", 0: "A", 1: "B", 2: "C"}
    (folder / "blobs.gates.csv").write_text("population\n" + "\n".join(names[i] for i in population) + "\n")
    return DataSet("blobs", (str(folder / "blobs.fcs"),), transform="none"), values, population


def job_of(dataset: DataSet, run: Run, protocol: Protocol = ALL) -> Job:
    return Job(dataset, protocol, run, fingerprint(dataset))


def do(jobs: list[Job], folder: Path, time_limit: float | None = None) -> list[Row]:
    prepare(folder)
    return [row for _, rows in run_jobs(jobs, folder, time_limit=time_limit) for row in rows]


def test_kmeans_in_a_job_equals_scikit_learn(blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    dataset, values, population = blobs
    (row,) = do([job_of(dataset, Run("kmeans", (5,), seed=3))], tmp_path / "out")
    labels = KMeans(n_clusters=5, n_init=10, random_state=3).fit_predict(values).astype(np.int32) + 1
    report = score(labels, GateLabels(population.astype(np.int32), ("A", "B", "C")))
    for name in ("f_weighted", "f_weighted_clusters", "f1_mean", "ari", "nmi", "accuracy"):
        assert getattr(row, name) == pytest.approx(getattr(report, name), abs=1e-12)
    assert row.populations == report.populations
    assert (row.status, row.number, row.seed, row.n_clusters, row.rare_f1) == ("ok", 5, 3, 5, None)
    assert (row.n_cells, row.n_learned, row.n_gated, row.n_populations) == (600, 600, 570, 3)
    assert row.cluster_wall_seconds is not None
    assert row.process_wall_seconds is not None
    assert row.process_cpu_seconds is not None
    assert 0 < row.cluster_wall_seconds < row.process_wall_seconds
    assert row.process_cpu_seconds > 0
    assert row.peak_memory_mb is not None
    assert row.peak_memory_mb > 20  # numpy and scikit-learn alone are larger
    assert "scikit-learn" in row.versions
    assert row.machine
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows"]  # the working folder is gone


def test_the_scores_of_a_single_cluster(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = blobs
    (row,) = execute(job_of(dataset, Run("kmeans", (1,))))
    # Sizes 170, 200, 200 in one cluster of 570: F = 2 n / (n + 570).
    parts = [2 * n / (n + 570) for n in (170, 200, 200)]
    assert row.f_weighted == pytest.approx(sum(n * f for n, f in zip((170, 200, 200), parts, strict=True)) / 570)
    assert row.f1_mean == pytest.approx(max(parts) / 3)
    assert (row.n_clusters, row.ari) == (1, 0.0)


def test_a_rare_population_is_scored_against_all_other_cells(
    blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    dataset, _, _ = blobs
    # Only fifty cells of C are gated; its cluster contains them and 150 others.
    gates = tmp_path / "rare.csv"
    gates.write_text("population\n" + "\n".join([""] * 550 + ["C"] * 50) + "\n")
    rare = replace(dataset, gates=str(gates), rare=True)
    (row,) = execute(job_of(rare, Run("kmeans", (3,))))
    assert row.rare_f1 == pytest.approx(2 * 50 / (50 + 200))
    assert (row.f_weighted, row.f1_mean, row.ari) == (None, None, None)


def test_held_out_cells_are_assigned_to_the_centres_of_the_others(
    blobs: tuple[DataSet, np.ndarray, np.ndarray],
) -> None:
    dataset, values, population = blobs
    (row,) = execute(job_of(dataset, Run("kmeans", (4,), seed=2), Protocol(holdout=0.2)))
    held = held_out(600, 0.2, 2)
    labels = KMeans(n_clusters=4, n_init=10, random_state=2).fit(values[~held]).predict(values[held]).astype(np.int32)
    report = score(labels + 1, GateLabels(population[held].astype(np.int32), ("A", "B", "C")))
    assert row.f1_mean == pytest.approx(report.f1_mean, abs=1e-12)
    assert (row.n_learned, row.n_gated) == (480, report.n_gated)


def test_a_gaussian_mixture_finds_separate_populations(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = blobs
    (row,) = execute(job_of(dataset, Run("gmm", (3,))))
    assert row.ari == 1.0


@pytest.mark.slow
def test_a_failed_job_has_a_row_with_the_reason(blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    dataset, _, _ = blobs
    too_many = job_of(dataset, Run("kmeans", (601,)))
    no_preset = job_of(dataset, Run("cytovae", variant="none"))
    rows = do([too_many, no_preset], tmp_path / "out")
    assert [(row.method, row.number, row.status) for row in rows] == [
        ("kmeans", 601, "failed"),
        ("cytovae:none", 0, "failed"),
    ]
    assert "n_samples=600 should be >= n_clusters=601" in rows[0].reason
    assert rows[0].f_weighted is None
    assert set(read_rows(tmp_path / "out")) == set(rows)
    assert do([too_many, no_preset], tmp_path / "out") == []  # a failed job is finished, too


def test_a_job_over_its_time_limit_has_a_row(blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    dataset, _, _ = blobs
    (row,) = do([job_of(dataset, Run("kmeans", (3,)))], tmp_path / "out", time_limit=0.01)
    assert (row.status, row.reason) == ("failed", "stopped after the time limit of 0.01 s")


@pytest.mark.slow
def test_failed_jobs_are_counted_unless_all_failed(
    blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    dataset, _, _ = blobs
    good, bad = job_of(dataset, Run("kmeans", (3,))), job_of(dataset, Run("kmeans", (601,)))
    do([good, bad], tmp_path / "out")
    assert count_failed(tmp_path / "out", [good]) == 0
    assert count_failed(tmp_path / "out", [good, bad]) == 1
    with pytest.raises(InputError, match=r"the only job failed .*n_samples=600"):
        count_failed(tmp_path / "out", [bad])


def test_files_that_changed_after_planning_are_refused(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = blobs
    with pytest.raises(UsageError, match="have changed"):
        execute(Job(dataset, ALL, Run("kmeans", (3,)), "another"))


@pytest.mark.slow
def test_a_stopped_run_continues(blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    dataset, _, _ = blobs
    folder = tmp_path / "out"
    prepare(folder)
    jobs = plan([dataset], ["kmeans"], 1, ALL, numbers=(2, 3))
    with closing(run_jobs(jobs, folder)) as running:
        first, _ = next(running)  # and closed while the second is under way
    done = row_file(folder, first)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [done.name]
    before = (done.read_bytes(), done.stat().st_mtime_ns)
    assert [job for job, _ in run_jobs(jobs, folder)] == [job for job in jobs if job is not first]
    assert (done.read_bytes(), done.stat().st_mtime_ns) == before
    assert list(run_jobs(jobs, folder)) == []
    assert [row.number for row in read_rows(folder)] == [2, 3]


def test_a_terminated_run_stops_its_jobs(blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    dataset, _, _ = blobs
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cytovae", "benchmark", "run", dataset.files[0], "--transform", "none"]
    command += ["--methods", "kmeans", "--clusters", "500", "--seeds", "50", "-o", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob(".work-*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 143
    assert list(out.glob(".work-*")) == []
    assert all(len(json.loads(path.read_text())) == 1 for path in (out / "rows").iterdir())


# --- jobs ---


def test_a_job_survives_a_round_trip_through_json(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = blobs
    job = job_of(
        replace(dataset, markers=("CD3", "CD4")),
        Run("cytovae", (), "default", 4, 2, 10, "cpu"),
        Protocol(100, 0.2, 30),
    )
    assert Job.from_json(job.to_json()) == job


def test_the_key_of_a_job_depends_on_all_that_may_change_its_result(
    blobs: tuple[DataSet, np.ndarray, np.ndarray],
) -> None:
    dataset, _, _ = blobs
    job = job_of(dataset, Run("kmeans", (3,)))
    others = [
        job_of(dataset, Run("kmeans", (4,))),
        job_of(dataset, Run("kmeans", (3,), seed=1)),
        job_of(dataset, Run("kmeans", (3,)), Protocol(max_events=10)),
        job_of(dataset, Run("kmeans", (3,)), Protocol(holdout=0.2)),
        job_of(replace(dataset, cofactor=6.0), Run("kmeans", (3,))),
        job_of(replace(dataset, markers=("CD3",)), Run("kmeans", (3,))),
    ]
    assert len({job.key, *(other.key for other in others)}) == len(others) + 1
    assert job_of(dataset, Run("kmeans", (3,), threads=2)).key == job.key
    odd = job_of(replace(dataset, name="../up: ä/b"), Run("umap+hdbscan"))
    assert os.sep not in odd.key
    assert not odd.key.startswith(".")


def test_the_plan_contains_every_method_seed_and_number(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = blobs
    jobs = plan([dataset], ["cytovae", "cytovae:paper-weber", "flowsom", "kmeans"], 2, ALL, steps=7)
    planned = [(job.run.method, job.run.variant, job.run.numbers, job.run.seed, job.run.steps) for job in jobs]
    numbers = (10, 15, 20, 25, 30, 40)
    expected = [("cytovae", "", numbers, seed, 7) for seed in (0, 1)]
    expected += [("cytovae", "paper-weber", (), seed, 7) for seed in (0, 1)]
    expected += [("flowsom", "", numbers, seed, None) for seed in (0, 1)]
    expected += [("kmeans", "", (number,), seed, None) for seed in (0, 1) for number in numbers]
    assert planned == expected


@pytest.mark.parametrize("methods", [["dbscan"], ["kmeans:fast"], [], ["kmeans", "kmeans"]])
def test_unknown_and_repeated_methods_are_refused(
    blobs: tuple[DataSet, np.ndarray, np.ndarray], methods: list[str]
) -> None:
    with pytest.raises(UsageError):
        plan([blobs[0]], methods, 1, ALL)


def test_labels_of_another_tool_are_scored_on_the_cells_of_the_job(
    blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    dataset, _, population = blobs
    other = np.where(np.arange(600) % 7 == 0, 1, np.maximum(population, 0) + 1)
    order = np.random.default_rng(0).permutation(600)
    rows = "".join(f"{event},{other[event]},1\n" for event in order)
    (tmp_path / "tool.csv").write_text(f"event,cluster,one\n{rows}")
    labels = {"tool": str(tmp_path / "tool.csv"), "one": f"{tmp_path}/tool.csv:one"}
    jobs = plan([dataset], (), 2, Protocol(max_events=250), labels=labels)
    assert [job.title.split()[1] for job in jobs] == ["labels:tool", "labels:one"]
    tool, one = (execute(Job.from_json(job.to_json()))[0] for job in jobs)
    assert (tool.n_cells, tool.n_clusters, one.n_clusters) == (250, 3, 1)
    assert (tool.cluster_wall_seconds, tool.n_learned) == (None, None)
    assert one.ari == 0
    # All cells: the scores are those of the labels in the order of the events.
    (whole,) = execute(plan([dataset], (), 1, ALL, labels={"tool": labels["tool"]})[0])
    gates = GateLabels(population.astype(np.int32), ("A", "B", "C"))
    assert whole.ari == pytest.approx(score(other, gates).ari)
    # Other labels are another job; the same labels elsewhere are not.
    (tmp_path / "copy.csv").write_bytes((tmp_path / "tool.csv").read_bytes())
    (moved,) = plan([dataset], (), 1, Protocol(max_events=250), labels={"tool": str(tmp_path / "copy.csv")})
    assert moved.key == jobs[0].key
    (tmp_path / "copy.csv").write_text((tmp_path / "tool.csv").read_text().replace(",3,", ",4,"))
    (changed,) = plan([dataset], (), 1, Protocol(max_events=250), labels={"tool": str(tmp_path / "copy.csv")})
    assert changed.key != jobs[0].key
    with pytest.raises(UsageError, match="one data set"):
        plan([dataset, replace(dataset, name="b")], (), 1, ALL, labels=labels)


def test_a_folder_with_other_contents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="neither empty nor"):
        prepare(tmp_path)


# --- baselines of other packages, each in a process of its own ---


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed (in a checkout: pip install '.[baselines]')")


@pytest.mark.slow
def test_cuts_of_cytovae_are_those_of_one_model(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    """The clusters of ``assign --clusters``; support changes none of them, and the training is counted once."""
    dataset, values, population = blobs
    grouped = replace(dataset, group="donors", reported_only=True)
    rows = execute(job_of(grouped, Run("cytovae", (2, 3, 500), steps=200)))
    assert [(row.number, row.cluster_wall_seconds is None) for row in rows] == [(0, False), (2, True), (3, True)]
    assert {(row.group, row.reported_only) for row in rows} == {("donors", True)}
    cells = load(dataset).cells
    model = learn(cells, replace(preset("default"), steps=200), seed=0)
    gates = GateLabels(population.astype(np.int32), ("A", "B", "C"))
    for row, cut in zip(rows, (model, model.with_clusters(2), model.with_clusters(3)), strict=True):
        assert row.ari == pytest.approx(score(assign(cut, values).cluster, gates).ari, abs=1e-12)
        assert row.n_clusters == cut.n_clusters


def test_a_failed_job_of_cytovae_has_one_row(blobs: tuple[DataSet, np.ndarray, np.ndarray]) -> None:
    rows = failed_rows(job_of(replace(blobs[0], group="g"), Run("cytovae", (2, 3))), "no memory", 1.0)
    assert [(row.number, row.status, row.group) for row in rows] == [(0, "failed", "g")]


@pytest.mark.slow
@needs("flowsom")
def test_flowsom_equals_the_estimator_of_the_package_and_uses_the_seed() -> None:
    program = """
import json
import numpy as np
from flowsom.models import FlowSOMEstimator
from cytovae.benchmark.methods import Run, cluster
from cytovae.cells import CellTable
rng = np.random.default_rng(0)
values = rng.normal(size=(400, 3)).astype(np.float32)
cells = CellTable(values, ("a", "b", "c"), ("f",), np.zeros(400, np.int32), np.arange(400, dtype=np.int64))
ours = lambda seed: {c.number: c.cluster.tolist() for c in cluster(Run("flowsom", (4, 7), seed=seed), cells)}
theirs = lambda number: (FlowSOMEstimator(n_clusters=number, seed=3).fit_predict(values.astype(float)) + 1).tolist()
first = ours(3)
print(json.dumps([first == ours(3), first == ours(4), first[4] == theirs(4), first[7] == theirs(7), min(first[4])]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, False, True, True, 1]


@needs("phenograph")
def test_phenograph_finds_separate_populations_and_leaves_no_files(
    blobs: tuple[DataSet, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = do([job_of(blobs[0], Run("phenograph"))], tmp_path / "out")
    assert row.reason == ""
    assert row.n_clusters is not None
    assert row.n_clusters >= 3
    # It may split a population, but no cluster spans the gap between two populations.
    assert [population.precision for population in row.populations] == [1.0, 1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows"]
