"""Panel tables that users write."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.errors import OutputError, PanelError
from cytovae.events.panel import resolve_panel
from cytovae.events.panel_table import PanelRow, read_panel, write_panel
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,use\nCD3,1\n", "header.*columns channel, marker"),
        ("", "header"),
        ("marker,use\nCD3,maybe\n", "line 2, use.*'maybe'"),
        ("marker,class\nCD3,lineage\n", "line 2, class.*'lineage'"),
        ("marker,cofactor\nCD3,5\nCD4,-1\n", "line 3, cofactor.*'-1'"),
        ("marker,cofactor\nCD3,five\n", "line 2, cofactor.*'five'"),
        ("marker,use\nCD3,0\n", "no marker to use"),
        ("channel,marker,use\n,,1\n", "line 2.*neither"),
        ("marker\nCD3\ncd3\n", "twice"),
        ("marker\nCD99\n", "no channel with the name 'CD99'"),
    ],
)
def test_a_malformed_panel_table_is_rejected_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    channels = [Channel(index, name, "", 1024.0) for index, name in enumerate(("CD3", "CD4"))]
    write_fcs(tmp_path / "a.fcs", np.zeros((2, 2)), channels)
    table = tmp_path / "panel.csv"
    table.write_text(text)
    with pytest.raises(PanelError, match=message):
        resolve_panel(open_fcs(tmp_path / "a.fcs"), panel_csv=table)


def test_a_missing_panel_table_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="nowhere"):
        read_panel(tmp_path / "nowhere.csv")


def test_a_written_panel_table_is_read_back(tmp_path: Path) -> None:
    rows = (
        PanelRow("Pr141Di", "CD45", True, 5.0, "type"),
        PanelRow("Nd142Di", "pSTAT5", False, None, "state", "state marker"),
        PanelRow("Time", "Time", False, None, "", 'time, "LSW"'),
    )
    table = tmp_path / "panel.csv"
    write_panel(table, rows)
    assert table.read_text().splitlines()[0] == "channel,marker,class,use,cofactor,reason"
    assert read_panel(table) == rows
    with pytest.raises(OutputError, match="--force"):
        write_panel(table, rows)
    write_panel(table, rows[:1], force=True)
    assert read_panel(table) == rows[:1]
