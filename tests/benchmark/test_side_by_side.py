"""The comparison of cytovae with FlowSOM, on invented rows worked by hand."""

from dataclasses import replace
from statistics import stdev

import pytest

from cytovae.benchmark.job import Row
from cytovae.benchmark.side_by_side import Line, SideBySide, chosen_elsewhere, side_by_side
from cytovae.benchmark.tables import markdown_side_by_side, markdown_tables

GROUPS = {"a": "donors", "b": "donors", "c": "c", "d": "d"}

# F_weighted of FlowSOM, the mean of two seeds; F1_mean is half and ARI a quarter of it. Sums of the other sets:
#   without a and b:   K=10 .30 + .60 = .90   K=20 .80 + .50 = 1.30   so a and b take 20
#   without c:         K=10 .90 + .90 + .60 = 2.40   K=20 .40 + .30 + .50 = 1.20   so c takes 10
#   without d:         K=10 .90 + .90 + .30 = 2.10   K=20 .40 + .30 + .80 = 1.50   so d takes 10
# If a were chosen with b in sight, it would take 10 (1.80 against 1.60).
FLOWSOM = {10: {"a": 0.9, "b": 0.9, "c": 0.3, "d": 0.6}, 20: {"a": 0.4, "b": 0.3, "c": 0.8, "d": 0.5}}
CYTOVAE = {
    0: {"a": 0.8, "b": 0.6, "c": 0.7, "d": 0.5},
    10: {"a": 0.7, "b": 0.7, "c": 0.1, "d": 0.4},
    20: {"a": 0.5, "b": 0.9, "c": 0.3, "d": 0.6},
}


def rows_of(method: str, scores: dict[int, dict[str, float]], spread: float = 0.01) -> list[Row]:
    return [
        replace(
            Row(name, "all cells", method, number, seed, "ok", group=GROUPS.get(name, "")),
            f_weighted=value + shift,
            f1_mean=(value + shift) / 2,
            ari=(value + shift) / 4,
        )
        for number, of_sets in scores.items()
        for name, value in of_sets.items()
        for seed, shift in enumerate((-spread, spread))
    ]


ROWS = [*rows_of("flowsom", FLOWSOM), *rows_of("cytovae", CYTOVAE, 0.02)]


def line(compared: SideBySide, method: str, how: str, number: int = 0) -> Line:
    (found,) = (each for each in compared.lines if (each.method, each.how, each.number) == (method, how, number))
    return found


def test_a_set_takes_the_number_that_is_best_on_other_donors() -> None:
    assert chosen_elsewhere(FLOWSOM, GROUPS) == {"a": 20, "b": 20, "c": 10, "d": 10}
    assert chosen_elsewhere(FLOWSOM, {name: name for name in GROUPS})["a"] == 10


def test_a_number_without_a_score_on_every_set_is_not_chosen() -> None:
    assert chosen_elsewhere({10: {"a": 0.1, "b": 0.1}, 20: {"a": 0.9}}, {"a": "a", "b": "b"}) == {"a": 10, "b": 10}


def test_the_smaller_number_wins_a_tie_and_a_single_group_has_no_choice() -> None:
    tie = {20: {"a": 0.5, "b": 0.5}, 10: {"a": 0.5, "b": 0.5}}
    assert chosen_elsewhere(tie, {"a": "a", "b": "b"}) == {"a": 10, "b": 10}
    assert chosen_elsewhere(tie, {"a": "same", "b": "same"}) == {}


