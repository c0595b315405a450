"""Scores by name, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from cytovae.cells import GateLabels
from cytovae.errors import UsageError
from cytovae.name_scores import score_names

GATES = ("B cells", "NK", "T cells", "never seen")


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gate = rng.integers(0, 4, 200)
    names = ("nk", "T  CELLS", "B cells", "granulocytes")  # case and spaces differ; one is no gate
    number = rng.integers(0, 5, 200)  # 0: no name
    found = score_names(number, names, GateLabels(gate.astype(np.int32), GATES))
    of_number = np.array(["", "NK", "T cells", "B cells", "granulocytes"])[number]
    truth = np.array(GATES)[gate]
    assert found is not None
    assert found.accuracy == pytest.approx(accuracy_score(truth, of_number))
    assert found.macro_f1 == pytest.approx(f1_score(truth, of_number, labels=GATES, average="macro", zero_division=0))


def test_ungated_cells_are_not_scored() -> None:
    gates = GateLabels(np.array([0, -1, 2], dtype=np.int32), GATES)
    found = score_names(np.array([1, 1, 2]), ("B cells", "T cells"), gates)
    assert found is not None
    assert (found.accuracy, found.macro_f1) == (1.0, 1.0)


def test_names_that_are_no_gate_have_no_score() -> None:
    assert score_names(np.array([1, 2]), ("1", "2"), GateLabels(np.array([0, 1], dtype=np.int32), GATES)) is None


def test_lengths_must_fit() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        score_names(np.array([1]), ("NK",), GateLabels(np.array([0, 1], dtype=np.int32), GATES))
