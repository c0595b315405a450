"""Agreement of named populations with gates of the same names."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytovae.cells import GateLabels, folded_name
from cytovae.metrics import contingency


@dataclass(frozen=True)
class NameScore:
    """Scores of names: a cell is right only if its name is that of its gate.

    Attributes
    ----------
    accuracy : float
        Share of the gated cells that count with the right name.
    macro_f1 : float
        Mean F1 over the gated populations that count, each with the cells of its name; 0 for one whose name does not
        occur.
    """

    accuracy: float
    macro_f1: float


def score_names(
    number: NDArray[np.integer], names: Sequence[str], gates: GateLabels, counted: Collection[str] | None = None
) -> NameScore | None:
    """Compare named cells with gates, by name.

    Parameters
    ----------
    number : ndarray of int, shape (n_cells,)
        The name of each cell: 1 for the first of ``names``. 0 means none.
    names : sequence of str
        Case and repeated spaces make no difference.
    gates : GateLabels
        The gates of the same cells. Ungated cells are not scored.
    counted : collection of str, optional
        The gates that count, by their names. Cells of other gates lower precision where they have the name of a gate
        that counts. Default: all.

    Returns
    -------
    NameScore or None
        None if no name is that of a gate that counts.

    Raises
    ------
    UsageError
        If the lengths differ, or no cell is gated.

    Examples
    --------
    >>> import numpy as np
    >>> from cytovae.cells import GateLabels
    >>> from cytovae.name_scores import score_names
    >>> gates = GateLabels(np.array([0, 0, 1, 1], dtype=np.int32), ("B cells", "T cells"))
    >>> score_names(np.array([1, 1, 1, 0]), ["b cells"], gates)
    NameScore(accuracy=0.5, macro_f1=0.4)
    """
    table = contingency(number, gates)
    folded = [folded_name(name) for name in names]
    column = {folded[number - 1]: index for index, number in enumerate(table.clusters) if number <= len(names)}
    rows = [row for row, name in enumerate(table.names) if counted is None or name in counted]
    if not set(folded) & {folded_name(table.names[row]) for row in rows}:
        return None
    f_measures = table.f_measures()
    right, f1 = 0, []
    for row in rows:
        own = column.get(folded_name(table.names[row]))
        right += 0 if own is None else int(table.counts[row, own])
        f1.append(0.0 if own is None else float(f_measures[row, own]))
    return NameScore(right / int(table.population_sizes[rows].sum()), float(np.mean(f1)))
