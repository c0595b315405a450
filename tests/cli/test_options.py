"""Shared options: names of files on standard input, and lists."""

import io
import os
import sys
from pathlib import Path

import pytest

from cytovae.cli import options
from cytovae.errors import UsageError


class Stream(io.TextIOWrapper):
    """Standard input that is not a terminal."""


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.fcs\nb c.fcs\n", [b"a.fcs", b"b c.fcs"]),
        (b"a.fcs\r\n\r\nb.fcs", [b"a.fcs", b"b.fcs"]),
        (b"a.fcs\0b\nc.fcs\0", [b"a.fcs", b"b\nc.fcs"]),
        (b"a.fcs\0", [b"a.fcs"]),
        (b"\xff\xfe.fcs\n\xc3\xa9.fcs\n", [b"\xff\xfe.fcs", b"\xc3\xa9.fcs"]),
    ],
    ids=["lines", "CRLF", "print0", "one of print0", "no UTF-8"],
)
def test_names_on_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes, names: list[bytes]) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(content), encoding="ascii"))
    assert [os.fsencode(path) for path in options.named_files([Path("-")])] == names


def test_standard_input_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(b"\0\0"), encoding="utf-8"))
    with pytest.raises(UsageError, match="no files"):
        options.named_files([Path("-")])


def test_loops_of_links_are_names_like_others(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert options.named_files([tmp_path / "loop"]) == (tmp_path / "loop",)
    with pytest.raises(UsageError, match="named twice"):
        options.named_files([tmp_path / "loop", tmp_path / "loop"])


def test_lists_are_split_at_commas() -> None:
    assert options.words(None, "--markers") == ()
    assert options.words(" CD3, ,CD4 ", "--markers") == ("CD3", "CD4")
    for nothing in ("", ",", " , "):
        with pytest.raises(UsageError, match="--markers names nothing"):
            options.words(nothing, "--markers")


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("0", 0), ("9" * 5_000, None), ("-1", None), ("1.5", None)])
def test_whole_numbers(text: str, number: int | None) -> None:
    assert options.whole_number(text) == number
