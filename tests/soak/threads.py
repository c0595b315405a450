"""One thread against four: the same labels, but for cells between two clusters."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rows import SAMPLE, Effort, Row
from scipy.optimize import linear_sum_assignment

FILE = str(SAMPLE / "donor1_baseline.fcs")
LEAST = 0.999


def threads(folder: Path, effort: Effort) -> list[Row]:
    """A model trained with each and assigned with its own number, and one model assigned with both."""
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
    one, both, four = labels(folder / "model1", 1), labels(folder / "model1", 4), labels(folder / "model4", 4)
    rows = []
    for tried, other, numbers in (("assign", both, None), ("train, then assign", four, "matched")):
        equal = _equal(one, other) if numbers else float((one == other).mean())
        failures = () if equal >= LEAST else (f"{equal:.3%} of the labels are equal",)
        rows.append(
            Row(f"{tried} with one thread and with four", 2, f"{equal:.3%} of {len(one):,} labels equal", failures)
        )
    return rows


def _equal(one: "np.ndarray", other: "np.ndarray") -> float:
    """The share of cells with the same label, where clusters are called by the number of the one they share most with:
    numbers are by size, and a cell more or less may change them.
    """
    shared = pd.crosstab(one, other).to_numpy()
    return float(shared[linear_sum_assignment(-shared)].sum() / len(one))
