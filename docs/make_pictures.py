"""Make docs/pictures again from the demo's model of sample_data. Run by `make pictures`.

    python docs/make_pictures.py demo-output

Clusters are named after the gated population that most of their cells belong to. The picture of the page needs
Chromium; without it, the earlier one stays.
"""

import argparse
import csv
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from cytovae.drawing import EXPRESSION, INK, QUIET, axes_at, bare, colour_of, new_figure, render, style

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
FILES = sorted((ROOT / "sample_data").glob("*.fcs"))
DEBRIS = "debris and doublets"
SAMPLES = ROOT / "sample_data" / "samples.csv"
TAKEN = {
    "heatmap": "heatmap_populations",
    "umap": "umap_names",
    "abundance": "abundance_populations",
    "confusion": "confusion_populations",
}
WINDOW = (1100, 1850)  # pixels of the page's picture
EVIDENCE = (1300, 1000)  # of the picture of its named populations alone
ONLY_EVIDENCE = "<style>section:not(#populations), header, nav, footer { display: none !important; }</style>"


def cytovae(*words: object) -> None:
    """Run a command from the top of the checkout, so that records hold relative paths."""
    subprocess.run([sys.executable, "-m", "cytovae", *map(str, words), "--force", "--quiet"], cwd=ROOT, check=True)


def write_csv(path: Path, rows: object) -> None:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]


def gated_names(cells: pd.DataFrame) -> dict[int, str]:
    """The gated population that more than half of each cluster's cells belong to; else debris and doublets."""
    gates = [
        pd.read_csv(file.with_suffix(".gates.csv"), keep_default_na=False, skip_blank_lines=False)["population"]
        for file in FILES
    ]
    gate = np.concatenate(gates)
    names = {}
    for cluster in sorted(set(cells["cluster"])):
        ((name, count),) = Counter(gate[cells["cluster"] == cluster]).most_common(1)
        names[int(cluster)] = name if name and 2 * count > (cells["cluster"] == cluster).sum() else DEBRIS
    return names


