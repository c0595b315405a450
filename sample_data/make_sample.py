"""Simulate the sample study beside this script: six small mass cytometry files, their gates, and their sample sheet.

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

SEED = 1

# Metal channel and antibody of the markers: twelve type markers, then four state markers.
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
    ("Eu153Di", "153Eu_pSTAT1"),
    ("Nd150Di", "150Nd_pSTAT5"),
    ("Gd156Di", "156Gd_p-p38"),
    ("Lu175Di", "175Lu_pS6"),
)
# Share of each population among the gated cells of a donor at baseline, and median ion counts of its type markers.
# fmt: off
POPULATIONS = (
    #                  share   CD45  CD3   CD4   CD8a  CD19  CD14  CD56  CD11c CD123 HLA-DR CD45RA CD27
    ("CD4 naive",     0.260, (220., 120.,  90.,   1.0,  0.3,  0.6,  0.4,   0.7,  0.5,   0.9,  85.0,  60.0)),
    ("CD4 memory",    0.230, (230., 125.,  95.,   1.0,  0.3,  0.6,  0.5,   0.8,  0.5,   2.0,   5.0,  35.0)),
    ("CD8 T",         0.170, (240., 115.,   1.5, 140.,  0.3,  0.6,  1.2,   0.9,  0.5,   2.0,  40.0,  22.0)),
    ("B",             0.095, (180.,   0.8,  0.7,   0.5, 45.,  0.5,  0.5,   2.0,  0.8, 120.0,  70.0,   8.0)),
    ("NK",            0.085, (210.,   1.0,  0.7,   5.0,  0.3,  0.6, 32.0,   4.0,  0.6,   1.5,  80.0,   2.0)),
    ("CD14 monocyte", 0.133, (150.,   0.8,  8.0,   0.5,  0.4, 75.,  0.6, 110.0,  4.0,  90.0,   4.0,   1.0)),
    ("mDC",           0.020, (140.,   0.6, 10.0,   0.5,  0.4,  2.5,  0.6, 160.0,  6.0, 350.0,  10.0,   1.5)),
    ("pDC",           0.007, (130.,   0.7, 20.0,   0.4,  0.3,  0.6,  0.7,   2.0, 220., 130.0,  60.0,   2.0)),
)
# Median ion counts of the state markers at baseline, in the order of the populations.
STATES = (
    # pSTAT1 pSTAT5 p-p38  pS6
    (  8.0,  14.0,   6.0,   9.0),
    (  8.0,  16.0,   7.0,  12.0),
    (  8.0,  12.0,   7.0,  11.0),
    ( 10.0,   9.0,   6.0,  14.0),
    (  9.0,  13.0,   8.0,  10.0),
    ( 11.0,   9.0,   9.0,  16.0),
    ( 11.0,   9.0,   9.0,  16.0),
    ( 12.0,   8.0,   7.0,  13.0),
)
# fmt: on
NAMES = tuple(name for name, _, _ in POPULATIONS)
# Markers that vary more within a population than the rest: (population, marker) -> standard deviation of log counts.
WIDE = {
    ("CD4 naive", "CD45RA"): 0.6,
    ("CD4 memory", "CD45RA"): 0.95,
    ("CD8 T", "CD45RA"): 1.0,
    ("CD8 T", "CD27"): 1.0,
    ("B", "CD27"): 1.2,
    ("NK", "CD8a"): 1.2,
}
SPREAD_POSITIVE, SPREAD_NEGATIVE = 0.45, 0.8  # of log counts, for medians above and below 5
SPREAD_CELL = 0.2  # how many more or fewer ions of a cell are detected, in all channels

# The two differences that stimulation makes.
RAISED = ("CD14 monocyte", "p-p38", 2.5)  # population, marker, factor of the median
RARER = ("mDC", 1 / 4)  # population, factor of its share

# Shares of a metal's ions that are counted at other masses.
SPILL_PLUS_ONE, SPILL_MINUS_ONE = 0.004, 0.002  # tails of the peak
SPILL_SAME_METAL = 0.005  # isotopic impurity
SPILL_OXIDE = 0.01  # 16 mass units higher
DRIFT = 0.05  # share of the sensitivity that is lost from the first event of a file to the last

DEBRIS, DEAD, DOUBLETS = 0.025, 0.015, 0.01  # shares of the events

# How donors and samples differ, as standard deviations of logarithms.
DONOR_BRIGHTNESS, SAMPLE_BRIGHTNESS = 0.10, 0.03  # of the counts of each marker
DONOR_SHARE, SAMPLE_SHARE = 0.12, 0.05  # of the share of each population


@dataclass(frozen=True)
class Sample:
    """One file: its name, number of events, donor (from 0), barcode and whether the cells were stimulated."""

    name: str
    n_events: int
    donor: int
    barcode: tuple[int, int, int]
    stimulated: bool

    @property
    def condition(self) -> str:
        """The condition, as in the sample sheet."""
        return "stimulated" if self.stimulated else "baseline"


SAMPLES = (
    Sample("donor1_baseline", 2200, 0, (1, 1, 0), False),
    Sample("donor1_stim", 2000, 0, (1, 0, 0), True),
    Sample("donor2_baseline", 1900, 1, (0, 1, 1), False),
    Sample("donor2_stim", 2100, 1, (0, 1, 0), True),
    Sample("donor3_baseline", 2000, 2, (1, 0, 1), False),
    Sample("donor3_stim", 1800, 2, (0, 0, 1), True),
)
N_DONORS = 3
# Parts of the study with random numbers of their own, after the numbers of the samples.
DONORS = 100


def marker_column(antibody: str) -> int:
    """The column of a marker."""
    return [label.partition("_")[2] for _, label in MARKERS].index(antibody)


def spill_matrix() -> NDArray[np.float64]:
    """The share of the ions of each marker (rows) that is counted in the channel of each other one (columns)."""
    mass = np.array([int(label[:3]) for _, label in MARKERS])
    metal = np.array([name[:2] for name, _ in MARKERS])
    apart = mass[None, :] - mass[:, None]
    spill = np.where((metal[:, None] == metal[None, :]) & (apart != 0), SPILL_SAME_METAL, 0.0)
    spill += SPILL_PLUS_ONE * (apart == 1) + SPILL_MINUS_ONE * (apart == -1) + SPILL_OXIDE * (apart == 16)
    return spill


def shares_of(sample: Sample, seed: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The share of each population in a sample: that of the donor, changed by chance and by stimulation."""
    donors = np.random.default_rng([seed, DONORS]).normal(0.0, DONOR_SHARE, size=(N_DONORS, len(NAMES)))
    shares = np.array([share for _, share, _ in POPULATIONS])
    shares = shares * np.exp(donors[sample.donor] + rng.normal(0.0, SAMPLE_SHARE, size=len(NAMES)))
    if sample.stimulated:
        shares[NAMES.index(RARER[0])] *= RARER[1]
    return shares / shares.sum()


