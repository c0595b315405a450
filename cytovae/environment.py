"""Versions, machine, processors and memory of this process."""

import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from cytovae import __version__

# Packages that decide a result, by the module that they install.
_PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "umap": "umap-learn",
    "flowsom": "flowsom",
    "phenograph": "phenograph",
    "scyan": "scyan",
}


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """The installed version of each package in ``names``; ``cytovae`` and ``python`` may be among them."""
    own = {"cytovae": __version__, "python": platform.python_version()}
    return {name: own[name] if name in own else metadata.version(name) for name in names}


def loaded_versions() -> str:
    """``NAME VERSION, …`` of cytovae, Python and the numerical packages that this process has loaded."""
    loaded = [package for module, package in _PACKAGES.items() if module in sys.modules]
    return ", ".join(f"{name} {version}" for name, version in versions_of(["cytovae", "python", *loaded]).items())


def machine() -> str:
    """The model of the processor and the number of its cores that this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        model = match.group(1).strip() if match else model
    return f"{model}, {n_processors()} cores"


def n_processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_memory_mb() -> float:
    """Peak resident memory of this process or of its largest finished child, in MiB."""
    import resource  # not on Windows

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1024 if sys.platform == "darwin" else 1
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss starts with the memory of the parent process; VmHWM does not.
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        own = int(peak.group(1)) if peak else own
    return float(max(own, children) / unit / 1024)
