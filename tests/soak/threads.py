"""One thread and four threads give the same model and the same labels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rows import SAMPLE, Effort, Row

FILE = str(SAMPLE / "donor1_baseline.fcs")
LEAST = 0.999


def threads(folder: Path, effort: Effort) -> list[Row]:
    """Train a model with each number of threads, and assign cells with each."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    settings = ("--landmarks", "400", "--experts", "20", "--steps", "300") if effort.quick else ()

    def command(*words: object) -> None:
        whole = [sys.executable, "-m", "cytovae", *map(str, words), "--device", "cpu", "--quiet"]
        done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def labels(model: Path, number: int) -> "np.ndarray":
        path = folder / f"{model.name}-{number}.parquet"
        command("assign", model, FILE, "-o", path, "--threads", number)
        return pd.read_parquet(path, columns=["cluster"])["cluster"].to_numpy()

    for number in (1, 4):
        command("train", FILE, "-o", folder / f"model{number}", "--threads", number, *settings)
    one, four = ((folder / f"model{number}" / "model.safetensors").read_bytes() for number in (1, 4))
    trained = "the same bytes" if one == four else "other bytes"
    alone, together = labels(folder / "model1", 1), labels(folder / "model1", 4)
    equal = float((alone == together).mean())
    return [
        Row("train with one thread and with four", 2, trained, () if one == four else (trained,)),
        Row(
            "assign with one thread and with four",
            2,
            f"{equal:.3%} of {len(alone):,} labels equal",
            () if equal >= LEAST else (f"{equal:.3%} of the labels are equal",),
        ),
    ]
