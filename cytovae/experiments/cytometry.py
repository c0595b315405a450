"""The paper's two cytometry experiments: what to run on which files, and tables of its figures beside ours.

Table 2 of the paper puts its own F-measure (equation 12) under Weber & Robinson's mean F1 of eighteen other methods.
Here every score has a table of its own, and a published figure stands only in the table of its own score.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from cytovae.benchmark.datasets import DataSet
from cytovae.benchmark.job import Protocol, Row
from cytovae.benchmark.methods import NEEDS_NUMBER
from cytovae.benchmark.tables import TITLES, Spread, chosen_by_labels, method_title, oracle, oracle_title, spread
from cytovae.errors import InputError

# --- Weber & Robinson's four data sets (Table 2) ----------------------------------------------------------------------


@dataclass(frozen=True)
class PublishedSet:
    """One of the four data sets of Weber & Robinson (2016), and the score the paper's Table 2 gives its method."""

    name: str
    n_cells: int
    n_gated: int
    n_markers: int
    n_populations: int
    moe_sim_vae: float


WEBER_SETS = (
    PublishedSet("Levine_32dim", 265_627, 104_184, 32, 14, 0.70),
    PublishedSet("Levine_13dim", 167_044, 81_747, 13, 24, 0.68),
    PublishedSet("Samusik_01", 86_864, 53_173, 39, 24, 0.76),
    PublishedSet("Samusik_all", 841_644, 514_386, 39, 24, 0.74),
)


# Mean F1 (one-to-one, unweighted) of Weber & Robinson 2016, as the paper's Table 2 repeats it; in the order above.
WEBER_F1_MEAN: tuple[tuple[str, tuple[float | None, ...]], ...] = (
    ("ACCENSE", (0.494, 0.358, 0.517, 0.502)),
    ("ClusterX", (0.682, 0.474, 0.571, 0.603)),
    ("DensVM", (0.66, 0.448, 0.239, 0.496)),
    ("FLOCK", (0.727, 0.379, 0.608, 0.631)),
    ("flowClust", (None, 0.416, 0.612, 0.61)),
    ("flowMeans", (0.769, 0.518, 0.625, 0.653)),
    ("flowMerge", (None, 0.247, 0.452, 0.341)),
    ("flowPeaks", (0.237, 0.215, 0.058, 0.323)),
    ("FlowSOM", (0.78, 0.495, 0.707, 0.702)),
    ("FlowSOM_pre", (0.502, 0.422, 0.583, 0.528)),
    ("immunoClust", (0.413, 0.308, 0.552, 0.523)),
    ("kmeans", (0.42, 0.435, 0.65, 0.59)),
    ("PhenoGraph", (0.563, 0.468, 0.671, 0.653)),
    ("Rclusterpp", (0.605, 0.465, 0.637, 0.613)),
    ("SamSPECTRAL", (0.512, 0.253, 0.263, 0.138)),
    ("SPADE", (None, 0.127, 0.169, 0.13)),
    ("SWIFT", (0.177, 0.179, 0.202, 0.208)),
    ("Xshift", (0.691, 0.47, 0.679, 0.657)),
)


_NO_MARKER = re.compile(
    r"time|(cell|event)_?length|dna[-_]?\d*|bc[-_]?\d+|viability|cisplatin|bead_?dist|label|individual|sample"
    r"|(file|event|sample|cell)(_?(number|id))?|population(_id)?",
    re.IGNORECASE,
)


def weber_sets(folder: Path) -> tuple[DataSet, ...]:
    """Those of the four data sets whose published FCS files lie in ``folder`` or below.

    ``NAME_notransform.fcs`` holds raw values, for arcsinh(x/5); ``NAME.fcs`` is that already, and read as it is where
    the other is missing. The channel ``label`` holds the gates (NaN = ungated), ``population_names_NAME.txt`` their
    names. Raises :class:`InputError` if there is none of the files.
    """
    found = [dataset for known in WEBER_SETS if (dataset := _weber_set(folder, known)) is not None]
    if not found:
        names = ", ".join(f"{known.name}_notransform.fcs" for known in WEBER_SETS)
        raise InputError(
            folder, "Weber & Robinson's data sets", "none of their files", f"{names}, or without _notransform"
        )
    return tuple(found)