def test_means_over_sets_equal_those_worked_by_hand() -> None:
    (compared,) = side_by_side(ROWS)
    expected = {
        ("cytovae", "default", 0): (0.8 + 0.6 + 0.7 + 0.5) / 4,
        ("flowsom", "other sets", 0): (0.4 + 0.3 + 0.3 + 0.6) / 4,
        # K=10 without a and b: .1 + .4, K=20: .3 + .6; without c: 1.8 and 2.0; without d: 1.5 and 1.7.
        ("cytovae", "other sets", 0): (0.5 + 0.9 + 0.3 + 0.6) / 4,
        ("flowsom", "fixed", 10): (0.9 + 0.9 + 0.3 + 0.6) / 4,
        ("cytovae", "fixed", 10): (0.7 + 0.7 + 0.1 + 0.4) / 4,
        ("flowsom", "fixed", 20): (0.4 + 0.3 + 0.8 + 0.5) / 4,
        ("cytovae", "fixed", 20): (0.5 + 0.9 + 0.3 + 0.6) / 4,
        ("flowsom", "labels", 0): (0.9 + 0.9 + 0.8 + 0.6) / 4,
        ("cytovae", "labels", 0): (0.7 + 0.9 + 0.3 + 0.6) / 4,  # the default is not one of the numbers
    }
    assert {(each.method, each.how, each.number) for each in compared.lines} == set(expected)
    for (method, how, number), mean in expected.items():
        found = [compared.mean(line(compared, method, how, number), metric) for metric in ("f_weighted", "f1_mean")]
        assert found == pytest.approx([mean, mean / 2], abs=1e-12)


def test_deviations_are_those_of_the_chosen_number() -> None:
    rows = [
        replace(row, f_weighted=0.9) if (row.dataset, row.number, row.seed) == ("c", 10, 1) else row for row in ROWS
    ]
    (compared,) = side_by_side(rows)
    assert line(compared, "flowsom", "other sets").numbers["c"] == 10
    found = compared.deviations(line(compared, "flowsom", "other sets"), "f_weighted")
    small = stdev([0.0, 0.02])
    assert found == pytest.approx({"a": small, "b": small, "c": stdev([0.29, 0.9]), "d": small})


def test_sets_that_do_not_count_change_no_mean_and_no_choice() -> None:
    extreme = {10: {"e": 0.0}, 20: {"e": 9.0}}
    few = [
        replace(row, reported_only=True) for row in [*rows_of("flowsom", extreme), *rows_of("cytovae", {0: {"e": 9.0}})]
    ]
    rare = [replace(Row("r", "all cells", method, 0, 0, "ok"), rare_f1=0.5) for method in ("cytovae", "flowsom")]
    alone = [replace(row, dataset="f") for row in few if row.method == "flowsom"]
    (compared,) = side_by_side([*ROWS, *few, *rare, *[replace(row, reported_only=False) for row in alone]])
    (without,) = side_by_side(ROWS)
    assert (compared.datasets, compared.left_out) == (without.datasets, ("e", "r", "f"))
    assert compared.lines == without.lines


def test_a_mean_lacks_no_set() -> None:
    (compared,) = side_by_side([row for row in ROWS if (row.method, row.number, row.dataset) != ("cytovae", 20, "a")])
    assert compared.mean(line(compared, "cytovae", "fixed", 20), "ari") is None
    assert compared.mean(line(compared, "cytovae", "fixed", 10), "ari") is not None


def test_the_table_is_printed_for_several_sets_with_both_methods() -> None:
    text = markdown_side_by_side(ROWS)
    lines = dict(part.strip("| ").split(" | ", 1) for part in text.splitlines() if part.startswith("| "))
    assert lines["cytovae"] == "0.650 | 0.325 | 0.163"  # .1625, rounded
    assert lines["FlowSOM, K by the other data sets"] == "0.400 | 0.200 | 0.100"
    assert lines["cytovae: mean"] == "0.028 | 0.014 | 0.007"  # the deviation of ± .02 is .02 √2
    assert lines["FlowSOM, K by the other data sets: mean"] == "0.014 | 0.007 | 0.004"
    assert "FlowSOM: a 20, b 20, c 10, d 10." in text
    assert text in markdown_tables(ROWS)
    assert markdown_side_by_side([row for row in ROWS if row.dataset == "a"]) == ""
    assert markdown_side_by_side([row for row in ROWS if row.dataset in "ab"]) == ""  # the same donors
    assert markdown_side_by_side([row for row in ROWS if row.method == "cytovae"]) == ""
    one_seed = markdown_side_by_side([row for row in ROWS if row.seed == 0])
    assert "standard deviation" not in one_seed
