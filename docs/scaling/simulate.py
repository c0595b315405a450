"""FCS files of any number and size for measuring: cells of sample_data/ drawn again, with noise.

    python docs/scaling/simulate.py FOLDER --files 100 --cells 100000

writes FOLDER/sim_0001.fcs, … and a sample sheet FOLDER/samples.csv. Twenty channels, the same bytes for the same seed.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
SPREAD_CELL, SPREAD_FILE = 0.15, 0.05  # of log counts: each cell and marker, each file and marker


def simulate(folder: Path, n_files: int, n_cells: int, seed: int = 0) -> tuple[Path, ...]:
    """Write ``n_files`` files of ``n_cells`` cells, those that are not there yet, and their sample sheet."""
    originals = [open_fcs(path) for path in sorted(SAMPLE_DATA.glob("*.fcs"))]
    values = np.concatenate([file.read() for file in originals])
    channels = originals[0].channels
    counts = np.array(["Di" in channel.name for channel in channels])  # all but time and event length
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"sim_{number:04d}.fcs" for number in range(1, n_files + 1))
    for number, path in enumerate(paths):
        if path.exists() and open_fcs(path).n_events == n_cells:
            continue
        rng = np.random.default_rng([seed, number, n_cells])
        events = values[rng.integers(len(values), size=n_cells)]
        spread = rng.normal(0, SPREAD_CELL, events.shape) + rng.normal(0, SPREAD_FILE, events.shape[1])
        events = np.where(counts, np.rint(events * np.exp(spread)), events)
        events[:, ~counts] = np.sort(events[:, ~counts], axis=0)  # as time goes by
        write_fcs(path, events, channels, force=True)
    with (folder / "samples.csv").open("w", newline="") as stream:
        rows = [(path.name, f"sample {n}", f"batch {n % 4 + 1}", "ab"[n % 2]) for n, path in enumerate(paths, 1)]
        csv.writer(stream).writerows([("file", "sample", "batch", "condition"), *rows])
    return paths


def main() -> None:
    """Simulate as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    simulate(given.folder, given.files, given.cells, given.seed)


if __name__ == "__main__":
    main()
