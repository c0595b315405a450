"""Simulate the sample study beside this script: three small mass cytometry files of two donors, and their gates.

    python make_sample.py [FOLDER]

writes the same bytes every time. How the numbers come about is told in README.md.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs

SEED = 20240117

# Metal channel and antibody of the markers, in the order of the table below.
MARKERS = (
    ("Pr141Di", "141Pr_CD45"),
    ("Er170Di", "170Er_CD3"),
    ("Nd145Di", "145Nd_CD4"),
    ("Nd146Di", "146Nd_CD8a"),
    ("Nd142Di", "142Nd_CD19"),
    ("Gd160Di", "160Gd_CD14"),
    ("Dy163Di", "163Dy_CD56"),
    ("Sm147Di", "147Sm_CD11c"),
    ("Nd143Di", "143Nd_CD123"),
    ("Yb173Di", "173Yb_HLA-DR"),
    ("Gd155Di", "155Gd_CD45RA"),
    ("Sm154Di", "154Sm_CD27"),
)
MASSES = np.array([int(label[:3]) for _, label in MARKERS])

# Median ion counts of each population, and its share of the gated cells of a donor at baseline.
# fmt: off
POPULATIONS = (
    #                share   CD45  CD3   CD4   CD8a  CD19  CD14  CD56  CD11c CD123 HLA-DR CD45RA CD27
    ("CD4 naive",    0.260, (220., 120.,  90.,   1.0,  0.3,  0.6,  0.4,   0.7,  0.5,   0.9,  85.0,  60.0)),
    ("CD4 memory",   0.230, (230., 125.,  95.,   1.0,  0.3,  0.6,  0.5,   0.8,  0.5,   2.0,   5.0,  35.0)),
    ("CD8 T",        0.170, (240., 115.,   1.5, 140.,  0.3,  0.6,  1.2,   0.9,  0.5,   2.0,  40.0,  22.0)),
    ("B",            0.095, (180.,   0.8,  0.7,   0.5, 45.,  0.5,  0.5,   2.0,  0.8, 120.0,  70.0,   8.0)),
    ("NK",           0.085, (210.,   1.0,  0.7,   5.0,  0.3,  0.6, 32.0,   4.0,  0.6,   1.5,  80.0,   2.0)),
    ("CD14 monocyte", 0.140, (150.,   0.8,  8.0,   0.5,  0.4, 75.,  0.6, 110.0,  4.0,  90.0,   4.0,   1.0)),
    ("mDC",          0.015, (140.,   0.6, 10.0,   0.5,  0.4,  2.5,  0.6, 160.0,  6.0, 350.0,  10.0,   1.5)),
    ("pDC",          0.005, (130.,   0.7, 20.0,   0.4,  0.3,  0.6,  0.7,   2.0, 220., 130.0,  60.0,   2.0)),
)
# fmt: on
# Markers that vary more within a population than the rest: (population, marker) -> standard deviation of log counts.
WIDE = {("CD8 T", "CD45RA"): 1.0, ("CD8 T", "CD27"): 1.0, ("B", "CD27"): 1.2, ("NK", "CD8a"): 1.2}
SPREAD_POSITIVE, SPREAD_NEGATIVE = 0.45, 0.8  # of log counts, for medians above and below 5
SPREAD_CELL = 0.2  # how much brighter or dimmer a cell is in all markers
SPILL_PLUS_ONE = 0.004  # share of a metal's counts that show up one mass higher
DROPOUT = 0.01
DEBRIS, DOUBLETS = 0.04, 0.01


@dataclass(frozen=True)
class Sample:
    """One file: its name, number of events, donor (0 or 1), barcode and whether the cells were stimulated."""

    name: str
    n_events: int
    donor: int
    barcode: tuple[int, int]
    stimulated: bool


SAMPLES = (
    Sample("donor1_baseline", 4500, 0, (1, 0), False),
    Sample("donor1_stim", 4000, 0, (0, 1), True),
    Sample("donor2_baseline", 3500, 1, (1, 1), False),
)
# How a donor differs: brightness of each marker, and more or less of each population.
DONOR_BRIGHTNESS = np.random.default_rng([SEED, 100]).lognormal(0.0, 0.1, size=(2, len(MARKERS)))
DONOR_SHARES = np.array([[1.0] * 8, [0.8, 1.2, 1.1, 0.8, 1.3, 0.9, 1.0, 1.0]])


def marker_column(antibody: str) -> int:
    """The column of a marker."""
    return [label.partition("_")[2] for _, label in MARKERS].index(antibody)


def draw_cells(population: int, n_cells: int, sample: Sample, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ion counts of cells of one population, (n_cells, n_markers): Poisson around a log-normal intensity."""
    name, _, row = POPULATIONS[population]
    medians = np.array(row)
    spread = np.where(medians > 5, SPREAD_POSITIVE, SPREAD_NEGATIVE)
    for (wide, antibody), value in WIDE.items():
        if wide == name:
            spread[marker_column(antibody)] = value
    if sample.stimulated:
        medians = stimulate(name, medians)
    intensity = medians * DONOR_BRIGHTNESS[sample.donor] * np.exp(rng.normal(0.0, spread, size=(n_cells, len(MARKERS))))
    intensity *= rng.lognormal(0.0, SPREAD_CELL, size=(n_cells, 1))
    for source, target in zip(*np.nonzero(MASSES[:, None] + 1 == MASSES[None, :]), strict=True):
        intensity[:, target] += SPILL_PLUS_ONE * intensity[:, source]
    counts: NDArray[np.float64] = rng.poisson(intensity).astype(np.float64)
    counts[rng.random(counts.shape) < DROPOUT] = 0
    return counts


