"""The parts of the soak (``make soak``), few times each: killed and stopped processes, full disks, many at once."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent / "soak"


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("kills", "signals"), ("full", "read-only", "neighbours")], ids="-".join)
def test_nothing_happens_that_must_not(parts: tuple[str, ...]) -> None:
    only = [word for part in parts for word in ("--only", part)]
    done = subprocess.run(
        [sys.executable, str(SOAK), "--quick", *only], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert all(f"{part}: " in done.stdout for part in parts)
