"""Make the golden model of the present schema again: ``make golden``, after a schema that was never released changed.

A folder of a schema that was released is never made again: later versions must read it as it is.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from cytovae.model_folder.layout import SCHEMA_VERSION

HERE = Path(__file__).parent
FILE = "sample_data/donor1_baseline.fcs"
SMALL = ("--experts", "12", "--steps", "60", "--landmarks", "600", "--device", "cpu", "--threads", "1", "--quiet")


def main() -> None:
    """Train, assign, and keep the folder with the cluster of every event beside it."""
    place = HERE / f"schema{SCHEMA_VERSION}"
    cytovae = (sys.executable, "-m", "cytovae")
    with tempfile.TemporaryDirectory() as folder:
        made, table = Path(folder) / "model", Path(folder) / "cells.parquet"
        subprocess.run([*cytovae, "train", FILE, "-o", str(made), *SMALL], check=True, cwd=HERE.parents[1])
        run = json.loads((made / "run.json").read_text())
        run["argv"] = ["cytovae", "train", FILE, *SMALL]
        (made / "run.json").write_text(json.dumps(run, indent=2) + "\n")
        asked = ["assign", str(made), FILE, "-o", str(table), "--device", "cpu", "--quiet"]
        subprocess.run([*cytovae, *asked], check=True, cwd=HERE.parents[1])
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(made, place / "model")
        cells = pd.read_parquet(table)
        cells[["cluster", "probability"]].to_csv(place / "labels.csv", index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
