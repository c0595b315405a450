"""What `assign --clusters` asks for, and what it refuses. Expected values are from the contract of the option."""

import pytest

from cytovae.errors import UsageError
from cytovae.study.cuts import AS_TRAINED, Cuts, parse_cuts


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("auto", AS_TRAINED),
        ("8", Cuts(8, (), "cluster")),
        ("8,20", Cuts(8, (20,), "cluster_8")),
        ("20, 8", Cuts(20, (8,), "cluster_20")),
        ("8,20,auto", Cuts(None, (8, 20), "cluster")),
        ("auto,8", Cuts(None, (8,), "cluster")),
        ("08", Cuts(8)),
    ],
)
def test_a_number_alone_is_cluster_and_a_list_has_a_column_for_each(text: str, cuts: Cuts) -> None:
    assert parse_cuts(text) == cuts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8,8", "8 twice"),
        ("8,20,08", "8 twice"),
        ("auto,8,auto", "auto twice"),
        ("", "not ''"),
        ("8,", "not ''"),
        ("0", "not '0'"),
        ("-3", "not '-3'"),
        ("8;20", "not '8;20'"),
        ("2.5", "not '2.5'"),
        ("٨", "not '٨'"),
        ("9" * 5000, "not '999"),
    ],
)
def test_other_words_are_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        parse_cuts(text)
    assert len(str(refused.value)) < 250
