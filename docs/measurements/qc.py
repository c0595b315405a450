"""Check `cytovae qc` on simulated files whose faults are known, and run it on a folder of real files.

    python docs/measurements/qc.py --data ../shared/data/fcs_corpus --output docs/results/qc.md

A simulated flow file has 4 populations, 10 fluorescence channels, scatter with area and height, a viability dye and
Time; a mass file has 20 markers, two DNA channels, cisplatin and Time. Takes five minutes on one core; --times 0.1
simulates a tenth of the files. Set OMP_NUM_THREADS=1 for the seconds.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

import cytovae
from cytovae.errors import InputError
from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.quality.check import REASONS
from cytovae.quality.file_quality import FileQuality, check_file

Values = NDArray[np.float32]
Faults = dict[str, NDArray[np.bool_]]

TOP = 262_144.0
N_FILES, N_EVENTS = 20, 50_000
SIZES = (10_000, 50_000, 500_000)
LARGE = 5_000_000
DRIFTS = {"all markers × 0.5 in 10 % of the file": 0.5, "all markers × 0.7": 0.7, "all markers × 0.85": 0.85}


@dataclass(frozen=True)
class Simulated:
    """A simulated file: values (n_events, n_channels), the channels, and which events have which fault."""

    values: Values
    channels: tuple[Channel, ...]
    faults: Faults


# --- simulated files --------------------------------------------------------------------------------------------------


def shares_of(rng: np.random.Generator, n: int, **shares: float) -> Faults:
    """Which of ``n`` events have each fault; an event has one at most."""
    drawn = rng.random(n)
    faults, start = {}, 0.0
    for name, share in shares.items():
        faults[name] = (drawn >= start) & (drawn < start + share)
        start += share
    return faults


def flow(rng: np.random.Generator, n: int, faults: Faults, drift: float = 1.0, overflow: float = 0.0) -> Simulated:
    """A flow cytometry file; ``overflow`` is the share of the events whose side scatter is beyond the detector."""
    size = np.array([80_000.0, 85_000.0, 130_000.0, 165_000.0])
    population = rng.choice(4, n, p=[0.4, 0.2, 0.15, 0.25])
    area = size[population] * rng.normal(1, 0.1, n)
    none = np.zeros(n, np.bool_)
    debris, doublet, dead = (faults.get(name, none) for name in ("debris", "doublet", "dead"))
    area[debris] = 12_000 * rng.lognormal(0, 0.4, int(debris.sum()))
    height = area * 0.8 * rng.normal(1, 0.015, n)
    partner = size[rng.choice(4, int(doublet.sum()))] * rng.normal(1, 0.1, int(doublet.sum()))
    height[doublet] = np.maximum(height[doublet], 0.8 * partner) * rng.uniform(1, 1.15, int(doublet.sum()))
    area[doublet] += partner
    side = np.array([30_000.0, 35_000.0, 60_000.0, 140_000.0])[population] * rng.lognormal(0, 0.15, n)
    side[debris] *= 0.1
    saturated = (rng.random(n) < overflow) & ~debris
    side[saturated] = TOP
    means = np.random.default_rng(7).choice([1.0, 3.5, 5.5], (4, 10))
    markers = 150 * np.sinh(means[population] + rng.normal(0, 0.45, (n, 10)))
    viability = np.where(dead, 15_000, 300) * rng.lognormal(0, 0.5, n)
    markers[debris] = 150 * np.sinh(rng.normal(0, 0.5, (int(debris.sum()), 10)))
    stretch = drifted(n, drift)
    markers[stretch] *= drift
    values = np.column_stack([area, height, side, side * 0.75, markers, viability, times(rng, n)])
    values[:, :-1] = np.minimum(values[:, :-1], TOP - 1)
    names = ("FSC-A", "FSC-H", "SSC-A", "SSC-H", *(f"{dye}-A" for dye in DYES), "Zombie NIR-A", "Time")
    labels = ("", "", "", "", *ANTIGENS, "Viability", "")
    channels = tuple(Channel(i, name, label, TOP) for i, (name, label) in enumerate(zip(names, labels, strict=True)))
    at_end = (values[:, :4] >= TOP - 1).any(axis=1)
    return Simulated(values.astype(np.float32), channels, {**faults, "margin": at_end, "drift": stretch})


DYES = ("FITC", "PE", "APC", "BV421", "BV510", "BV605", "BV650", "BV711", "PerCP-Cy5-5", "PE-Cy7")
ANTIGENS = ("CD3", "CD4", "CD8", "CD19", "CD56", "CD14", "CD16", "CD27", "CD45RA", "CCR7")
METALS = (141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 158, 159, 160, 161)


def mass(rng: np.random.Generator, n: int, faults: Faults, drift: float = 1.0, overflow: float = 0.0) -> Simulated:
    """A mass cytometry file. It has no scale that could overflow."""
    del overflow
    population = rng.choice(6, n, p=[0.3, 0.25, 0.15, 0.15, 0.1, 0.05])
    means = np.log(np.random.default_rng(8).choice([0.5, 8.0, 80.0], (6, len(METALS))))
    none = np.zeros(n, np.bool_)
    debris, doublet, dead = (faults.get(name, none) for name in ("debris", "doublet", "dead"))
    brightness = np.exp(means[population] + rng.normal(0, 0.4, (n, len(METALS))))
    content = rng.lognormal(0, 0.12, n)
    content[doublet] += rng.lognormal(0, 0.12, int(doublet.sum()))
    brightness[doublet] += np.exp(means[rng.choice(6, int(doublet.sum()))])
    content[debris] *= rng.lognormal(np.log(0.03), 0.5, int(debris.sum()))
    brightness[debris] *= 0.1
    stretch = drifted(n, drift)
    brightness[stretch] *= drift
    dna = rng.poisson(content[:, None] * [250, 430])
    viability = rng.poisson(np.where(dead, 150, 3) * rng.lognormal(0, 0.6, n))
    values = np.column_stack([times(rng, n), rng.poisson(20, n) + 10, rng.poisson(brightness), dna, viability])
    names = ("Time", "Event_length", *(f"X{metal}Di" for metal in METALS), "Ir191Di", "Ir193Di", "Pt195Di")
    labels = ("", "", *(f"{metal}X_CD{i + 1}" for i, metal in enumerate(METALS)), "DNA1", "DNA2", "Cisplatin")
    channels = tuple(Channel(i, name, label, 8192.0) for i, (name, label) in enumerate(zip(names, labels, strict=True)))
    return Simulated(values.astype(np.float32), channels, {**faults, "drift": stretch})


def drifted(n: int, drift: float) -> NDArray[np.bool_]:
    """The stretch from 60 to 70 % of the events, if there is a drift."""
    place = np.arange(n) / n
    return (place >= 0.6) & (place < 0.7) & (drift != 1)


def times(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Times of acquisition, 2,000 events a second."""
    return np.cumsum(rng.exponential(1 / 2_000, n)) * 100


