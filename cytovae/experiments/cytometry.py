"""The paper's two experiments on cytometry data: their data sets, and tables of the published results and ours.

Table 2 of the paper lists its own F-measure (equation 12) together with Weber & Robinson's mean F1 of eighteen other
methods. Here each score has its own table, and published results appear only in the table of their own score.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from cytovae.benchmark.datasets import PUBLIC, DataSet, read_table
from cytovae.benchmark.job import Protocol, Row
from cytovae.benchmark.methods import NEEDS_NUMBER
from cytovae.benchmark.over_seeds import Spread, chosen_by_labels, oracle, spread
from cytovae.benchmark.tables import TITLES, markdown, method_title, oracle_title
from cytovae.errors import InputError

# --- Weber & Robinson's four data sets (Table 2) ----------------------------------------------------------------------


@dataclass(frozen=True)
class PublishedSet:
    """One of the four data sets of Weber & Robinson (2016), with the score of MoE-Sim-VAE in Table 2 of the paper."""

    name: str
    n_cells: int
    n_gated: int
    n_markers: int
    n_populations: int
    moe_sim_vae: float


RELATIVES = MappingProxyType({"levine32_balanced": "Levine_32dim", "bendall": "Levine_13dim"})
"""Sets of :data:`PUBLIC` that stand in for a published set: 1,500 of its cells, and another file of its donor, panel
and gates."""

WEBER_SETS = (
    PublishedSet("Levine_32dim", 265_627, 104_184, 32, 14, 0.70),
    PublishedSet("Levine_13dim", 167_044, 81_747, 13, 24, 0.68),
    PublishedSet("Samusik_01", 86_864, 53_173, 39, 24, 0.76),
    PublishedSet("Samusik_all", 841_644, 514_386, 39, 24, 0.74),
)

# Mean F1 (one-to-one, unweighted) of Weber & Robinson 2016, as repeated in Table 2; data sets in the order above.
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
    """The data sets whose published FCS files are in ``folder`` or its subfolders.

    ``NAME_notransform.fcs`` has raw values, which are transformed with arcsinh(x/5). If it is missing, ``NAME.fcs`` is
    used, which is transformed already. The channel ``label`` has the gates (NaN = ungated), and
    ``population_names_NAME.txt`` their names. The :data:`RELATIVES` of missing sets are used where ``folder`` has them.
    Raises :class:`InputError` if there is none of these files.
    """
    datasets = [dataset for known in WEBER_SETS if (dataset := _weber_set(folder, known)) is not None]
    present = {dataset.name for dataset in datasets}
    for name, published in RELATIVES.items():
        if published not in present:
            datasets += _relative(folder, name)
    if not datasets:
        names = ", ".join(f"{known.name}_notransform.fcs" for known in WEBER_SETS)
        raise InputError(
            folder, "Weber & Robinson's data sets", "none of their files", f"{names}, or without _notransform"
        )
    return tuple(datasets)


def _weber_set(folder: Path, known: PublishedSet) -> DataSet | None:
    from cytovae.fcs.file import open_fcs

    raw, transformed = _find(folder, f"{known.name}_notransform.fcs"), _find(folder, f"{known.name}.fcs")
    path = raw or transformed
    if path is None:
        return None
    channels = [channel.name for channel in open_fcs(path).channels]
    markers = tuple(name for name in channels if not _NO_MARKER.fullmatch(name.strip()))
    study = known.name.partition("_")[0]
    names = _find(folder, f"population_names_{known.name}.txt") or _find(folder, f"population_names_{study}.txt")
    return DataSet(
        name=known.name,
        files=(str(path.resolve()),),
        gates="label",
        population_names=str(names.resolve()) if names else None,
        markers=markers,
        n_markers=known.n_markers,
        transform="arcsinh" if raw else "none",
    )


def _relative(folder: Path, name: str) -> tuple[DataSet, ...]:
    """The public set ``name``; empty if its files are not in ``folder``."""
    try:
        return read_table(PUBLIC, folder, [name])
    except InputError:
        return ()


def _find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in ``folder`` or a subfolder; the first by path if there are several."""
    return next(iter(sorted(folder.rglob(name))), None)


def weber_tables(rows: Sequence[Row]) -> str:
    """The scores of ``rows`` and the published ones, with one table for each score."""
    relatives = tuple(name for name in RELATIVES if any(row.dataset == name for row in rows))
    names = (*(known.name for known in WEBER_SETS), *relatives)
    others = [(f"{name} (Weber & Robinson 2016)", values) for name, values in WEBER_F1_MEAN]
    parts = [
        "# Weber & Robinson's data sets",
        _weber_counts(rows, relatives),
        "## F1_mean: one-to-one, unweighted mean over populations\n\n" + _weber_table(rows, "f1_mean", others, names),
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
        "Scores of different tables are not comparable. Ours: mean ± standard deviation over seeds, all cells "
        "clustered, gated cells scored. FlowSOM K=40 is the setting of Weber & Robinson. *oracle*: the labels choose "
        "the K with the best mean.",
    ]
    if relatives:
        stand_ins = ", ".join(f"{name} for {RELATIVES[name]}" for name in relatives)
        parts.append(
            f"Sets that are not the published ones, but of the same studies: {stand_ins}. In brackets: the figure of "
            "the published set, which has other cells."
        )
    return "\n\n".join(parts) + "\n"


