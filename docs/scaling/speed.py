"""Measure speed: cytovae and what it is compared with, in the same run on the same machine.

    python docs/scaling/speed.py --data ../shared/data --output docs/results/speed.md

Times are those of whole processes, with imports and reading of files. All parts take half an hour on two cores, a third
of it for PhenoGraph; ``--only`` selects parts.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measure import CYTOVAE, Cost, cost, simulated, table
from simulate import SPREAD_CELL, simulate

from cytovae.benchmark.datasets import PUBLIC, DataSet, load, read_table
from cytovae.environment import machine, n_processors
from cytovae.metrics import ScoreReport, score
from cytovae.populations.view_process import SmallViews
from cytovae.settings import Settings

if TYPE_CHECKING:
    from cytovae.inference.trained_model import TrainedModel

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
MANY_CELLS = 10_000_000
FILE_CELLS = 1_000_000
RUNS = 3

OTHERS = """
import json, sys, numpy as np
files, markers, transform, method, output = json.loads(sys.argv[1])
import flowsom, anndata
frames = [flowsom.io.read_FCS(file) for file in files]
names = list(frames[0].var_names)
columns = [names.index(marker) for marker in markers]
values = np.concatenate([frame.X for frame in frames])[:, columns]
values = np.arcsinh(values / 5) if transform == "arcsinh" else values
if method == "flowsom":
    cells = anndata.AnnData(values)
    cells.var_names = markers
    cells.var["channel"] = cells.var["marker"] = markers
    found = flowsom.FlowSOM(cells, n_clusters=10, cols_to_use=markers, seed=0).get_cell_data().obs["metaclustering"]
else:
    import phenograph
    found = phenograph.cluster(values, seed=0, n_jobs=1)[0]
