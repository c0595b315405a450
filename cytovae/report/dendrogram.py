"""The picture of the merge tree: how experts join to clusters, and where the tree is cut."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cytovae.drawing import FAINT, INK, QUIET, axes_at, colour_of, new_figure
from cytovae.populations.merge_tree import ROUNDING, MergeTree
from cytovae.populations.valleys import LEVELS


@dataclass(frozen=True)
class Branch:
    """A branch of the tree.

    Attributes
    ----------
    leaves : tuple of int
        Its experts, from left to right.
    height : float
        1 − level, at which its two branches join; 0 for a single expert.
    x : float
        Its position in the picture.
    children : tuple of Branch
        The two branches that it joins; empty for a single expert.
    """

    leaves: tuple[int, ...]
    height: float
    x: float
    children: "tuple[Branch, ...]" = ()


def branches(tree: MergeTree) -> tuple[Branch, ...]:
    """The roots of the tree of all experts with training cells, from left to right.

    The larger of two branches is on the left; leaves are at x = 0, 1, …. No branch is lower than its children.
    """
    # The order of the leaves is complete only at the roots, so positions follow in a second pass.
    order: dict[int, list[int]] = {expert: [expert] if cells else [] for expert, cells in enumerate(tree.cells)}
    for kept, absorbed in zip(tree.kept.tolist(), tree.absorbed.tolist(), strict=True):
        sides = sorted((order[kept], order.pop(absorbed)), key=lambda experts: -int(tree.cells[experts].sum()))
        order[kept] = sides[0] + sides[1]
    roots = sorted(
        (experts for experts in order.values() if experts), key=lambda experts: -int(tree.cells[experts].sum())
    )
    x_of = {expert: float(x) for x, expert in enumerate(expert for experts in roots for expert in experts)}

    branch_of = {expert: Branch((expert,), 0.0, x) for expert, x in x_of.items()}
    for kept, absorbed, level in zip(tree.kept.tolist(), tree.absorbed.tolist(), tree.level.tolist(), strict=True):
        if absorbed not in branch_of or kept not in branch_of:  # one of them has no training cells
            if absorbed in branch_of:
                branch_of[kept] = branch_of.pop(absorbed)
            continue
        one, other = sorted((branch_of[kept], branch_of.pop(absorbed)), key=lambda branch: branch.x)
        height = max(1 - level, one.height, other.height)
        branch_of[kept] = Branch(one.leaves + other.leaves, height, (one.x + other.x) / 2, (one, other))
    return tuple(sorted(branch_of.values(), key=lambda branch: branch.x))


def cut_height(tree: MergeTree, n_clusters: int) -> float | None:
    """The height of the cut into ``n_clusters``, halfway between the last merge below it and the first one above it.

    None if both merges have the same height.
    """
    n_merges = tree.n_experts - n_clusters
    heights = np.maximum.accumulate(1 - tree.level.astype(np.float64))
    below = float(heights[n_merges - 1]) if n_merges else 0.0
    above = float(heights[n_merges]) if n_merges < len(heights) else 1.0
    return (below + above) / 2 if above > below + ROUNDING else None


def clusters_at_levels(tree: MergeTree) -> NDArray[np.int64]:
    """Number of clusters with the tree cut at each of ``LEVELS``, int64 (n_levels,)."""
    heights = np.maximum.accumulate(1 - tree.level.astype(np.float64))
    n_merges = np.searchsorted(heights, 1 - LEVELS + ROUNDING, side="right")
    return np.minimum(tree.n_experts - n_merges, tree.n_most)


def draw_tree(tree: MergeTree, n_clusters: int) -> Figure:
    """The tree, coloured by cluster; beside it, at the same heights, agreement and number of clusters at each level.

    Parameters
    ----------
    tree : MergeTree
        The tree.
    n_clusters : int
        Number of clusters that it is cut into.
    """
    roots = branches(tree)
    cluster_of = tree.cut(n_clusters)
    order = [leaf for root in roots for leaf in root.leaves]
    has_agreement = bool(np.isfinite(tree.agreement).any())
    figure = new_figure(12.3 if has_agreement else 9.5, 4.4)
    axes = axes_at(figure, 0.65, 0.75, 8.4, 3.3)
    lines: list[Any] = []
    colours: list[str] = []
    pending = list(roots)
    while pending:
        branch = pending.pop()
        pending.extend(branch.children)
        if branch.children:
            left, right = branch.children
            lines.append([(left.x, branch.height), (right.x, branch.height)])
            colours.append(_colour(branch, cluster_of))
        for child in branch.children:
            lines.append([(child.x, child.height), (child.x, branch.height)])
            colours.append(_colour(child, cluster_of))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.3))
    _label_clusters(axes, cluster_of[order])
    top = max([root.height for root in roots] + [0.1]) * 1.06
    axes.set_xlim(-1, len(order))
    axes.set_ylim(-0.05 * top, top)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_ylabel("depth of the density valley" if tree.support is None else "share of cuts that separate")
    axes.set_title(f"{len(order)} experts, {n_clusters} clusters")
    panels = [axes]
    if has_agreement:
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
        for panel in (agreement, number):
            panel.tick_params(axis="y", labelleft=False)
            panel.grid(color=FAINT, linewidth=0.6)
            panels.append(panel)
    height = cut_height(tree, n_clusters)
    if height is not None:
        for panel in panels:
            panel.axhline(height, color=INK, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.text(len(order) * 1.004, height, " cut", va="center", fontsize=9, fontweight="bold")
    return figure


def _colour(branch: Branch, cluster_of: NDArray[np.int32]) -> str:
    """The colour of the branch's cluster; grey if its experts belong to several clusters."""
    clusters = np.unique(cluster_of[list(branch.leaves)])
    return colour_of(int(clusters[0]) - 1) if len(clusters) == 1 else QUIET


def _label_clusters(axes: Any, clusters: NDArray[np.int32]) -> None:
    """Draw a coloured strip below the leaves of each cluster, and its number below the strip."""
    starts = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    ends = np.r_[starts[1:], len(clusters)]
    across = axes.get_xaxis_transform()
    occupied = [-np.inf] * 4  # x of the last number on each line
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
