"""Versions, processors and memory of this process."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from cytovae import __version__
from cytovae.environment import loaded_versions, machine, n_processors, process_memory_mb, versions_of


def test_versions_by_name() -> None:
    versions = versions_of(["cytovae", "python", "numpy"])
    assert versions == {"cytovae": __version__, "python": platform.python_version(), "numpy": np.__version__}


def test_only_loaded_packages_are_listed() -> None:
    program = "from cytovae.environment import loaded_versions; import numpy; print(loaded_versions())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"cytovae {__version__}, python {platform.python_version()}, numpy {np.__version__}"
    assert f"numpy {np.__version__}" in loaded_versions()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be bound to processors here")
def test_processors_are_those_that_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert n_processors() == 1
        assert machine().endswith(", 1 cores")
    finally:
        os.sched_setaffinity(0, allowed)
    assert n_processors() == len(allowed)


@pytest.mark.slow
def test_memory_is_the_peak() -> None:
    before = process_memory_mb()
    np.ones(int(before * 2**20 / 8) + 2**24)  # as much again, and 128 MiB
    assert process_memory_mb() > before + 100
