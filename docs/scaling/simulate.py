"""Simulate FCS files of any number and size for measurements: cells resampled from sample_data/, with noise.

    python docs/scaling/simulate.py FOLDER --files 100 --cells 100000

writes FOLDER/sim_0001.fcs, … with twenty channels, and a sample sheet FOLDER/samples.csv. The same seed gives the same
bytes.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
# Standard deviations of the noise of log counts, for each cell and marker and for each file and marker.
SPREAD_CELL, SPREAD_FILE = 0.15, 0.05


def simulate(folder: Path, n_files: int, n_cells: int, seed: int = 0) -> tuple[Path, ...]:
    """Write ``n_files`` files of ``n_cells`` cells, unless they exist, and their sample sheet."""
    originals = [open_fcs(path) for path in sorted(SAMPLE_DATA.glob("*.fcs"))]
    values = np.concatenate([file.read() for file in originals])
    channels = originals[0].channels
    counts = np.array(["Di" in channel.name for channel in channels])  # all channels but time and event length
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"sim_{number:04d}.fcs" for number in range(1, n_files + 1))
    for number, path in enumerate(paths):
        if path.exists() and open_fcs(path).n_events == n_cells:
            continue
        rng = np.random.default_rng([seed, number, n_cells])
        events = values[rng.integers(len(values), size=n_cells)]
        spread = rng.normal(0, SPREAD_CELL, events.shape) + rng.normal(0, SPREAD_FILE, events.shape[1])
        events = np.where(counts, np.rint(events * np.exp(spread)), events)
        events[:, ~counts] = np.sort(events[:, ~counts], axis=0)  # time increases
        write_fcs(path, events, channels, force=True)
    with (folder / "samples.csv").open("w", newline="") as stream:
        rows = [(path.name, f"sample {n}", f"batch {n % 4 + 1}", "ab"[n % 2]) for n, path in enumerate(paths, 1)]
        csv.writer(stream).writerows([("file", "sample", "batch", "condition"), *rows])
    return paths


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    simulate(arguments.folder, arguments.files, arguments.cells, arguments.seed)


if __name__ == "__main__":
    main()
