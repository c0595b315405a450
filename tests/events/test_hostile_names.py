"""Names in files that look like paths, formulas or markup are only text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cytovae.cli.main import app
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.fcs.write_text import clean_name

NAMES = (
    "../../../../tmp/x",
    "=HYPERLINK(1)",
    "<script>alert(1)</script>",
    "/etc/passwd",
    "$(touch canary)",
    "a,b;\"c'",
)


@pytest.mark.slow
def test_names_of_markers_and_samples_are_plain_text(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    values = np.abs(np.random.default_rng(0).normal(100, 60, (200, len(NAMES)))).astype(np.float32)
    channels = [Channel(index, f"P{index}", name, 1024) for index, name in enumerate(NAMES)]
    keywords = {"$FIL": "../../../outside.fcs", "$SMNO": "../../outside", "TUBE NAME": "<script>alert(2)</script>"}
    write_fcs(work / "=1+1 <script>.fcs", values, channels, keywords)
    file = str(work / "=1+1 <script>.fcs")
    runner = CliRunner()
    quick = ["--steps", "20", "--experts", "8", "--device", "cpu", "--quiet"]
    steps = (
        ["train", file, "-o", str(work / "m"), "--markers", ",".join(f"P{i}" for i in range(len(NAMES))), *quick],
        [
            "assign",
            str(work / "m"),
            file,
            "-o",
            f"{work / 'out'}/",
            "--format",
            "csv",
            "--tables",
            str(work / "t"),
            "-q",
        ],
        ["report", str(work / "m"), file, "-o", str(work / "r.html"), "--figures", str(work / "f"), "-q"],
    )
    for step in steps:
        result = runner.invoke(app, step)
        assert result.exit_code == 0, (step, result.output, result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    assert sorted(path.name for path in work.iterdir()) == ["=1+1 <script>.fcs", "f", "m", "out", "r.html", "t"]
    assert [path.name for path in (work / "out").iterdir()] == ["=1+1 <script>.csv"]
    assert all(path.parent == work / "f" for path in (work / "f").rglob("*"))
    page = (work / "r.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    medians = pd.read_csv(work / "t" / "cluster_medians.csv")
    assert set(medians["marker"]) == {clean_name(name) for name in NAMES}  # as `write_fcs` writes them
