"""Versions, machine, processors: what a record says about where it was made."""

import os
import platform
import re
import resource
import sys
from importlib import metadata
from pathlib import Path

from cytovae import __version__


def process_memory_mb() -> float:
    """Peak resident memory of this process, or of its largest finished child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1024 if sys.platform == "darwin" else 1
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss begins with the memory of the process that started this one; VmHWM does not.
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        own = int(peak.group(1)) if peak else own
    return float(max(own, children) / unit / 1024)


def versions() -> str:
    """The versions that decide a result, as far as this process has loaded them."""
    parts = [f"cytovae {__version__}", f"python {platform.python_version()}"]
    packages = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "torch": "torch", "umap": "umap-learn"}
    for module, name in (packages | {"flowsom": "flowsom", "phenograph": "phenograph"}).items():
        if module in sys.modules:
            parts.append(f"{name} {metadata.version(name)}")
    return ", ".join(parts)


def machine() -> str:
    """The processor and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        model = named.group(1).strip() if named else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores"
