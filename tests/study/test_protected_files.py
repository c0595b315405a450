"""No output replaces an input of a command or of its model, not even with --force."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.command import Command
from helpers.study import write_study
from helpers.tiny_model import RUN, write_tiny_model

from cytovae.errors import OutputError, UsageError
from cytovae.model_folder.layout import InputRecord
from cytovae.model_folder.record import read_record
from cytovae.report.build import training_files
from cytovae.study.protected_files import protected_files

FORCED = ("--force", "--quiet")
DEVICE = ("--device", "cpu")


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """FCS files with gates beside them, and a model that was trained on them."""
    paths = write_study(tmp_path)
    for path in paths:
        path.with_suffix(".gates.csv").write_text("population\n")
    return paths


def test_events_gates_and_tables_are_protected(tmp_path: Path) -> None:
    for name in ("a.fcs", "a.gates.csv", "names.csv", "other.csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link.csv").symlink_to("names.csv")
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "b.csv").write_text("b")
    tables = (tmp_path / "names.csv", tmp_path / "gates", None, "CD3")
    protected = protected_files(files=[tmp_path / "a.fcs"], tables=tables)
    for name in ("a.fcs", "a.gates.csv", "names.csv", "link.csv", "gates/b.csv", "gates/../a.fcs"):
        with pytest.raises(UsageError, match="would write over an input"):
            protected.check(tmp_path / name)
    for name in ("other.csv", "new.csv", "gates/new.csv"):
        protected.check(tmp_path / name)


def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "landmarks.parquet").write_text("x")
    protected = protected_files(files=[tmp_path / "model" / "landmarks.parquet"])
    with pytest.raises(UsageError, match=r"holds the input .*landmarks\.parquet"):
        protected.check_folder(tmp_path / "model")
    protected.check_folder(tmp_path / "other")


def test_a_folder_that_holds_a_link_to_an_input_is_not_replaced(tmp_path: Path) -> None:
    """The link would be gone, whether the command names it or another link that leads to it."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "cells.csv").write_text("cluster\n")
    (out / "first.csv").symlink_to("../cells.csv")
    (tmp_path / "second.csv").symlink_to("out/first.csv")
    (tmp_path / "here").symlink_to("out")
    for named in (out / "first.csv", tmp_path / "second.csv", tmp_path / "here" / "first.csv"):
        with pytest.raises(UsageError, match="holds the input"):
            protected_files(files=[named]).check_folder(out)
    protected_files(files=[tmp_path / "cells.csv"]).check_folder(out)


def test_a_folder_of_inputs_or_a_model_is_not_replaced(study: list[Path], tmp_path: Path) -> None:
    gates, out = tmp_path / "gates", tmp_path / "out"
    (gates / "inner").mkdir(parents=True)
    out.mkdir()
    protected = protected_files(tables=[gates / "inner"], model=tmp_path / "model")
    for folder, words in ((gates, "holds the input"), (tmp_path / "model" / "new", "lies in the model's folder")):
        with pytest.raises(UsageError, match=words):
            protected.check_folder(folder)
    protected.check_folder(out)
    shutil.copy(study[0], out / "x.fcs")
    with pytest.raises(UsageError, match=r"holds the input .*x\.fcs"):
        protected.check_folder(out)


def test_recorded_inputs_are_known_by_their_content(study: list[Path], tmp_path: Path) -> None:
    """A path in a record may be relative to another folder, or the file may have moved."""
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(study[0], moved / "x.fcs")
    (moved / "x.gates.csv").write_text("population\n")
    (moved / "y.gates.csv").write_text("population\n")
    protected = protected_files(model=tmp_path / "model")
    for name in ("x.fcs", "x.gates.csv"):
        with pytest.raises(UsageError):
            protected.check(moved / name)
    protected.check(moved / "y.gates.csv")


def test_tables_on_the_recorded_command_line_are_protected(study: list[Path], tmp_path: Path) -> None:
    run = json.loads((tmp_path / "model" / "run.json").read_text())
    run["argv"] = ["cytovae", "train", "--panel", str(tmp_path / "panel.csv"), f"--labels={tmp_path / 'labels.csv'}"]
    (tmp_path / "model" / "run.json").write_text(json.dumps(run))
    for name in ("panel.csv", "labels.csv"):
        (tmp_path / name).write_text("x")
        with pytest.raises(UsageError):
            protected_files(model=tmp_path / "model").check(tmp_path / name)


