"""Checked reading of JSON: values of the right type come back, others are refused by file and field."""

from pathlib import Path

import pytest

from cytovae.errors import ModelError
from cytovae.model_folder.json_fields import LARGEST_JSON, JsonFields, read_json


def fields_of(tmp_path: Path, text: str) -> JsonFields:
    (tmp_path / "x.json").write_text(text)
    return read_json(tmp_path / "x.json")


def test_values_come_back(tmp_path: Path) -> None:
    fields = fields_of(tmp_path, '{"a": "µ", "b": 3, "c": 2, "d": {"e": 0.5}, "f": [{"g": 1}, {"g": 2}]}')
    assert (fields.text("a"), fields.integer("b"), fields.number("c")) == ("µ", 3, 2.0)
    assert fields.nested("d", "an object").number("e") == 0.5
    assert [entry.integer("g") for entry in fields.entries("f", "a list", "an object")] == [1, 2]
    assert "a" in fields
    assert "z" not in fields


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 1}', r"x\.json: a: found 1, expected text"),
        ("{}", r"x\.json: a: found nothing, expected text"),
        ('{"a": null}', r"x\.json: a: found None, expected text"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        fields_of(tmp_path, text).text("a")


@pytest.mark.parametrize("value", ["true", "1.5", '"1"'])
def test_only_whole_numbers_are_integers(tmp_path: Path, value: str) -> None:
    with pytest.raises(ModelError, match=r"a: found .*, expected a whole number"):
        fields_of(tmp_path, f'{{"a": {value}}}').integer("a")


@pytest.mark.parametrize("value", ["true", "[]", "1" + "0" * 400])
def test_only_finite_numbers_are_numbers(tmp_path: Path, value: str) -> None:
    with pytest.raises(ModelError, match=r"a: found .*, expected a (finite )?number"):
        fields_of(tmp_path, f'{{"a": {value}}}').number("a")


def test_a_nested_field_is_named_with_its_parents(tmp_path: Path) -> None:
    fields = fields_of(tmp_path, '{"a": {"b": [{"c": 1}, {"c": "x"}]}}')
    entries = fields.nested("a", "an object").entries("b", "a list", "an object")
    with pytest.raises(ModelError, match=r"x\.json: a\.b\[1\]\.c: found 'x'"):
        entries[1].number("c")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', "{", "[1]", '"a"', ""])
def test_files_without_a_json_object_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=r"x\.json (cannot be read as JSON|holds no JSON object)"):
        fields_of(tmp_path, text)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    with pytest.raises(ModelError, match=f"{LARGEST_JSON + 1} bytes, expected at most {LARGEST_JSON}"):
        read_json(tmp_path / "x.json")