def _weber_set(folder: Path, known: PublishedSet) -> DataSet | None:
    from cytovae.fcs.file import open_fcs

    raw, transformed = _below(folder, f"{known.name}_notransform.fcs"), _below(folder, f"{known.name}.fcs")
    path = raw or transformed
    if path is None:
        return None
    channels = [channel.name for channel in open_fcs(path).channels]
    markers = tuple(name for name in channels if not _NO_MARKER.fullmatch(name.strip()))
    study = known.name.partition("_")[0]
    names = _below(folder, f"population_names_{known.name}.txt") or _below(folder, f"population_names_{study}.txt")
    return DataSet(
        name=known.name,
        files=(str(path.resolve()),),
        gates="label",
        population_names=str(names.resolve()) if names else None,
        markers=markers,
        n_markers=known.n_markers,
        transform="arcsinh" if raw else "none",
    )


def _below(folder: Path, name: str) -> Path | None:
    """The file called ``name`` in ``folder`` or below it; the first by path if there are several."""
    return next(iter(sorted(folder.rglob(name))), None)


def weber_tables(rows: Sequence[Row]) -> str:
    """Our scores on the four data sets beside the published ones, one table for each score."""
    names = tuple(known.name for known in WEBER_SETS)
    parts = [
        "# Weber & Robinson's data sets",
        _weber_counts(rows),
        "## F1_mean: one-to-one, unweighted mean over populations\n\n"
        + _weber_table(rows, "f1_mean", [(f"{name} (Weber & Robinson 2016)", v) for name, v in WEBER_F1_MEAN], names),
        "## F_weighted: equation 12, weighted by population\n\n"
        + _weber_table(
            rows,
            "f_weighted",
            [("MoE-Sim-VAE (the paper's Table 2)", tuple(known.moe_sim_vae for known in WEBER_SETS))],
            names,
        )
        + "\n\nThe paper states equation 12 for its row of Table 2; its released code weights by population.",
        "## F_weighted_clusters: equation 12 as printed, weighted by cluster\n\n"
        + _weber_table(rows, "f_weighted_clusters", [], names),
        "Scores of different tables must not be compared. Ours: mean ± standard deviation over seeds, all cells "
        "clustered, gated cells scored. FlowSOM K=40 is the setting of Weber & Robinson. *oracle*: the K with the best "
        "mean was chosen by the labels.",
    ]
    return "\n\n".join(parts) + "\n"


def _weber_counts(rows: Sequence[Row]) -> str:
    lines = [["data set", "cells", "gated", "populations", "published: cells", "gated", "populations"]]
    lines.append(["---"] + ["---:"] * 6)
    for known in WEBER_SETS:
        row = next((row for row in rows if row.dataset == known.name and row.status == "ok"), None)
        ours = ["–"] * 3 if row is None else [_count(n) for n in (row.n_cells, row.n_gated, row.n_populations)]
        lines.append([known.name, *ours, _count(known.n_cells), _count(known.n_gated), _count(known.n_populations)])
    return _markdown(lines)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _weber_table(
    rows: Sequence[Row], metric: str, published: Sequence[tuple[str, tuple[float | None, ...]]], names: Sequence[str]
) -> str:
    lines = [["method", *names], ["---"] + ["---:"] * len(names)]
    lines.extend(
        [title, *("NA" if value is None else f"{value:.3f}" for value in values)] for title, values in published
    )
    measured: list[tuple[str, int]] = sorted({(row.method, row.number) for row in rows})
    for method in dict.fromkeys(method for method, _ in measured):
        for number in (number for name, number in measured if name == method):
            cells = [
                _cell([r for r in rows if (r.dataset, r.method, r.number) == (n, method, number)], metric)
                for n in names
            ]
            lines.append([f"{method_title(method, number)} (measured here)", *cells])
        if method in NEEDS_NUMBER and chosen_by_labels([row for row in rows if row.method == method]):
            best = [_oracle_cell([r for r in rows if (r.dataset, r.method) == (n, method)], metric) for n in names]
            lines.append([f"{oracle_title(method)} (measured here)", *best])
    return _markdown(lines)


def _cell(rows: Sequence[Row], metric: str) -> str:
    if rows and all(row.status != "ok" for row in rows):
        return "failed"
    return str(spread(getattr(row, metric) for row in rows))


def _oracle_cell(rows: Sequence[Row], metric: str) -> str:
    return next((f"{found.score} (K={found.number})" for found in oracle(rows) if found.metric == metric), "–")


# --- Bodenmiller et al. 2012 (Table A1) -------------------------------------------------------------------------------

BODENMILLER_MARKERS = ("CD3", "CD45", "CD4", "CD20", "CD33", "CD123", "CD14", "IgM", "HLA-DR", "CD7")
"""The ten surface markers of A.1.3."""


HELD_OUT = Protocol(holdout=0.2, min_population=30)
"""What A.1.3 did with its own method: learn from 80 % of a well, score the other 20 %, no population below 30 cells."""


ALL_CELLS = Protocol(min_population=30)
"""What it did with the methods it compares with."""


