"""`cytovae inspect` through the real app: what it says of files made here, as a table and as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cytovae.cli.main import app
from cytovae.errors import FcsError, OutputError
from cytovae.events.panel import resolve_panel
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"
runner = CliRunner()


def fcs(path: Path, columns: dict[tuple[str, str], Any], keywords: dict[str, str] | None = None) -> Path:
    channels = [Channel(index, name, label, 1024.0) for index, (name, label) in enumerate(columns)]
    write_fcs(path, np.column_stack(list(columns.values())), channels, keywords)
    return path


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """130,000 events, so that more than one chunk is read; the extremes are in the last one."""
    rng = np.random.default_rng(0)
    columns = {(f"Nd14{mass}Di", f"14{mass}Nd_CD{mass}"): rng.poisson(60.0, 130_000) for mass in (2, 3, 5, 6)}
    columns[("Time", "")] = np.arange(130_000)
    columns["Nd142Di", "142Nd_CD2"][:] = np.arange(130_000) % 4  # a quarter are 0
    columns["Nd143Di", "143Nd_CD3"][-1] = 7777
    return fcs(tmp_path / "counts.fcs", columns, {"$CYT": "Helios", "$SPILLOVER": "2,Nd142Di,Nd143Di,1,0.1,0,1"})


def as_json(*paths: Path) -> dict[str, Any]:
    result = runner.invoke(app, ["inspect", "--json", *map(str, paths)])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_json_tells_channels_values_and_scale(counts: Path) -> None:
    report = as_json(counts)
    assert report["schema_version"] == 1
    assert report["panel_differences"] == []
    (file,) = report["files"]
    assert (file["file"], file["events"], file["version"]) == (str(counts), 130_000, "FCS3.1")
    assert (file["instrument"], file["spillover"], file["gates"]) == ("Helios", True, None)
    assert (file["transformed"], file["suggested_cofactor"], file["warning"]) == (False, 5.0, None)
    rows = {row["name"]: row for row in file["channels"]}
    assert [row["number"] for row in file["channels"]] == [1, 2, 3, 4, 5]
    first = rows["Nd142Di"]
    assert (first["label"], first["marker"], first["used"], first["reason"]) == ("142Nd_CD2", "CD2", True, "")
    assert (first["minimum"], first["maximum"], first["zeros"]) == (0, 3, 0.25)
    assert rows["Nd143Di"]["maximum"] == 7777
    assert (rows["Time"]["used"], rows["Time"]["reason"], rows["Time"]["maximum"]) == (False, "time", 129_999)


def test_transformed_values_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = fcs(tmp_path / "t.fcs", {(f"X{i}", f"CD{i}"): np.arcsinh(rng.poisson(20.0 * i, 500) / 5) for i in range(3)})
    (file,) = as_json(path)["files"]
    assert (file["transformed"], file["suggested_cofactor"]) == (True, None)
    assert "already" in file["warning"]


def test_values_that_are_not_finite_are_counted_and_leave_the_range_alone(tmp_path: Path) -> None:
    columns = {("X", "CD1"): np.array([1.0, np.nan, 3, np.inf]), ("Y", "CD2"): np.full(4, np.nan)}
    (file,) = as_json(fcs(tmp_path / "n.fcs", columns))["files"]
    first, second = file["channels"]
    assert (first["not_finite"], first["minimum"], first["maximum"]) == (2, 1, 3)
    assert (second["not_finite"], second["minimum"], second["maximum"]) == (4, None, None)


def test_panels_that_differ_are_told_by_marker(tmp_path: Path) -> None:
    values = np.arange(3.0)
    a = fcs(tmp_path / "a.fcs", {("Pr141Di", "141Pr_CD45"): values, ("X", "CD3"): values, ("Time", ""): values})
    b = fcs(tmp_path / "b.fcs", {("Nd142Di", "142Nd_cd45"): values, ("X", "CD19"): values})
    differences = as_json(a, b)["panel_differences"]
    assert differences == [
        {"marker": "CD3", "files": [str(a)], "missing": [str(b)]},
        {"marker": "CD19", "files": [str(b)], "missing": [str(a)]},
    ]
    table = runner.invoke(app, ["inspect", str(a), str(b)])
    assert f"CD3: missing in {b}" in table.stdout
    assert "all 2 files have the same markers" in runner.invoke(app, ["inspect", str(a), str(a)]).stdout


def test_the_table_prints_every_name_whole(tmp_path: Path) -> None:
    # Longer than a terminal is wide, and with what a console might take for markup.
    label = "141Pr_" + "a[bold]very[/bold] long name " * 6
    path = fcs(tmp_path / "x.fcs", {("Pr141Di", label): np.arange(3.0), ("FSC-A", ""): np.arange(3.0)})
    result = runner.invoke(app, ["inspect", str(path)])
    assert result.exit_code == 0
    assert label.strip() in result.stdout
    (row,) = (line for line in result.stdout.splitlines() if "FSC-A" in line)
    assert "no: scatter" in row


def test_the_sample_study_is_understood() -> None:
    (file,) = as_json(SAMPLE)["files"]
    used = [row["marker"] for row in file["channels"] if row["used"]]
    assert used == ["CD45", "CD3", "CD4", "CD8a", "CD19", "CD14", "CD56", "CD11c", "CD123", "HLA-DR", "CD45RA", "CD27"]
    reasons = {row["marker"]: row["reason"] for row in file["channels"] if not row["used"]}
    assert reasons == {
        "Time": "time",
        "Event_length": "event length",
        "DNA1": "DNA",
        "DNA2": "DNA",
        "Beads": "beads",
        "Viability": "viability",
        "BC1": "barcode",
        "BC2": "barcode",
        "BC3": "barcode",
        **dict.fromkeys(("pSTAT1", "pSTAT5", "p-p38", "pS6"), "state marker"),
    }
    assert file["gates"] == str(SAMPLE.with_suffix(".gates.csv"))
    assert file["suggested_cofactor"] == 5


def test_a_bad_file_does_not_hide_the_good_ones(tmp_path: Path, counts: Path) -> None:
    bad = tmp_path / "bad.fcs"
    bad.write_text("this is not an FCS file, but it is long enough to have had a header of one" * 2)
    result = runner.invoke(app, ["inspect", "--json", str(bad), str(counts)])
    assert isinstance(result.exception, FcsError)
    assert [file["file"] for file in json.loads(result.stdout)["files"]] == [str(counts)]


def test_the_process_ends_with_code_3_and_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cytovae", "inspect", str(tmp_path / "nowhere.fcs")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "nowhere.fcs" in done.stderr
    assert done.stderr.count("\n") == 1


def test_inspecting_loads_neither_torch_nor_umap() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from cytovae.cli.main import app; "
        f"result = CliRunner().invoke(app, ['inspect', {str(SAMPLE)!r}]); assert result.exit_code == 0, result.output; "
        "print([name for name in ('torch', 'umap', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_markers_on_other_channels_and_channels_that_spill_are_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).lognormal(8, 1, (300, 3))
    named = [("FITC-A", "CD3"), ("PE-A", "CD4"), ("APC-A", "CD8")]
    spill = {"$SPILLOVER": "2,FITC-A,PE-A,1,0.1,0,1"}
    a = fcs(tmp_path / "a.fcs", dict(zip(named, values.T, strict=True)), spill)
    moved = [("PE-A", "CD3"), ("FITC-A", "CD4"), ("APC-A", "CD8")]
    b = fcs(tmp_path / "b.fcs", dict(zip(moved, values.T, strict=True)), {"$SPILLOVER": "2,FITC-A,PE-A,1"})
    report = as_json(a, b)
    assert report["channel_differences"] == [
        {"marker": "CD3", "channels": {"FITC-A": [str(a)], "PE-A": [str(b)]}},
        {"marker": "CD4", "channels": {"PE-A": [str(a)], "FITC-A": [str(b)]}},
    ]
    good, bad = report["files"]
    assert (good["spillover_channels"], good["scale"]) == (["FITC-A", "PE-A"], "like raw fluorescence")
    assert bad["spillover_channels"] == []
    assert any("spillover" in note for note in bad["notes"])
    shown = runner.invoke(app, ["inspect", str(a), str(b)]).stdout
    assert f"CD3: FITC-A in {a}; PE-A in {b}" in shown
    assert "spillover matrix: yes of 2 channels" in shown
    assert "values: look like raw fluorescence" in shown


def test_tables_and_names_from_standard_input_are_inspected(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("CD3,CD4,donor\n1,2,a\n3,0,b\n")
    result = runner.invoke(app, ["inspect", "--json", "-"], input=f"{tmp_path / 'x.csv'}\n")
    (file,) = json.loads(result.stdout)["files"]
    assert (file["version"], file["events"], file["channels"][1]["zeros"]) == ("CSV", 2, 0.5)
    assert any("donor" in note for note in file["notes"])


# --- classes of markers and panel tables ---


def test_state_markers_and_the_reason_of_every_other_channel_are_shown(tmp_path: Path) -> None:
    values = np.arange(3.0)
    names = [("X1", "CD3"), ("X2", "pSTAT5"), ("X3", "Ki-67"), ("FITC-A", ""), ("UMAP_1", "")]
    path = fcs(tmp_path / "a.fcs", dict.fromkeys(names, values))
    (file,) = as_json(path)["files"]
    rows = {row["name"]: row for row in file["channels"]}
    assert [rows[name]["marker_class"] for name, _ in names] == ["type", "state", "state", "", ""]
    assert [rows[name]["reason"] for name, _ in names] == [
        *("", "state marker", "state marker"),
        *("no antibody named", "map of cells"),
    ]
    shown = runner.invoke(app, ["inspect", str(path)]).stdout
    assert "2 state markers are not used for clustering: pSTAT5, Ki-67" in shown


def test_a_file_that_is_not_unmixed_is_named_so(tmp_path: Path) -> None:
    path = fcs(tmp_path / "raw.fcs", dict.fromkeys([(f"V{number}-A", "") for number in range(1, 17)], np.arange(3.0)))
    shown = runner.invoke(app, ["inspect", str(path)]).stdout
    assert "0 markers" in shown
    assert "not unmixed" in shown


def test_files_with_the_same_channels_share_one_table(tmp_path: Path) -> None:
    columns = {("X1", "CD3"): np.arange(200.0), ("X2", "CD4"): np.arange(200.0)}
    paths = [fcs(tmp_path / f"{name}.fcs", columns) for name in "abc"]
    columns["X1", "CD3"] = np.arange(-5.0, 195.0)
    paths.append(fcs(tmp_path / "d.fcs", columns))
    shown = runner.invoke(app, ["inspect", *map(str, paths)]).stdout
    assert sum("$PnN" in line for line in shown.splitlines()) == 1
    for path in paths:
        assert f"{path}: 200 events" in shown
    (row,) = (line.split() for line in shown.splitlines() if " X1 " in line)
    assert row[6:8] == ["-5", "199"]


def test_the_panel_table_is_what_train_reads(tmp_path: Path) -> None:
    table = tmp_path / "panel.csv"
    values = np.arange(3.0)
    names = [("X1", "CD3"), ("X2", "pSTAT5"), ("X3", "CD197"), ("FITC-A", "CD8"), ("Comp-FITC-A", "CD8"), ("Time", "")]
    a = fcs(tmp_path / "a.fcs", dict.fromkeys(names, values))
    b = fcs(tmp_path / "b.fcs", dict.fromkeys([("Y1", "CCR7"), ("Y2", "CD8")], values))
    result = runner.invoke(app, ["inspect", str(a), "--panel-out", str(table)])
    assert result.exit_code == 0, result.output
    assert table.read_text().splitlines() == [
        "channel,marker,class,use,cofactor,reason",
        "X1,CD3,type,1,,",
        "X2,pSTAT5,state,0,,state marker",
        "X3,CD197,type,1,,",
        "FITC-A,CD8,,0,,not compensated; Comp-FITC-A (CD8) is used",
        "Comp-FITC-A,CD8,type,1,,",
        "Time,Time,,0,,time",
    ]
    assert resolve_panel(open_fcs(a), panel_csv=table).names == resolve_panel(open_fcs(a)).names
    assert isinstance(runner.invoke(app, ["inspect", str(a), "--panel-out", str(table)]).exception, OutputError)
    # Only markers that all files have are used; names of one antigen are one marker.
    runner.invoke(app, ["inspect", str(a), str(b), "--panel-out", str(table), "--force"])
    assert f"X1,CD3,type,0,,not in {b}" in table.read_text()
    assert resolve_panel(open_fcs(a), panel_csv=table).names == ("CD197", "CD8")


@pytest.mark.slow
def test_a_very_wide_table_is_cut_on_the_screen_and_whole_in_json(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = [f"gene{number}" for number in range(1_200)]
    path.write_text(f"{','.join(names)}\n{','.join(['1'] * 1_200)}\n", encoding="utf-8")
    shown = runner.invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "gene999 " in shown.stdout
    assert "gene1000 " not in shown.stdout
    assert "and 200 more channels" in shown.stdout
    assert [channel["name"] for channel in as_json(path)["files"][0]["channels"]] == names
