"""Labels of the branches of a tree: where the table cuts it."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The price of a branch that has another label than the branch it joins: a little for each branch, and more for each of
# its cells the higher the level at which they join. The fourth power makes branches behind a valley cheap.
PRICE, PRICE_PER_CELL, POWER = 1e-4, 8.0, 4


def label_branches(cost: Array, share: Array, linkage: Array) -> NDArray[np.int64]:
    """The label of each leaf (u,), so that the sum of costs and prices is least.

    A branch is cut off where the gain of another label exceeds the price of the cut.

    Parameters
    ----------
    cost
        Cost per cell (u, k) of each label for each leaf.
    share
        Share of the cells (u,) in each leaf.
    linkage
        Merges (u − 1, 4) as in :mod:`scipy.cluster.hierarchy`; a height is 1 − the level of the merge, in [0, 1].
    """
    n_leaves = len(cost)
    total = list(cost * share[:, None])
    size = share.tolist()
    changes: dict[int, NDArray[np.bool_]] = {}  # by branch: whether it changes the label, for each label above it
    for left, right, height, _ in linkage:
        joined = np.zeros(cost.shape[1])
        for branch in (int(left), int(right)):
            price = PRICE + PRICE_PER_CELL * max(1 - height, 0.0) ** POWER * size[branch]
            change = total[branch].min() + price
            changes[branch] = total[branch] > change
            joined += np.minimum(total[branch], change)
        total.append(joined)
        size.append(size[int(left)] + size[int(right)])
    label = np.zeros(n_leaves, dtype=np.int64)
    open_branches = [(len(total) - 1, int(total[-1].argmin()))]
    while open_branches:
        branch, own = open_branches.pop()
        if branch < n_leaves:
            label[branch] = own
            continue
        for child in linkage[branch - n_leaves, :2].astype(int).tolist():
            open_branches.append((child, int(total[child].argmin()) if changes[child][own] else own))
    return label