def _weber_counts(rows: Sequence[Row], relatives: Sequence[str]) -> str:
    lines = []
    published = {known.name: known for known in WEBER_SETS}
    for name in (*published, *relatives):
        known = published[RELATIVES.get(name, name)]
        row = next((row for row in rows if row.dataset == name and row.status == "ok"), None)
        ours = ["–"] * 3 if row is None else [_count(n) for n in (row.n_cells, row.n_gated, row.n_populations)]
        theirs = [_count(known.n_cells), _count(known.n_gated), _count(known.n_populations)]
        lines.append([name, *ours, *(f"({number})" if name in relatives else number for number in theirs)])
    return markdown(["data set", "cells", "gated", "populations", "published: cells", "gated", "populations"], lines)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _weber_table(
    rows: Sequence[Row], metric: str, published: Sequence[tuple[str, tuple[float | None, ...]]], names: Sequence[str]
) -> str:
    lines = [[title, *_published_figures(values, names)] for title, values in published]
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
    return markdown(["method", *names], lines)


def _published_figures(values: Sequence[float | None], names: Sequence[str]) -> list[str]:
    """The figure for each data set; in brackets for a relative, whose figure is that of the published set."""
    shown = {known.name: "NA" if v is None else f"{v:.3f}" for known, v in zip(WEBER_SETS, values, strict=True)}
    return [f"({shown[RELATIVES[name]]})" if name in RELATIVES else shown[name] for name in names]


def _cell(rows: Sequence[Row], metric: str) -> str:
    if rows and all(row.status != "ok" for row in rows):
        return "failed"
    return str(spread(getattr(row, metric) for row in rows))


def _oracle_cell(rows: Sequence[Row], metric: str) -> str:
    return next((f"{best.score} (K={best.number})" for best in oracle(rows) if best.metric == metric), "–")


# --- Bodenmiller et al. 2012 (Table A1) -------------------------------------------------------------------------------

BODENMILLER_MARKERS = ("CD3", "CD45", "CD4", "CD20", "CD33", "CD123", "CD14", "IgM", "HLA-DR", "CD7")
"""The ten surface markers of A.1.3."""

HELD_OUT = Protocol(holdout=0.2, min_population=30)
"""A.1.3 for the paper's own method: learn from 80 % of a well, score populations of 30 cells or more in the rest."""

ALL_CELLS = Protocol(min_population=30)
"""A.1.3 for the methods that it compares with."""


@dataclass(frozen=True)
class TableA1:
    """Mean and standard deviation of F (equation 12) over the 234 legible wells of Table A1."""

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
    """One data set for each FCS file in ``folder`` or its subfolders that has gates beside it.

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
    """Means over wells, one column for each score, and the means of Table A1 in the last column."""
    metrics = ("f_weighted", "f_weighted_clusters", "f1_mean", "ari")
    head = ["method", "cells", *(TITLES[metric] for metric in metrics), "wells", "Table A1: F (equation 12)"]
    lines = []
    published = {known.method: _published(known) for known in TABLE_A1}
    shown: set[str] = set()
    for protocol in sorted({row.protocol for row in rows}):
        for method in sorted({row.method for row in rows if row.protocol == protocol}):
            of_method = [row for row in rows if (row.protocol, row.method) == (protocol, method)]
            # A published result appears only with the protocol that it was made with.
            its_protocol = str(HELD_OUT) if method.startswith("cytovae") else str(ALL_CELLS)
            reference = published.get(method, "–") if its_protocol == protocol else "–"
            shown |= {method} if reference != "–" else set()
            for number in sorted({row.number for row in of_method}):
                of_number = [row for row in of_method if row.number == number]
                cells = [str(over_wells(of_number, metric)) for metric in metrics]
                wells = str(len({row.dataset for row in of_number if row.status == "ok"}))
                lines.append([method_title(method, number), protocol, *cells, wells, "–" if number else reference])
            if method in NEEDS_NUMBER and chosen_by_labels(of_method):
                cells = [_oracle_over_wells(of_method, metric) for metric in metrics]
                lines.append([oracle_title(method), protocol, *cells, "", reference])
    for known in TABLE_A1:
        if known.method not in shown:
            lines.append([f"{known.title} (not run)", "", *["–"] * len(metrics), "", _published(known)])
    notes = (
        "Mean ± standard deviation over wells (of a well's mean over seeds). Table A1: mean over its 234 legible "
        "wells, which are other wells than these unless the same files were used. The paper scores its own method on "
        "the held-out 20 % and the others on all cells, and does not state the K of FlowSOM. *oracle*: the labels "
        "choose one K for all wells, the one with the best mean. Scores of different columns are not comparable, "
        "except F_weighted and Table A1, which are the same score."
    )
    return f"# Bodenmiller et al. 2012\n\n{markdown(head, lines, left=2)}\n\n{notes}\n"


def over_wells(rows: Sequence[Row], metric: str) -> Spread:
    """Mean and standard deviation over data sets of the mean over seeds."""
    wells: dict[str, list[float]] = {}
    for row in rows:
        value = getattr(row, metric)
        if value is not None:
            wells.setdefault(row.dataset, []).append(value)
    return spread(fmean(values) for values in wells.values())


def _oracle_over_wells(rows: Sequence[Row], metric: str) -> str:
    """The score of the number of clusters with the most wells and, among those, the best mean."""
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
