"""Check the statistics of `cytovae compare` on simulated studies, and describe the Bodenmiller wells.

    python docs/measurements/compare.py --data ../shared/data --output docs/results/compare.md

Studies have 20 populations (30 % to 0.1 % of the cells) in samples of about 10,000 cells. Takes half an hour on one
core; --times 0.1 runs a tenth of the studies.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from cytovae.comparison import abundance
from cytovae.comparison.abundance import Difference, compare_abundance
from cytovae.comparison.design import Design, Factor
from cytovae.fcs.file import open_fcs

Values = NDArray[np.float64]

PERCENT = (30, 17.4, 12, 9, 7, 5, 4, 3.1, 2.6, 2.1, 1.7, 1.4, 1, 0.9, 0.7, 0.7, 0.6, 0.5, 0.2, 0.1)
SHARES = np.array(PERCENT) / 100
CELLS = (8_000, 12_001)
LEVEL = 0.05
NULL_STUDIES, MORE_NULL_STUDIES, SPIKED_STUDIES = 200, 400, 100
SPIKED = (5.0, 1.0, 0.1)
FOLDS = (1.5, 2.0, 3.0)
LARGE_FOLD = 2.0
WELLS = {"H01": "vanadate", "H05": "reference", "H08": "BCR/FcR-XL", "H12": "PMA/ionomycin"}


# --- simulated studies ------------------------------------------------------------------------------------------------


def by_dirichlet(mean: Values, rng: np.random.Generator) -> Values:
    """Shares that vary as a Dirichlet distribution of precision 1,000: by 5 % in the largest population."""
    return rng.dirichlet(mean * 1_000)


def by_factor(mean: Values, rng: np.random.Generator, spread: float = 0.3) -> Values:
    """Shares that vary by a log-normal factor: by 30 % in every population."""
    shares = mean * np.exp(rng.normal(0, spread, len(mean)))
    return shares / shares.sum()


Variation = Callable[[Values, np.random.Generator], Values]
VARIATIONS: dict[str, Variation] = {"Dirichlet-multinomial": by_dirichlet, "log-normal": by_factor}


def design_of(per_group: int, *, paired: bool = False) -> Design:
    """As many control as treated samples; ``paired`` adds a donor of each pair as a block."""
    condition = Factor("condition", ("control",) * per_group + ("treated",) * per_group)
    donor = Factor("donor", tuple(f"d{number}" for number in range(per_group)) * 2)
    return Design(condition, "control", (donor,) if paired else ())


def study(
    variation: Variation,
    rng: np.random.Generator,
    *,
    per_group: int = 5,
    spiked: int | None = None,
    fold: float = 1.0,
    donors: Sequence[Values] = (),
) -> NDArray[np.int64]:
    """Counts (n_samples, 20). In treated samples, ``spiked`` has ``fold`` times as many cells.

    ``donors`` are factors of the shares of each donor, who has a sample in both groups.
    """
    rows = []
    for sample in range(2 * per_group):
        mean = SHARES * (donors[sample % per_group] if donors else 1)
        if spiked is not None and sample >= per_group:
            mean[spiked] *= fold
        rows.append(rng.multinomial(rng.integers(*CELLS), variation(mean / mean.sum(), rng)))
    return np.array(rows, dtype=np.int64)


def paired_study(rng: np.random.Generator) -> NDArray[np.int64]:
    """Five donors that differ by 40 %, with a control and a treated sample each that differ by 15 %."""
    donors = [np.exp(rng.normal(0, 0.4, len(SHARES))) for _ in range(5)]
    return study(lambda mean, random: by_factor(mean, random, 0.15), rng, donors=donors)


@dataclass(frozen=True)
class Tests:
    """p values and false discovery rates (n_studies, 20); NaN for populations that are not tested."""

    p: Values
    fdr: Values


def run(studies: Iterator[NDArray[np.int64]], design: Design) -> Tests:
    """The tests of every study."""
    found: list[tuple[Difference, ...]] = [compare_abundance(cells, design) for cells in studies]
    p = np.array([[difference.effect.p for difference in of_study] for of_study in found])
    return Tests(p, np.array([[difference.fdr for difference in of_study] for of_study in found]))


# --- tables -----------------------------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)


def rejections(tests: Tests, only: slice = slice(None)) -> tuple[Values, NDArray[np.int64]]:
    """For each population, the share of tests with p ≤ 5 % and the number of tests."""
    p = tests.p[only]
    n = np.isfinite(p).sum(axis=0)
    return np.nansum(p <= LEVEL, axis=0) / np.maximum(n, 1), n


def n_outside(shares: Values, n: NDArray[np.int64]) -> int:
    """How many shares are outside the 95 % interval of Clopper and Pearson for 5 % of ``n`` tests."""
    low, high = proportion_confint(LEVEL * n, np.maximum(n, 1), alpha=0.05, method="beta")
    return int(((shares < low) | (shares > high))[n > 0].sum())


def null_tables(times: float) -> str:
    """Shares of rejections where nothing differs."""
    n_first, n_all = round(NULL_STUDIES * times), round((NULL_STUDIES + MORE_NULL_STUDIES) * times)
    columns: list[list[str]] = [[f"{percent:g} %" for percent in PERCENT]]
    outside = ["outside"]
    header = ["population"]
    for name, variation in VARIATIONS.items():
        rng = np.random.default_rng(0)
        tests = run((study(variation, rng) for _ in range(n_all)), design_of(5))
        for part in (slice(n_first), slice(None)):
            shares, n = rejections(tests, part)
            full = n_first if part.stop else n_all
            header.append(f"{name}, {full} studies")
            columns.append([f"{s:.1%}" + (f" of {m}" if m < full else "") for s, m in zip(shares, n, strict=True)])
            outside.append(f"{n_outside(shares, n)} of {len(n)}")
        print("null", name, *columns[-2:], outside, flush=True)
    first = table(header, [*zip(*columns, strict=True), outside])
    rows = []
    for name, simulate, design in (
        ("three against three", lambda rng: study(by_factor, rng, per_group=3), design_of(3)),
        ("five pairs, with --block", paired_study, design_of(5, paired=True)),
        ("five pairs, without --block", paired_study, design_of(5)),
    ):
        rng = np.random.default_rng(1)
        shares, n = rejections(run((simulate(rng) for _ in range(n_first)), design))
        mean = float((shares * n).sum() / n.sum())
        rows.append([name, f"{mean:.1%}", f"{shares.min():.1%} to {shares.max():.1%}", f"{n_outside(shares, n)} of 20"])
        print("null", rows[-1], flush=True)
    return first + "\n" + table(["design (log-normal)", "mean", "by population", "outside"], rows)


def power_table(times: float) -> str:
    """How often a spiked population is found, and how many of all findings are wrong."""
    rows = []
    n = max(round(SPIKED_STUDIES * times), 1)
    for name, variation in VARIATIONS.items():
        for percent in SPIKED:
            spiked = PERCENT.index(percent)
            cells = [f"{name}, {percent:g} %"]
            for fold in FOLDS:
                rng = np.random.default_rng(2)
                tests = run((study(variation, rng, spiked=spiked, fold=fold) for _ in range(n)), design_of(5))
                hits = tests.fdr <= LEVEL
                right, all_hits = hits[:, spiked].mean(), hits.sum(axis=1)
                wrong = np.where(all_hits > 0, (all_hits - hits[:, spiked]) / np.maximum(all_hits, 1), 0).mean()
                tested = np.isfinite(tests.p[:, spiked]).mean()
                p_below = (tests.p[:, spiked] <= LEVEL).mean()
                cells.append(f"{right:.0%} / {p_below:.0%} / {wrong:.0%}" + (f" ({tested:.0%})" if tested < 1 else ""))
            rows.append(cells)
            print("power", cells, flush=True)
    return table(["variation, population", *(f"fold {fold:g}" for fold in FOLDS)], rows)


def large_spike_table(times: float) -> str:
    """Rejections in the 19 other populations when the largest one doubles."""
    rows = []
    n = max(round(NULL_STUDIES * times), 1)
    shifts = abundance.composition_shifts
    for name, variation in VARIATIONS.items():
        for title, of_cells in (("with the shift", shifts), ("without", lambda cells: np.zeros(len(cells)))):
            rng = np.random.default_rng(3)
            abundance.composition_shifts = of_cells
            try:
                tests = run((study(variation, rng, spiked=0, fold=LARGE_FOLD) for _ in range(n)), design_of(5))
            finally:
                abundance.composition_shifts = shifts
            others = Tests(tests.p[:, 1:], tests.fdr[:, 1:])
            shares, counts = rejections(others)
            mean = float((shares * counts).sum() / counts.sum())
            any_found = float((others.fdr <= LEVEL).any(axis=1).mean())
            found = float((tests.fdr[:, 0] <= LEVEL).mean())
            rows.append([f"{name}, {title}", f"{mean:.1%}", f"{shares.max():.1%}", f"{any_found:.0%}", f"{found:.0%}"])
            print("large", rows[-1], flush=True)
    header = ["variation", "p ≤ 5 % in others", "highest of them", "studies with a false finding", "spike found"]
    return table(header, rows)


def wells_table(folder: Path) -> str:
    """The gated populations of the Bodenmiller wells: every well against the reference, described only."""
    files = sorted(folder.glob("*.fcs"))
    gates = [pd.read_csv(path.with_suffix(".gates.csv"), dtype="string")["population"].dropna() for path in files]
    populations = sorted(set().union(*(set(of_well[of_well != ""]) for of_well in gates)))
    cells = np.array([[int((of_well == name).sum()) for name in populations] for of_well in gates], dtype=np.int64)
    wells = tuple(WELLS.get(path.stem, path.stem) for path in files)
    design = Design(Factor("well", wells), WELLS["H05"])
    effects = {(d.population, d.level): d.effect.effect for d in compare_abundance(cells, design, describe=True)}
    reference = wells.index(design.reference)
    rows = [
        [
            name,
            f"{cells[reference, index] / cells[reference].sum():.1%}",
            *(f"{effects[index, well]:+.2f}" for well in design.compared),
        ]
        for index, name in enumerate(populations)
    ]
    n_events = sum(open_fcs(path).n_events for path in files)
    note = f"\n{int(cells.sum()):,} gated cells of {n_events:,} in {len(files)} wells.\n"
    return (
        table(["population", f"share in {design.reference}", *(f"log2 odds, {well}" for well in design.compared)], rows)
        + note
    )


PAGE = """# Comparing groups: false and missed findings

