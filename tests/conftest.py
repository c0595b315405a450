"""One thread of torch in every test: threads that wait for each other make small tests many times slower."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, here and in processes that tests start


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Undo what the code under test sets for its process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
