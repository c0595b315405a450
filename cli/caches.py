"""Libraries that keep caches in the home folder get a temporary one, for as long as a command runs.

matplotlib writes a list of fonts to the home folder, and numba (which UMAP needs) its machine code, where the packages
themselves cannot be written to. Who wants to keep them sets MPLCONFIGDIR and NUMBA_CACHE_DIR.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def away_from_home() -> Iterator[None]:
    """Within it nothing is cached in the home folder."""
    wanted = [name for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR") if not os.environ.get(name)]
    if "NUMBA_CACHE_DIR" in wanted and _can_cache_beside("pynndescent"):
        wanted.remove("NUMBA_CACHE_DIR")
    if not wanted:
        yield
        return
    # Made by who uses it: a command that is killed before leaves nothing.
    try:
        temporary = tempfile.gettempdir()
    except OSError:  # no folder can be written to
        yield
        return
    folder = Path(temporary) / f"cytovae-{secrets.token_hex(8)}"
    os.environ.update({name: str(folder / name.lower()) for name in wanted})
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def _can_cache_beside(package: str) -> bool:
    """Whether numba can keep its code beside the package's own files, as it prefers to."""
    found = find_spec(package)
    return found is not None and found.origin is not None and os.access(Path(found.origin).parent, os.W_OK)
