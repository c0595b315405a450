"""TEXT edited in place, so that stale offsets locate DATA at the wrong byte."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from helpers.small_fcs import FLOAT, INTEGER, Recipe, same_values, strict_values

from cytovae.errors import FcsError
from cytovae.fcs.file import open_fcs
from cytovae.fcs.placement import Offsets

SOAK = Path(__file__).parents[1] / "soak"
CHECKSUM = replace(FLOAT, tail=b"00000000", n_events=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edited.fcs"


def _edited(raw: bytes, change: int) -> bytes:
    """The file after ``change`` bytes are inserted into, or deleted from, the value of $CYT."""
    at = raw.index(b"built by hand")
    return raw[:at] + b"x" * change + raw[at + max(0, -change) :]


def _signs(path: Path) -> list[str]:
    return [note for note in open_fcs(path).notes if "check that values are right" in note]


@pytest.mark.parametrize("change", [-8, -4, -2, -1, 1, 2, 4, 8])
def test_moved_data_is_refused(change: int, path: Path) -> None:
    path.write_bytes(_edited(CHECKSUM.build(), change))
    with pytest.raises(FcsError, match="TEXT was probably edited") as caught:
        open_fcs(path)
    assert caught.value.field == "DATA"
    assert ";" in caught.value.found  # at least two signs


@pytest.mark.parametrize("offsets", ["header", "text"])
def test_chosen_offsets_override_the_signs(offsets: Offsets, path: Path) -> None:
    path.write_bytes(_edited(CHECKSUM.build(), -4))
    file = open_fcs(path, offsets=offsets)
    assert sum("check that values are right" in note for note in file.notes) >= 2


@pytest.mark.parametrize("tail", [b"", b"00000000", b"A1B2C3D4\r\n", b"\x00" * 999, b"  00000000"])
def test_padding_and_a_checksum_after_data_are_no_sign(tail: bytes, path: Path) -> None:
    path.write_bytes(replace(FLOAT, tail=tail).build())
    assert not _signs(path)


@pytest.mark.parametrize("recipe", [FLOAT, INTEGER], ids=["float", "integer"])
def test_one_sign_is_noted(recipe: Recipe, path: Path) -> None:
    sound = replace(recipe, tail=b"RawPar of an instrument").build()
    path.write_bytes(sound)
    (sign,) = _signs(path)
    assert "23 bytes after DATA" in sign
    assert same_values(open_fcs(path).read(), strict_values(sound))


def test_values_that_are_plausible_elsewhere_are_a_sign(path: Path) -> None:
    sound = replace(FLOAT, n_events=50, text_offsets=False).build()
    first, last = int(sound[26:34]), int(sound[34:42])
    path.write_bytes(sound[:26] + f"{first - 2:>8}{last - 2:>8}".encode() + sound[42:])
    with pytest.raises(FcsError, match=r"values are plausible here, and 100% 2 bytes later"):
        open_fcs(path)


def test_edits_at_random_never_move_data_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SOAK)
    rows = import_module("shifts").shifts(tmp_path, import_module("rows").Effort(quick=True))
    assert [failure for row in rows for failure in row.failures] == []
    assert sum(row.times for row in rows) == 500
    assert all("0 with moved DATA, silently" in row.happened for row in rows)
    assert not any(row.happened.startswith("0 refused by two signs") for row in rows)


def test_a_keyword_at_the_begin_of_data_is_a_sign(path: Path) -> None:
    """The edit pushes exactly the last keyword out of TEXT, so that TEXT seems complete."""
    sound = replace(FLOAT, n_events=50, text_offsets=False).build()
    first, last = int(sound[26:34]), int(sound[34:42])
    without_gap = sound[:26] + f"{first - 6:>8}{last - 6:>8}".encode() + sound[42 : first - 6] + sound[first:]
    path.write_bytes(without_gap)
    assert not _signs(path)
    path.write_bytes(_edited(without_gap, len("$P3S/CD3/")))
    with pytest.raises(FcsError, match="DATA begins with a keyword"):
        open_fcs(path)
