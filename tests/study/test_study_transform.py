"""The transform that `train` chooses if the user leaves it open."""

from pathlib import Path

import numpy as np
import pytest

import cytovae as cv
from cytovae.errors import UsageError
from cytovae.events.transform import arcsinh
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.study.train_study import TrainStudy, describe_transform, open_train_study

NAMES = ("FITC-A", "PE-A", "APC-A")


def flow(path: Path, *, transformed: bool = False, instrument: str = "LSRFortessa") -> FcsFile:
    values = np.random.default_rng(0).lognormal(5, 2, (300, 3))
    values = arcsinh(values, 150.0) if transformed else values
    channels = [Channel(i, name, f"CD{i + 3}", 262_144.0) for i, name in enumerate(NAMES)]
    write_fcs(path, values, channels, {"$CYT": instrument}, force=True)
    return open_fcs(path)


def chosen(study: TrainStudy) -> tuple[str, list[float]]:
    return study.transform.kind, study.transform.cofactors.tolist()


def test_auto_chooses_the_cofactor_of_the_instrument_and_says_why(tmp_path: Path) -> None:
    study = open_train_study([flow(tmp_path / "a.fcs"), flow(tmp_path / "b.fcs")])
    assert chosen(study) == ("arcsinh", [150, 150, 150])
    assert str(study.choice).startswith("transform arcsinh(x / 150), because")
    assert describe_transform(study) == {
        "kind": "arcsinh",
        "chosen": "auto",
        "reason": "values look like raw fluorescence ($CYT LSRFortessa)",
    }


def test_auto_never_transforms_twice(tmp_path: Path) -> None:
    study = open_train_study([flow(tmp_path / "a.fcs", transformed=True)])
    assert study.transform.kind == "none"
    assert not study.files[0].warnings()


def test_a_cofactor_alone_means_arcsinh(tmp_path: Path) -> None:
    study = open_train_study([flow(tmp_path / "a.fcs", transformed=True)], cofactor=7.0)
    assert chosen(study) == ("arcsinh", [7, 7, 7])
    assert study.choice is None
    assert describe_transform(study) == {"kind": "arcsinh", "chosen": "by the user"}


def test_arcsinh_without_a_cofactor_takes_the_suggested_one(tmp_path: Path) -> None:
    assert chosen(open_train_study([flow(tmp_path / "a.fcs")], transform="arcsinh")) == ("arcsinh", [150, 150, 150])
    assert open_train_study([flow(tmp_path / "a.fcs")], transform="none").choice is None


def test_the_cofactors_of_a_panel_table_win(tmp_path: Path) -> None:
    (tmp_path / "panel.csv").write_text("channel,cofactor\nFITC-A,10\nPE-A,20\nAPC-A,\n")
    some = open_train_study([flow(tmp_path / "a.fcs")], panel_csv=tmp_path / "panel.csv")
    assert chosen(some) == ("arcsinh", [10, 20, 150])
    (tmp_path / "panel.csv").write_text("channel,cofactor\nFITC-A,10\nPE-A,20\n")
    files = [flow(tmp_path / "a.fcs"), flow(tmp_path / "b.fcs", transformed=True)]
    every = open_train_study(files, panel_csv=tmp_path / "panel.csv")
    assert chosen(every) == ("arcsinh", [10, 20])
    assert every.choice is None


def test_files_that_disagree_stop_with_the_options(tmp_path: Path) -> None:
    files = [flow(tmp_path / "a.fcs"), flow(tmp_path / "b.fcs", transformed=True)]
    with pytest.raises(UsageError, match="--transform none or --cofactor 150"):
        open_train_study(files)
    assert chosen(open_train_study(files, cofactor=150.0))[0] == "arcsinh"
    other = [files[0], flow(tmp_path / "c.fcs", instrument="Aurora")]
    with pytest.raises(UsageError, match="--cofactor 150 or --cofactor 3000"):
        open_train_study(other)


def test_cells_and_panels_of_the_api_follow_the_instrument(tmp_path: Path) -> None:
    raw, done = flow(tmp_path / "a.fcs"), flow(tmp_path / "b.fcs", transformed=True)
    assert cv.read_cells(raw.path).study.transform.cofactors.tolist() == [150, 150, 150]
    assert np.allclose(cv.read_cells(raw.path).values, arcsinh(raw.read(), 150.0))
    assert np.array_equal(cv.read_cells(done.path).values, done.read())
    panel = cv.choose_panel(raw.path, exclude=["CD5"])
    assert panel.cofactors.tolist() == [150, 150]
    own = cv.choose_panel(raw.path, cofactor=30.0)
    assert cv.read_cells(raw.path, own).study.transform.cofactors.tolist() == [30, 30, 30]
    assert cv.read_cells(done.path, own).study.transform.kind == "none"