Maker = Callable[..., Simulated]
MAKERS: dict[str, Maker] = {"flow": flow, "mass": mass}


def checked(simulated: Simulated, folder: Path) -> FileQuality:
    """Write a simulated file and check it."""
    path = folder / "simulated.fcs"
    write_fcs(path, simulated.values, simulated.channels, force=True)
    return check_file(open_events(path), path.name)


# --- what is found ----------------------------------------------------------------------------------------------------


def clean_files(n_files: int, folder: Path) -> list[list[str]]:
    """Share of events that fail in files without any fault: mean, and the worst file."""
    rows = []
    for kind, make in MAKERS.items():
        for size in SIZES:
            shares = []
            for seed in range(max(2, n_files * 20_000 // max(size, 20_000))):
                rng = np.random.default_rng([1, seed, size])
                quality = checked(make(rng, size, {}), folder)
                shares.append([share(check.failed) for check in quality.checks] + [quality.n_failed / size])
            table = np.array(shares)
            cells = [
                "not done" if np.isnan(column).all() else f"{column.mean():.2%} ({column.max():.2%})"
                for column in table.T
            ]
            rows.append([kind, f"{size:,}", str(len(table)), *cells])
    return rows


def share(failed: NDArray[np.bool_] | None) -> float:
    """The share of events that fail; NaN if the check was not done."""
    return float("nan") if failed is None else float(failed.mean())


def faulty_files(n_files: int, folder: Path) -> Iterator[list[str]]:
    """For each fault and kind of file: the share of its events that fail, and of all other events."""
    cases: list[tuple[str, str, dict[str, float], float, float]] = [
        ("margin", "2 % beyond the scale", {}, 1.0, 0.02),
        ("debris", "10 %", {"debris": 0.1}, 1.0, 0.0),
        ("debris", "40 %", {"debris": 0.4}, 1.0, 0.0),
        ("doublet", "5 %", {"doublet": 0.05}, 1.0, 0.0),
        ("doublet", "15 %", {"doublet": 0.15}, 1.0, 0.0),
        ("dead", "5 %", {"dead": 0.05}, 1.0, 0.0),
        ("dead", "40 %", {"dead": 0.4}, 1.0, 0.0),
        *(("drift", what, {}, factor, 0.0) for what, factor in DRIFTS.items()),
        ("all", "debris 5 %, doublets 5 %, dead 5 %, drift × 0.5", MIXED, 0.5, 0.0),
    ]
    for reason, what, shares, drift, overflow in cases:
        for kind, make in MAKERS.items():
            if reason == "margin" and kind == "mass":
                continue
            found, false = [], []
            for seed in range(n_files):
                rng = np.random.default_rng([2, seed])
                simulated = make(rng, N_EVENTS, shares_of(rng, N_EVENTS, **shares), drift, overflow)
                quality = checked(simulated, folder)
                fault = np.any(list(simulated.faults.values()), axis=0)
                if reason != "all":
                    fault = simulated.faults[reason]
                    failed = quality.checks[REASONS.index(reason)].failed
                    found.append(share(failed[fault]) if failed is not None else 0)
                else:
                    found.append(float((quality.reason[fault] > 0).mean()))
                false.append(float((quality.reason[~fault] > 0).mean()))
            yield [reason, what, kind, f"{np.mean(found):.1%}", f"{np.min(found):.1%}", f"{np.mean(false):.2%}"]


MIXED = {"debris": 0.05, "doublet": 0.05, "dead": 0.05}


def cost_of_large(folder: Path) -> str:
    """Seconds and peak memory of `cytovae qc` on a file of five million events with 30 channels."""
    rng = np.random.default_rng(3)
    simulated = flow(rng, 500_000, {})
    markers = np.tile(simulated.values[:, 4:14], (1, 2))
    values = np.hstack([simulated.values[:, :14], markers[:, :14], simulated.values[:, 14:]])
    names = [
        *(c.name for c in simulated.channels[:14]),
        *(f"BUV{300 + i}-A" for i in range(14)),
        "Zombie NIR-A",
        "Time",
    ]
    channels = tuple(Channel(i, name, "", TOP) for i, name in enumerate(names))
    values = np.tile(values, (LARGE // len(values), 1))
    values[:, -1] = np.arange(LARGE) / 20
    path = folder / "large.fcs"
    write_fcs(path, values, channels, force=True)
    del values
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WITH_MEMORY, str(path), str(folder / "qc")], check=True, capture_output=True, text=True
    )
    seconds = perf_counter() - began
    memory = int(done.stdout.split()[1]) / 1024
    return f"{LARGE:,} events with {len(channels)} channels: {seconds:.0f} s, at most {memory:.0f} MiB of memory."


# The peak of the process itself: what getrusage says of a child includes the parent's memory at the fork.
WITH_MEMORY = """
import sys
from pathlib import Path
from cytovae.cli.main import run
sys.argv = ["cytovae", "qc", sys.argv[1], "-o", sys.argv[2], "--quiet"]
try:
    run()
finally:
    print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def real_files(data: Path) -> Iterator[list[str]]:
    """What is found in each file of a folder that has events enough for all thresholds."""
    for path in sorted(data.iterdir()):
        if path.suffix.casefold() not in (".fcs", ".lmd"):
            continue
        try:
            file = open_events(path)
        except InputError:
            continue
        if file.n_events < 1_000:
            continue
        quality = check_file(file, path.name)
        cells = ["—" if check.failed is None else f"{share(check.failed):.1%}" for check in quality.checks]
        name = path.stem.partition("__")[2] or path.stem
        yield [name[:48], f"{file.n_events:,}", *cells, f"{quality.n_failed / quality.n_events:.1%}"]


# --- the page ---------------------------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def processor() -> str:
    """The name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of FCS files")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--times", type=float, default=1.0)
    options = parser.parse_args()
    n_files = max(2, round(N_FILES * options.times))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clean = clean_files(n_files, folder)
        faulty = list(faulty_files(n_files, folder))
        large = cost_of_large(folder) if options.times >= 1 else "not measured"
    real = list(real_files(options.data)) if options.data else []
    page = PAGE.format(
        version=cytovae.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        cpu=processor(),
        n_files=n_files,
        n_events=f"{N_EVENTS:,}",
        clean=table(["file", "events", "files", *REASONS, "any"], clean),
        faulty=table(["check", "fault", "file", "found", "in the worst file", "of the others"], faulty),
        large=large,
        real=table(["file", "events", *REASONS, "any"], real) if real else "Not measured.",
    )
    options.output.write_text(page, encoding="utf-8")


PAGE = """# Quality control: what is found

`python docs/measurements/qc.py` simulates files whose faults are known, and runs `cytovae qc` on them and on a folder
of real files. [Quality control](../qc.md) names the thresholds. Most are PeacoQC's; how courses of peaks are
smoothed, the least bandwidth of counts and the fewest events for a drift were chosen on simulated files like these and
on the real files below. The seeds of this page chose nothing.

Measured with cytovae {version}, numpy {numpy}, Python {python}, on {cpu}.

## Files without a fault

Share of the events that fail, mean over the files (and in the worst one). Doublets of a flow file are an outlier rule,
so a few events always fail it.

{clean}

## Files with a fault

{n_files} files of {n_events} events for each row. "Found" is the share of the faulty events that the check fails, "of
the others" the share of all other events that any check fails. The marker values of a drift are multiplied in the
stretch from 60 to 70 % of the events; a bin at its edge fails as a whole.

{faulty}

## Cost

{large}

## Real files

The corpus has no truth, so this table says only what a user would see: the share of the events that each check fails.
“—” is a check that was not done. Files are those with at least 1,000 events; beads, buffer and bacteria are among them.

{real}
"""

if __name__ == "__main__":
    main()
