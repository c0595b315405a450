"""Make docs/pictures/results.png from the tables in docs/results. Run by `make readme-figures`.

The figure shows agreement with manual gates beside FlowSOM, and seconds of whole runs. It reads
docs/results/benchmark.md (`make bench`) and docs/results/speed.md (`make bench-speed`), nothing else.
"""

import io
import re
import sys
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from PIL import Image

from cytovae.drawing import INK, QUIET, axes_at, new_figure, render, style

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TARGET = ROOT / "docs" / "pictures" / "results.png"

ORACLE = "FlowSOM *oracle* (best K by labels)"
METHODS = {"cytovae": ("cytovae", "#0072B2"), ORACLE: ("FlowSOM, best K by labels", "#E69F00"),
           "FlowSOM K=20": ("FlowSOM, K = 20", "#9aa1ae")}  # fmt: skip

Table = list[dict[str, str]]


def tables(path: Path) -> dict[str, Table]:
    """The last table under each heading of a Markdown page, as rows of text by column."""
    found: dict[str, Table] = {}
    heading, columns = "", None
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("# "), None
        elif not line.startswith("|"):
            columns = None
        elif columns is None:
            columns = cells(line)
            found[heading] = []
        elif not re.fullmatch(r"[|:\- ]+", line):
            found[heading].append(dict(zip(columns, cells(line), strict=True)))
    return found


def cells(line: str) -> list[str]:
    """The cells of one line of a Markdown table."""
    return [text.strip() for text in line.strip().strip("|").split("|")]


def score(benchmark: dict[str, Table], dataset: str, method: str, column: str) -> tuple[float, float]:
    """Mean and standard deviation of a score over seeds."""
    (row,) = (row for row in benchmark[dataset] if row["method"] == method)
    mean, deviation = re.match(r"([\d.]+) ± ([\d.]+)", row[column]).groups()  # type: ignore[union-attr]
    return float(mean), float(deviation)


def compared(benchmark: dict[str, Table]) -> list[str]:
    """The data sets of the side-by-side table, in the order of the page."""
    (line,) = re.findall(r"^Data sets: (.+?)\. ", (RESULTS / "benchmark.md").read_text("utf-8"), re.MULTILINE)
    names = line.split(", ")
    return [name for name in benchmark if name in names]


def overview() -> str:
    """The table of docs/results.md: every data set, cytovae beside two choices of FlowSOM's K."""
    benchmark = tables(RESULTS / "benchmark.md")
    names, columns = compared(benchmark), ("F_weighted", "F1_mean", "ARI")
    lines = ["| data set | | F_weighted | F1_mean | ARI | clusters |", "|---|---|---|---|---|---|"]
    for name in names:
        for method, (label, _) in METHODS.items():
            (row,) = (row for row in benchmark[name] if row["method"] == method)
            clusters = row["clusters"].partition(" ")[0].partition(".")[0]
            scores = " | ".join(row[column] for column in columns)
            lines.append(f"| {name if method == 'cytovae' else ''} | {label} | {scores} | {clusters} |")
    for method, (label, _) in METHODS.items():
        mean = " | ".join(
            f"{fmean(score(benchmark, name, method, column)[0] for name in names):.3f}" for column in columns
        )
        lines.append(f"| {'mean' if method == 'cytovae' else ''} | {label} | {mean} | |")
    return "\n".join(lines)


def seeds(benchmark: dict[str, Table], names: list[str]) -> str:
    """The number of seeds of cytovae's rows."""
    (found,) = {row["runs"] for name in names for row in benchmark[name] if row["method"] == "cytovae"}
    return found


def runs() -> list[tuple[str, str, float]]:
    """Data set, method and seconds of each whole run."""
    found = []
    for heading, table in tables(RESULTS / "speed.md").items():
        for row in table if re.search(r": [\d,]+ cells$", heading) else []:
            if "--support 0" in row["whole processes"]:
                continue  # as fast as with support
            seconds = row["seconds"].rpartition("= ")[2]
            found.append((heading, row["whole processes"].partition(":")[0], float(seconds)))
    return found


def draw() -> Figure:
    """Two panels of scores and one of seconds."""
    figure = new_figure(11.4, 5.2)
    benchmark = tables(RESULTS / "benchmark.md")
    names = compared(benchmark)
    for left, column in ((1.45, "F_weighted"), (4.75, "F1_mean")):
        axes = axes_at(figure, left, 0.85, 2.85, 3.9)
        for shift, (method, (_, colour)) in zip((-0.2, 0, 0.2), METHODS.items(), strict=True):
            for row, dataset in enumerate(names):
                mean, deviation = score(benchmark, dataset, method, column)
                axes.errorbar(mean, row + shift, xerr=deviation, fmt="o", color=colour, markersize=5, linewidth=1.4)
        axes.set_xlim(0.3, 1.01)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), names if left < 2 else [""] * len(names), fontsize=9)
        axes.grid(axis="x", linewidth=0.4, color="#e4e6eb")
        axes.set_axisbelow(True)
        axes.set_title(f"{column} (higher is better)")
    speed = axes_at(figure, 8.95, 0.85, 2.0, 3.9)
    labels = []
    for row, (dataset, method, seconds) in enumerate(runs()):
        colour = {"cytovae": "#0072B2", "PhenoGraph, k = 30": "#009E73"}.get(method, "#E69F00")
        speed.plot([1, seconds], [row, row], color="#e4e6eb", linewidth=1)
        speed.plot(seconds, row, "o", color=colour, markersize=6)
        speed.text(seconds * 1.2, row, f"{seconds:g}", va="center", fontsize=8.5, color=INK)
        labels.append(f"{method.partition(',')[0]}, {dataset.partition(': ')[2].removesuffix(' cells')}")
    speed.set_xscale("log")
    speed.set_xlim(1, 900)
    speed.set_xticks([1, 10, 100], ["1", "10", "100"])
    speed.minorticks_off()
    speed.set_ylim(len(labels) - 0.4, -0.6)
    speed.set_yticks(range(len(labels)), labels, fontsize=8)
    speed.set_title("seconds for n cells", x=-0.1)
    for place, (label, colour) in zip((0.02, 0.145, 0.35), METHODS.values(), strict=True):
        figure.text(place, 0.075, "●", color=colour, fontsize=11, va="center")
        figure.text(place + 0.016, 0.075, label, fontsize=9, va="center")
    note = f"mean ± SD, {seeds(benchmark, names)} seeds; all cells; seconds on two cores"
    figure.text(0.985, 0.075, note, fontsize=8, color=QUIET, ha="right", va="center")
    return figure


def main() -> None:
    """Write the picture; with ``--table``, print the table of docs/results.md."""
    if "--table" in sys.argv:
        print(overview())
        return
    with style():
        picture = render(draw(), "results", "", svg=False)
    Image.open(io.BytesIO(picture.png)).save(TARGET, "PNG", optimize=True)


if __name__ == "__main__":
    main()