np.save(output, np.asarray(found).astype(int) + 1)
"""


def data_set(data: Path, name: str) -> DataSet:
    """A gated public data set."""
    return read_table(PUBLIC, data, (name,))[0]


def ours(work: Path, dataset: DataSet, *options: object) -> tuple[Cost, Cost, np.ndarray]:
    """Costs of train and assign, and the cluster of each cell."""
    model, cells = work / f"{dataset.name}.model", work / f"{dataset.name}.parquet"
    choice = ("--markers", ",".join(dataset.markers)) if dataset.markers else ()
    kind = ("--transform", dataset.transform)
    quiet = ("--device", "cpu", "--quiet", "--force")
    train = cost(*CYTOVAE, "train", *dataset.files, "-o", model, *choice, *kind, *options, *quiet)
    assign = cost(*CYTOVAE, "assign", model, *dataset.files, "-o", cells, *quiet)
    import pyarrow.parquet as pq

    return train, assign, pq.read_table(cells, columns=["cluster"])["cluster"].to_numpy()


def another(work: Path, dataset: DataSet, method: str) -> tuple[Cost, np.ndarray]:
    """Cost of the process of another method, and the cluster of each cell."""
    output = work / f"{dataset.name}-{method}.npy"
    markers = load(dataset).cells.markers
    from cytovae.fcs.file import open_fcs

    channels = open_fcs(Path(dataset.files[0])).channels
    names = [next(c.name for c in channels if marker in (c.name, c.label)) for marker in markers]
    given = json.dumps([dataset.files, names, dataset.transform, method, str(output)])
    return cost(sys.executable, "-c", OTHERS, given), np.load(output)


def against(work: Path, data: Path, name: str, methods: Sequence[str]) -> list[str]:
    """Compare train and assign with other methods on one data set; medians of alternating runs."""
    dataset = data_set(data, name)
    gates = load(dataset).gates
    ours_with = {"cytovae": (), "cytovae --support 0": ("--support", 0)}
    titles = {"flowsom": "FlowSOM, K = 10", "phenograph": "PhenoGraph, k = 30"}
    runs: list[dict[str, tuple[float, ...]]] = []  # seconds of each process
    memory: dict[str, float] = {}
    scores = {}
    for run in range(RUNS):
        seconds: dict[str, tuple[float, ...]] = {}
        for title, options in ours_with.items():
            train, assign, found = ours(work, dataset, *options)
            seconds[title] = (train.wall, assign.wall)
            memory[title] = max(memory.get(title, 0), train.memory, assign.memory)
            scores[title] = score(found, gates).f_weighted
        for method in methods:
            if method == "phenograph" and run:  # takes minutes and varies little
                continue
            spent, found = another(work, dataset, method)
            seconds[titles[method]] = (spent.wall,)
            memory[titles[method]] = max(memory.get(titles[method], 0), spent.memory)
            scores[titles[method]] = score(found, gates).f_weighted
        runs.append(seconds)
    median = {title: np.median([run[title] for run in runs if title in run], axis=0) for title in memory}
    flowsom = median[titles["flowsom"]].sum()
    rows = []
    for title, each in median.items():
        spelled = f"{each.sum():.1f}" if len(each) == 1 else f"{each[0]:.1f} + {each[1]:.1f} = {each.sum():.1f}"
        ratio = f"{each.sum() / flowsom:.2f}"
        rows.append([title, spelled, f"{memory[title]:,.0f}", f"{scores[title]:.3f}", ratio])
    head = ("whole processes", "seconds", "peak memory, MB", "F_weighted", "time relative to FlowSOM")
    once = " (one run of PhenoGraph)" if "phenograph" in methods else ""
    resample = (median["cytovae"].sum() - median["cytovae --support 0"].sum()) / Settings().support
    spent_on_it = f"{resample:.1f} seconds" if resample >= 0.05 else "no measurable time"
    text = (
        f"Median of {RUNS} alternating runs{once}; cytovae: train + assign. It uses both cores, its default, for "
        f"neighbours, populations (with a worker process of {worker_memory():.0f} MB more) and `assign`; the others "
        f"use one. Each resample that measures support takes {spent_on_it}."
    )
    return [f"## {name}: {len(gates.population):,} cells", "", text, "", *table(head, rows)]


def worker_memory() -> float:
    """Peak memory in MB of the worker process of small views, for 20,000 landmarks with 20 markers."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 20)).astype(np.float32)
    settings, n_views = Settings(), 4
    peak = 0
    samples = [
        (values[index * settings.view_cells :][: settings.view_cells], np.zeros(settings.view_cells, np.int32))
        for index in range(n_views)
    ]
    with ThreadPoolExecutor(1) as pool, SmallViews(values, samples, settings, seed=0, workers=2) as views:
        (worker,) = views.pids
        results = pool.submit(views.results)
        while not results.done():
            status = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
            peak = max(peak, int(status.get("VmHWM", "0 kB").split()[0]))
            time.sleep(0.01)
    return peak / 1024


def multicenter(work: Path, data: Path) -> list[str]:
    """A million cells."""
    return against(work, data, "multicenter", ("flowsom",))


def bendall(work: Path, data: Path) -> list[str]:
    """A hundred thousand cells, few enough for PhenoGraph."""
    return against(work, data, "bendall", ("flowsom", "phenograph"))


def growth(work: Path, _data: Path) -> list[str]:
    """Training time by number of cells."""
    rows, before = [], 0.0
    for n in SIZES:
        file = simulated(work / f"cells-{n}", n)
        spent = cost(*CYTOVAE, "train", file, "-o", work / f"model-{n}", "--device", "cpu", "--quiet")
        rows.append(
            [f"{n:,}", f"{spent.wall:.1f}", f"{spent.wall / before:.2f}" if before else "–", f"{spent.memory:,.0f}"]
        )
        before = spent.wall
        file.unlink()
    head = ("cells", "seconds of train", "ratio to a tenth of the cells", "peak memory, MB")
    return ["## Growth", "", "Simulated cells, 20 channels, 12 of them markers.", "", *table(head, rows)]