def overview(cells: pd.DataFrame, medians: pd.DataFrame, names: dict[int, str]) -> Figure:
    """The UMAP of all cells and the medians of the named populations, side by side, for the README."""
    population = cells["cluster"].map(names)
    ranked = list(population.value_counts().index)
    order = [name for name in ranked if name != DEBRIS]
    title = f"UMAP: {len(cells):,} cells, {len(names)} clusters, {len(order)} named populations"
    figure = new_figure(11.0, 4.5)
    figure.text(0.012, 0.945, title, fontsize=10.5, fontweight="bold")
    figure.text(0.535, 0.945, "Median of each marker", fontsize=10.5, fontweight="bold")

    scatter = axes_at(figure, 0.25, 0.15, 5.0, 4.0)
    bare(scatter)
    colours = {name: colour_of(index) for index, name in enumerate(ranked)} | {DEBRIS: "#c3c7d0"}
    shuffled = np.random.default_rng(0).permutation(len(cells))
    places = cells[["umap_1", "umap_2"]].to_numpy()
    scatter.scatter(*places[shuffled].T, c=population.map(colours).to_numpy()[shuffled], s=2.2, linewidths=0)
    scatter.margins(0.06)
    for name in (*order, DEBRIS):
        largest_cluster = cells["cluster"][population == name].mode()[0]
        cloud = places[cells["cluster"] == largest_cluster]
        top = (np.median(cloud[:, 0]), np.quantile(cloud[:, 1], 0.98))
        label = scatter.annotate(name, top, (0, 9), textcoords="offset points", ha="center", va="center")
        label.set(fontsize=9, fontweight="bold", path_effects=[withStroke(linewidth=2.6, foreground="white")])
        label.set_color(INK if name != DEBRIS else QUIET)
    scatter.set_xlabel("UMAP 1", fontsize=7.5, color=QUIET, loc="left", labelpad=1)
    scatter.set_ylabel("UMAP 2", fontsize=7.5, color=QUIET, loc="bottom", labelpad=1)

    used = medians[medians["used_for_clustering"]]
    values = used.pivot_table(index="cluster", columns="marker", values="median", sort=False)
    values = np.arcsinh(values[list(dict.fromkeys(used["marker"]))] / 5)
    largest = cells["cluster"].value_counts()
    rows = [max((c for c, title in names.items() if title == name), key=lambda c: largest[c]) for name in order]
    shown = values.loc[rows]
    heat = axes_at(figure, 7.15, 0.85, 3.7, 3.2)
    bare(heat)
    heat.imshow(shown / values.max(axis=0), cmap=EXPRESSION, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    heat.set_xticks(range(shown.shape[1]), shown.columns, rotation=90, fontsize=9)
    heat.set_yticks([])
    heat.tick_params(length=0)
    for row, name in enumerate(order):
        heat.text(-0.95, row, name, ha="right", va="center", fontsize=9, fontweight="bold", color=INK)
        heat.barh(row, 0.22, left=-0.78, height=0.9, color=colours[name], clip_on=False)
    heat.set_xlim(-0.5, shown.shape[1] - 0.5)
    return figure


def page_picture(page: Path, work: Path, target: Path, window: tuple[int, int] = WINDOW) -> None:
    """The top of the page as Chromium shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print(f"no Chromium: {target.name} stays as it is", file=sys.stderr)
        return
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync")
    command = [browser, *flags, "--disable-background-networking", "--disable-component-update"]
    command += [f"--user-data-dir={work / 'profile'}", f"--window-size={window[0]},{window[1]}"]
    command += [f"--screenshot={work / 'page.png'}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    keep(work / "page.png", target)


def keep(source: Path, target: Path) -> None:
    """Copy a picture in full colour, as small as PNG makes it."""
    Image.open(source).convert("RGB").save(target, "PNG", optimize=True)


def named_pictures(work: Path, files: list[Path]) -> None:
    """Pictures of populations that a starter table names, for docs/named_walkthrough.md."""
    types, model = work / "types.csv", work / "named-model"
    command = [sys.executable, "-m", "cytovae", "types", str(files[0]), "--species", "human", "--tissue", "blood"]
    types.write_bytes(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    cytovae("train", *files, "-o", model, "--types", types)
    samples = ("--samples", SAMPLES.relative_to(ROOT))
    page = work / "named.html"
    cytovae("report", model, *files, *samples, "--gates", "beside", "-o", page, "--figures", work / "named-figures")
    keep(work / "named-figures" / "umap_names.png", PICTURES / "named_umap.png")
    keep(work / "named-figures" / "confusion_populations.png", PICTURES / "named_confusion.png")
    evidence = work / "evidence.html"
    evidence.write_text(page.read_text("utf-8").replace("</head>", f"{ONLY_EVIDENCE}</head>", 1), encoding="utf-8")
    page_picture(evidence, work, PICTURES / "named_evidence.png", EVIDENCE)


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="the folder that `make demo` wrote, below the top of the checkout")
    demo = parser.parse_args().demo
    work = ROOT / demo / "pictures"
    work.mkdir(parents=True, exist_ok=True)
    model, files = demo / "model", [file.relative_to(ROOT) for file in FILES]
    cytovae("assign", model, *files, "--umap", "-o", work / "cells.parquet", "--tables", work / "tables")
    cells = pd.read_parquet(work / "cells.parquet")
    names = gated_names(cells)
    write_csv(work / "names.csv", [("cluster", "name"), *names.items()])
    named = ("--names", work / "names.csv", "--samples", SAMPLES.relative_to(ROOT), "--gates", "beside")
    cytovae("report", model, *files, *named, "-o", work / "report.html", "--figures", work / "figures")
    for target, source in TAKEN.items():
        keep(work / "figures" / f"{source}.png", PICTURES / f"{target}.png")
    medians = pd.read_csv(work / "tables" / "cluster_medians.csv")
    with style():
        picture = render(overview(cells, medians, names), "overview", "", svg=False)
    (work / "overview.png").write_bytes(picture.png)
    keep(work / "overview.png", PICTURES / "overview.png")
    page_picture(work / "report.html", work, PICTURES / "report.png")
    named_pictures(work, files)


if __name__ == "__main__":
    main()
