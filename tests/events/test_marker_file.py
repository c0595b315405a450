"""Files seen through a panel and a transform."""

from pathlib import Path

import numpy as np

from cytovae.events.compensation import Compensation
from cytovae.events.marker_file import files_for_model
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs


def test_an_unused_spillover_matrix_gives_a_warning(tmp_path: Path) -> None:
    channels = [Channel(index, name, "", 1024.0) for index, name in enumerate(("FITC-A", "PE-A"))]
    raw = np.array([[110.0, 30], [10, 201], [-5, 7]])
    write_fcs(tmp_path / "x.fcs", raw, channels, {"$SPILLOVER": "2,FITC-A,PE-A,1,0.1,0,1"})
    file = open_fcs(tmp_path / "x.fcs")
    panel = resolve_panel(file, markers=["FITC-A", "PE-A"])
    transform = Transform("arcsinh", panel.cofactors)
    plain, compensated = files_for_model([file, Compensation("file").of(file)], panel, transform)
    assert any("spillover" in warning for warning in plain.warnings())
    assert not any("spillover" in warning for warning in compensated.warnings())