Made by `make bench-compare` (`docs/measurements/compare.py`). How `cytovae compare` tests is described in
[Comparing groups](../compare.md).

Each simulated study has 20 populations, from 30 % to 0.1 %, in samples of 8,000 to 12,000 cells. Samples of one group
differ in one of two ways: as a Dirichlet distribution of precision 1,000 (rare populations vary more: by 5 % at 30 %,
by 100 % at 0.1 %), or by a log-normal factor (every population varies by 30 %).

## Nothing differs

Five samples against five. The share of tests with p ≤ 5 % should be 5 %. "Outside" counts the populations whose share
is outside the 95 % interval of Clopper and Pearson (2.4 % to 9.0 % with 200 tests, 3.4 % to 7.1 % with 600). "Of 70"
means that the population had enough cells for a test in 70 studies.

{null}
## One population changes

The spiked population has 1.5, 2 or 3 times as many cells in five treated samples as in five controls, {spiked} studies
each. "88% / 95% / 4%": found at an FDR of 5 % in 88 % of the studies, p ≤ 5 % in 95 %, and on average 4 % of the
findings of a study were other populations. In brackets: the share of studies in which the population had enough cells.

{power}
## The largest population doubles

It has 30 % of the cells, so the shares of all others fall by a quarter. Their numbers have not changed: rejections
there are false findings. The shift (the median log-ratio of the populations) prevents them.

{large}
## Bodenmiller wells

Gated populations of four wells. There is one well of each kind, so effects are described and nothing is tested
(`--describe`).

{wells}"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--times", type=float, default=1.0, help="multiplies the number of studies")
    arguments = parser.parse_args()
    page = PAGE.format(
        wells=wells_table(arguments.data / "bodenmiller2012"),
        large=large_spike_table(arguments.times),
        null=null_tables(arguments.times),
        power=power_table(arguments.times),
        spiked=max(round(SPIKED_STUDIES * arguments.times), 1),
    )
    if arguments.output is not None:
        arguments.output.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
