"""Make docs/pictures/results.png from the tables in docs/results. Run by `make readme-figures`.

The figure shows agreement with manual gates beside FlowSOM, and seconds of whole runs. It reads
docs/results/benchmark.md (`make bench`) and docs/results/speed.md (`make bench-speed`), nothing else.
"""

import io
import re
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from PIL import Image

from cytovae.drawing import INK, QUIET, axes_at, new_figure, render, style

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TARGET = ROOT / "docs" / "pictures" / "results.png"

GATED = ("bendall", "bodenmiller", "huimm", "hipc", "flowsom_ff", "multicenter")  # sets with several gated populations
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


def means(column: str) -> dict[str, float]:
    """The mean of a score over the gated sets, by method."""
    benchmark = tables(RESULTS / "benchmark.md")
    return {method: fmean(score(benchmark, name, method, column)[0] for name in GATED) for method in METHODS}


def runs() -> list[tuple[str, str, float]]:
    """Data set, method and seconds of each whole run."""
    found = []
    for heading, table in tables(RESULTS / "speed.md").items():
        for row in table if re.search(r": [\d,]+ cells$", heading) else []:
            seconds = row["seconds"].rpartition("= ")[2]
            found.append((heading, row["whole processes"].partition(":")[0], float(seconds)))
    return found


def draw() -> Figure:
    """Two panels of scores and one of seconds."""
    figure = new_figure(11.0, 4.1)
    benchmark = tables(RESULTS / "benchmark.md")
    for left, column in ((1.0, "F_weighted"), (4.35, "F1_mean")):
        axes = axes_at(figure, left, 0.85, 2.85, 2.8)
        for shift, (method, (_, colour)) in zip((-0.2, 0, 0.2), METHODS.items(), strict=True):
            for row, dataset in enumerate(GATED):
                mean, deviation = score(benchmark, dataset, method, column)
                axes.errorbar(mean, row + shift, xerr=deviation, fmt="o", color=colour, markersize=5, linewidth=1.4)
        axes.set_xlim(0.3, 1.01)
        axes.set_ylim(len(GATED) - 0.4, -0.6)
        axes.set_yticks(range(len(GATED)), GATED if left < 2 else [""] * len(GATED), fontsize=9)
        axes.grid(axis="x", linewidth=0.4, color="#e4e6eb")
        axes.set_axisbelow(True)
        axes.set_title(f"{column} (higher is better)")
    speed = axes_at(figure, 8.55, 0.85, 2.0, 2.8)
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
    note = "mean ± SD, five seeds; all cells; seconds on two cores"
    figure.text(0.985, 0.075, note, fontsize=8, color=QUIET, ha="right", va="center")
    return figure


def main() -> None:
    """Write the picture."""
    with style():
        picture = render(draw(), "results", "", svg=False)
    Image.open(io.BytesIO(picture.png)).save(TARGET, "PNG", optimize=True)


if __name__ == "__main__":
    main()
