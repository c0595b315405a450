"""The tree of a refined model, by a case worked by hand."""

import numpy as np
from helpers.sample_model import merge_tree

from cytovae.populations.refined_tree import refined_tree


def test_parts_take_the_place_of_a_cluster_and_follow_the_highest_number() -> None:
    # Experts 0 and 1 are cluster 1 (60 cells), 2 is cluster 2 (30), 3 is cluster 3 (10).
    tree = merge_tree([0, 2, 0], [1, 3, 2], 1, [40, 20, 30, 10])
    # The second model: experts 0 and 2 are its part 1 (150 cells), 1 is part 2 (50).
    inner = merge_tree([0, 0], [2, 1], 1, [100, 50, 50])
    joined = refined_tree(tree, 3, (1,), inner, 2)
    assert joined.n_found == 4
    assert joined.cut(4).tolist() == [4, 4, 2, 3, 4, 5, 4]  # number 1 is retired
    assert joined.cells.tolist() == [0, 0, 30, 10, 30, 15, 15]  # the 60 cells, shared out as 100, 50, 50
    assert joined.cut(3).tolist() == [1, 1, 2, 3, 1, 1, 1]  # the parts join each other first, and numbers are by size
    assert joined.cut(1).tolist() == [1] * 7


def test_clusters_of_one_population_are_one_branch() -> None:
    tree = merge_tree([0, 0, 0], [1, 2, 3], 0, [40, 30, 20, 10])
    inner = merge_tree([0], [1], 0, [5, 5])
    joined = refined_tree(tree, 4, (1, 3), inner, 2)
    assert joined.cut(4).tolist() == [5, 2, 5, 4, 5, 6]
    for number in range(1, 5):
        assert len(np.unique(joined.cut(number))) == number
