"""One spelling for each population, and what cannot be learned from."""

import numpy as np
import pytest

from cytovae.annotations.known_labels import known_labels
from cytovae.cells import GateLabels
from cytovae.errors import InputError


def labels(*texts: str) -> GateLabels:
    names = tuple(sorted(set(texts) - {""}))
    return GateLabels(np.array([names.index(text) if text else -1 for text in texts], dtype=np.int32), names)


def spelled(known: GateLabels) -> list[str]:
    return [*(known.names[index] if index >= 0 else "" for index in known.population)]


def test_spellings_of_a_population_are_joined_with_a_warning() -> None:
    known = known_labels(labels(*["T cells"] * 5, "t  CELLS", *["B"] * 5, ""), "x.csv")
    assert spelled(known.labels) == [*["T cells"] * 6, *["B"] * 5, ""]
    assert known.warnings == ("x.csv: 'T cells' and 't  CELLS' are taken for one population, 'T cells'",)


def test_unknown_is_not_a_population_and_few_cells_get_a_warning() -> None:
    known = known_labels(labels(*["T"] * 5, *["B"] * 4, "Unknown"), "x.csv")
    assert spelled(known.labels) == [*["T"] * 5, *["B"] * 4, ""]
    assert [word for word in ("'unknown'", "'B' has 4") if any(word in text for text in known.warnings)] == [
        "'unknown'",
        "'B' has 4",
    ]


@pytest.mark.parametrize(("texts", "found"), [(["", ""], "no labels"), (["T", "t ", ""], "one population, 'T'")])
def test_two_populations_are_needed(texts: list[str], found: str) -> None:
    with pytest.raises(InputError, match=found) as caught:
        known_labels(labels(*texts), "x.csv")
    assert caught.value.exit_code == 3
