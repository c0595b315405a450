"""Which manual gate a cluster consists of: its label, its purity, and the share of its cells in no gate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import GateLabels
from cytovae.errors import UsageError

_MOST_MIXED = 2  # populations in the label of a mixed cluster


@dataclass(frozen=True)
class ClusterGates:
    """The gates of the cells of one cluster.

    Attributes
    ----------
    cluster : int
        Number of the cluster, from 1.
    cells : int
        All its cells, gated or not.
    gated : int
        Its cells in a gate.
    populations : tuple of (str, int)
        The gates with at least one of its cells, and the number of these cells; most cells first.
    """

    cluster: int
    cells: int
    gated: int
    populations: tuple[tuple[str, int], ...]

    @property
    def purity(self) -> float:
        """The share of the most frequent gate among *all* cells of the cluster; 0 if none is gated, NaN if empty."""
        if not self.cells:
            return float("nan")
        return self.populations[0][1] / self.cells if self.populations else 0.0

    @property
    def gated_share(self) -> float:
        """The share of its cells in a gate; NaN if it is empty."""
        return self.gated / self.cells if self.cells else float("nan")

    @property
    def population(self) -> str:
        """The gate that at least half of all cells of the cluster belong to; empty if there is none."""
        return self.populations[0][0] if self.populations and 2 * self.populations[0][1] >= self.cells else ""

    @property
    def label(self) -> str:
        """``population``, or a dash and why there is none."""
        if not self.cells:
            return "–"
        if self.population:
            return self.population
        if 2 * self.gated < self.cells:
            return f"– ({percent(1 - self.gated_share)} ungated)"
        mixed = [f"{percent(count / self.cells, 0)} {name}" for name, count in self.populations[:_MOST_MIXED]]
        return f"– (mixed: {', '.join(mixed)}{', …' if len(self.populations) > _MOST_MIXED else ''})"


def gates_of_clusters(cluster: NDArray[np.integer], gates: GateLabels, n_clusters: int) -> tuple[ClusterGates, ...]:
    """The gates of clusters 1 … ``n_clusters``, in this order.

    Parameters
    ----------
    cluster : ndarray of int, shape (n_cells,)
        The cluster of each cell; 0 for a cell in none.
    gates : GateLabels
        The gate of each cell.
    n_clusters : int
        Number of clusters.

    Raises
    ------
    UsageError
        If the lengths differ.
    """
    if len(cluster) != len(gates):
        raise UsageError(f"{len(gates)} gate labels do not fit {len(cluster)} cells")
    width = len(gates.names) + 1  # ungated cells are in the first column
    counts = np.bincount(
        cluster.astype(np.int64) * width + gates.population + 1, minlength=(n_clusters + 1) * width
    ).reshape(-1, width)
    found = []
    for number in range(1, n_clusters + 1):
        of_gates = counts[number, 1:]
        order = np.argsort(-of_gates, kind="stable")
        populations = tuple((gates.names[index], int(of_gates[index])) for index in order if of_gates[index])
        found.append(ClusterGates(number, int(counts[number].sum()), int(of_gates.sum()), populations))
    return tuple(found)


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage; only 0 and 1 themselves are written as 0 % and 100 %."""
    text = f"{100 * share:.{digits}f}"
    step = 10.0**-digits
    if share > 0 and not float(text):
        return f"< {step:.{digits}f} %"
    if share < 1 and float(text) >= 100:
        return f"> {100 - step:.{digits}f} %"
    return f"{text} %"
