"""Opening files of events."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs


@pytest.mark.parametrize(
    ("name", "version"),
    [("x.fcs", "FCS3.1"), ("x.lmd", "FCS3.1"), ("x.parquet", "Parquet"), ("x.PARQUET", "Parquet"), ("x.Csv", "CSV")],
)
def test_the_suffix_selects_the_format(name: str, version: str, tmp_path: Path) -> None:
    path = tmp_path / name
    table = pd.DataFrame({"CD3": [1.5, 2.0]})
    if version == "FCS3.1":
        write_fcs(path, table.to_numpy(), [Channel(0, "CD3", "", 10.0)])
    elif version == "CSV":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    file = open_events(path)
    assert file.version == version
    np.testing.assert_array_equal(file.read(), [[1.5], [2.0]])