@dataclass(frozen=True)
class TableA1:
    """Mean and standard deviation of F (equation 12) over the 234 wells of Table A1 that can be read for sure."""

    title: str
    method: str
    mean: float
    sd: float | None = None


TABLE_A1 = (
    TableA1("MoE-Sim-VAE", "cytovae:paper-bodenmiller", 0.7725, 0.050),
    TableA1("FlowSOM", "flowsom", 0.648),
    TableA1("X-shift", "", 0.642),
    TableA1("PhenoGraph", "phenograph", 0.688),
)


def bodenmiller_wells(folder: Path) -> tuple[DataSet, ...]:
    """One data set for each FCS file in ``folder`` or below that has its gates beside it.

    Raises :class:`InputError` if there is none.
    """
    wells = [path for path in sorted(folder.rglob("*.fcs")) if path.with_suffix(".gates.csv").is_file()]
    if not wells:
        raise InputError(folder, "wells", "none", "FCS files with NAME.gates.csv beside NAME.fcs")
    return tuple(
        DataSet(
            name=str(path.relative_to(folder).with_suffix("")),
            files=(str(path.resolve()),),
            markers=BODENMILLER_MARKERS,
            n_markers=len(BODENMILLER_MARKERS),
        )
        for path in wells
    )


def bodenmiller_table(rows: Sequence[Row]) -> str:
    """Means over wells, one column for each score, and the means of Table A1 in a column of their own."""
    metrics = ("f_weighted", "f_weighted_clusters", "f1_mean", "ari")
    head = ["method", "cells", *(TITLES[metric] for metric in metrics), "wells", "Table A1: F (equation 12)"]
    lines = [head, ["---", "---"] + ["---:"] * (len(head) - 2)]
    told = {known.method: known for known in TABLE_A1}
    published: set[str] = set()
    for protocol in dict.fromkeys(row.protocol for row in sorted(rows, key=lambda row: row.protocol)):
        under = [row for row in rows if row.protocol == protocol]
        for method in sorted({row.method for row in under}):
            own = [row for row in under if row.method == method]
            # The paper's figure stands beside the protocol it was made with.
            its = str(HELD_OUT) if method.startswith("cytovae") else str(ALL_CELLS)
            beside = _published(told[method]) if method in told and its == protocol else "–"
            published |= {method} if beside != "–" else set()
            for number in sorted({row.number for row in own}):
                same = [row for row in own if row.number == number]
                cells = [str(over_wells(same, metric)) for metric in metrics]
                wells = str(len({row.dataset for row in same if row.status == "ok"}))
                shown = beside if not number else "–"
                lines.append([method_title(method, number), protocol, *cells, wells, shown])
            if method in NEEDS_NUMBER and chosen_by_labels(own):
                cells = [_oracle_over_wells(own, metric) for metric in metrics]
                lines.append([oracle_title(method), protocol, *cells, "", beside])
    for known in TABLE_A1:
        if known.method not in published:
            lines.append([f"{known.title} (not run)", "", *["–"] * len(metrics), "", _published(known)])
    notes = (
        "Mean ± standard deviation over wells (of a well's mean over seeds). Table A1: mean over the 234 of its wells "
        "that can be read unambiguously; its wells are others than these unless the same files were given. The paper "
        "scores its own method on the held-out 20 % and the others on all cells, and does not say which K FlowSOM was "
        "told. *oracle*: one K for all wells, the one with the best mean, chosen by the labels. Scores of different "
        "columns must not be compared, except F_weighted with Table A1, which is the same score."
    )
    return f"# Bodenmiller et al. 2012\n\n{_markdown(lines)}\n\n{notes}\n"


def over_wells(rows: Sequence[Row], metric: str) -> Spread:
    """Mean and standard deviation over data sets of the mean over seeds."""
    wells: dict[str, list[float]] = {}
    for row in rows:
        value = getattr(row, metric)
        if value is not None:
            wells.setdefault(row.dataset, []).append(value)
    return spread(fmean(values) for values in wells.values())


def _oracle_over_wells(rows: Sequence[Row], metric: str) -> str:
    """The number of clusters with the best mean over wells, among those with the most wells."""
    scores = {
        number: over_wells([row for row in rows if row.number == number], metric) for number in {r.number for r in rows}
    }
    known = {number: score for number, score in scores.items() if score.mean is not None}
    if not known:
        return "–"
    best = max(known, key=lambda number: (known[number].n, known[number].mean or 0.0, -number))
    return f"{known[best]} (K={best})"


def _published(known: TableA1) -> str:
    return f"{known.mean:.3f}" + (f" ± {known.sd:.3f}" if known.sd is not None else "")


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
