"""Files and folders that appear whole or not at all, whatever happens while they are written."""

import os
from pathlib import Path

import pytest

from cytovae.atomic import (
    check_files_in,
    check_target,
    finish_rename,
    hidden_name,
    hidden_names,
    put_in_place,
    readable,
    whole_file,
    whole_folder,
    write_whole,
)
from cytovae.errors import OutputError


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path, force=True) as partial:
            partial.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.txt cannot be written: No space left"), whole_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appeared_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write_twice() -> None:
        with whole_file(path) as partial:
            partial.write_text("new")
            path.write_text("of another process")

    with pytest.raises(OutputError, match="exists already"):
        write_twice()
    assert path.read_text() == "of another process"
    partial = tmp_path / "partial"
    partial.write_text("new")
    with pytest.raises(FileExistsError):
        put_in_place(partial, path, force=False)
    assert path.read_text() == "of another process"


def test_the_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", "Größe")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == "Größe".encode()


def test_the_ending_of_the_hidden_name_can_be_chosen(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.png", ending="png") as partial:
        assert partial.suffix == ".png"
        partial.touch()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        check_target(tmp_path / "a.txt")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("old", "new"):
        with whole_folder(path) as partial:
            (partial / content).write_text(content)
        assert [entry.name for entry in path.iterdir()] == [content]

    def fail() -> None:
        with whole_folder(path) as partial:
            (partial / "newer").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_replacement_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    hidden_name(path, "replaced").mkdir()
    hidden_name(path, "partial").mkdir()
    finish_rename(path)
    assert list(tmp_path.iterdir()) == [path]
    hidden_name(path, "replaced").mkdir()
    finish_rename(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a", "x" * 255, "γ" * 127, os.fsdecode(b"\xff" * 200)])
def test_hidden_names_are_possible_and_recognised(tmp_path: Path, name: str) -> None:
    hidden = hidden_name(tmp_path / name, "partial")
    hidden.touch()
    (tmp_path / f".{name[:50]}.other.partial").touch()
    assert list(hidden_names(tmp_path / name, "partial")) == [hidden]


def test_a_path_becomes_text() -> None:
    assert readable(os.fsdecode(b"a\xff.fcs")) == r"a\xff.fcs"
    assert readable(Path("γ.fcs")) == "γ.fcs"


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("file.csv", "is not a folder"),
        ("loop", "cannot be written"),
        ("nowhere", "leads nowhere"),
        ("file.csv/tables", "there is no folder"),
        ("9" * 5_000, "cannot be written"),
        ("full", "exists already"),
    ],
)
def test_a_folder_of_files_is_checked_before_any_work(folder: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.csv").write_text("a")
    with pytest.raises(OutputError, match=said):
        check_files_in(tmp_path / folder, ["a.csv"])


def test_a_folder_of_files_may_be_new_or_hold_others(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.csv").write_text("a")
    check_files_in(tmp_path / "full", ["b.csv"])
    check_files_in(tmp_path / "full", ["a.csv"], force=True)
    check_files_in(tmp_path / "new" / "deep", ["a.csv"])
    assert not (tmp_path / "new").exists()
