"""How hard the sample study is, and how often its two differences are found in other studies of its kind.

    python docs/measurements/sample_study.py --output docs/results/sample_study.md

The gates are the populations, so that nothing depends on a clustering. Takes a minute; --times 0.1 simulates a tenth of
the studies.
"""

import argparse
import platform
import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import statsmodels
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from cytovae.annotations.gates import read_gates_of_files
from cytovae.comparison.abundance import compare_abundance
from cytovae.comparison.design import Design, Factor
from cytovae.comparison.levels import Levels, compare_levels
from cytovae.comparison.results import FDR
from cytovae.events.panel import columns_in_study, resolve_panel
from cytovae.events.transform import arcsinh
from cytovae.fcs.file import open_fcs
from cytovae.metrics import score

FOLDER = Path(__file__).parents[2] / "sample_data"
MAKE: dict[str, Any] = runpy.run_path(str(FOLDER / "make_sample.py"))
STUDIES = 100
COFACTOR = 5.0
STATE = ("pSTAT1", "pSTAT5", "p-p38", "pS6")

PAGE = """# The sample study

Made by `make bench-sample` (`docs/measurements/sample_study.py`) with {packages}. What the study holds is told in
`sample_data/README.md`.

## Difficulty

A quadratic discriminant that learns from the gates gets {right:.1%} of the gated cells right (3-fold cross-validation).
K-means with 8 clusters on all cells reaches an `F_weighted` of {f_weighted:.2f}.

## Power

{n_studies} studies are simulated in the same way, with the seeds from {seed}, which is the released one. The gates are
the populations. The table has the share of studies in which each difference is found at an FDR of 5 %, and the share in
which anything else is.

{table}

With three donors, pairing them costs more than it gains. Only two degrees of freedom are left for the differences
between six samples, and medians of ion counts are whole numbers: a difference of exactly one count in all three donors
looks more regular than it is.
"""


def counts_and_medians(seed: int) -> tuple[NDArray[np.int64], Levels]:
    """Cells (n_samples, n_populations) of a simulated study, the ungated ones last, and medians of state markers."""
    names = (*MAKE["NAMES"], "")
    columns = [2 + MAKE["marker_column"](marker) for marker in STATE]  # after time and event length
    cells, medians = [], []
    for number in range(len(MAKE["SAMPLES"])):
        events, gates = MAKE["draw_sample"](number, seed)
        rows = [np.flatnonzero(np.array(gates) == name) for name in names]
        values = arcsinh(events[:, columns], COFACTOR)
        cells.append([len(of_population) for of_population in rows])
        medians.append([np.median(values[of_population], axis=0) for of_population in rows])
    return np.array(cells, dtype=np.int64), Levels(STATE, (), np.array(medians, dtype=np.float64))


def findings(seed: int, design: Design) -> tuple[bool, bool, bool]:
    """Whether the difference in abundance is found at an FDR of 5 %, that in a level, and anything else."""
    cells, levels = counts_and_medians(seed)
    rare, (population, marker, _) = MAKE["NAMES"].index(MAKE["RARER"][0]), MAKE["RAISED"]
    place = MAKE["NAMES"].index(population), STATE.index(marker)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        abundant = {d.population for d in compare_abundance(cells, design) if d.fdr <= FDR}
        raised = {(d.population, d.marker) for d in compare_levels(levels, cells, design) if d.fdr <= FDR}
    return rare in abundant, place in raised, bool(abundant - {rare} or raised - {place})


def power_table(n_studies: int) -> str:
    """How often each difference is found."""
    condition = Factor("condition", tuple(sample.condition for sample in MAKE["SAMPLES"]))
    donor = Factor("donor", tuple(str(sample.donor) for sample in MAKE["SAMPLES"]))
    lines = [
        "| tests | abundance found | level found | both found | anything else found |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for title, blocks in (("without donors", ()), ("with `--block donor`", (donor,))):
        design = Design(condition, "baseline", blocks)
        found = np.array([findings(MAKE["SEED"] + number, design) for number in range(n_studies)])
        shares = (*found.mean(axis=0)[:2], (found[:, 0] & found[:, 1]).mean(), found[:, 2].mean())
        lines.append(f"| {title} | {' | '.join(f'{share:.0%}' for share in shares)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def difficulty() -> tuple[float, float]:
    """The accuracy of a classifier that learns from gates, and F_weighted of k-means on all cells."""
    files = [open_fcs(path) for path in sorted(FOLDER.glob("*.fcs"))]
    panel = resolve_panel(files[0])
    gates = read_gates_of_files(files)
    values = arcsinh(np.concatenate([file.read(columns_in_study(panel, file).tolist()) for file in files]), COFACTOR)
    gated = gates.population >= 0
    learner = QuadraticDiscriminantAnalysis(reg_param=0.01)
    right = float(cross_val_score(learner, values[gated], gates.population[gated], cv=3).mean())
    cluster = KMeans(8, n_init=3, random_state=0).fit_predict(values).astype(np.int32) + 1
    return right, score(cluster, gates).f_weighted


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--times", type=float, default=1.0)
    arguments = parser.parse_args()
    n_studies = max(round(STUDIES * arguments.times), 1)
    right, f_weighted = difficulty()
    packages = (
        f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, statsmodels {statsmodels.__version__}"
    )
    page = PAGE.format(
        packages=packages,
        right=right,
        f_weighted=f_weighted,
        n_studies=n_studies,
        seed=MAKE["SEED"],
        table=power_table(n_studies),
    )
    arguments.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