def stimulate(population: str, medians: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians after stimulation: monocytes shed CD14 and gain HLA-DR, memory cells lose CD27 and gain HLA-DR."""
    factors = {
        "CD14 monocyte": {"CD14": 0.6, "HLA-DR": 1.8},
        "CD4 memory": {"CD27": 0.7, "HLA-DR": 2.5},
        "CD8 T": {"CD27": 0.8, "HLA-DR": 2.0},
        "NK": {"CD56": 1.3},
    }
    changed = medians.copy()
    for antibody, factor in factors.get(population, {}).items():
        changed[marker_column(antibody)] *= factor
    return changed


def draw_sample(sample: Sample, rng: np.random.Generator) -> tuple[NDArray[np.float32], list[str]]:
    """Events (n_events, n_channels) in the order of :func:`channels`, and the population of each ("" where ungated)."""
    n_debris, n_doublets = round(DEBRIS * sample.n_events), round(DOUBLETS * sample.n_events)
    n_gated = sample.n_events - n_debris - n_doublets
    shares = np.array([share for _, share, _ in POPULATIONS]) * DONOR_SHARES[sample.donor]
    sizes = np.floor(shares / shares.sum() * n_gated).astype(int)
    sizes[0] += n_gated - sizes.sum()

    cells = np.concatenate([draw_cells(number, size, sample, rng) for number, size in enumerate(sizes)])
    gates = [POPULATIONS[number][0] for number, size in enumerate(sizes) for _ in range(size)]
    pairs = rng.integers(n_gated, size=(n_doublets, 2))
    doublets = cells[pairs[:, 0]] + cells[pairs[:, 1]]
    debris = rng.poisson(rng.lognormal(0.0, 1.0, size=(n_debris, len(MARKERS)))).astype(np.float64)
    debris[:, 0] = rng.poisson(rng.lognormal(2.5, 1.0, size=n_debris))
    markers = np.concatenate([cells, debris, doublets])
    gates += [""] * (n_debris + n_doublets)

    kind = np.repeat([0, 1, 2], [n_gated, n_debris, n_doublets])  # cell, debris, doublet
    dna = rng.lognormal(np.log(np.array([350.0, 25.0, 700.0])[kind]), np.array([0.15, 0.8, 0.15])[kind])
    length = rng.normal(np.array([28.0, 18.0, 45.0])[kind], 4.0)
    viability = rng.lognormal(np.log(np.array([3.0, 150.0, 6.0])[kind]), 0.7)
    barcode = rng.lognormal(np.log(np.where(sample.barcode, 180.0, 0.5)), 0.4, size=(sample.n_events, 2))
    events = np.column_stack(
        [
            np.maximum(10, np.rint(length)),
            markers,
            rng.poisson(dna),
            rng.poisson(1.75 * dna),
            rng.poisson(0.4, size=sample.n_events),
            rng.poisson(viability),
            rng.poisson(barcode),
        ]
    )
    order = rng.permutation(sample.n_events)
    # About 250 events a second, in milliseconds.
    time = np.cumsum(np.maximum(1, np.rint(rng.exponential(4.0, size=sample.n_events))))
    return np.column_stack([time, events[order]]).astype(np.float32), [gates[row] for row in order]


def channels() -> tuple[Channel, ...]:
    """The 20 channels of every file."""
    names = [
        ("Time", ""),
        ("Event_length", ""),
        *MARKERS,
        ("Ir191Di", "191Ir_DNA1"),
        ("Ir193Di", "193Ir_DNA2"),
        ("Ce140Di", "140Ce_Beads"),
        ("Pt195Di", "195Pt_Viability"),
        ("Pd102Di", "102Pd_BC1"),
        ("Pd104Di", "104Pd_BC2"),
    ]
    return tuple(Channel(index, name, label, 4096.0) for index, (name, label) in enumerate(names))


def write_study(folder: Path) -> None:
    """Write the three FCS files and their gates into ``folder``, over what is there."""
    for number, sample in enumerate(SAMPLES):
        events, gates = draw_sample(sample, np.random.default_rng([SEED, number]))
        keywords = {"$CYT": "simulated mass cytometer", "$FIL": f"{sample.name}.fcs"}
        write_fcs(folder / f"{sample.name}.fcs", events, channels(), keywords, force=True)
        lines = "".join(f"{gate}\n" for gate in ("population", *gates))
        (folder / f"{sample.name}.gates.csv").write_text(lines, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_study(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