@pytest.mark.parametrize("moved", [False, True], ids=["in place", "the folder moved"])
def test_relative_names_in_a_record_hold_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """Files that training read under relative names are the same ones from wherever the model is used."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "data", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    for name in ("a.fcs", "panel.csv"):
        Path("data", name).write_text(name)
    argv, inputs = ("cytovae", "train", "--panel", "data/panel.csv"), (InputRecord("data/a.fcs", "00", 5, 6, 6),)
    monkeypatch.setattr("helpers.tiny_model.RUN", replace(RUN, argv=argv, inputs=inputs))
    write_tiny_model(Path("model"))
    if moved:
        project = project.rename(tmp_path / "renamed")
    monkeypatch.chdir(elsewhere)
    protected = protected_files(model=project / "model")
    for name in ("a.fcs", "panel.csv"):
        with pytest.raises(UsageError, match="would write over an input"):
            protected.check(project / "data" / name)
    (path,) = training_files(read_record(project / "model"))
    assert path.samefile(project / "data" / "a.fcs")
    (project / "data" / "a.fcs").unlink()
    with pytest.raises(UsageError, match="no longer exists"):
        training_files(read_record(project / "model"))


def test_a_damaged_record_is_left_to_the_reader_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    protected_files(model=tmp_path).check(tmp_path.parent / "x.csv")


# --- commands that replace a folder of their own ----------------------------------------------------------------------


@pytest.mark.parametrize("through", ["name", "link to it", "link in it"])
@pytest.mark.parametrize("victim", ["cells", "samples"])
def test_compare_replaces_no_input(tmp_path: Path, victim: str, through: str) -> None:
    """An earlier comparison holds what the next one reads, itself or as a link."""
    pytest.importorskip("statsmodels")
    texts = {"cells": "file,event,cluster\na.fcs,0,1\n", "samples": "file,condition\na.fcs,x\n"}
    inputs = {name: tmp_path / f"{name}.csv" for name in texts}
    for name, path in inputs.items():
        path.write_text(texts[name])
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text("{}")
    inputs[victim] = _input_in(out / "levels.csv", texts[victim], through)
    before = _everything(tmp_path)
    words = (inputs["cells"], "--samples", inputs["samples"], "--condition", "condition", "-o", out)
    assert "holds the input" in Command().refused(UsageError, "compare", *words, *FORCED)
    assert _everything(tmp_path) == before


@pytest.mark.parametrize("where", ["in the model", "over the model's input"])
def test_compare_writes_neither_into_a_model_nor_over_its_inputs(study: list[Path], tmp_path: Path, where: str) -> None:
    pytest.importorskip("statsmodels")
    (tmp_path / "cells.csv").write_text("file,event,cluster\na.fcs,0,1\n")
    (tmp_path / "samples.csv").write_text("file,condition\na.fcs,x\n")
    out = tmp_path / "model" / "new" if where == "in the model" else tmp_path / "out"
    if where != "in the model":
        (out / "figures").mkdir(parents=True)
        (out / "summary.json").write_text("{}")
        shutil.copy(study[0], out / "figures" / "x.fcs")
    before = _everything(tmp_path)
    words = ("--samples", tmp_path / "samples.csv", "--condition", "condition", "--files", tmp_path)
    Command().refused(
        UsageError, "compare", tmp_path / "cells.csv", *words, "--model", tmp_path / "model", "-o", out, *FORCED
    )
    assert _everything(tmp_path) == before


@pytest.mark.parametrize("through", ["name", "link to it", "link in it"])
def test_qc_replaces_no_input(tmp_path: Path, through: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "qc.csv").write_text("file\n")
    named = _input_in(out / "cells.qc.parquet", "not read before it is refused", through)
    before = _everything(tmp_path)
    assert "holds the input" in Command().refused(UsageError, "qc", named, "-o", out, *FORCED)
    assert _everything(tmp_path) == before


@pytest.mark.parametrize("through", ["name", "link to it", "link in it"])
def test_inspect_replaces_no_input(study: list[Path], tmp_path: Path, through: str) -> None:
    """The input is the output, or one of them is a link to the other."""
    link = tmp_path / "panel.csv"
    link.symlink_to(study[0])
    named, output = {"name": (study[0],) * 2, "link to it": (study[0], link), "link in it": (link, study[0])}[through]
    before = _everything(tmp_path)
    Command().refused(UsageError, "inspect", named, "--panel-out", output, "--force")
    assert _everything(tmp_path) == before


def test_types_writes_no_file(study: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = _everything(tmp_path)
    Command().run("types", study[0])
    assert _everything(tmp_path) == before


def _input_in(place: Path, text: str, through: str) -> Path:
    """An input that lies at ``place``, under the name by which a command reads it."""
    if through == "link in it":
        elsewhere = place.parents[1] / f"real{place.suffix}"
        elsewhere.write_text(text)
        place.symlink_to(elsewhere)
        return place
    place.write_text(text)
    if through == "name":
        return place
    link = place.parents[1] / f"link{place.suffix}"
    link.symlink_to(place)
    return link


def _everything(folder: Path) -> dict[Path, bytes | Path]:
    """Each file in a folder with its content, each link with its target."""
    return {
        path: path.readlink() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# --- every writer against every recorded input ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".fcs", ".gates.csv"])
@pytest.mark.parametrize("other_file", [True, False], ids=["named", "recorded"])
@pytest.mark.parametrize("writer", ["assign", "tables", "report", "figures", "generate", "inspect", "study", "gather"])
def test_no_command_replaces_an_input(
    study: list[Path], tmp_path: Path, ending: str, other_file: bool, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --force, and whether the command names the input or only its model does."""
    model, named = tmp_path / "model", study[int(other_file)]
    victim = study[0].with_suffix(ending) if ending != ".fcs" else study[0]
    sheet = tmp_path / "samples.csv"
    sheet.write_text("file\n" + "".join(f"{path.name}\n" for path in study))
    place = victim
    if writer in ("tables", "figures", "study"):  # they choose the names in a folder
        names = {"tables": "abundance.csv", "figures": "umap.png", "study": "samples.csv"}
        place = tmp_path / names[writer]
        if writer != "study":
            monkeypatch.setattr("cytovae.study.protected_files.table_beside", lambda _path: place)
            place.write_text("x")
    if writer == "inspect" and not other_file:
        pytest.skip("inspect has no model")
    commands = {
        "assign": ("assign", model, named, "-o", victim, "--format", "csv", *DEVICE, *FORCED),
        "tables": ("assign", model, named, "-o", "-", "--tables", tmp_path, *DEVICE, *FORCED),
        "report": ("report", model, named, "-o", victim, *DEVICE, *FORCED),
        "figures": ("report", model, named, "-o", tmp_path / "page.html", "--figures", tmp_path, *DEVICE, *FORCED),
        "generate": ("generate", model, "-o", victim, "--format", "csv", *FORCED),
        "inspect": ("inspect", study[0], "--panel-out", victim, "--force"),
        "study": ("workflow", "study", "--samples", sheet, "-o", tmp_path, *FORCED),
        "gather": ("workflow", "gather", tmp_path, "--samples", sheet, "-o", victim, *FORCED),
    }
    before = place.read_bytes()
    Command().refused(UsageError, *commands[writer])
    assert place.read_bytes() == before


@pytest.mark.parametrize("writer", ["assign", "report", "inspect"])
def test_a_link_as_output_stays_and_its_target_is_replaced(study: list[Path], tmp_path: Path, writer: str) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to("target.csv")
    model = tmp_path / "model"
    commands = {
        "assign": ("assign", model, study[0], "-o", link, *DEVICE),
        "report": ("report", model, study[0], "-o", link, *DEVICE),
        "inspect": ("inspect", study[0], "--panel-out", link),
    }

    Command().refused(OutputError, *commands[writer])
    Command().done(*commands[writer], "--force")
    assert link.is_symlink()
    assert target.read_text() != "old"
