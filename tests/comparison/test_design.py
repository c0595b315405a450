"""The design of a comparison: groups, the matrix of the models, and what cannot be estimated."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.comparison.design import Design, Factor, check_design
from cytovae.errors import InputError

SHEET = Path("samples.csv")


def design(condition: str, reference: str = "a", **others: str) -> Design:
    """A design with one letter per sample."""
    factors = tuple(Factor(name, tuple(values)) for name, values in others.items())
    return Design(Factor("condition", tuple(condition)), reference, factors)


def refusal(condition: str, *, describe: bool = False, reference: str = "a", **others: str) -> str:
    with pytest.raises(InputError) as error:
        check_design(design(condition, reference, **others), SHEET, describe=describe)
    return str(error.value)


def test_the_matrix_has_an_intercept_and_indicators() -> None:
    matrix = design("aabbcc", "b", donor="xyxyxy").matrix
    assert matrix.tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 1],
        [1, 0, 0, 0],
        [1, 0, 0, 1],
        [1, 0, 1, 0],
        [1, 0, 1, 1],
    ]


def test_every_other_level_is_compared_with_the_reference() -> None:
    assert design("abc", "b").compared == ("a", "c")


def test_a_subset_keeps_the_reference_and_the_values_of_its_samples() -> None:
    part = design("aabb", batch="xyxy").subset(np.array([True, False, True, True]))
    assert (part.condition.values, part.others[0].values, part.reference) == (("a", "b", "b"), ("x", "x", "y"), "a")


@pytest.mark.parametrize(
    ("condition", "others"),
    [("aaabbb", {}), ("aaabbb", {"donor": "xyzxyz"}), ("aaaabbbb", {"donor": "xxyyxxyy", "batch": "pqpqpqpq"})],
)
def test_a_design_that_can_be_tested_is_accepted(condition: str, others: dict[str, str]) -> None:
    check_design(design(condition, **others), SHEET)


def test_a_constant_condition_is_refused() -> None:
    assert "'a' for every sample" in refusal("aaaa")


def test_an_unknown_reference_is_refused_with_the_levels() -> None:
    assert "one of a, b" in refusal("aaabbb", reference="control")


def test_groups_of_two_are_refused_unless_described() -> None:
    assert "'b' has 2" in refusal("aaabb")
    assert "--describe" in refusal("aaabb")
    check_design(design("aaabb"), SHEET, describe=True)
    check_design(design("ab"), SHEET, describe=True)


def test_a_batch_that_is_the_condition_is_refused_even_if_described() -> None:
    assert "confounded with condition" in refusal("aaabbb", batch="xxxyyy")
    assert "column batch" in refusal("aaabbb", describe=True, batch="xxxyyy")


def test_a_batch_that_the_donor_determines_is_refused_with_both_names() -> None:
    message = refusal("aaaabbbb", donor="wxyzwxyz", batch="ppqqppqq")
    assert "columns donor and batch" in message
    assert "a block accounts for its batch" in message


def test_a_design_without_degrees_of_freedom_is_refused() -> None:
    assert "6 samples for 6 effects" in refusal("aaabbb", donor="uvwuxy")