def landmarks(work: Path, data: Path) -> list[str]:
    """Scores with 20,000 landmarks and with all cells as landmarks; several runs at once on many cores."""
    seeds = 2
    of_set = {name: data_set(data, name) for name in ("bendall", "huimm")}
    gates = {name: load(dataset).gates for name, dataset in of_set.items()}

    def scores(name: str, count: int, seed: int) -> ScoreReport:
        folder = work / f"{name}-{count}-{seed}"
        folder.mkdir()
        return score(ours(folder, of_set[name], "--landmarks", count, "--seed", seed)[2], gates[name])

    rows = []
    with ThreadPoolExecutor(max(1, n_processors() // 2)) as pool:
        runs = {
            (name, count): [pool.submit(scores, name, count, seed) for seed in range(seeds)]
            for name in of_set
            for count in (20_000, 0)
        }
        for (name, count), found in runs.items():
            each = [f"{np.mean([getattr(run.result(), m) for run in found]):.3f}" for m in ("f_weighted", "f1_mean")]
            rows.append([name, f"{count:,}" if count else "all", *each])
    text = f"Mean of {seeds} seeds, on {machine()}."
    return ["## Landmarks", "", text, "", *table(("", "landmarks", "F_weighted", "F1_mean"), rows)]


def assigning(work: Path, _data: Path) -> list[str]:
    """FCS to Parquet, and the share of the network in it."""
    from cytovae.fcs.file import open_fcs
    from cytovae.model_folder.load import load_model

    model = work / "many-model"
    files = {n: apart(work / f"many-{n}.fcs", n) for n in (MANY_CELLS // 10, MANY_CELLS)}
    n_channels = len(open_fcs(files[MANY_CELLS]).channels)
    cost(*CYTOVAE, "train", files[MANY_CELLS // 10], "-o", model, "--device", "cpu", "--quiet")
    saved = load_model(model)
    found, most = saved.model.n_clusters, saved.model.tree.n_most
    rows = []
    for threads, clusters in ((1, found), (2, found), (2, most)):
        spent = {}
        for n, file in files.items():
            output = work / "many.parquet"
            options = ("--device", "cpu", "--quiet", "--force", "--threads", threads, "--clusters", clusters)
            spent[n] = cost(*CYTOVAE, "assign", model, file, "-o", output, *options)
        fewer, all_ = spent.values()
        rate = (MANY_CELLS - MANY_CELLS // 10) / (all_.wall - fewer.wall)
        memory = [f"{fewer.memory:,.0f}", f"{all_.memory:,.0f}"]
        rows.append([str(threads), str(clusters), f"{all_.wall:.1f}", f"{rate:,.0f}", *memory])
    alone = [f"{network_alone(part):,.0f}" for part in (replace(saved.model, novelty=None), saved.model)]
    for file in files.values():
        file.unlink()
    seconds = f"seconds for {MANY_CELLS:,} cells"
    head = ("threads", "clusters", seconds, "cells per second", "peak MB, a tenth", "peak MB, all")
    text = (
        f"{len(saved.panel)} markers; the last row has a probability for each of the {most} possible clusters. "
        "The network alone, in memory, on two threads: "
        f"{alone[0]} cells per second for the probabilities, {alone[1]} with novelty."
    )
    return [f"## assign: FCS to Parquet, {n_channels} channels", "", *table(head, rows), text, ""]


def network_alone(model: "TrainedModel") -> float:
    """Cells per second of the network, with chunks of cells in memory and two threads, as in `assign`."""
    import torch

    from cytovae.events.marker_file import EVENTS_PER_CHUNK
    from cytovae.inference.assigner import Assigner

    torch.set_num_threads(1)
    assigner = Assigner(model)
    values = np.random.default_rng(0).random((EVENTS_PER_CHUNK, len(assigner.markers)), np.float32) * 5
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(assigner.assign, [values] * 2))
        began = time.monotonic()
        list(pool.map(assigner.assign, [values] * 32))
        return 32 * EVENTS_PER_CHUNK / (time.monotonic() - began)


def apart(path: Path, n_cells: int) -> Path:
    """Simulate the file in a separate process, because a child's peak memory starts at that of its parent."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(many_channels, path, n_cells).result()


def many_channels(path: Path, n_cells: int) -> Path:
    """Simulate a file of twice as many channels as usual: all of them, and again with other noise."""
    from cytovae.fcs.file import open_fcs
    from cytovae.fcs.write import write_fcs

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (single,) = simulate(Path(folder), 1, min(n_cells, 1_000_000))
        file = open_fcs(single)
        half = file.read()
        again = half * np.random.default_rng(0).lognormal(0, SPREAD_CELL, half.shape).astype(np.float32)
        both = np.concatenate([half, again], 1)
        events = np.tile(both, (n_cells // len(both), 1))
        names = [(c.name, c.label) for c in file.channels]
        second = [(f"{name} b", f"{label} b" if label else label) for name, label in names]
        channels = [
            replace(c, index=index, name=name, label=label)
            for index, (c, (name, label)) in enumerate(zip(file.channels * 2, (*names, *second), strict=True))
        ]
        write_fcs(path, events, channels, force=True)
    return path


READERS = """
import sys, time, zlib
import numpy as np
path, reader = sys.argv[1:]
from pathlib import Path
import fcsparser
from cytovae.fcs.file import open_fcs
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before, began = peak(), time.perf_counter()
if reader == "cytovae":
    values = open_fcs(Path(path)).read()
else:
    values = fcsparser.parse(path)[1].to_numpy()
opened = time.perf_counter() - began
np.asarray(values).sum(dtype=float)
print(opened, time.perf_counter() - began, peak() - before, zlib.crc32(np.ascontiguousarray(values, "<f4")))
"""


def reading(work: Path, _data: Path) -> list[str]:
    """Our reader compared with fcsparser."""
    file = apart(work / "wide.fcs", FILE_CELLS)
    found = {}
    for reader in ("fcsparser", "cytovae"):
        runs = []
        for _ in range(5):
            done = subprocess.run([sys.executable, "-c", READERS, file, reader], stdout=subprocess.PIPE, check=True)
            runs.append(tuple(float(word) for word in done.stdout.split()))
        found[reader] = min(runs)
    # Of bytes, because the last bits of a sum depend on the alignment in memory.
    if len({checksum for *_, checksum in found.values()}) != 1:
        sys.exit(f"the readers disagree: the checksums of all values are {[each[-1] for each in found.values()]}")
    its = found["fcsparser"]
    rows = [
        [
            reader,
            f"{opened * 1000:,.1f}",
            f"{its[0] / opened:,.0f}",
            f"{summed * 1000:,.0f}",
            f"{its[1] / summed:,.1f}",
            f"{grown:,.0f}",
        ]
        for reader, (opened, summed, grown, _) in found.items()
    ]
    head = ("", "ms to open", "times faster", "ms to open and sum", "times faster", "MB of memory")
    text = f"{file.stat().st_size / 1e6:,.0f} MB of floats, best of five fresh processes."
    return ["## Reading FCS", "", text, "", *table(head, rows)]


def steps(_work: Path, data: Path) -> list[str]:
    """Training steps per second of the default and of the paper's preset."""
    import torch

    from cytovae.network.scaling import fit_scaling
    from cytovae.network.training_loop import build_network, train
    from cytovae.populations.similarity import make_similarity
    from cytovae.settings import preset

    cells = load(data_set(data, "bendall")).cells.values[:20_000]
    x = torch.tensor(fit_scaling(cells).scale(cells))
    rows = []
    for name in ("default", "paper-weber"):
        settings = preset(name)
        coordinates = (x[:, :2] * 20).numpy()  # any coordinates; the time of a step does not depend on them
        for threads in (1, 2):
            if name != "default" and threads == 2:
                continue
            torch.set_num_threads(threads)
            similarity = make_similarity(coordinates, settings, seed=0)
            started = time.monotonic()
            for _ in train(build_network(x.shape[1], settings, 0), x, similarity, None, settings, 0):
                pass
            spent = time.monotonic() - started
            steps_per_second = f"{settings.steps / spent:,.0f}"
            rows.append([name, str(settings.batch), str(threads), steps_per_second, f"{spent:.1f}"])
    torch.set_num_threads(1)
    head = ("preset", "batch", "threads", "steps per second", "seconds of training")
    return ["## Training", "", *table(head, rows)]


def sample_data(work: Path, _data: Path) -> list[str]:
    """A small training run, the first time on a machine and again."""
    files = sorted((Path(__file__).parents[2] / "sample_data").glob("*.fcs"))
    compiled = {"NUMBA_CACHE_DIR": str(work / "numba")}  # empty
    command = (*CYTOVAE, "train", *files, "-o", work / "sample", "--force", "--quiet")
    first, second = (cost(*command, environment=compiled) for _ in range(2))
    text = (
        f"First run on a machine, which compiles the functions of UMAP: {first.wall:.1f} seconds. "
        f"Second run: {second.wall:.1f} seconds, {second.memory:,.0f} MB."
    )
    return ["## train on sample_data", "", text, ""]


MARKERS_OF_PAGE = 30


def report_page(work: Path, _data: Path) -> list[str]:
    """The report of a hundred thousand cells: seconds to write it, its size, and seconds until it can be used."""
    from cytovae.fcs.file import open_fcs

    file, model, page = apart(work / "page.fcs", 100_000), work / "page-model", work / "page.html"
    markers = [c.label for c in open_fcs(file).channels if c.name.partition(" ")[0].endswith("Di") and c.label]
    chosen = ",".join(markers[:MARKERS_OF_PAGE])
    cost(*CYTOVAE, "train", file, "--markers", chosen, "-o", model, "--device", "cpu", "--quiet")
    written = cost(*CYTOVAE, "report", model, "-o", page, "--device", "cpu", "--quiet")
    ready = sorted(seconds_until_ready(page, work) for _ in range(RUNS))[RUNS // 2]
    row = [f"{written.wall:.1f}", f"{written.memory:,.0f}", f"{page.stat().st_size / 1e6:.1f}", f"{ready:.2f}"]
    head = ("seconds of report", "peak memory, MB", "MB of the page", "seconds until interactive")
    text = f"100,000 simulated cells, {MARKERS_OF_PAGE} markers; opened in headless Chromium, median of {RUNS}."
    return ["## report: the page", "", text, "", *table(head, [row])]


def seconds_until_ready(page: Path, work: Path) -> float:
    """Seconds from opening a page until its script has finished; not a number without Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return float("nan")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [browser, *flags, f"--user-data-dir={work / 'profile'}", "--dump-dom", page.resolve().as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-ready="(\d+)"', done.stdout)
    if found is None:
        sys.exit(f"{page} did not become interactive")
    return int(found[1]) / 1000


PARTS: dict[str, Callable[[Path, Path], list[str]]] = {
    part.__name__: part
    for part in (multicenter, bendall, growth, landmarks, assigning, reading, steps, sample_data, report_page)
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets with gates")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--output", type=Path, help="file for the tables, which are printed, too")
    arguments = parser.parse_args()
    lines = ["# Speed", "", f"Made by `make bench-speed` on {machine()}, one thread unless stated otherwise.", ""]
    with tempfile.TemporaryDirectory(prefix="cytovae-speed-") as temporary:
        for name in arguments.only.split(","):
            part = PARTS[name](Path(temporary), arguments.data)
            print("\n".join(part), flush=True)
            lines += part
            if arguments.output is not None:
                arguments.output.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
