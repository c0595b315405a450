"""The rows of the table, and what the parts of the soak test share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"
MODEL_FILES = ("model.safetensors", "model.json", "history.parquet", "landmarks.parquet")


@dataclass(frozen=True)
class Row:
    """A row of the table: what was tried, how often, what happened, and any failures."""

    tried: str
    times: int
    happened: str
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effort:
    """The number of attempts: ``quick`` for the tests; ``times`` multiplies the numbers of the full run."""

    quick: bool = False
    times: float = 1.0
    seed: int = 0

    def count(self, full: int, quick: int) -> int:
        """The number of attempts, given that of a full and of a quick run."""
        return quick if self.quick else max(1, round(full * self.times))


def seconds(values: Sequence[float]) -> str:
    """The longest of ``values``, in words."""
    if not values:
        return "no times measured"
    longest = max(values)
    return f"longest {longest:.1f} s" if longest >= 1 else f"longest {1000 * longest:.0f} ms"


def model_bytes(model: Path) -> tuple[bytes, ...]:
    """All content of a model folder that training determines; of ``run.json`` all but times, command and its folder."""
    run = json.loads((model / "run.json").read_text(encoding="utf-8"))
    for name in ("seconds", "argv", "started_in"):
        del run[name]
    return (*((model / name).read_bytes() for name in MODEL_FILES), json.dumps(run).encode())
