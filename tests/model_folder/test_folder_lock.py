"""The lock of a folder: one process holds it, and it ends with that process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cytovae.errors import OutputError
from cytovae.model_folder.folder_lock import FolderLock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of the folder ``state`` until it is killed."""
    program = (
        "import sys, pathlib; from cytovae.model_folder.folder_lock import FolderLock\n"
        f"FolderLock(pathlib.Path({str(tmp_path / 'state')!r})).acquire('taken'); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_ends(other_process: subprocess.Popen[str], tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "state")
    with pytest.raises(OutputError, match=r"^somebody else$"):
        lock.acquire("somebody else")
    other_process.kill()
    other_process.wait()
    lock.acquire("somebody else")
    lock.release(remove_folder=True)
    assert not (tmp_path / "state").exists()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    lock = FolderLock(folder)
    lock.acquire("taken")
    with pytest.raises(OutputError, match="taken"):
        FolderLock(folder).acquire("taken")
    lock.release(remove_folder=False)
    assert folder.is_dir()
    lock.acquire("taken")
    lock.release(remove_folder=True)


def test_emptying_the_folder_keeps_it_locked(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    lock = FolderLock(folder)
    lock.acquire("taken")
    (folder / "stage").write_text("content")
    lock.empty_folder()
    assert not (folder / "stage").exists()
    with pytest.raises(OutputError, match="taken"):
        FolderLock(folder).acquire("taken")


def test_only_the_holder_removes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    lock, other = FolderLock(folder), FolderLock(folder)
    lock.acquire("taken")
    other.release(remove_folder=True)
    assert folder.is_dir()


def test_a_file_or_link_is_not_used_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(OutputError, match=f"{name} is not a folder"):
            FolderLock(tmp_path / name).acquire("taken")
    assert (tmp_path / "file").read_text() == "mine"
