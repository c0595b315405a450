"""Only plain files are opened, and paths become absolute without an error."""

import os
from pathlib import Path

import pytest

from cytovae.annotations.gates import read_gates
from cytovae.atomic import check_target
from cytovae.delimited import read_text
from cytovae.errors import GateError, InputError, OutputError
from cytovae.events.event_file import open_events
from cytovae.plain_file import check_plain, folder_exists, is_plain, open_plain, resolved
from cytovae.toml_file import read_toml

SUFFIXES = (".fcs", ".csv", ".parquet", ".h5ad")


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, Path]:
    """Paths that are no plain file, by what they are."""
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    return {
        "symbolic link": tmp_path / "loop",
        "a pipe": tmp_path / "pipe",
        "a folder": tmp_path,
        "a device": Path(os.devnull),
        "No such file": tmp_path / "none",
        "null": tmp_path / "a\0b",
        "too long": tmp_path / ("9" * 5_000),
    }


def test_a_plain_file_or_a_link_to_one_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "link.txt").symlink_to("a.txt")
    for name in ("a.txt", "link.txt"):
        check_plain(tmp_path / name)
        with open_plain(tmp_path / name) as stream:
            assert stream.read() == b"x"


@pytest.mark.parametrize(
    "what", ["symbolic link", "a pipe", "a folder", "a device", "No such file", "null", "too long"]
)
def test_anything_else_is_refused_and_named(hostile: dict[str, Path], what: str) -> None:
    path = hostile[what]
    with pytest.raises(InputError, match=what):
        check_plain(path)
    with pytest.raises(InputError, match=what):
        open_plain(path)
    with pytest.raises(GateError, match=what):
        read_text(path, "gates", GateError)
    with pytest.raises(InputError, match=what):
        read_toml(path, "config")
    assert not is_plain(path)
    assert folder_exists(path) == (what == "a folder")
    assert resolved(path).is_absolute()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pipes_and_loops_are_no_files_of_events(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    for name in ("pipe", "loop"):
        with pytest.raises(InputError, match="plain file"):
            open_events(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize("name", ["s3://bucket/cells.parquet", "hdfs://host/cells.parquet", "s3://bucket/cells.csv"])
def test_names_of_remote_stores_are_names_of_local_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        open_events(Path(name))
    local = Path(name)
    local.parent.mkdir(parents=True)
    if local.suffix == ".csv":
        local.write_text("CD3,CD4\n1,2\n")
    else:
        import pandas as pd

        pd.DataFrame({"CD3": [1.0], "CD4": [2.0]}).to_parquet(local.absolute().as_uri())
    assert open_events(local).n_events == 1


def test_tables_with_nul_are_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(b"file,sample\na\0.fcs,1\n")
    with pytest.raises(InputError, match="line 2: found the character NUL"):
        read_text(tmp_path / "samples.csv", "samples")


def test_gates_of_an_impossible_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("CD3,CD4\n1,2\n")
    with pytest.raises(GateError):
        read_gates("9" * 5_000, open_events(tmp_path / "a.csv"))


@pytest.mark.parametrize("what", ["symbolic link", "a device", "null", "too long"])
def test_impossible_outputs_are_refused(hostile: dict[str, Path], what: str) -> None:
    with pytest.raises(OutputError):
        check_target(hostile[what], force=True)


@pytest.mark.parametrize("text", [f"a = {'[' * 5_000}{']' * 5_000}", f"a = {'9' * 5_000}", "a = 'x"])
def test_hostile_toml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(InputError, match=r"x\.toml: config"):
        read_toml(tmp_path / "x.toml", "config")


def test_empty_tables_are_the_same_in_both_formats(tmp_path: Path) -> None:
    import pandas as pd

    empty = pd.DataFrame({"CD3": pd.Series(dtype=float), "CD4": pd.Series(dtype=float)})
    empty.to_csv(tmp_path / "a.csv", index=False)
    empty.to_parquet(tmp_path / "a.parquet", index=False)
    for suffix in (".csv", ".parquet"):
        file = open_events((tmp_path / "a").with_suffix(suffix))
        assert (file.n_events, [channel.name for channel in file.channels]) == (0, ["CD3", "CD4"])
        assert file.read().shape == (0, 2)
