"""The picture of the merge tree: how experts become clusters, where it was cut, and why there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cytovae.populations.merge_tree import ROUNDING, MergeTree
from cytovae.populations.valleys import LEVELS
from cytovae.report.drawing import FAINT, INK, QUIET, axes_at, colour_of, new_figure


@dataclass(frozen=True)
class Branch:
    """A set of experts, ``height`` = 1 − valley where it came together, at ``x`` in the picture."""

    leaves: tuple[int, ...]
    height: float
    x: float
    parts: "tuple[Branch, ...]" = ()


def branches(tree: MergeTree) -> tuple[Branch, ...]:
    """The tree over experts with training cells, larger sets left, leaves at x = 0, 1, …; several where it has several
    roots. A branch is never lower than its parts.
    """
    # Which leaves come to stand beside which is known only at the roots; only then are there places.
    order: dict[int, list[int]] = {expert: [expert] if cells else [] for expert, cells in enumerate(tree.cells)}
    for kept, absorbed in zip(tree.kept.tolist(), tree.absorbed.tolist(), strict=True):
        sides = sorted((order[kept], order.pop(absorbed)), key=lambda experts: -int(tree.cells[experts].sum()))
        order[kept] = sides[0] + sides[1]
    roots = sorted(
        (experts for experts in order.values() if experts), key=lambda experts: -int(tree.cells[experts].sum())
    )
    place = {expert: float(x) for x, expert in enumerate(expert for experts in roots for expert in experts)}

    grown = {expert: Branch((expert,), 0.0, x) for expert, x in place.items()}
    for kept, absorbed, valley in zip(tree.kept.tolist(), tree.absorbed.tolist(), tree.valley.tolist(), strict=True):
        if absorbed not in grown or kept not in grown:
            if absorbed in grown:
                grown[kept] = grown.pop(absorbed)
            continue
        one, other = sorted((grown[kept], grown.pop(absorbed)), key=lambda branch: branch.x)
        height = max(1 - valley, one.height, other.height)
        grown[kept] = Branch(one.leaves + other.leaves, height, (one.x + other.x) / 2, (one, other))
    return tuple(sorted(grown.values(), key=lambda branch: branch.x))


def cut_height(tree: MergeTree, n_clusters: int) -> float | None:
    """Where the tree is cut into ``n_clusters``: halfway between the last merge made and the first one not made; None
    where no height parts the two.
    """
    done = tree.n_experts - n_clusters
    heights = np.maximum.accumulate(1 - tree.valley.astype(np.float64))
    below = float(heights[done - 1]) if done else 0.0
    above = float(heights[done]) if done < len(heights) else 1.0
    return (below + above) / 2 if above > below + ROUNDING else None


def clusters_at_levels(tree: MergeTree) -> NDArray[np.int64]:
    """How many clusters, (n_levels,), the tree has when everything with a shallower valley than each level is one."""
    heights = np.maximum.accumulate(1 - tree.valley.astype(np.float64))
    merged = np.searchsorted(heights, 1 - LEVELS + ROUNDING, side="right")
    return np.minimum(tree.n_experts - merged, tree.n_most)


def draw_tree(tree: MergeTree, n_clusters: int, merged: NDArray[np.int32] | None = None) -> Figure:
    """The tree coloured by cluster, and beside it, at the same heights, agreement and number of clusters by level.

    ``merged`` (n_clusters,) is the number, from 1, that each cluster has where clusters were named.
    """
    roots = branches(tree)
    cluster_of = tree.cut(n_clusters)
    if merged is not None:
        cluster_of = merged[cluster_of - 1]
    order = [leaf for root in roots for leaf in root.leaves]
    judged = bool(np.isfinite(tree.agreement).any())
    figure = new_figure(12.3 if judged else 9.5, 4.4)
    axes = axes_at(figure, 0.65, 0.75, 8.4, 3.3)
    lines: list[Any] = []
    colours: list[str] = []
    waiting = list(roots)
    while waiting:
        branch = waiting.pop()
        waiting.extend(branch.parts)
        inside = np.unique(cluster_of[list(branch.leaves)])
        colour = colour_of(int(inside[0]) - 1) if len(inside) == 1 else QUIET
        if branch.parts:
            one, other = branch.parts
            lines.append([(one.x, branch.height), (other.x, branch.height)])
            colours.append(colour)
        for part in branch.parts:
            below = np.unique(cluster_of[list(part.leaves)])
            lines.append([(part.x, part.height), (part.x, branch.height)])
            colours.append(colour_of(int(below[0]) - 1) if len(below) == 1 else QUIET)
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.3))
    _label_clusters(axes, cluster_of[order])
    top = max([root.height for root in roots] + [0.1]) * 1.06
    axes.set_xlim(-1, len(order))
    axes.set_ylim(-0.05 * top, top)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_ylabel("depth of the valley between")
    axes.set_title(f"{len(order)} experts, {n_clusters} clusters")
    sides = [axes]
    if judged:
        heights = 1 - LEVELS
        agreement = axes_at(figure, 9.5, 0.75, 1.25, 3.3, sharey=axes)
        agreement.plot(tree.agreement, heights, "o-", color=colour_of(0), markersize=3.5, linewidth=1.2)
        agreement.set_title("agreement")
        agreement.set_xlabel("adjusted Rand index", fontsize=8)
        number = axes_at(figure, 10.92, 0.75, 1.25, 3.3, sharey=axes)
        number.plot(clusters_at_levels(tree), heights, "o-", color=colour_of(5), markersize=3.5, linewidth=1.2)
        number.set_title("clusters")
        number.set_xlim(left=0)
        number.set_xlabel("number", fontsize=8)
        for side in (agreement, number):
            side.tick_params(axis="y", labelleft=False)
            side.grid(color=FAINT, linewidth=0.6)
            sides.append(side)
    height = cut_height(tree, n_clusters)
    if height is not None:
        for side in sides:
            side.axhline(height, color=INK, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.text(len(order) * 1.004, height, " cut", va="center", fontsize=9, fontweight="bold")
    return figure


def _label_clusters(axes: Any, clusters: NDArray[np.int32]) -> None:
    """A coloured strip below the leaves, and the number of each cluster below that."""
    starts = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    ends = np.r_[starts[1:], len(clusters)]
    across = axes.get_xaxis_transform()
    occupied = [-np.inf] * 4  # where the last number of each line stands
    for start, end in zip(starts, ends, strict=True):
        strip = Rectangle((start - 0.42, -0.02), end - start - 0.16, 0.025, transform=across, clip_on=False)
        strip.set(color=colour_of(int(clusters[start]) - 1), linewidth=0)
        axes.add_patch(strip)
        middle = (start + end - 1) / 2
        free = [line for line, last in enumerate(occupied) if middle - last > len(clusters) / 36]
        line = free[0] if free else int(np.argmin(occupied))
        occupied[line] = middle
        number = f"{clusters[start]}"
        below = -0.035 - 0.045 * line
        axes.text(middle, below, number, ha="center", va="top", fontsize=8.5, fontweight="bold", transform=across)
