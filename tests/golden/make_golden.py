"""Write the golden model of the current schema: ``make golden``, after a change of a schema that is not yet released.

Its input is cells.fcs beside this script, which never changes.

The golden model of a released schema is never written again, because later versions must read it as it is.
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
FILE = "tests/golden/cells.fcs"
SMALL = ("--experts", "12", "--steps", "60", "--landmarks", "600", "--device", "cpu", "--threads", "1", "--quiet")


def main() -> None:
    """Train a model, assign the file, and store the model folder with the cluster of every event."""
    golden = HERE / f"schema{SCHEMA_VERSION}"
    cytovae = (sys.executable, "-m", "cytovae")
    with tempfile.TemporaryDirectory() as folder:
        model, table = Path(folder) / "model", Path(folder) / "cells.parquet"
        subprocess.run([*cytovae, "train", FILE, "-o", str(model), *SMALL], check=True, cwd=HERE.parents[1])
        run = json.loads((model / "run.json").read_text())
        run["argv"] = ["cytovae", "train", FILE, *SMALL]
        (model / "run.json").write_text(json.dumps(run, indent=2) + "\n")
        options = ["assign", str(model), FILE, "-o", str(table), "--device", "cpu", "--quiet"]
        subprocess.run([*cytovae, *options], check=True, cwd=HERE.parents[1])
        shutil.rmtree(golden, ignore_errors=True)
        shutil.copytree(model, golden / "model")
        cells = pd.read_parquet(table)
        cells[["cluster", "probability"]].to_csv(golden / "labels.csv", index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