def brightness_of(sample: Sample, seed: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How bright each marker is in a sample: a factor of the donor's and one of the staining."""
    donors = np.random.default_rng([seed, DONORS + 1]).normal(0.0, DONOR_BRIGHTNESS, size=(N_DONORS, len(MARKERS)))
    factors: NDArray[np.float64] = np.exp(donors[sample.donor] + rng.normal(0.0, SAMPLE_BRIGHTNESS, len(MARKERS)))
    return factors


def draw_metal(population: NDArray[np.int64], sample: Sample, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much of each metal is on cells, (n_cells, n_markers), in ions that the detector counts on average."""
    medians = np.column_stack([[row for _, _, row in POPULATIONS], STATES])
    spread = np.where(medians > 5, SPREAD_POSITIVE, SPREAD_NEGATIVE)
    for (name, antibody), value in WIDE.items():
        spread[NAMES.index(name), marker_column(antibody)] = value
    if sample.stimulated:
        name, antibody, factor = RAISED
        medians[NAMES.index(name), marker_column(antibody)] *= factor
    return medians[population] * np.exp(rng.normal(0.0, spread[population]))


def draw_sample(number: int, seed: int = SEED) -> tuple[NDArray[np.float32], list[str]]:
    """Events (n_events, n_channels) in the order of :func:`channels`, and the population of each ("" where ungated)."""
    sample, rng = SAMPLES[number], np.random.default_rng([seed, number])
    n = sample.n_events
    n_debris, n_dead, n_doublets = (round(share * n) for share in (DEBRIS, DEAD, DOUBLETS))
    n_gated = n - n_debris - n_dead - n_doublets
    shares, brightness = shares_of(sample, seed, rng), brightness_of(sample, seed, rng)

    # Cells, first and second of the doublets, dead cells.
    population = rng.choice(len(NAMES), size=n_gated + 2 * n_doublets + n_dead, p=shares)
    metal = draw_metal(population, sample, rng) * brightness
    cells, first, second, dead = np.split(metal, np.cumsum([n_gated, n_doublets, n_doublets]))
    # Dead cells have lost a part of their surface, and bind antibodies of every kind.
    dead = 0.6 * dead + rng.lognormal(np.log(2.0), 0.6, size=dead.shape)
    # Debris is a small part of a cell.
    debris = cells[rng.integers(n_gated, size=n_debris)] * rng.lognormal(np.log(0.03), 0.6, size=(n_debris, 1))
    kind = np.repeat([0, 1, 2, 3], [n_gated, n_doublets, n_dead, n_debris])
    gates = [NAMES[index] for index in population[:n_gated]] + [""] * (n - n_gated)

    dna = rng.lognormal(np.log(np.array([350.0, 700.0, 300.0, 20.0])[kind]), np.array([0.15, 0.15, 0.3, 0.8])[kind])
    viability = rng.lognormal(np.log(np.array([3.0, 6.0, 150.0, 10.0])[kind]), 0.5)
    barcode = rng.lognormal(np.log(np.where(sample.barcode, 180.0, 0.5)), 0.3, size=(n, 3))
    length = np.maximum(10, np.rint(rng.normal(np.array([28.0, 45.0, 27.0, 16.0])[kind], 4.0)))

    # The detector sees a share of the ions of a cell, the same for all metals, and counts them one by one.
    when = rng.random(n)
    detected = rng.lognormal(0.0, SPREAD_CELL, size=n) * (1 - DRIFT * when)
    stained = np.concatenate([cells, first + second, dead, debris])
    stained += stained @ spill_matrix()
    other = np.column_stack([dna, 1.75 * dna, np.full(n, 0.4), viability, barcode])
    counts = rng.poisson(detected[:, None] * np.column_stack([stained, other]))

    order = np.argsort(when)
    # About 250 events a second, in milliseconds.
    time = np.cumsum(np.maximum(1, np.rint(rng.exponential(4.0, size=n))))
    events = np.column_stack([time, length[order], counts[order]])
    return events.astype(np.float32), [gates[row] for row in order]


def channels() -> tuple[Channel, ...]:
    """The 25 channels of every file."""
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
        ("Pd105Di", "105Pd_BC3"),
    ]
    return tuple(Channel(index, name, label, 4096.0) for index, (name, label) in enumerate(names))


def write_lines(path: Path, lines: list[str]) -> None:
    """Write lines of text with the same line ends on every system."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def write_study(folder: Path) -> None:
    """Write the FCS files, their gates and the sample sheet into ``folder``, over what is there."""
    for number, sample in enumerate(SAMPLES):
        events, gates = draw_sample(number)
        keywords = {"$CYT": "simulated mass cytometer", "$FIL": f"{sample.name}.fcs"}
        write_fcs(folder / f"{sample.name}.fcs", events, channels(), keywords, force=True)
        write_lines(folder / f"{sample.name}.gates.csv", ["population", *gates])
    rows = [f"{each.name}.fcs,{each.name},donor{each.donor + 1},{each.condition}" for each in SAMPLES]
    write_lines(folder / "samples.csv", ["file,sample,donor,condition", *rows])


if __name__ == "__main__":
    write_study(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
